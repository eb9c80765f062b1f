"""Loads and unloads a model again and again, and prints how much memory is in use.

The model takes 64 MiB when it loads, and is asked once. Then its replica is terminated, and another one takes its place. Printed after
every tenth of the cycles: the server's memory, the memory that is in use on the whole machine, and how many processes besides the
server there are. `make bench-unload` runs it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from server import Server

ROOT = Path(__file__).resolve().parent.parent
MODEL = """class Model:
    def load(self):
        self.weights = bytearray(b"x" * (64 << 20))

    def predict(self, request):
        return len(self.weights)
"""
LIMIT_S = 60


def newest_replica(server: Server, deployment: str, besides: str | None = None) -> str:
    """The replica that started last, once there is one that is ready."""
    deadline = time.monotonic() + LIMIT_S
    # Not all starts there ever were: what reads them takes memory by their number, up to the thousand that are kept.
    since = int((time.time() - LIMIT_S) * 1000)
    while time.monotonic() < deadline:
        found = server.ask("GET", f"{deployment}/startups?start_epoch_millis={since}&end_epoch_millis=9999999999999&outcomes=SUCCESS&limit=1")["items"]
        if found and found[0]["replica_id"] != besides:
            return found[0]["replica_id"]
        time.sleep(0.02)
    raise SystemExit(f"no new replica is ready after {LIMIT_S} s")


def used_mib() -> float:
    """Memory in use on this machine, without caches."""
    values = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return (int(values["MemTotal"].split()[0]) - int(values["MemAvailable"].split()[0])) / 1024


def processes(server: Server) -> int:
    """Processes that run in the server's folder or below it: replicas, models, standbys."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*/cwd"):
        try:
            count += str(folder.resolve()).startswith(str(server.scratch))
        except OSError:
            pass
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--target-dir", type=Path, default=ROOT / "target" / "release")
    options = parser.parse_args()
    server = Server(options.target_dir / "greenroom", {})
    try:
        pushed = server.push(server.write_model("unload", MODEL))
        model, deployment = pushed["model"]["id"], pushed["deployment"]["id"]
        path = f"/v1/models/{model}/deployments/{deployment}"
        print("| cycles | server, MiB | machine, MiB | processes besides | ms a cycle, median |\n|---|---|---|---|---|")
        memory, took, replica = [], [], newest_replica(server, path)
        for cycle in range(1, options.cycles + 1):
            begin = time.perf_counter()
            server.ask("DELETE", f"{path}/replicas/{replica}")
            replica = newest_replica(server, path, besides=replica)
            answer = server.ask("POST", f"/models/{model}/deployment/{deployment}/predict", {})
            if answer != 64 << 20:
                raise SystemExit(f"the model answered {answer}")
            took.append((time.perf_counter() - begin) * 1000)
            if cycle % max(1, options.cycles // 10) == 0:
                memory.append(server.memory_mib())
                print(f"| {cycle} | {memory[-1]:.2f} | {used_mib():.0f} | {processes(server)} | {statistics.median(took):.0f} |", flush=True)
        middle = memory[len(memory) // 2 - 1]
        print(f"\nfrom the middle to the end: {(memory[-1] / middle - 1) * 100:+.2f} %")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
