"""What a model class offers: which methods, of which kind, with which arguments. Decided once, after construction."""

from __future__ import annotations

import enum
import inspect
import sys
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from .errors import ContractError
from .protocol import OPERATIONS

KNOWN = OPERATIONS + ("preprocess", "postprocess", "is_healthy", "setup_environment")


class Shape(enum.Enum):
    """Which arguments a method takes."""

    NOTHING = enum.auto()
    INPUTS = enum.auto()
    REQUEST = enum.auto()
    INPUTS_AND_REQUEST = enum.auto()


class Method(NamedTuple):
    """A bound method of the model."""

    name: str
    call: Callable[..., Any]
    is_async: bool
    is_generator: bool
    shape: Shape
    input_type: Optional[type]

    @property
    def takes_request(self) -> bool:
        """Whether a request object has to be made for it."""
        return self.shape in (Shape.REQUEST, Shape.INPUTS_AND_REQUEST)

    @property
    def takes_inputs(self) -> bool:
        """Whether a body is looked at for it; also where it takes nothing, so that what is no input is refused."""
        return self.shape is not Shape.REQUEST

    def arguments(self, inputs: Any, request: Any) -> tuple:
        """The arguments to call it with."""
        if self.shape is Shape.INPUTS:
            return (inputs,)
        if self.shape is Shape.REQUEST:
            return (request,)
        if self.shape is Shape.INPUTS_AND_REQUEST:
            return (inputs, request)
        return ()


def describe(model: Any) -> Dict[str, Method]:
    """The model's methods by name. Raises `ContractError` for combinations that cannot work."""
    methods = {name: _method(name, getattr(model, name)) for name in KNOWN if hasattr(model, name)}
    steps = [name for name in ("preprocess", "predict", "postprocess") if name in methods]
    if "websocket" in methods:
        if steps:
            raise ContractError(f"a model with `websocket` cannot also have `{steps[0]}`")
        _check_websocket(methods["websocket"])
    elif "predict" not in methods:
        raise ContractError("the model needs a `predict` or a `websocket` method")
    if "is_healthy" in methods and methods["is_healthy"].shape is not Shape.NOTHING:
        raise ContractError("`is_healthy` takes no argument but `self`")
    if "preprocess" in methods and methods["predict"].shape is Shape.REQUEST:
        raise ContractError("beside `preprocess`, `predict` cannot take only the request: it would lose the preprocessed inputs")
    if "postprocess" in methods and methods["postprocess"].shape is Shape.REQUEST:
        raise ContractError("`postprocess` cannot take only the request: it would lose the prediction")
    return methods


def _check_websocket(method: Method) -> None:
    if method.shape is not Shape.INPUTS:
        raise ContractError("`websocket` takes exactly one argument: the websocket")
    if not method.is_async:
        raise ContractError("`websocket` must be an `async def`")


def _method(name: str, call: Callable[..., Any]) -> Method:
    parameters = list(inspect.signature(call).parameters.values())
    annotations = [resolve_annotation(call, parameter) for parameter in parameters]
    return Method(
        name=name,
        call=call,
        is_async=inspect.iscoroutinefunction(call),
        is_generator=inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call),
        shape=_shape(name, annotations),
        input_type=annotations[0] if annotations and is_pydantic(annotations[0]) else None,
    )


def _shape(name: str, annotations: List[Any]) -> Shape:
    if not annotations:
        return Shape.NOTHING
    if len(annotations) == 1:
        return Shape.REQUEST if _is_request(annotations[0]) else Shape.INPUTS
    if len(annotations) > 2:
        raise ContractError(f"`{name}` takes at most two arguments: the inputs and the request")
    if _is_request(annotations[0]):
        raise ContractError(f"`{name}` takes the request as its second argument, not its first")
    if not _is_request(annotations[1]):
        raise ContractError(f"the second argument of `{name}` must be annotated as a request (`request: fastapi.Request`)")
    return Shape.INPUTS_AND_REQUEST


def resolve_annotation(call: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The annotation as an object, also where the module postpones their evaluation."""
    annotation = parameter.annotation
    if not isinstance(annotation, str):
        return annotation
    function = inspect.unwrap(getattr(call, "__func__", call))
    try:
        return eval(annotation, getattr(function, "__globals__", {}))  # noqa: S307, the model's own source text
    except Exception:  # an annotation for type checkers only
        return annotation


def _is_request(annotation: Any) -> bool:
    starlette = sys.modules.get("starlette.requests")
    return starlette is not None and isinstance(annotation, type) and issubclass(annotation, starlette.Request)


def is_pydantic(annotation: Any) -> bool:
    """Whether an annotation is a pydantic model."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(annotation, type):
        return False
    try:
        return issubclass(annotation, pydantic.BaseModel)
    except TypeError:  # list[int] and the like count as types, but not as classes
        return False
