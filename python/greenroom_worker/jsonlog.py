"""Python logging as JSON lines on standard error, each with the request it belongs to."""

from __future__ import annotations

import contextvars
import json
import logging
import sys

from .protocol import decode_meta

request_meta: contextvars.ContextVar[bytes] = contextvars.ContextVar("request_meta", default=b"")
"""The meta of the request that is being answered. Its ids are looked for only when there is a line to carry them."""

_IDS = {b"x-baseten-request-id": "request_id", b"x-baseten-chain-request-id": "chain_request_id"}

logger = logging.getLogger("greenroom")
"""What the worker itself has to say to the model's author."""


class JsonFormatter(logging.Formatter):
    """One record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; a traceback goes into `exc_info`."""
        line = {
            "asctime": self.formatTime(record),
            "levelname": record.levelname,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack_info"] = record.stack_info
        for name, value in decode_meta(request_meta.get()):
            if name in _IDS and value:
                line[_IDS[name]] = value.decode("latin-1")
        return json.dumps(line, ensure_ascii=False)


def install(debug: bool) -> None:
    """Makes the root logger write JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
