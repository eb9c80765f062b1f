"""Shared memory for large bodies: one mapping each way, made by the replica and inherited. Each side allocates in its own."""

from __future__ import annotations

import mmap
from typing import Optional

from .protocol import BLOCK

UNIT = 256 * 1024
"""Allocation unit. Bodies smaller than this travel in their frame."""


class Incoming:
    """Bodies that the replica wrote."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._memory = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)

    def read(self, reference: bytes) -> bytes:
        """A copy of the referenced body."""
        offset, length = BLOCK.unpack(reference)
        return self._memory[offset : offset + length]


class Outgoing:
    """Bodies for the replica, each kept until it has been sent on."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._memory = mmap.mmap(descriptor, size)
        self._used = [False] * (size // UNIT)

    def write(self, body: bytes) -> Optional[bytes]:
        """Copies a body in and gives its reference, or nothing when there is no room."""
        count = -(-len(body) // UNIT)
        start = self._find(count)
        if start is None:
            return None
        self._used[start : start + count] = [True] * count
        offset = start * UNIT
        self._memory[offset : offset + len(body)] = body
        return BLOCK.pack(offset, len(body))

    def free(self, reference: bytes) -> None:
        """Takes a block back."""
        offset, length = BLOCK.unpack(reference)
        start, count = offset // UNIT, -(-length // UNIT)
        self._used[start : start + count] = [False] * count

    def _find(self, count: int) -> Optional[int]:
        run = 0
        for index, used in enumerate(self._used):
            run = 0 if used else run + 1
            if run == count:
                return index - count + 1
        return None
