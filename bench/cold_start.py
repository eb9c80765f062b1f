"""Measures the cold start of a trivial model: from a request to a deployment that is scaled to zero until the first byte of the answer.

Several copies of one model come to rest together; then each gets one request, one after the other, with a `python3 -c pass`
before it, so that both are measured in the same moments of a noisy machine. Prints medians, the ratio, and where the time went
according to `Server-Timing`. `make bench-cold` runs it.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import time
from pathlib import Path

from peers import write_model
from server import KEY, Server, python_ms

ROOT = Path(__file__).resolve().parent.parent
REST_LIMIT_S = 60


class Copies(Server):
    """A server with copies of one model."""

    def __init__(self, binary: Path, copies: int, settings: dict[str, str]):
        super().__init__(binary, settings)
        write_model(self.scratch / "model")
        self.deployments = [self._push(f"noop-{number}") for number in range(copies)]

    def _push(self, name: str) -> tuple[str, str]:
        (self.scratch / "model" / "config.yaml").write_text(f"model_name: {name}\n")
        pushed = self.push(self.scratch / "model")
        return pushed["model"]["id"], pushed["deployment"]["id"]

    def let_rest(self) -> None:
        """Shortens the way to zero as far as the settings allow."""
        for model, deployment in self.deployments:
            settings = {"min_replica": 0, "max_replica": 1, "autoscaling_window": 10, "scale_down_delay": 0}
            self.ask("PATCH", f"/v1/models/{model}/deployments/{deployment}/autoscaling_settings", settings)
            self.ask("PATCH", f"/v1/models/{model}/environments/production", {"autoscaling_settings": settings})

    def wait_for_rest(self, pause: float) -> None:
        """Waits until every copy is scaled to zero, and a little longer."""
        deadline = time.monotonic() + REST_LIMIT_S
        for model, deployment in self.deployments:
            while self.ask("GET", f"/v1/models/{model}/deployments/{deployment}")["status"] != "SCALED_TO_ZERO":
                if time.monotonic() > deadline:
                    sys.exit(f"a model is not scaled to zero within {REST_LIMIT_S} s")
                time.sleep(0.1)
        time.sleep(pause)

    def first_byte_ms(self, model: str, deployment: str) -> tuple[float, dict[str, float]]:
        """One request on a new connection: the time to the first byte of its answer, and what the answer says of it."""
        request = (
            f"POST /models/{model}/deployment/{deployment}/predict HTTP/1.1\r\nHost: bench\r\nAuthorization: Api-Key {KEY}\r\n"
            "Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        ).encode()
        begin = time.perf_counter()
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(request)
            answer = connection.recv(65536)
            elapsed_ms = (time.perf_counter() - begin) * 1000
            while more := connection.recv(65536):
                answer += more
        head, _, body = answer.decode().partition("\r\n\r\n")
        if " 200 " not in head.splitlines()[0]:
            sys.exit(f"the model answered {head.splitlines()[0]}: {body}")
        return elapsed_ms, timing(head)


def timing(head: str) -> dict[str, float]:
    """The durations in the `Server-Timing` header of an answer, by name."""
    for line in head.splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "server-timing":
            parts = [part.strip().split(";dur=") for part in value.split(",")]
            return {part[0]: float(part[1]) for part in parts if len(part) == 2}
    return {}


def row(name: str, values: list[float]) -> str:
    ordered = sorted(values)
    return f"| {name} | {statistics.median(ordered):.1f} | {ordered[0]:.1f} | {ordered[-1]:.1f} |"


def measure(name: str, binary: Path, rounds: int, copies: int, settings: dict[str, str]) -> None:
    server = Copies(binary, copies, settings)
    try:
        server.let_rest()
        bare: list[float] = []
        cold: list[float] = []
        parts: dict[str, list[float]] = {}
        for _ in range(rounds):
            server.wait_for_rest(pause=3)
            for model, deployment in server.deployments:
                bare.append(python_ms())
                elapsed, times = server.first_byte_ms(model, deployment)
                cold.append(elapsed)
                for part, duration in times.items():
                    parts.setdefault(part, []).append(duration)
        print(f"### {name}: {statistics.median(cold) / statistics.median(bare):.2f} times `python3 -c pass`, {len(cold)} starts\n")
        print("| ms | median | least | most |\n|---|---|---|---|")
        print(row("`python3 -c pass`", bare))
        print(row("request to first byte", cold))
        for part, durations in parts.items():
            print(row(f"of it: {part}", durations))
        print(flush=True)
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--copies", type=int, default=6)
    parser.add_argument("--target-dir", type=Path, default=ROOT / "target" / "release")
    options = parser.parse_args()
    binary = options.target_dir / "greenroom"
    measure("With a standby", binary, options.rounds, options.copies, {})
    measure("Without", binary, options.rounds, options.copies, {"GREENROOM_LOCAL_STANDBY": "off"})


if __name__ == "__main__":
    main()
