"""The mapping that a model gets as `secrets`: what the team stored, else the environment, else the default in the config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Dict, Iterator, Optional

ENVIRONMENT_PREFIX = "TRUSS_SECRET_"


class SecretNotFound(Exception):
    """A secret that is not declared in the config, or has no value."""


class Secrets(Mapping):
    """Looks declared secrets up by name. It cannot be iterated, so that values are not dumped by accident."""

    def __init__(self, declared: Dict[str, Optional[str]], stored: Dict[str, str]) -> None:
        self._declared = declared
        self._stored = stored

    def replace(self, stored: Dict[str, str]) -> None:
        """Other values from now on."""
        self._stored = stored

    def __getitem__(self, name: str) -> str:
        if name not in self._declared:
            raise SecretNotFound(f"secret '{name}' is not declared: add it under `secrets` in config.yaml")
        value = self._stored.get(name) or os.environ.get(ENVIRONMENT_PREFIX + name) or self._declared[name]
        if not value:
            raise SecretNotFound(f"secret '{name}' has no value: store it in the team's secrets")
        return value

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError("secrets can be looked up by name, not listed")

    def __len__(self) -> int:
        return len(self._declared)

    def __repr__(self) -> str:
        return f"Secrets({len(self._declared)} declared)"
