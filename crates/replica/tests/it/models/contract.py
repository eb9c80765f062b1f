import logging
import time

import fastapi
from fastapi import Request
from starlette.responses import Response, StreamingResponse


class Model:
    def __init__(self, config, data_dir, secrets, lazy_data_resolver, environment):
        self.config = config
        self.data_dir = data_dir
        self.secrets = secrets
        self.lazy = lazy_data_resolver
        self.environment = environment
        self.envs = []
        self.healthy = True

    def setup_environment(self, environment):
        self.envs.append(environment)

    def load(self):
        pass

    def is_healthy(self):
        return self.healthy

    def predict(self, inputs, request: Request):
        mode = inputs.get("mode")
        if mode is None:
            print("user print line")
            logging.info("user log line")
            return {"in": inputs, "hdr": request.headers.get("x-baseten-request-id")}
        return getattr(self, "healthy_again" if mode == "healthy" else mode)()

    def kwargs(self):
        return {
            "config_keys": sorted(self.config),
            "data_dir": "%s" % self.data_dir,
            "data_dir_type": type(self.data_dir).__name__,
            "environment": self.environment,
            "lazy": type(self.lazy).__name__,
            "secrets_type": type(self.secrets).__name__,
            "envs": self.envs,
        }

    def secret(self):
        return {"my_secret": self.secrets["my_secret"], "other": self.secrets["other"]}

    def nosecret(self):
        return self.secrets["zzz"]

    def __getattr__(self, name):
        if name == "raise":
            return self.raises
        raise AttributeError(name)

    def raises(self):
        raise ValueError("boom")

    def http(self):
        raise fastapi.HTTPException(status_code=418, detail="teapot")

    def resp(self):
        return Response("x", status_code=429, headers={"a": "b"})

    def unser(self):
        return object()

    def list(self):
        return [1, 2]

    def str(self):
        return "s"

    def none(self):
        return None

    def gen(self):
        return (f"c{number} " for number in range(3))

    def generr(self):
        yield "a"
        raise ValueError("mid")

    def slowgen(self):
        yield "s0 "
        time.sleep(1.5)
        yield "s1 "

    def sse(self):
        return StreamingResponse(iter(["data: 1\n\n"]), media_type="text/event-stream")

    def unhealthy(self):
        self.healthy = False
        return {}

    def healthy_again(self):
        self.healthy = True
        return {}

    def chat_completions(self, inputs):
        if inputs.get("stream"):
            return iter_chunks()
        return {"chat": inputs}


def iter_chunks():
    yield 'data: {"a":1}\n\n'
    yield "data: [DONE]\n\n"
