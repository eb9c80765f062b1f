"""`Model.websocket`: starlette's websocket object over our frames."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Dict, Optional

from . import asgi, jsonlog
from .answers import Answers
from .contract import Method
from .errors import MODEL_ERROR, from_model
from .protocol import BINARY_MESSAGE, CLOSE, PAUSE, RESUME, TEXT, Frame, encode

UNREAD_LIMIT = 1 << 20
"""Bytes of messages that the model has not read, beyond which the client is made to wait."""

NORMAL, UNSUPPORTED, SERVER_ERROR = 1000, 1003, 1011
NOT_IMPLEMENTED = "WebSocket is not implemented on this deployment."


class Session:
    """One websocket, already accepted by the replica."""

    def __init__(
        self,
        identifier: int,
        write: Callable[[bytes], None],
        may_send: asyncio.Event,
        departure: asgi.Departure,
    ) -> None:
        self._id = identifier
        self._write = write
        self._may_send = may_send
        self._departure = departure
        self._is_gone = False
        self._messages: asyncio.Queue = asyncio.Queue()
        self._unread = 0
        self._has_connected = False
        self._close: Optional[tuple] = None

    def received(self, frame: Frame) -> None:
        """Takes what the client sent."""
        _, kind, _, code, _, body = frame
        if kind == CLOSE:
            self._is_gone = True
            self._may_send.set()  # nobody is slow any more
            reason = body.decode(errors="replace")
            self._messages.put_nowait((0, {"type": "websocket.disconnect", "code": code, "reason": reason}))
            return
        message: Dict[str, Any] = {"type": "websocket.receive"}
        if kind == TEXT:
            message["text"] = body.decode()
        else:
            message["bytes"] = body
        size = len(body)
        if self._unread <= UNREAD_LIMIT < self._unread + size:
            self._write(encode(self._id, PAUSE))
        self._unread += size
        self._messages.put_nowait((size, message))

    async def run(self, method: Optional[Method], meta: bytes, model_file: str) -> bytes:
        """Lets the model talk and gives the frame that ends it."""
        if method is None:
            jsonlog.logger.error(NOT_IMPLEMENTED)
            return self._end(UNSUPPORTED, NOT_IMPLEMENTED)
        from starlette.websockets import WebSocket, WebSocketDisconnect

        websocket = WebSocket(asgi.scope_of("websocket", meta), self._receive, self._send)
        await websocket.accept()
        try:
            await method.call(websocket)
        except (WebSocketDisconnect, asgi.ClientLeft) as left:
            jsonlog.logger.info("Client terminated websocket connection: `%s`.", left)
        except BaseException as error:
            if self._departure.explains(error):
                raise
            from_model(error, model_file)
            return self._end(SERVER_ERROR, MODEL_ERROR)
        return self._end(NORMAL, "")

    def _end(self, code: int, reason: str) -> bytes:
        code, reason = self._close or (code, reason)
        return Answers.end(self._id, code, reason.encode()[:123])

    async def _receive(self) -> asgi.Message:
        if not self._has_connected:
            self._has_connected = True
            return {"type": "websocket.connect"}
        size, message = await self._messages.get()
        if self._unread - size <= UNREAD_LIMIT < self._unread:
            self._write(encode(self._id, RESUME))
        self._unread -= size
        return message

    async def _send(self, message: asgi.Message) -> None:
        if message["type"] == "websocket.send":
            if self._is_gone:
                raise asgi.ClientLeft("the client has left")
            text = message.get("text")
            if text is not None:
                self._write(encode(self._id, TEXT, body=text.encode()))
            else:
                self._write(encode(self._id, BINARY_MESSAGE, body=message["bytes"]))
            await asyncio.sleep(0)  # a model that never waits would keep its messages, and everyone else, waiting
            await self._may_send.wait()
        elif message["type"] == "websocket.close" and self._close is None:
            self._close = (message.get("code", NORMAL), message.get("reason") or "")
            code, reason = self._close
            self._write(encode(self._id, CLOSE, 0, code, b"", reason.encode()[:123]))
