"""The control socket: one JSON document a line.

It has a thread of its own, so that questions are answered while the model works.
"""

from __future__ import annotations

import inspect
import json
import os
import socket
import threading
from typing import Any, Callable, Dict, Optional

from . import jsonlog
from .errors import report
from .loader import Loaded, LoadError
from .secrets import Secrets
from .swap import Impossible, Swap


class Control:
    """Our end of the control socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._lines = connection.makefile("r", encoding="utf-8")
        self._connection = connection
        self._lock = threading.Lock()

    def receive(self) -> Dict[str, Any]:
        """The next document. Ends the process when the replica is gone: there is nobody left to work for."""
        line = self._lines.readline()
        if not line:
            os._exit(0)
        return json.loads(line)

    def send(self, document: Dict[str, Any]) -> None:
        """Tells the replica something."""
        data = (json.dumps(document) + "\n").encode()
        with self._lock:
            try:
                self._connection.sendall(data)
            except ConnectionError:
                os._exit(0)

    def serve(self, questions: "Questions", swap: Swap) -> None:
        """Answers questions from now on."""
        threading.Thread(target=self._serve, args=(questions, swap), name="control", daemon=True).start()

    def _serve(self, questions: "Questions", swap: Swap) -> None:
        while True:
            question = self.receive()
            if question["call"] == "health":
                self.send({"event": "health", "id": question["id"], "healthy": questions.is_healthy()})
            elif question["call"] == "environment":
                questions.set_environment(question["environment"])
            elif question["call"] == "secrets":
                questions.secrets.replace(question["secrets"])
            elif question["call"] == "swap":
                self.send({"id": question["id"], **self._swap(question["files"], questions, swap)})

    @staticmethod
    def _swap(files: Dict[str, Optional[str]], questions: "Questions", swap: Swap) -> Dict[str, Any]:
        try:
            loaded, introduction = swap.to(files)
        except Impossible as error:
            return {"event": "not_swapped", "message": str(error), "is_broken": False, "detail": ""}
        except LoadError as error:
            jsonlog.logger.error("The new code does not work: %s\n%s", error, error.detail)
            return {"event": "not_swapped", "message": str(error), "is_broken": True, "detail": error.detail}
        questions.use(loaded)
        jsonlog.logger.info("The model's class has been replaced; its state is kept")
        return {"event": "swapped", **introduction}


class Questions:
    """What the replica asks of a loaded model beside requests."""

    def __init__(self, loaded: Loaded, environment: Any, secrets: Secrets, complete: Callable[[Any], Any]) -> None:
        self.secrets = secrets
        self._loaded = loaded
        self._environment = environment
        self._complete = complete

    def use(self, loaded: Loaded) -> None:
        """Asks other code from now on."""
        self._loaded = loaded

    def is_healthy(self) -> Optional[bool]:
        """What the model says of itself; nothing when it has no opinion."""
        method = self._loaded.methods.get("is_healthy")
        if method is None:
            return None
        try:
            healthy = bool(self._complete(method.call()))
        except BaseException as error:
            healthy = False
            report("checking if model is healthy", error, self._loaded.file_name)
        if not healthy:
            jsonlog.logger.warning("Health check failed.")
        return healthy

    def set_environment(self, environment: Any) -> None:
        """Tells the model that it now belongs to another environment, or to none."""
        method = self._loaded.methods.get("setup_environment")
        if method is None or environment == self._environment:
            return
        jsonlog.logger.info("Executing model.setup_environment with environment: %s", environment)
        try:
            self._complete(method.call(environment))
        except BaseException as error:
            report("setting up environment", error, self._loaded.file_name)
        self._environment = environment


def complete_on(loop: Any) -> Callable[[Any], Any]:
    """A function that finishes what a method returned, a coroutine on `loop` if there is one, from the control thread."""

    def complete(value: Any) -> Any:
        if not inspect.iscoroutine(value):
            return value
        import asyncio

        if loop is None:
            return asyncio.run(value)
        return asyncio.run_coroutine_threadsafe(value, loop).result()

    return complete
