"""A Greenroom server of a benchmark's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from peers import free_port, wait_for

KEY = "bench.bench-secret"


class Server:
    """A server in a folder of its own, with nothing pinned."""

    def __init__(self, binary: Path, settings: dict[str, str]):
        self.scratch = Path(tempfile.mkdtemp(prefix="bench-"))
        self.binary, self.port = binary, free_port()
        self.variables = {**os.environ, **settings, "GREENROOM_API_KEY": KEY, "GREENROOM_URL": f"http://127.0.0.1:{self.port}"}
        command = [str(binary), "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", str(self.scratch / "data")]
        log = open(self.scratch / "server.log", "w")
        self.process = subprocess.Popen(command, env=self.variables, stdout=log, stderr=log)
        wait_for(f"http://127.0.0.1:{self.port}/readyz", self.process)

    def ask(self, method: str, path: str, body: object = None) -> object:
        """One call, whose answer is JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Api-Key {KEY}", "content-type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, method=method, headers=headers)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def write_model(self, name: str, code: str) -> Path:
        """The folder of a model with this class."""
        folder = self.scratch / name
        (folder / "model").mkdir(parents=True)
        (folder / "config.yaml").write_text(f"model_name: {name}\n")
        (folder / "model" / "model.py").write_text(code)
        return folder

    def push(self, folder: Path) -> dict:
        """Pushes a model and waits until it serves."""
        command = [str(self.binary), "push", str(folder), "--json"]
        done = subprocess.run(command, env=self.variables, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"greenroom push failed with {done.returncode}:\n{done.stderr}")
        return json.loads(done.stdout)

    def memory_mib(self) -> float:
        """The memory of the server's own process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(40)
        shutil.rmtree(self.scratch, ignore_errors=True)


def python_ms() -> float:
    """`python3 -c pass` from start to end."""
    begin = time.perf_counter()
    subprocess.run(["python3", "-c", "pass"], check=True)
    return (time.perf_counter() - begin) * 1000
