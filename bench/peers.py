"""Starts what is measured: the reference Truss server, FastAPI on uvicorn, and Greenroom, each pinned to core 0."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

PIN = ["taskset", "-c", "0"]
TRUSS = "truss==0.18.35"

MODEL = '''class Model:
    def __init__(self, **kwargs):
        pass

    def load(self):
        pass

    def predict(self, request):
        return {"ok": True}
'''

FASTAPI = '''from fastapi import FastAPI, Request

app = FastAPI()


@app.post("/predict")
async def predict(request: Request):
    await request.json()
    return {"ok": True}
'''


def virtual_environment(folder: Path, packages: list[str]) -> Path:
    """Makes a virtual environment once; returns its interpreter."""
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
        (folder / "complete").touch()
    return python


def environment(folder: Path) -> Path:
    """The environment of the reference server and of FastAPI; returns its interpreter."""
    python = virtual_environment(folder, [TRUSS, "fastapi<0.125", "uvicorn", "uvloop", "httptools"])
    if not (folder / "has-server").exists():
        server = subprocess.run(
            [str(python), "-c", "import truss, pathlib; print(pathlib.Path(truss.__file__).parent / 'templates' / 'server')"],
            check=True, capture_output=True, text=True,
        ).stdout.strip()
        subprocess.run(
            [str(python), "-m", "pip", "install", "-q", "-r", f"{server}/requirements.txt", "-c", f"{server}/constraints.txt"], check=True
        )
        (folder / "has-server").touch()
    return python


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen, seconds: float = 60) -> None:
    """Waits until `url` answers 200."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{url}: the server ended with {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{url}: no answer within {seconds} s")


class Peer:
    """Something to send load to."""

    def __init__(self, name: str, target: str, path: str, headers: list[str] | None = None):
        self.name, self.target, self.path, self.headers = name, target, path, headers or []


class Process(Peer):
    """A peer that is one process, with a folder of its own."""

    def __init__(self, name: str, path: str, pin: list[str] | None = None):
        self.pin = pin or PIN
        self.scratch = Path(tempfile.mkdtemp(prefix="bench-"))
        self.port = free_port()
        super().__init__(name, f"127.0.0.1:{self.port}", path)
        self.process: subprocess.Popen | None = None

    def run(self, command: list[str], ready: str, folder: Path, variables: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            self.pin + command, cwd=folder, env={**os.environ, **(variables or {})},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        wait_for(f"http://127.0.0.1:{self.port}{ready}", self.process)

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        shutil.rmtree(self.scratch, ignore_errors=True)


class ReferenceServer(Process):
    """The model server that the `truss` package builds into images, run as a process."""

    def __init__(self, python: Path):
        super().__init__("reference server", "/v1/models/model:predict")
        self.python = python

    def __enter__(self) -> "ReferenceServer":
        source, context, app = (self.scratch / name for name in ("source", "context", "app"))
        write_model(source)
        build = (
            "import sys, pathlib\n"
            "from truss.contexts.image_builder.serving_image_builder import ServingImageBuilderContext\n"
            "ServingImageBuilderContext().run(pathlib.Path(sys.argv[1])).prepare_image_build_dir(pathlib.Path(sys.argv[2]))\n"
        )
        subprocess.run([str(self.python), "-c", build, str(source), str(context)], check=True, capture_output=True)
        shutil.copytree(context / "server", app)
        shutil.copytree(context / "model", app / "model")
        shutil.copy(context / "config.yaml", app)
        self.run([str(self.python), "main.py"], "/v1/models/model", app, {"INFERENCE_SERVER_PORT": str(self.port)})
        return self


class FastApi(Process):
    """The same model as a bare FastAPI handler on uvicorn."""

    def __init__(self, python: Path):
        super().__init__("FastAPI on uvicorn", "/predict")
        self.python = python

    def __enter__(self) -> "FastApi":
        (self.scratch / "app.py").write_text(FASTAPI)
        command = [str(self.python), "-m", "uvicorn", "app:app", "--port", str(self.port), "--log-level", "warning", "--no-access-log"]
        self.run(command, "/docs", self.scratch)
        return self


class Greenroom(Process):
    """The whole product: one server, one model with one replica."""

    def __init__(self, target_dir: Path, pin: list[str] | None = None):
        super().__init__("greenroom", "", pin)
        self.binary = target_dir / "greenroom"
        self.key = "bench.bench-secret"
        self.variables = {"GREENROOM_API_KEY": self.key, "GREENROOM_URL": f"http://127.0.0.1:{self.port}"}

    def __enter__(self) -> "Greenroom":
        command = [str(self.binary), "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", str(self.scratch / "data")]
        self.run(command, "/readyz", self.scratch, self.variables)
        write_model(self.scratch / "model")
        self.first = self.push()
        return self

    def push(self) -> dict:
        command = [str(self.binary), "push", str(self.scratch / "model"), "--json"]
        done = subprocess.run(command, env={**os.environ, **self.variables}, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"greenroom push failed with {done.returncode}:\n{done.stderr}")
        return json.loads(done.stdout)

    def replica(self) -> Peer:
        sockets = list((self.scratch / "data").glob("local/replicas/*/replica.sock"))
        return Peer("greenroom replica", f"unix:{sockets[0]}", "/v1/models/model:predict")

    def gateway(self) -> Peer:
        path = f"/models/{self.first['model']['id']}/deployment/{self.first['deployment']['id']}/predict"
        return Peer("greenroom, gateway and replica", self.target, path, [f"authorization: Api-Key {self.key}"])

    def second_push(self) -> str:
        """From command to first answer, for a push whose environment is there already."""
        begin = time.monotonic()
        pushed = self.push()
        live = time.monotonic()
        path = f"/models/{pushed['model']['id']}/deployment/{pushed['deployment']['id']}/predict"
        request = urllib.request.Request(
            f"http://{self.target}{path}", data=b"{}",
            headers={"authorization": f"Api-Key {self.key}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            answer.read()
        end = time.monotonic()
        return f"### Second push of an unchanged environment\n\ncommand to ACTIVE {live - begin:.2f} s, to the first answer {end - begin:.2f} s\n"


def write_model(folder: Path) -> None:
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text("model_name: noop\n")
    (folder / "model" / "model.py").write_text(MODEL)
