"""New code for a model that is loaded: its class is imported anew and takes over what the object has, while the old code answers.

As the reference server's hot reload, `load` is not called again: weights stay where they are. Requests under way are finished by the
class that they began with.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict, Iterable, Optional, Tuple

from .loader import Loaded, blame, class_of, import_file, methods_of, model_file
from .schema import schema


class Impossible(Exception):
    """This change needs a new process."""


def introduction(loaded: Loaded) -> Dict[str, Any]:
    """What the replica needs to know of a model."""
    described = schema(loaded.methods)
    return {
        "load_ms": loaded.load_ms,
        "wants_headers": any(method.takes_request for method in loaded.methods.values()) or "websocket" in loaded.methods,
        "checks_health": "is_healthy" in loaded.methods,
        "schema": None if described is None else json.dumps(described, separators=(",", ":"), ensure_ascii=False),
    }


class Swap:
    """Puts new code in the place of old."""

    def __init__(self, config: Dict[str, Any], loaded: Loaded, suits: Callable[[Loaded], bool], use: Callable[[Loaded], None]) -> None:
        self._config = config
        self._loaded = loaded
        self._suits = suits
        self._use = use
        self._root = Path.cwd()

    def to(self, files: Dict[str, Optional[str]]) -> Tuple[Loaded, Dict[str, Any]]:
        """Changes these files, in base64, below the model's folder; one without content is removed. Raises `Impossible`, or
        `LoadError` where the new code does not work: then everything is as it was."""
        folder = self._root / model_file(self._config).parent
        modules = {name: module for name, module in list(sys.modules.items()) if _lies_in(module, folder)}
        # Files in use are left alone: what still runs may read them, and nothing has to be taken back.
        root = _copy_with(self._root, model_file(self._config).parent, files)
        try:
            _move(self._root, root, modules)
            loaded = self._import(root)
            told = introduction(loaded)
        except BaseException:
            _move(root, self._root, [name for name, module in list(sys.modules.items()) if _lies_in(module, root)])
            sys.modules.update(modules)
            _remove(root)
            raise
        self._use(loaded)
        self._loaded, self._root = loaded, root
        return loaded, told

    def _import(self, root: Path) -> Loaded:
        file = model_file(self._config)
        with blame("could not be imported", file.name):
            module = import_file(root / file)
        model = _with_state_of(self._loaded.model, class_of(module, self._config))
        loaded = self._loaded._replace(model=model, methods=methods_of(model))
        if ("is_healthy" in loaded.methods) != ("is_healthy" in self._loaded.methods):
            raise Impossible("`is_healthy` has come or gone")
        if not self._suits(loaded):
            raise Impossible("the new code is served in another way: it has become asynchronous, or offers more than `predict`")
        return loaded


def _with_state_of(model: Any, model_class: Any) -> Any:
    """An object of another class with the same attributes: not a copy of them, so that both classes see what either changes."""
    try:
        successor = object.__new__(model_class)
        successor.__dict__ = model.__dict__
    except (TypeError, AttributeError) as error:
        raise Impossible(f"an object of the new class cannot have the state of the old one: {error}") from error
    return successor


def _lies_in(module: Optional[ModuleType], folder: Path) -> bool:
    """Whether a module comes from a folder; a namespace package has no file."""
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", ()))
    return any(folder in Path(place).absolute().parents or Path(place).absolute() == folder for place in places)


def _move(before: Path, after: Path, modules: Iterable[str]) -> None:
    """Imports from another folder from now on, and these modules anew."""
    for name in modules:
        sys.modules.pop(name, None)
    sys.path[:] = [str(after) if entry == str(before) else entry for entry in sys.path]
    importlib.invalidate_caches()


def _copy_with(root: Path, folder: Path, files: Dict[str, Optional[str]]) -> Path:
    """A new folder with the same `folder` in it but for these files."""
    import shutil  # these take a while, and most models never need them
    import tempfile
    from base64 import b64decode

    copy = Path(tempfile.mkdtemp(prefix="model-"))
    target = copy / folder
    try:
        shutil.copytree(root / folder, target, copy_function=_link, ignore=shutil.ignore_patterns("__pycache__"))
        for name, content in files.items():
            path = Path(os.path.normpath(target / name))
            if target not in path.parents:
                raise Impossible(f"{name} lies outside the model's folder")
            path.unlink(missing_ok=True)
            if content is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b64decode(content))
    except OSError as error:
        _remove(copy)
        raise Impossible(f"the new files cannot be written: {error}") from error
    return copy


def _link(source: str, target: str) -> None:
    """Shows a file in another place: the file itself, for one that has stayed the same through many swaps would be at the end of as many
    links, and the kernel does not follow more than forty."""
    os.symlink(os.path.realpath(source), target)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
