"""What a worker does that is started before it is needed, and what it notes down for those.

It imports modules of the environment and nothing else: neither the deployment's own code nor its packages are on the path yet.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any, Dict, List

_BEFORE = frozenset(sys.modules)
"""What every worker has imported by the time that this is read."""

_STEERING = re.compile(rb"\b(environ|putenv|setenv|dotenv|load_dotenv)\b")
"""Words of a model that may set variables before it imports something that reads them."""


def import_ahead(names: List[str]) -> None:
    """Imports what a model needed the last time. What cannot be imported now will say so when it is needed."""
    for name in names:
        if name not in sys.modules:
            try:
                importlib.import_module(name)
            except BaseException:  # whatever a package raises; `SystemExit` too
                continue


def imported(setup: Dict[str, Any]) -> List[str]:
    """Modules of the environment that loading the model has imported, in their order.

    None when the model's own code may have set the scene for them: then they must not be imported before it.
    """
    own = tuple(root + os.sep for root in (os.getcwd(), setup["packages"]) if root)
    names, sources = [], []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.startswith(own):
            sources.append(file)
        elif name not in _BEFORE and getattr(module, "__spec__", None) is not None:
            names.append(name)
    return [] if any(_steers(source) for source in sources) else names


def _steers(source: str) -> bool:
    try:
        with open(source, "rb") as file:
            text = file.read()
    except OSError:
        return True
    return _STEERING.search(text) is not None
