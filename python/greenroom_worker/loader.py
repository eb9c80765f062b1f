"""From the packaging format on disk to a loaded model: import, construct, `setup_environment`, `load`."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict, NamedTuple

from . import jsonlog
from .contract import Method, describe
from .errors import ContractError, shortened
from .lazy_data import LazyDataResolverV2

RETRY_GAP_SECONDS = 0.25


class LoadError(Exception):
    """A model that cannot be loaded: one sentence, and the traceback for its author."""

    def __init__(self, message: str, detail: str) -> None:
        super().__init__(message)
        self.detail = detail


class Loaded(NamedTuple):
    """A model ready to answer."""

    model: Any
    methods: Dict[str, Method]
    file_name: str
    import_ms: int
    load_ms: int


def load(setup: Dict[str, Any], imported: Callable[[int], None], complete: Callable[[Any], Any]) -> Loaded:
    """Loads what `setup` describes.

    `imported` hears when the import is done; `complete` finishes a `load` that is a coroutine.
    """
    config = setup["config"]
    sys.path.insert(0, os.getcwd())
    if setup["packages"]:
        sys.path.append(setup["packages"])
    file = model_file(config)
    import_start = time.perf_counter()
    with blame("could not be imported", file.name):
        module = import_file(file)
    import_ms = _elapsed_ms(import_start)
    imported(import_ms)

    load_start = time.perf_counter()
    model_class = class_of(module, config)
    environment = setup["environment"]
    with blame("`__init__` raised", file.name):
        model = model_class(**_arguments(model_class, setup))
    methods = methods_of(model)
    if "setup_environment" in methods and environment is not None:
        jsonlog.logger.info("Executing model.setup_environment with environment: %s", environment)
        with blame("`setup_environment` raised", file.name):
            complete(model.setup_environment(environment))
    if hasattr(model, "load"):
        with blame("`load` raised", file.name):
            _retry(lambda: complete(model.load()))
    return Loaded(model, methods, file.name, import_ms, _elapsed_ms(load_start))


def model_file(config: Dict[str, Any]) -> Path:
    """The file with the model's class, from the folder of the deployment."""
    return Path(config.get("model_module_dir") or "model") / (config.get("model_class_filename") or "model.py")


def class_of(module: ModuleType, config: Dict[str, Any]) -> Any:
    """The model's class in its module."""
    name = config.get("model_class_name") or "Model"
    model_class = getattr(module, name, None)
    if model_class is None:
        raise LoadError(f"`{model_file(config)}` has no class `{name}`", "")
    return model_class


def methods_of(model: Any) -> Dict[str, Method]:
    """What the model offers."""
    try:
        return describe(model)
    except ContractError as error:
        raise LoadError(str(error), "") from error


class blame:
    """Turns whatever model code raises into a `LoadError` that names the step."""

    def __init__(self, step: str, file_name: str) -> None:
        self._step = step
        self._file_name = file_name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        # SystemExit counts: a model that calls `sys.exit` while loading has failed, and should say so.
        if error is None or isinstance(error, (LoadError, KeyboardInterrupt)):
            return
        name = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        subject = f"the model {self._step}: {name}" if self._step.startswith("could") else f"{self._step} {name}"
        detail = "".join(traceback.format_exception(*shortened(error, self._file_name)))
        raise LoadError(subject, detail) from error


def import_file(file: Path) -> ModuleType:
    """Imports the file with the model's class."""
    path = file.absolute()
    if not path.is_file():
        raise LoadError(f"there is no `{file}` in the model's folder", "")
    # `model/model.py` must not take the name `model`: that is the package beside it.
    name = f"{path.parent.name}.{path.stem}" if path.parent.name == path.stem else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"`{file}` is not a Python file", "")
    module = importlib.util.module_from_spec(spec)
    if "." in name:
        module.__package__ = None  # type: ignore[assignment]  # no relative imports in the top-level file
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _arguments(model_class: Any, setup: Dict[str, Any]) -> Dict[str, Any]:
    """The constructor arguments that the class names, or all when it takes `**kwargs`."""
    data_dir = Path("data")
    data_dir.mkdir(exist_ok=True)
    offered = {
        "config": setup["config"],
        "data_dir": data_dir,
        "secrets": setup["secrets"],
        "lazy_data_resolver": LazyDataResolverV2(data_dir),
        "environment": setup["environment"],
    }
    parameters = inspect.signature(model_class).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return offered
    return {name: value for name, value in offered.items() if name in parameters}


def _retry(attempt: Callable[[], Any]) -> None:
    tries = 1 + int(os.environ.get("NUM_LOAD_RETRIES_TRUSS", "1"))
    for number in range(1, tries + 1):
        try:
            attempt()
            return
        except Exception:
            if number == tries:
                raise
            jsonlog.logger.warning("Failed to load model. Retrying...", exc_info=True)
            time.sleep(RETRY_GAP_SECONDS)


def _elapsed_ms(start: float) -> int:
    return int((time.perf_counter() - start) * 1000)
