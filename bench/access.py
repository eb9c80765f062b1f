"""Measures what access and policies add to a request on the gateway: one with a single key and no limit beside one with ten thousand keys, a
key for one environment that may call so often, and thirty limits of tokens. Both are the whole gateway, to one upstream in one run.

Each gateway has core 0 to itself while it is measured; the upstream and the load generator share core 1. Rounds alternate, and the median of
their differences counts: what is asked is that it adds at most 20 µs at p99. `make bench-access` runs it, and placement after it.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from gateway import KEY, ROOT, SMALL, Case, Proxy, Upstream, measure
from peers import free_port

CASE = Case("1 kB JSON", SMALL)


def gateway(binaries: Path, upstream: Upstream, guarded: bool) -> Proxy:
    port = free_port()
    command = [str(binaries / "bench-gateway"), "--listen", f"127.0.0.1:{port}", "--upstream", upstream.targets["tcp"]]
    command += ["--key", KEY] + (["--guarded"] if guarded else [])
    return Proxy("greenroom", command, port, CASE.method)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--target-dir", type=Path, default=ROOT / "target" / "release")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="bench-"))
    upstream = Upstream(options.target_dir, scratch, replica="")
    plain, guarded = (gateway(options.target_dir, upstream, guarded) for guarded in (False, True))
    time.sleep(0.5)
    try:
        print("| connections | p50 plain, µs | p50 added | p99 plain, µs | p99 added | core a request, µs | added |\n|---|---|---|---|---|---|---|")
        for connections in (1, 64):
            run(connections, options, plain, guarded, scratch)
    finally:
        for proxy in (plain, guarded):
            proxy.stop()
        upstream.process.kill()
        shutil.rmtree(scratch, ignore_errors=True)
    subprocess.run([str(options.target_dir / "bench-placement")], check=True)


def run(connections: int, options: argparse.Namespace, plain: Proxy, guarded: Proxy, scratch: Path) -> None:
    def once(proxy: Proxy) -> dict:
        return measure(proxy, CASE, options.target_dir, options.seconds, scratch, connections)

    for proxy in (plain, guarded):
        once(proxy)
    rounds = [(once(plain), once(guarded)) for _ in range(options.rounds)]

    def row(key: str, scale: float) -> str:
        base = statistics.median(one[key] for one, _ in rounds) * scale
        added = statistics.median(other[key] - one[key] for one, other in rounds) * scale
        return f"{base:.1f} | {added:+.1f}"

    print(f"| {connections} | {row('p50_ms', 1000)} | {row('p99_ms', 1000)} | {row('cpu_us', 1)} |", flush=True)


if __name__ == "__main__":
    main()
