"""The worker process from start to end. `greenroom-replica` gives it four inherited descriptors and the size of an arena."""

from __future__ import annotations

import faulthandler
import gc
import inspect
import os
import socket
import sys
from typing import Any, Dict

from . import blocking, jsonlog
from .ahead import import_ahead, imported
from .arena import Incoming, Outgoing
from .control import Control, Questions, complete_on
from .loader import Loaded, LoadError, load
from .secrets import Secrets
from .swap import Swap, introduction


def main() -> None:
    """Loads the model and answers until the replica closes the data socket."""
    data, control, requests, responses, size = (int(argument) for argument in sys.argv[1:6])
    sys.argv = [sys.argv[0]]
    for descriptor in (data, control, requests, responses):
        os.set_inheritable(descriptor, False)
    faulthandler.enable()
    channel = Control(socket.socket(fileno=control))
    setup = channel.receive()
    if "modules" in setup:  # what is to be done first; the order follows, sooner or later
        import_ahead(setup["modules"])
        gc.collect()
        gc.freeze()
        setup = channel.receive()
    jsonlog.install(bool((setup["config"].get("runtime") or {}).get("enable_debug_logs")))
    setup["secrets"] = Secrets(setup["config"].get("secrets") or {}, setup["secrets"])
    loop = _Loop()
    try:
        loaded = load(setup, lambda elapsed: channel.send({"event": "imported", "import_ms": elapsed}), loop.complete)
        told = introduction(loaded)
    except LoadError as error:
        jsonlog.logger.error("Exception while loading model: %s\n%s", error, error.detail)
        channel.send({"event": "failed", "message": str(error), "detail": error.detail})
        sys.exit(1)
    connection = socket.socket(fileno=data)
    incoming, outgoing = Incoming(requests, size), Outgoing(responses, size)
    concurrency = setup["predict_concurrency"]
    is_blocking = blocking.suits(loaded, concurrency)
    complete = complete_on(None if is_blocking else loop.get())
    questions = Questions(loaded, setup["environment"], setup["secrets"], complete)
    gc.collect()
    gc.freeze()  # what the model loaded stays: no collection need look at it again
    channel.send({"event": "loaded", "modules": imported(setup), **told})
    if is_blocking:
        server = blocking.Blocking(connection, incoming, outgoing, loaded)
        channel.serve(questions, Swap(setup["config"], loaded, lambda new: blocking.suits(new, concurrency), server.use))
        server.run()
    else:
        loop.get().run_until_complete(_run_evented(connection, incoming, outgoing, loaded, setup, channel, questions))


async def _run_evented(
    connection: socket.socket,
    incoming: Incoming,
    outgoing: Outgoing,
    loaded: Loaded,
    setup: Dict[str, Any],
    channel: Control,
    questions: Questions,
) -> None:
    import asyncio

    from .evented import Evented

    connection.setblocking(False)
    protocol = Evented(incoming, outgoing, loaded, setup["predict_concurrency"])
    await asyncio.get_running_loop().create_unix_connection(lambda: protocol, sock=connection)
    channel.serve(questions, Swap(setup["config"], loaded, lambda _: True, protocol.use))
    await protocol.closed.wait()


class _Loop:
    """The event loop of the main thread, made when something first needs one; uvloop's where the model has it."""

    def __init__(self) -> None:
        self._loop: Any = None

    def get(self) -> Any:
        """The loop."""
        if self._loop is None:
            import asyncio  # takes longer than all else together, and many models need none

            try:
                import uvloop

                self._loop = uvloop.new_event_loop()
            except ImportError:
                self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop

    def complete(self, value: Any) -> Any:
        """Finishes a coroutine that a method returned while nothing else runs."""
        return self.get().run_until_complete(value) if inspect.iscoroutine(value) else value
