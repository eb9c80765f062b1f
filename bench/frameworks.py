"""The frameworks from PyPI that people serve models with, each with the model that does nothing and an environment of its own."""

from __future__ import annotations

from pathlib import Path

from peers import Process, virtual_environment

LITSERVE = '''import sys

import litserve


class Noop(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return request

    def predict(self, inputs):
        return {"ok": True}

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Noop(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False)
'''

BENTOML = '''import bentoml


@bentoml.service(workers=1)
class Noop:
    @bentoml.api
    def predict(self, text: str = "") -> dict:
        return {"ok": True}
'''

RAY = '''import signal
import sys

import ray
from ray import serve


@serve.deployment(max_ongoing_requests=256)
class Noop:
    async def __call__(self, request):
        await request.json()
        return {"ok": True}


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
serve.run(Noop.bind())
signal.sigwait([signal.SIGTERM])
serve.shutdown()
ray.shutdown()
'''


class Framework(Process):
    """A server that is one file of Python, in an environment with one package."""

    package: str
    source: str
    ready: str

    def __init__(self, name: str, environments: Path):
        super().__init__(name, "/predict")
        self.python = virtual_environment(environments / self.package.split("=")[0], [self.package])

    def __enter__(self) -> "Framework":
        (self.scratch / "app.py").write_text(self.source)
        self.run(self.command(), self.ready, self.scratch, self.variables())
        return self

    def command(self) -> list[str]:
        return [str(self.python), "app.py", str(self.port)]

    def variables(self) -> dict[str, str]:
        return {}


class LitServe(Framework):
    """One worker and one API server."""

    package, source, ready = "litserve==0.2.19", LITSERVE, "/health"


class BentoML(Framework):
    """One worker, which is the API server as well."""

    package, source, ready = "bentoml==1.4.40", BENTOML, "/readyz"

    def command(self) -> list[str]:
        return [str(self.python), "-m", "bentoml", "serve", "app:Noop", "--host", "127.0.0.1", "--port", str(self.port)]

    def variables(self) -> dict[str, str]:
        return {"BENTOML_DO_NOT_TRACK": "1", "BENTOML_HOME": str(self.scratch / "home")}


class RayServe(Framework):
    """One replica behind one proxy."""

    package, source, ready = "ray[serve]==2.60.0", RAY, "/-/healthz"

    def variables(self) -> dict[str, str]:
        return {"RAY_USAGE_STATS_ENABLED": "0"}
