"""Measures what access and policies add to a request on the gateway: one with a single key and no limit beside one with ten thousand keys, a
key for one environment that may call so often, and thirty limits of tokens. Both are the whole gateway, to one upstream in one run, whose
answers tell how many tokens they took.

Each gateway has core 0 to itself while it is measured; the upstream and the load generator share core 1. Rounds alternate, and the median of
their differences counts: what is asked is that it adds at most 20 µs at p99. With 64 connections the core is full, and each request waits for
what the 63 before it cost. A third gateway, plain like the first, shows how far two of a kind differ. What no gateway goes without, the hash of a
key and the search for it, is timed alone. `make bench-access` runs it, and placement after it.
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
COLUMNS = [("p50_ms", 1000), ("p99_ms", 1000), ("cpu_us", 1)]


def gateway(binaries: Path, upstream: Upstream, guarded: bool) -> Proxy:
    port = free_port()
    command = [str(binaries / "bench-gateway"), "--listen", f"127.0.0.1:{port}", "--upstream", upstream.targets["tcp"]]
    command += ["--key", KEY] + (["--guarded"] if guarded else [])
    return Proxy("greenroom", command, port, CASE.method)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--target-dir", type=Path, default=ROOT / "target" / "release")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="bench-"))
    upstream = Upstream(options.target_dir, scratch, "", ["--tokens"])
    proxies = [gateway(options.target_dir, upstream, guarded) for guarded in (False, False, True)]
    time.sleep(0.5)
    try:
        print("| connections | | p50, µs | p99, µs | core a request, µs |\n|---|---|---|---|---|")
        for connections in (1, 64):
            run(connections, options, proxies, scratch)
    finally:
        for proxy in proxies:
            proxy.stop()
        upstream.process.kill()
        shutil.rmtree(scratch, ignore_errors=True)
    key = [str(options.target_dir / "bench-gateway"), "--listen", "", "--upstream", "", "--key", KEY, "--guarded", "--time-key"]
    subprocess.run(key, check=True)
    subprocess.run([str(options.target_dir / "bench-placement")], check=True)


def run(connections: int, options: argparse.Namespace, proxies: list[Proxy], scratch: Path) -> None:
    def once() -> list[dict]:
        return [measure(proxy, CASE, options.target_dir, options.seconds, scratch, connections) for proxy in proxies]

    once()
    rounds = [once() for _ in range(options.rounds)]

    def row(name: str, form: str, value) -> None:
        cells = (format(statistics.median(value(one, key) * scale for one in rounds), form) for key, scale in COLUMNS)
        print(f"| {connections} | {name} | {' | '.join(cells)} |", flush=True)

    row("plain", ".1f", lambda one, key: one[0][key])
    row("added by another", "+.1f", lambda one, key: one[1][key] - one[0][key])
    row("added by access and policies", "+.1f", lambda one, key: one[2][key] - (one[0][key] + one[1][key]) / 2)


if __name__ == "__main__":
    main()
