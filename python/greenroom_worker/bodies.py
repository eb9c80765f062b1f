"""From the bytes of a request to a model's inputs, and from its result to the bytes of an answer."""

from __future__ import annotations

import json
import sys
from typing import Any, Optional, Tuple

from .errors import InputError
from .protocol import BINARY

PLAIN = frozenset((dict, list, str, int, float, bool, type(None)))
"""Types that are JSON as they are; anything else is looked at more closely."""


def parse(body: bytes, is_binary: bool, input_type: Optional[type]) -> Any:
    """The inputs in a body. Raises `InputError`."""
    if is_binary:
        from . import binary

        try:
            inputs = binary.unpack(body)
        except ValueError as error:
            raise InputError(str(error)) from error
        return inputs if input_type is None else validate(inputs, input_type)
    if input_type is not None:
        return _validate_json(body, input_type)
    try:
        return _from_json(body)
    except ValueError as error:
        raise InputError(f"Invalid JSON payload: {error}") from error


_scan = json.JSONDecoder().scan_once


def _from_json(body: bytes) -> Any:
    """What `json.loads` makes of a body, which is asked only where the short way does not get through."""
    try:
        text = body.decode()
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (ValueError, StopIteration):
        pass  # another encoding, white space in front, or no JSON at all
    return json.loads(body)


def validate(inputs: Any, input_type: Any) -> Any:
    """An instance of a pydantic type."""
    import pydantic

    try:
        return input_type.model_validate(inputs) if _is_second(input_type) else input_type.parse_obj(inputs)
    except pydantic.ValidationError as error:
        raise InputError(_explain(error)) from error


def _validate_json(body: bytes, input_type: Any) -> Any:
    import pydantic

    try:
        return input_type.model_validate_json(body) if _is_second(input_type) else input_type.parse_raw(body)
    except pydantic.ValidationError as error:
        raise InputError(_explain(error)) from error


def _is_second(input_type: Any) -> bool:
    """Whether the type belongs to pydantic 2, which renamed its methods."""
    return hasattr(input_type, "model_validate")


def _explain(error: Any) -> str:
    problems = error.errors()
    lines = ["Input Parsing Error:" if len(problems) == 1 else "Input Parsing Errors:"]
    for problem in problems:
        place = ""
        for part in problem["loc"]:
            place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
        lines.append(f"  `{place}`: {problem['msg']}.")
    return "\n".join(lines)


def _json_default(value: Any) -> Any:
    """Numpy values as JSON knows them."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.integer):
            return int(value)
        if isinstance(value, numpy.floating):
            return float(value)
        if isinstance(value, numpy.ndarray):
            return value.tolist()
    raise TypeError(f"Object of type {value.__class__.__name__} is not JSON serializable")


_standard = json.JSONEncoder(default=_json_default).encode


def _make_quick() -> Any:
    """The encoder in C that the standard one makes anew for each text, without its search for cycles; nothing where there is none."""
    try:
        from json.encoder import c_make_encoder, encode_basestring_ascii

        return c_make_encoder(None, _json_default, encode_basestring_ascii, None, ": ", ", ", False, False, True)
    except (ImportError, TypeError):
        return None


_quick = _make_quick()


def to_json(value: Any) -> str:
    """JSON text with the standard separators."""
    if _quick is not None:
        try:
            return "".join(_quick(value, 0))
        except Exception:
            pass  # the standard encoder says what is wrong, cycles included
    return _standard(value)


def render(result: Any, is_binary: bool) -> Tuple[int, bytes]:
    """Flags and body of an answer. Raises what the encoders raise."""
    if is_binary:
        if _is_model(result):
            result = result.model_dump(mode="python") if hasattr(result, "model_dump") else result.dict()
        from . import binary

        return BINARY, result if isinstance(result, bytes) else binary.pack(result)
    if type(result) in PLAIN:
        text = to_json(result)
    elif _is_model(result):
        text = result.model_dump_json() if hasattr(result, "model_dump_json") else result.json()
    else:
        text = to_json(result)
    return 0, text.encode()


def _is_model(value: Any) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(value, pydantic.BaseModel)


def chunk_bytes(chunk: Any) -> bytes:
    """One chunk of a stream."""
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise TypeError(f"a stream yields str or bytes, not {type(chunk).__name__}")


def gathered(chunks: list) -> str:
    """All chunks of a stream as one text, decoded once so that characters may span chunks."""
    return b"".join(chunk if isinstance(chunk, (bytes, bytearray)) else str(chunk).encode() for chunk in chunks).decode()
