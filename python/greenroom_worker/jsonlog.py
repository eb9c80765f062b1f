"""Python logging as JSON lines on standard error, each with the request it belongs to."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from typing import Optional

request_id: contextvars.ContextVar[Optional[str]] = contextvars.ContextVar("request_id", default=None)
chain_request_id: contextvars.ContextVar[Optional[str]] = contextvars.ContextVar("chain_request_id", default=None)

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
        for name, variable in (("request_id", request_id), ("chain_request_id", chain_request_id)):
            value = variable.get()
            if value:
                line[name] = value
        return json.dumps(line, ensure_ascii=False)


def install(debug: bool) -> None:
    """Makes the root logger write JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
