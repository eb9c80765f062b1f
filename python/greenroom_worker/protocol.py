"""Frames on the data socket between `greenroom-replica` and this worker. The same table is in `crates/replica/src/protocol.rs`.

A frame is a header of 16 bytes (little endian: `id` u32, `kind` u8, `flags` u8, `detail` u16, `meta_len` u32, `body_len` u32),
then the meta, then the body. Every `REQUEST` is answered by exactly one of `RESPONSE`, `END` or `ABORT`; only then may the
replica use its id again. Meta is a list of texts, each ended by a zero byte: name, value, name, value.
"""

from __future__ import annotations

import struct
from typing import Iterable, List, Tuple

HEADER = struct.Struct("<IBBHII")

# To the worker.
REQUEST = 1  # detail: index into OPERATIONS
CANCEL = 2  # nobody waits for the answer any more
PAUSE = 3  # the reader of a stream is slow: make no more chunks
RESUME = 4
FREE = 5  # body: the block of the response arena that was read

# Either way, for an open websocket.
TEXT = 8
BINARY_MESSAGE = 9
CLOSE = 10  # detail: the close code, body: the reason

# To the replica.
RESPONSE = 16  # detail: the HTTP status; the whole answer
HEAD = 17  # detail: the HTTP status; chunks follow
CHUNK = 18
END = 19  # a stream or websocket is complete; detail and body as in CLOSE
ABORT = 20  # a stream broke: the client must not take it for complete

# Flags of a REQUEST and of an answer.
BINARY = 1  # the body is msgpack, not JSON
GATHER = 2  # a stream must be collected into one JSON string
SHARED = 4  # the body is a block reference: offset u64, length u32, in the sender's arena
HEADERS = 8  # meta holds all headers of the answer; otherwise its content type follows from BINARY
TIMED = 16  # the gap between chunks of this stream is limited
ERROR_500 = 1 << 6  # the three values of the header x-baseten-error-code
ERROR_600 = 2 << 6
ERROR_700 = 3 << 6

OPERATIONS = ("predict", "chat_completions", "completions", "embeddings", "messages", "responses", "websocket")
WEBSOCKET = OPERATIONS.index("websocket")

BLOCK = struct.Struct("<QI")


Frame = Tuple[int, int, int, int, bytes, bytes]
"""One frame: id, kind, flags, detail, meta, body. A plain tuple, because making it is a good part of a small request's cost."""


class Reader:
    """Cuts a stream of bytes into frames. Keeps what is incomplete for the next call."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> List[Frame]:
        """The frames completed by `data`."""
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < 16 or len(rest) < self._first_length():
                return []
            data = bytes(rest)
            rest.clear()
        frames: List[Frame] = []
        position, end, unpack = 0, len(data), HEADER.unpack_from
        while end - position >= 16:
            identifier, kind, flags, detail, meta_length, body_length = unpack(data, position)
            meta_start = position + 16
            body_start = meta_start + meta_length
            stop = body_start + body_length
            if stop > end:
                break
            frames.append((identifier, kind, flags, detail, data[meta_start:body_start], data[body_start:stop]))
            position = stop
        if position < end:
            rest += data[position:]
        return frames

    def _first_length(self) -> int:
        header = HEADER.unpack_from(self._rest)
        return 16 + header[4] + header[5]


def encode(identifier: int, kind: int, flags: int = 0, detail: int = 0, meta: bytes = b"", body: bytes = b"") -> bytes:
    """A frame as it travels."""
    return HEADER.pack(identifier, kind, flags, detail, len(meta), len(body)) + meta + body


def encode_meta(headers: Iterable[Tuple[bytes, bytes]]) -> bytes:
    """Pairs of names and values as meta. Values that could not be told apart afterwards lose their zero bytes."""
    return b"".join(name + b"\0" + value.replace(b"\0", b"") + b"\0" for name, value in headers)


def decode_meta(meta: bytes) -> List[Tuple[bytes, bytes]]:
    """The pairs in meta."""
    texts = meta.split(b"\0")
    return list(zip(texts[0:-1:2], texts[1:-1:2]))
