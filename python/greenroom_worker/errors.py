"""What goes wrong, and how each case is answered."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import Any, Optional, Tuple

from . import jsonlog
from .protocol import ERROR_500, ERROR_600, ERROR_700

MODEL_ERROR = "Internal Server Error (in model/chainlet)."

UNSPEAKABLE = b'{"error":"Unhandled exception"}'
"""The body for an error that no answer can be made of."""


class InputError(ValueError):
    """The body is not what the model takes."""


class MethodMissing(Exception):
    """The model has no such method."""


class ContractError(TypeError):
    """The class does not keep to the packaging format."""


class ModelError(Exception):
    """The model's code raised; the log has the traceback."""


class Answer(Exception):
    """The model raised an HTTP exception of its own."""

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__(status)
        self.status = status
        self.detail = detail


def answer(error: BaseException) -> Tuple[int, int, bytes]:
    """Status, flags and body for an error."""
    if isinstance(error, InputError):
        return 400, ERROR_700, _body(str(error))
    if isinstance(error, MethodMissing):
        return 404, ERROR_700, _body(str(error))
    if isinstance(error, ModelError):
        return 500, ERROR_600, _body(MODEL_ERROR)
    if isinstance(error, Answer):
        return error.status, ERROR_600, _body(error.detail)
    return 500, ERROR_500, _body(f"Unhandled exception: {type(error).__name__}: {error}")


def _body(detail: Any) -> bytes:
    text = json.dumps({"error": detail}, separators=(",", ":"), ensure_ascii=False, default=str)
    return text.encode(errors="backslashreplace")  # what UTF-8 cannot say becomes an escape that JSON knows


def from_model(error: BaseException, model_file: str) -> Exception:
    """Logs what model code raised and gives the error to answer with. Lets an interrupt through."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    if _is_http_exception(error):
        jsonlog.logger.error("Model raised HTTPException", exc_info=shortened(error, model_file))
        return Answer(error.status_code, error.detail)  # type: ignore[attr-defined]
    jsonlog.logger.error(MODEL_ERROR, exc_info=shortened(error, model_file))
    return ModelError()


def report(doing: str, error: BaseException, model_file: str) -> None:
    """Logs what model code raised where no answer can tell of it. Lets an interrupt through."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    jsonlog.logger.error("Exception while %s: %s", doing, error, exc_info=shortened(error, model_file))


def _is_http_exception(error: BaseException) -> bool:
    starlette = sys.modules.get("starlette.exceptions")
    return starlette is not None and isinstance(error, starlette.HTTPException)


def shortened(
    error: BaseException, model_file: str
) -> Tuple[type, BaseException, Optional[TracebackType]]:
    """Error information whose traceback begins in the model's file, where it passes through it."""
    first = found = error.__traceback__
    step = first
    while step is not None:
        if step.tb_frame.f_code.co_filename.endswith(model_file):
            found = step
            break
        step = step.tb_next
    return type(error), error, found
