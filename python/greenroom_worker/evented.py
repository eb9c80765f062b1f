"""Runs a model on an event loop: coroutines as tasks, synchronous methods in threads, several requests at a time.

`predict` is entered by at most `predict_concurrency` requests at once, each until what it returned has been produced.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any, AsyncIterator, Callable, Dict, List, Optional

from . import asgi, bodies
from .answers import Answers, method_or_raise, refuse_stream
from .arena import Incoming, Outgoing
from .contract import Method
from .errors import from_model, report
from .jsonlog import request_meta
from .loader import Loaded
from .protocol import (
    BINARY,
    BINARY_MESSAGE,
    CANCEL,
    CLOSE,
    FREE,
    GATHER,
    OPERATIONS,
    PAUSE,
    REQUEST,
    RESUME,
    SHARED,
    TEXT,
    WEBSOCKET,
    Frame,
    Reader,
)
from .websocket import Session

THREADS = 40
"""Synchronous methods that run at one time, where `predict_concurrency` does not ask for more."""


class Exchange:
    """One request that is being answered."""

    def __init__(self, frame: Frame, body: bytes) -> None:
        self.id, _, self.flags, self.operation, self.meta, _ = frame
        self.body = body
        self.departure = asgi.Departure()
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.has_begun = False
        self.task: Optional[asyncio.Task] = None
        self.session: Optional[Session] = None
        self.background: Any = None

    @property
    def is_binary(self) -> bool:
        """Whether the bodies are msgpack."""
        return bool(self.flags & BINARY)


class Evented(asyncio.Protocol):
    """The data socket as an asyncio protocol."""

    def __init__(self, incoming: Incoming, outgoing: Outgoing, loaded: Loaded, predict_concurrency: int) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._answers = Answers(outgoing)
        self._loaded = loaded
        self._reader = Reader()
        self._exchanges: Dict[int, Exchange] = {}
        self._written: List[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(predict_concurrency)
        self._threads = ThreadPoolExecutor(max(THREADS, predict_concurrency), thread_name_prefix="model")
        self._transport: Any = None
        self.closed = asyncio.Event()

    def use(self, loaded: Loaded) -> None:
        """Answers with other code from now on. Requests under way are finished with what they began with."""
        self._loaded = loaded

    # From asyncio.

    def connection_made(self, transport: Any) -> None:
        """Remembers where to write."""
        self._transport = transport

    def connection_lost(self, exc: Optional[Exception]) -> None:
        """The replica wants nothing more."""
        self.closed.set()

    def data_received(self, data: bytes) -> None:
        """Starts, steers and cancels exchanges."""
        for frame in self._reader.feed(data):
            identifier, kind, flags, _, _, body = frame
            if kind == REQUEST:
                exchange = Exchange(frame, self._incoming.read(body) if flags & SHARED else body)
                self._exchanges[identifier] = exchange
                if exchange.operation == WEBSOCKET:
                    exchange.session = Session(identifier, self.write, exchange.may_send, exchange.departure)
                exchange.task = self._loop.create_task(self._serve(exchange))
            elif kind == FREE:
                self._outgoing.free(body)
            else:
                exchange_or_none = self._exchanges.get(identifier)
                if exchange_or_none is not None:
                    self._steer(exchange_or_none, frame)

    @staticmethod
    def _steer(exchange: Exchange, frame: Frame) -> None:
        kind = frame[1]
        if kind == CANCEL:
            exchange.departure.set()
            # A task that has not begun would not even get to say that it is over.
            if exchange.task is not None and exchange.has_begun:
                exchange.task.cancel()
        elif kind == PAUSE:
            exchange.may_send.clear()
        elif kind == RESUME:
            exchange.may_send.set()
        elif kind in (TEXT, BINARY_MESSAGE, CLOSE) and exchange.session is not None:
            exchange.session.received(frame)

    def write(self, data: bytes) -> None:
        """Sends a frame together with all others of this turn of the loop."""
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)

    def _flush(self) -> None:
        self._transport.write(b"".join(self._written))
        self._written.clear()

    # One request.

    async def _serve(self, exchange: Exchange) -> None:
        exchange.has_begun = True
        request_meta.set(exchange.meta)
        last = self._answers.abort(exchange.id)
        try:
            if not exchange.departure.happened.is_set():
                last = await self._answer(exchange)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # `SystemExit`, a panic in Rust: one request must not end the others
            # A client who has left leaves the replica waiting for nothing but the last frame.
            if not exchange.departure.explains(error):
                last = self._answers.error(exchange.id, error)
        finally:
            self._exchanges.pop(exchange.id, None)
            self.write(last)
        if exchange.background is not None:
            # Nobody waits for it, and it takes no slot. It is done for a client who has left, too.
            try:
                await exchange.background()
            except BaseException as error:
                if exchange.departure.explains(error):
                    raise
                report("doing background work", error, self._loaded.file_name)

    async def _answer(self, exchange: Exchange) -> bytes:
        """Answers a request but for the last frame, which it returns."""
        methods = self._loaded.methods
        if exchange.session is not None:
            return await exchange.session.run(methods.get("websocket"), exchange.meta, self._loaded.file_name)
        name = OPERATIONS[exchange.operation]
        method = methods.get(name)
        first = methods.get("preprocess", method) if name == "predict" else method
        inputs = None
        if first is None or method is None or first.takes_inputs:
            inputs = bodies.parse(exchange.body, exchange.is_binary, first.input_type if first else None)
        method = method_or_raise(methods, name)
        steps = (first, method, methods.get("postprocess")) if name == "predict" else (method,)
        request = None
        if any(step is not None and step.takes_request for step in steps):
            request = asgi.make_request(exchange.meta, exchange.body, exchange.departure)
        if name != "predict":
            return await self._deliver(exchange, await self._call(exchange, method, inputs, request))
        return await self._predict(exchange, methods, inputs, request)

    async def _predict(self, exchange: Exchange, methods: Dict[str, Method], inputs: Any, request: Any) -> bytes:
        if "preprocess" in methods:
            inputs = await self._call(exchange, methods["preprocess"], inputs, request)
        postprocess = methods.get("postprocess")
        async with self._slots:
            result = await self._call(exchange, methods["predict"], inputs, request)
            if postprocess is None:
                if type(result) not in bodies.PLAIN:
                    return await self._deliver(exchange, result)
            elif _is_stream(result) or asgi.is_response(result):
                raise refuse_stream(self._loaded.file_name)
        if postprocess is not None:
            return await self._deliver(exchange, await self._call(exchange, postprocess, result, request))
        return self._answers.result(exchange.id, result, exchange.is_binary)

    async def _call(self, exchange: Exchange, method: Method, inputs: Any, request: Any) -> Any:
        try:
            arguments = method.arguments(inputs, request)
            if method.is_async:
                return await method.call(*arguments)
            if method.is_generator:
                return method.call(*arguments)
            return await self._in_thread(method.call, *arguments)
        except BaseException as error:
            raise self._blame(exchange, error) from None

    def _blame(self, exchange: Exchange, error: BaseException) -> BaseException:
        """The error to answer with where model code ended with this one."""
        return error if exchange.departure.explains(error) else from_model(error, self._loaded.file_name)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a function in a thread. A cancelled caller still waits for it: the thread cannot be stopped."""
        context = contextvars.copy_context()

        def run() -> Any:
            try:
                return context.run(function, *arguments)
            except StopIteration as error:
                # Before Python 3.12 a future that should hold one is never done. Coroutines that raise one end in these words.
                raise RuntimeError("the model raised StopIteration") from error

        work = self._loop.run_in_executor(self._threads, run)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            if not work.cancelled():
                work.exception()  # looked at, so that asyncio does not report it as forgotten
            raise

    # Results.

    async def _deliver(self, exchange: Exchange, result: Any) -> bytes:
        if _is_stream(result):
            return await self._send_stream(exchange, result)
        if asgi.is_response(result):
            return await self._send_response(exchange, result)
        return self._answers.result(exchange.id, result, exchange.is_binary)

    async def _send_stream(self, exchange: Exchange, stream: Any) -> bytes:
        chunks = stream if inspect.isasyncgen(stream) else self._thread_chunks(stream)
        if exchange.flags & GATHER:
            try:
                text = bodies.gathered([chunk async for chunk in chunks])
            except BaseException as error:
                raise self._blame(exchange, error) from None
            return self._answers.result(exchange.id, text, exchange.is_binary)
        self.write(self._answers.stream_head(exchange.id))
        try:
            async for chunk in chunks:
                self.write(self._answers.chunk(exchange.id, bodies.chunk_bytes(chunk)))
                await asyncio.sleep(0)  # a generator that never waits would keep its chunks, and everyone else, waiting
                await exchange.may_send.wait()
        except BaseException as error:
            if exchange.departure.explains(error):
                raise
            # What was sent stays sent: the client sees a stream that ends, the author sees why in the log.
            report("generating streamed response", error, self._loaded.file_name)
        finally:
            await chunks.aclose()
        return self._answers.end(exchange.id)

    async def _thread_chunks(self, stream: Any) -> AsyncIterator[Any]:
        """A plain generator, each step in a thread."""
        finished = object()
        try:
            while True:
                chunk = await self._in_thread(next, stream, finished)
                if chunk is finished:
                    return
                yield chunk
        finally:
            await self._in_thread(stream.close)

    async def _send_response(self, exchange: Exchange, response: Any) -> bytes:
        exchange.background = asgi.take_background(response)
        body = asgi.whole_body(response)
        if body is not None:
            return self._answers.response(exchange.id, response, body)

        def start(status: int, headers: asgi.Headers) -> None:
            self.write(self._answers.response_head(exchange.id, status, headers))

        async def write(chunk: bytes) -> None:
            self.write(self._answers.chunk(exchange.id, chunk))
            await asyncio.sleep(0)  # as for streams
            await exchange.may_send.wait()

        try:
            await asgi.run_response(response, exchange.departure, start, write)
        except BaseException as error:
            if exchange.departure.explains(error):
                raise
            exchange.background = None
            report("sending a response", error, self._loaded.file_name)
            return self._answers.abort(exchange.id)
        return self._answers.end(exchange.id)


def _is_stream(value: Any) -> bool:
    return inspect.isgenerator(value) or inspect.isasyncgen(value)
