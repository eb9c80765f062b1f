"""What happens to a request, as frames. Knows nothing of sockets, so both ways of running a model share it."""

from __future__ import annotations

from typing import Any, Iterable, Tuple

from . import bodies, errors, jsonlog
from .arena import UNIT, Outgoing
from .protocol import (
    ABORT,
    CHUNK,
    END,
    ERROR_500,
    ERROR_700,
    HEAD,
    HEADER,
    HEADERS,
    RESPONSE,
    SHARED,
    TIMED,
    encode,
    encode_meta,
)


class Answers:
    """Makes the frames of answers, large bodies through shared memory."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    def whole(self, identifier: int, status: int, flags: int, body: bytes, meta: bytes = b"") -> bytes:
        """A complete answer."""
        if len(body) >= UNIT:
            reference = self._outgoing.write(body)
            if reference is not None:
                flags, body = flags | SHARED, reference
        return HEADER.pack(identifier, RESPONSE, flags, status, len(meta), len(body)) + meta + body

    def result(self, identifier: int, value: Any, is_binary: bool) -> bytes:
        """The answer that carries a result. A result that no encoder takes is answered as an error."""
        try:
            flags, body = bodies.render(value, is_binary)
        except Exception as error:  # a result of any class may raise anything while it is encoded
            jsonlog.logger.exception("The result cannot be sent")
            return self.error(identifier, error)
        return self.whole(identifier, 200, flags, body)

    def error(self, identifier: int, error: BaseException) -> bytes:
        """The answer to a request that failed, whatever the error is like."""
        try:
            status, flags, body = errors.answer(error)
            return self.whole(identifier, status, flags, body)
        except BaseException:  # a status that is no number, a detail that no encoder takes, a `__str__` that raises
            jsonlog.logger.exception("The error cannot be sent as it is")
            return self.whole(identifier, 500, ERROR_500, errors.UNSPEAKABLE)

    def response(self, identifier: int, response: Any, body: bytes) -> bytes:
        """A response object with a whole body."""
        headers = [(name, value) for name, value in response.raw_headers if name != b"content-length"]
        return self.whole(identifier, response.status_code, _flags(response.status_code), body, encode_meta(headers))

    @staticmethod
    def stream_head(identifier: int) -> bytes:
        """The start of what a generator yields."""
        return encode(identifier, HEAD, TIMED, 200, encode_meta([(b"content-type", b"application/octet-stream")]))

    @staticmethod
    def response_head(identifier: int, status: int, headers: Iterable[Tuple[bytes, bytes]]) -> bytes:
        """The start of a response object that sends itself."""
        return encode(identifier, HEAD, _flags(status), status, encode_meta(headers))

    @staticmethod
    def chunk(identifier: int, body: bytes) -> bytes:
        """A piece of a stream."""
        return encode(identifier, CHUNK, body=body)

    @staticmethod
    def end(identifier: int, code: int = 0, reason: bytes = b"") -> bytes:
        """The proper end of a stream or websocket."""
        return encode(identifier, END, 0, code, b"", reason)

    @staticmethod
    def abort(identifier: int) -> bytes:
        """A stream that broke, or a request nobody waits for."""
        return encode(identifier, ABORT)


def _flags(status: int) -> int:
    return HEADERS | (ERROR_700 if status >= 300 else 0)


def method_or_raise(methods: Any, name: str) -> Any:
    """The method that a route calls."""
    method = methods.get(name)
    if method is None:
        raise errors.MethodMissing(f"`{name}` must only be called if model has it.")
    return method


def refuse_stream(model_file: str) -> Exception:
    """The error for a `predict` that streams although there is a `postprocess`."""
    try:
        raise errors.ContractError("`predict` returned a stream or a response, which `postprocess` cannot take")
    except errors.ContractError as error:
        return errors.from_model(error, model_file)


