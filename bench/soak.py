"""A soak: requests at fixed times, whatever becomes of those before, while a deployment scales up and down.

The rate changes between a low and a high one; a replica can carry the low one alone. Prints every minute what has been answered, how long
it took, how many replicas there are, and how much memory the server has; at the end, failures and growth. `make bench-soak` runs it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from server import KEY, Server

ROOT = Path(__file__).resolve().parent.parent
MODEL = """import asyncio

class Model:
    async def predict(self, request):
        await asyncio.sleep(0.02)
        return request
"""
BODY = b'{"n": 1}'
PATIENCE_S = 60


class Caller:
    """Connections that are used again."""

    def __init__(self, port: int, path: str):
        self._port = port
        head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Api-Key {KEY}\r\nContent-Length: {len(BODY)}\r\n\r\n"
        self._request = head.encode() + BODY
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.taken_ms: list[float] = []
        self.failures: list[str] = []

    async def call(self) -> None:
        begin = time.perf_counter()
        try:
            await asyncio.wait_for(self._call(), PATIENCE_S)
            self.taken_ms.append((time.perf_counter() - begin) * 1000)
        except Exception as error:
            self.failures.append(f"{type(error).__name__}: {error}")

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():  # the server closes what nobody has used for a while
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def _call(self) -> None:
        reader, writer = await self._connection()
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length:"))
        body = await reader.readexactly(length)
        if " 200 " not in head.splitlines()[0]:
            raise RuntimeError(f"{head.splitlines()[0]}: {body.decode()}")
        self._idle.append((reader, writer))


async def soak(server: Server, model: str, options: argparse.Namespace) -> int:
    caller = Caller(server.port, f"/models/{model}/production/predict")
    running: set[asyncio.Task] = set()
    print("| minute | rate, 1/s | answered | failed | p50, ms | p99, ms | replicas | server, MiB |\n|---|---|---|---|---|---|---|---|")
    memory = []
    begin = time.perf_counter()
    due = 0.0
    for minute in range(options.minutes):
        rate = options.high if minute % 2 else options.low
        answered, failed = len(caller.taken_ms), len(caller.failures)
        while due < (minute + 1) * 60:
            await asyncio.sleep(max(0.0, begin + due - time.perf_counter()))
            task = asyncio.create_task(caller.call())
            running.add(task)
            task.add_done_callback(running.discard)
            due += 1 / rate
        view = await asyncio.to_thread(server.ask, "GET", f"/v1/models/{model}/deployments/production")
        memory.append(server.memory_mib())
        taken = sorted(caller.taken_ms[answered:]) or [0.0]
        print(
            f"| {minute + 1} | {rate} | {len(taken)} | {len(caller.failures) - failed} | {taken[len(taken) // 2]:.1f} "
            f"| {taken[int(len(taken) * 0.99)]:.1f} | {view['active_replica_count']} | {memory[-1]:.1f} |",
            flush=True,
        )
    await asyncio.gather(*running)
    print(f"\n{len(caller.taken_ms)} answered, {len(caller.failures)} failed; memory from {memory[0]:.1f} to {memory[-1]:.1f} MiB")
    for failure in sorted(set(caller.failures)):
        print(f"  {caller.failures.count(failure)} times {failure}")
    return len(caller.failures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--low", type=int, default=20)
    parser.add_argument("--high", type=int, default=120)
    parser.add_argument("--target-dir", type=Path, default=ROOT / "target" / "release")
    options = parser.parse_args()
    server = Server(options.target_dir / "greenroom", {})
    try:
        model = server.push(server.write_model("soak", MODEL))["model"]["id"]
        scale = {"min_replica": 0, "max_replica": 4, "autoscaling_window": 10, "scale_down_delay": 5}
        server.ask("PATCH", f"/v1/models/{model}/environments/production", {"autoscaling_settings": scale})
        sys.exit(1 if asyncio.run(soak(server, model, options)) else 0)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
