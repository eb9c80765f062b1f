"""Measures Greenroom beside its peers in one run on one machine, and prints ratios.

Peers: the reference Truss server, LitServe, BentoML, Ray Serve and bare FastAPI on uvicorn, all from PyPI. The same model runs everywhere. What is measured is
pinned to core 0, the load generator to core 1. Rounds alternate between the peers, and the median round counts, because machines
are noisy. `make bench` runs it; the table in docs/benchmarks.md is its output.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from pathlib import Path

from frameworks import BentoML, LitServe, RayServe
from peers import FastApi, Greenroom, Peer, ReferenceServer, environment

ROOT = Path(__file__).resolve().parent.parent
MEBIBYTE = 1 << 20


class Case:
    """One load shape."""

    def __init__(self, name: str, connections: int, body: str):
        self.name, self.connections, self.body = name, connections, body


def measure(loadgen: Path, peer: Peer, case: Case, seconds: float, scratch: Path) -> dict:
    body = scratch / "body.json"
    body.write_text(case.body)
    command = ["taskset", "-c", "1", str(loadgen), peer.target, "--path", peer.path, "--body", str(body)]
    command += ["--connections", str(case.connections), "--seconds", str(seconds)]
    for header in peer.headers:
        command += ["--header", header]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if result["not_ok"]:
        sys.exit(f"{peer.name}: {result['not_ok']} of {result['requests']} answers were not 200")
    return result


def median(rounds: list[dict], key: str) -> float:
    return statistics.median(round_[key] for round_ in rounds)


def table(case: Case, peers: list[Peer], rounds: dict[str, list[dict]]) -> str:
    reference = median(rounds[peers[0].name], "requests_per_second")
    reference_p99 = median(rounds[peers[0].name], "p99_ms")
    lines = [f"### {case.name}", "", f"| | requests/s | × {peers[0].name} | p50 ms | p99 ms | its p99 as a part |", "|---|---|---|---|---|---|"]
    for peer in peers:
        seen = rounds[peer.name]
        rate, p99 = median(seen, "requests_per_second"), median(seen, "p99_ms")
        lines.append(
            f"| {peer.name} | {rate:,.0f} | {rate / reference:.1f} | {median(seen, 'p50_ms'):.2f} | {p99:.2f} | 1/{reference_p99 / p99:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--target-dir", type=Path, default=ROOT / "target" / "release")
    parser.add_argument("--only", help="only cases whose name contains this")
    options = parser.parse_args()

    cases = [
        Case("64 connections, small JSON", 64, "{}"),
        Case("16 connections, small JSON", 16, "{}"),
        Case("1 connection, small JSON", 1, "{}"),
        Case("4 connections, 1 MB JSON body", 4, json.dumps({"text": "x" * MEBIBYTE})),
    ]
    cases = [case for case in cases if not options.only or options.only in case.name]
    environments = ROOT / ".cache" / "bench"
    python = environment(environments / "reference")
    frameworks = [LitServe("LitServe", environments), BentoML("BentoML", environments), RayServe("Ray Serve", environments)]
    with Greenroom(options.target_dir) as greenroom, contextlib.ExitStack() as others:
        peers: list[Peer] = [others.enter_context(peer) for peer in (ReferenceServer(python), *frameworks, FastApi(python))]
        peers += [greenroom.replica(), greenroom.gateway()]
        print(f"rounds: {options.rounds} of {options.seconds} s each, alternating; medians\n")
        for case in cases:
            rounds: dict[str, list[dict]] = {peer.name: [] for peer in peers}
            for _ in range(options.rounds):
                for peer in peers:
                    rounds[peer.name].append(measure(options.target_dir / "loadgen", peer, case, options.seconds, greenroom.scratch))
            print(table(case, peers, rounds), flush=True)
        print(greenroom.second_push())


if __name__ == "__main__":
    main()
