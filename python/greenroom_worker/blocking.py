"""Runs a synchronous model that takes one request at a time, on the main thread, with as few system calls as requests allow.

Requests that wait in the socket are read together and fast answers are written together. A slow model's answers go out at
once, and between two of its requests the socket is looked at, so that those whose client has left are not begun.
"""

from __future__ import annotations

import inspect
import socket
from collections import deque
from time import perf_counter
from typing import Any, AsyncGenerator, Callable, Deque, Dict, Generator, Iterator, List, NamedTuple, Set

from . import asgi, bodies
from .answers import Answers, method_or_raise
from .arena import Incoming, Outgoing
from .contract import Method, Shape
from .errors import from_model, report
from .jsonlog import request_meta
from .loader import Loaded
from .protocol import BINARY, CANCEL, FREE, GATHER, OPERATIONS, PAUSE, REQUEST, RESUME, SHARED, WEBSOCKET, Frame, Reader

SLOW_SECONDS = 0.0005
"""After a request that took longer, its answer is not held back and the socket is read before the next one."""

READ_SIZE = 256 * 1024


def suits(loaded: Loaded, predict_concurrency: int) -> bool:
    """Whether nothing could run beside `predict` anyway."""
    offered = loaded.methods.keys() - {"is_healthy", "setup_environment"}
    asynchronous = any(
        method.is_async or inspect.isasyncgenfunction(method.call) for method in loaded.methods.values()
    )
    return predict_concurrency == 1 and offered == {"predict"} and not asynchronous


class Code(NamedTuple):
    """What answers, with what is asked of it again and again. Replaced as a whole."""

    methods: Dict[str, Method]
    predict: Method
    parses: bool
    is_simple: bool
    file_name: str

    @classmethod
    def of(cls, loaded: Loaded) -> "Code":
        """The code of a model."""
        predict = loaded.methods["predict"]
        return cls(loaded.methods, predict, predict.takes_inputs, predict.shape is Shape.INPUTS, loaded.file_name)


class Blocking:
    """The loop over the data socket."""

    def __init__(self, connection: socket.socket, incoming: Incoming, outgoing: Outgoing, loaded: Loaded) -> None:
        self._connection = connection
        self._incoming = incoming
        self._outgoing = outgoing
        self._answers = Answers(outgoing)
        self._code = Code.of(loaded)
        self._reader = Reader()
        self._waiting: Deque[Frame] = deque()
        self._written: List[bytes] = []
        self._cancelled: Set[int] = set()
        self._paused: Set[int] = set()
        self._is_open = True

    def use(self, loaded: Loaded) -> None:
        """Answers with other code from now on, which `suits`. A request under way is finished with what it began with."""
        self._code = Code.of(loaded)

    def run(self) -> None:
        """Answers until the replica closes the socket."""
        waiting, serve = self._waiting, self._serve
        while self._is_open:
            self._read(0)
            while waiting:
                frame = waiting.popleft()
                start = perf_counter()
                serve(frame)
                if perf_counter() - start > SLOW_SECONDS:
                    self._flush()
                    self._read(socket.MSG_DONTWAIT)
            self._flush()

    def _read(self, flags: int) -> None:
        try:
            data = self._connection.recv(READ_SIZE, flags)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._is_open = False
            return
        for frame in self._reader.feed(data):
            identifier, kind = frame[0], frame[1]
            if kind == REQUEST:
                # What crossed the answer to the last request with this id was not meant for this one.
                self._cancelled.discard(identifier)
                self._paused.discard(identifier)
                self._waiting.append(frame)
            elif kind == CANCEL:
                self._cancelled.add(identifier)
            elif kind == FREE:
                self._outgoing.free(frame[5])
            elif kind == PAUSE:
                self._paused.add(identifier)
            elif kind == RESUME:
                self._paused.discard(identifier)

    def _flush(self) -> None:
        if self._written:
            data = b"".join(self._written)
            self._written.clear()
            try:
                self._connection.sendall(data)
            except ConnectionError:
                self._is_open = False

    def _serve(self, frame: Frame) -> None:
        identifier, _, flags, operation, meta, body = frame
        if identifier in self._cancelled:
            self._written.append(self._answers.abort(identifier))
            return
        request_meta.set(meta)
        try:
            if flags & SHARED:
                body = self._incoming.read(body)
            self._answer(identifier, flags, operation, meta, body)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # `SystemExit`, a panic in Rust: one request must not end the others
            self._written.append(self._answers.error(identifier, error))

    def _answer(self, identifier: int, flags: int, operation: int, meta: bytes, body: bytes) -> None:
        is_binary = bool(flags & BINARY)
        code = self._code
        if operation == WEBSOCKET:
            reason = b"WebSocket is not implemented on this deployment."
            self._written.append(self._answers.end(identifier, 1003, reason))
            return
        if operation != 0:
            # The body is looked at first: what is wrong with it is answered before what the model lacks.
            bodies.parse(body, is_binary, None)
            method_or_raise(code.methods, OPERATIONS[operation])
        predict = code.predict
        inputs = bodies.parse(body, is_binary, predict.input_type) if code.parses else None
        try:
            if code.is_simple:
                result = predict.call(inputs)
            else:
                request = asgi.make_request(meta, body, asgi.Departure()) if predict.takes_request else None
                result = predict.call(*predict.arguments(inputs, request))
        except BaseException as error:
            raise from_model(error, self._code.file_name) from None
        if type(result) not in bodies.PLAIN:
            if inspect.isgenerator(result) or inspect.isasyncgen(result):
                self._send_stream(identifier, flags, result)
                return
            if asgi.is_response(result):
                self._send_response(identifier, result)
                return
        self._written.append(self._answers.result(identifier, result, is_binary))

    def _send_stream(self, identifier: int, flags: int, stream: Any) -> None:
        chunks: Iterator[Any] = stream if inspect.isgenerator(stream) else self._drive(stream)
        if flags & GATHER:
            try:
                text = bodies.gathered(list(chunks))
            except BaseException as error:
                raise from_model(error, self._code.file_name) from None
            self._written.append(self._answers.result(identifier, text, bool(flags & BINARY)))
            return
        self._written.append(self._answers.stream_head(identifier))
        self._flush()
        last = self._answers.abort(identifier)
        try:
            for chunk in chunks:
                self._written.append(self._answers.chunk(identifier, bodies.chunk_bytes(chunk)))
                self._flush()
                if not self._is_wanted(identifier):
                    break
            else:
                last = self._answers.end(identifier)
            stream_close(chunks)
        except BaseException as error:
            # What was sent stays sent: the client sees a stream that ends, the author sees why in the log.
            last = self._answers.end(identifier)
            report("generating streamed response", error, self._code.file_name)
        self._written.append(last)

    def _is_wanted(self, identifier: int) -> bool:
        """Whether a stream should go on; waits while its reader is slow."""
        self._read(socket.MSG_DONTWAIT)
        while identifier in self._paused and identifier not in self._cancelled and self._is_open:
            self._read(0)
        return identifier not in self._cancelled and self._is_open

    def _drive(self, stream: AsyncGenerator[Any, None]) -> Generator[Any, None, None]:
        """An asynchronous generator as a plain one, on an event loop of its own."""
        import asyncio

        loop = asyncio.new_event_loop()
        try:
            while True:
                try:
                    chunk = loop.run_until_complete(stream.__anext__())
                except StopAsyncIteration:
                    return
                yield chunk
        finally:
            loop.run_until_complete(stream.aclose())
            loop.close()

    def _send_response(self, identifier: int, response: Any) -> None:
        background = asgi.take_background(response)
        body = asgi.whole_body(response)
        if body is None:
            is_good = self._run_response(identifier, response)
        else:
            self._written.append(self._answers.response(identifier, response, body))
            is_good = True
        if background is not None and is_good:
            self._flush()
            try:
                import asyncio

                asyncio.run(background())
            except BaseException as error:
                report("doing background work", error, self._code.file_name)

    def _run_response(self, identifier: int, response: Any) -> bool:
        """Lets a response send itself. False when it failed; a client who leaves is no failure."""
        departure = asgi.Departure()

        def start(status: int, headers: asgi.Headers) -> None:
            self._written.append(self._answers.response_head(identifier, status, headers))
            self._flush()

        async def write(chunk: bytes) -> None:
            self._written.append(self._answers.chunk(identifier, chunk))
            self._flush()
            if not self._is_wanted(identifier):
                departure.set()
                raise asgi.ClientLeft()

        import asyncio

        try:
            asyncio.run(asgi.run_response(response, departure, start, write))
        except BaseException as error:
            has_failed = identifier not in self._cancelled
            if has_failed:
                report("sending a response", error, self._code.file_name)
            self._written.append(self._answers.abort(identifier))
            return not has_failed
        self._written.append(self._answers.end(identifier))
        return True


def stream_close(chunks: Any) -> None:
    """Lets a generator run its `finally` blocks now."""
    close: Callable[[], None] = chunks.close
    close()
