"""Msgpack bodies with the tags that clients of the packaging format know: dates, decimals, UUIDs and numpy arrays.

Needs `msgpack` in the model's environment, and `numpy` only when a body holds an array.
"""

from __future__ import annotations

import datetime
import decimal
import sys
import uuid
from typing import Any


def pack(value: Any) -> bytes:
    """A value as msgpack."""
    import msgpack

    return msgpack.packb(value, default=_encode)


def unpack(body: bytes) -> Any:
    """The value in a body. Raises `ValueError` for what is not msgpack."""
    import msgpack

    return msgpack.unpackb(body, object_hook=_decode)


def _encode(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        text = value.isoformat()
        return {b"__dt_datetime_iso__": True, b"data": text[:-6] + "Z" if text.endswith("+00:00") else text}
    if isinstance(value, datetime.date):
        return {b"__dt_date_iso__": True, b"data": value.isoformat()}
    if isinstance(value, datetime.time):
        if value.utcoffset() is not None:
            raise ValueError("Cannot represent timezone-aware times.")
        return {b"__dt_time_iso__": True, b"data": value.isoformat()}
    if isinstance(value, datetime.timedelta):
        return {b"__dt_timedelta__": True, b"data": (value.days, value.seconds, value.microseconds)}
    if isinstance(value, decimal.Decimal):
        return {b"__decimal__": True, b"data": str(value)}
    if isinstance(value, uuid.UUID):
        return {b"__uuid__": True, b"data": str(value)}
    return _encode_numpy(value)


def _encode_numpy(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            if value.dtype.kind == "O":
                raise TypeError("arrays of Python objects cannot be sent")
            structured = value.dtype.kind == "V"
            return {
                b"nd": True,
                b"type": value.dtype.descr if structured else value.dtype.str,
                b"kind": b"V" if structured else b"",
                b"shape": value.shape,
                b"data": value.tobytes(),
            }
        if isinstance(value, (numpy.bool_, numpy.number)):
            return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}
    if isinstance(value, complex):
        return {b"complex": True, b"data": repr(value)}
    return value


def _decode(tagged: dict) -> Any:
    try:
        if b"nd" in tagged:
            return _decode_numpy(tagged)
        if b"complex" in tagged:
            return complex(_text(tagged[b"data"]))
        if b"__dt_datetime_iso__" in tagged:
            text = tagged[b"data"]
            return datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        if b"__dt_date_iso__" in tagged:
            return datetime.date.fromisoformat(tagged[b"data"])
        if b"__dt_time_iso__" in tagged:
            return datetime.time.fromisoformat(tagged[b"data"])
        if b"__dt_timedelta__" in tagged:
            days, seconds, microseconds = tagged[b"data"]
            return datetime.timedelta(days=days, seconds=seconds, microseconds=microseconds)
        if b"__decimal__" in tagged:
            return decimal.Decimal(tagged[b"data"])
        if b"__uuid__" in tagged:
            return uuid.UUID(tagged[b"data"])
    except KeyError:
        return tagged
    except (TypeError, AttributeError, decimal.InvalidOperation) as error:
        raise ValueError(f"a tagged value cannot be read: {error}") from error
    return tagged


def _decode_numpy(tagged: dict) -> Any:
    if tagged.get(b"kind") == b"O":
        raise ValueError("unsupported payload")
    import numpy

    if tagged[b"nd"] is not True:
        return numpy.frombuffer(tagged[b"data"], dtype=numpy.dtype(_text(tagged[b"type"])))[0]
    kind = tagged[b"type"]
    if tagged.get(b"kind") == b"V":
        kind = [tuple(_text(part) if isinstance(part, bytes) else part for part in field) for field in kind]
    return numpy.ndarray(buffer=tagged[b"data"], dtype=numpy.dtype(kind), shape=tagged[b"shape"])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value
