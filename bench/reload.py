"""Measures live reload: from a saved file to the first answer of the new code, for a model whose load is instant.

`greenroom push --watch` watches a folder; its one file is saved again and again, and the model is asked until it answers anew. Beside it,
in the same moments, `python3 -c pass`. `make bench-reload` runs it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from server import Server, python_ms

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 60


def code(version: int) -> str:
    return f"class Model:\n    def predict(self, request):\n        return {version}\n"


def until(what: str, look) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not look():
        if time.monotonic() > deadline:
            sys.exit(f"never seen within {LIMIT_S} s: {what}")
        time.sleep(0.002)


def measure(server: Server, name: str, flags: list[str], changes: int, bare: list[float]) -> list[float]:
    """Milliseconds from each saved file to its answer."""
    folder = server.write_model(name, code(0))
    file = folder / "model" / "model.py"
    said = server.scratch / f"{name}.log"
    with open(said, "w") as log:
        command = [str(server.binary), "push", str(folder), "--watch", *flags]
        watch = subprocess.Popen(command, env=server.variables, stdout=log, stderr=log)
    until("the watch", lambda: "Watching" in said.read_text())
    model = next(one["id"] for one in server.ask("GET", "/v1/models")["models"] if one["name"] == name)
    ask = lambda: server.ask("POST", f"/models/{model}/development/predict", {})
    taken = []
    for version in range(1, changes + 1):
        time.sleep(0.5)  # a person thinks for longer
        bare.append(python_ms())
        begin = time.perf_counter()
        file.write_text(code(version))
        until("the new answer", lambda: ask() == version)
        taken.append((time.perf_counter() - begin) * 1000)
    watch.terminate()
    return sorted(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=30)
    parser.add_argument("--target-dir", type=Path, default=ROOT / "target" / "release")
    options = parser.parse_args()
    server = Server(options.target_dir / "greenroom", {})
    try:
        bare: list[float] = []
        rows = {
            "saved file to new answer, in a process of its own": measure(server, "edited", [], options.changes, bare),
            "saved file to new answer, `--hot-reload`": measure(server, "hot", ["--hot-reload"], options.changes, bare),
        }
        print("| ms | median | 95 % | most |\n|---|---|---|---|")
        for row, taken in rows.items():
            print(f"| {row} | {statistics.median(taken):.0f} | {taken[int(len(taken) * 0.95) - 1]:.0f} | {taken[-1]:.0f} |")
        print(f"| `python3 -c pass` | {statistics.median(bare):.0f} | | {max(bare):.0f} |")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
