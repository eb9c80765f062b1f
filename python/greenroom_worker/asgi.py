"""Starlette's request, response and websocket objects over our frames. Starlette is imported only by models that use it."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import Any, Awaitable, Callable, Dict, Iterator, List, Tuple

from .protocol import decode_meta

Message = Dict[str, Any]
Headers = List[Tuple[bytes, bytes]]


def scope_of(kind: str, meta: bytes) -> Dict[str, Any]:
    """An ASGI scope from the meta of a request."""
    pseudo = {}
    headers: Headers = []
    for name, value in decode_meta(meta):
        if name.startswith(b":"):
            pseudo[name] = value
        else:
            headers.append((name, value))
    path, _, query = pseudo.get(b":path", b"/").partition(b"?")
    scope = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws" if kind == "websocket" else "http",
        "path": path.decode("latin-1"),
        "raw_path": path,
        "root_path": "",
        "query_string": query,
        "headers": headers,
        "client": None,
        "server": None,
        "state": {},
    }
    if kind == "http":
        scope["method"] = pseudo.get(b":method", b"POST").decode("latin-1")
    else:
        scope["subprotocols"] = []
    return scope


class ClientLeft(OSError):
    """Raised where a model writes to a client who has left; starlette expects an `OSError`."""


def is_cancellation(error: BaseException) -> bool:
    """Whether an error ends a task. Nobody has tasks who has not imported what they are made of."""
    return isinstance(error, getattr(sys.modules.get("asyncio"), "CancelledError", ()))


class Departure:
    """Whether the client is still there. Set from the thread that reads the socket, asked from any."""

    def __init__(self) -> None:
        self.happened = threading.Event()
        self._waiting: List[Tuple[Any, Any]] = []  # event loops, and an event on each

    def explains(self, error: BaseException) -> bool:
        """Whether an error is how the worker stops a task, not something that the model raised."""
        return isinstance(error, GeneratorExit) or (is_cancellation(error) and self.happened.is_set())

    def set(self) -> None:
        """The client has left."""
        self.happened.set()
        for loop, event in self._waiting:
            loop.call_soon_threadsafe(event.set)

    async def wait(self) -> None:
        """Returns when the client has left."""
        import asyncio

        event = asyncio.Event()
        self._waiting.append((asyncio.get_running_loop(), event))
        if not self.happened.is_set():
            await event.wait()


def make_request(meta: bytes, body: bytes, departure: Departure) -> Any:
    """A starlette request whose body has already arrived."""
    from starlette.requests import Request

    async def receive() -> Message:
        await departure.wait()
        return {"type": "http.disconnect"}

    @contextlib.contextmanager
    def watch_disconnect() -> Iterator[threading.Event]:
        yield departure.happened

    request = Request(scope_of("http", meta), receive)
    request._body = body  # it has arrived: reading it again and again must work
    request.state.watch_disconnect = watch_disconnect
    return request


def is_response(value: Any) -> bool:
    """Whether a result is a starlette response."""
    starlette = sys.modules.get("starlette.responses")
    return starlette is not None and isinstance(value, starlette.Response)


def take_background(response: Any) -> Any:
    """The work that a response has for the time after it, or nothing. The response forgets it."""
    background, response.background = getattr(response, "background", None), None
    return background


def whole_body(response: Any) -> Any:
    """The body of a response that has one; otherwise nothing."""
    starlette = sys.modules["starlette.responses"]
    complete = not isinstance(response, (starlette.StreamingResponse, starlette.FileResponse))
    return bytes(response.body) if complete else None


async def run_response(
    response: Any,
    departure: Departure,
    start: Callable[[int, Headers], None],
    write: Callable[[bytes], Awaitable[None]],
) -> None:
    """Lets a response send itself. Returns when it has."""

    async def receive() -> Message:
        await departure.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            start(message["status"], message.get("headers", []))
        elif message["type"] == "http.response.body" and message.get("body"):
            await write(bytes(message["body"]))

    await response(scope_of("http", b""), receive, send)
