"""The JSON schema of a model whose `predict` is annotated with pydantic types."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from typing import Any, Dict, Optional, Tuple

from . import jsonlog
from .contract import Method, is_pydantic, resolve_annotation

_STREAMS = (collections.abc.Iterator, collections.abc.AsyncIterator)


def schema(methods: Dict[str, Method]) -> Optional[Dict[str, Any]]:
    """Schemas of input and output, or nothing when neither is annotated."""
    if "predict" not in methods:
        return None
    input_type = methods.get("preprocess", methods["predict"]).input_type
    output_type, streams = _output(methods.get("postprocess", methods["predict"]))
    if input_type is None and output_type is None and streams is None:
        return None
    return {
        "input_schema": _json_schema(input_type),
        "output_schema": _json_schema(output_type),
        "supports_streaming": streams,
    }


def _json_schema(kind: Any) -> Any:
    if kind is None:
        return None
    try:
        return kind.model_json_schema() if hasattr(kind, "model_json_schema") else kind.schema()
    except Exception as error:  # the model's own types may raise anything while they are described
        jsonlog.logger.warning("`%s` has no JSON schema: %s", kind.__name__, error)
        return None


def _output(method: Method) -> Tuple[Any, Optional[bool]]:
    """The pydantic type of the result and whether it may be a stream; twice nothing when the annotation says neither."""
    returned = inspect.signature(method.call).return_annotation
    as_parameter = inspect.Parameter("result", inspect.Parameter.POSITIONAL_ONLY, annotation=returned)
    annotation = resolve_annotation(method.call, as_parameter)
    if is_pydantic(annotation):
        return annotation, False
    if _is_stream(annotation):
        return None, True
    if _awaited(annotation) is not None:
        return _awaited(annotation), False
    if typing.get_origin(annotation) is typing.Union:
        parts = typing.get_args(annotation)
        models = [_awaited(part) or part for part in parts if is_pydantic(_awaited(part) or part)]
        if len(parts) == 2 and len(models) == 1 and any(_is_stream(part) for part in parts):
            return models[0], True
    return None, None


def _is_stream(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, _STREAMS)


def _awaited(annotation: Any) -> Any:
    """The pydantic type inside `Awaitable[...]`."""
    origin = typing.get_origin(annotation)
    if not (isinstance(origin, type) and issubclass(origin, collections.abc.Awaitable)):
        return None
    inner = typing.get_args(annotation)[-1]
    return inner if is_pydantic(inner) else None
