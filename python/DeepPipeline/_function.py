"""Stages made of functions, and of other objects that can be called."""

from __future__ import annotations

import copy
import inspect
import types
from collections.abc import Callable
from typing import Any, Self, SupportsIndex, TypedDict, Unpack, overload

from DeepPipeline._attributes import set_attributes
from DeepPipeline._called import calls, name_of_function
from DeepPipeline._checks import what
from DeepPipeline._intake import Intake
from DeepPipeline._stage import Executor, OnCrash, OnError, Overflow, Stage
from DeepPipeline.errors import GraphError

StageLike = Stage | Callable[[Any], Any]
"""What may stand where a stage is wanted: a stage, or anything that is called with a sample."""


class FunctionStage(Stage):
    """A stage whose `stage_run` is a function, or another object that can be called."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        # In the place of the method, so that the worker calls it without one more call between.
        vars(self)["stage_run"] = function
        self.options(name=name_of_function(function))

    def __copy__(self) -> FunctionStage:
        """Copies an object that can be called with the stage, for each worker; a function is itself its copy."""
        copied = FunctionStage.__new__(FunctionStage)
        vars(copied).update(vars(self), stage_run=copy.copy(function_of(self)))
        return copied

    def update(self, *_: Any, **values: Any) -> None:
        """Sets attributes of what is called, where they exist."""
        function = function_of(self)
        set_attributes(function.function if isinstance(function, Around) else function, values)

    def __repr__(self) -> str:
        return f"stage({function_of(self)!r})"


class Around:
    """What is called in the place of a function that it has, which is what is copied and updated."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __copy__(self) -> Self:
        return type(self)(copy.copy(self.function))


def function_of(stage: FunctionStage) -> Callable[[Any], Any]:
    """Returns what the stage was made of."""
    function: Callable[[Any], Any] = vars(stage)["stage_run"]
    return function


def as_stage(place: str, got: object) -> Stage:
    """Returns the stage itself, or a stage made of something that can be called; `place` is where it was given."""
    made = _stage_of(place, got)
    if isinstance(made, FunctionStage):
        _check_gives_its_result(place, function_of(made))
    return made


def _stage_of(place: str, got: object) -> Stage:
    if isinstance(got, Stage):
        return got
    if isinstance(got, type):
        raise GraphError(f"{place} is the class {got.__name__}, but must be {_instead_of(got)}")
    if not callable(got):
        raise GraphError(
            f"{place} is {what(got)}, but must be a stage: a function, or an object of a subclass of Stage that has a "
            "stage_run"
        )
    return FunctionStage(got)


def _check_gives_its_result(place: str, function: Callable[..., Any]) -> None:
    """Refuses a function that gives a generator, which is nothing that goes on."""
    name = name_of_function(function)
    if calls(function, inspect.isgeneratorfunction):
        raise GraphError(
            f"{place} is the generator function {name}, but must return its result: lambda x: Many({name}(x)) gives "
            f"its values one by one, lambda x: list({name}(x)) a list"
        )
    if calls(function, inspect.isasyncgenfunction):
        raise GraphError(
            f"{place} is the async generator function {name}, but must return its result: an async function that "
            f"returns Many([value async for value in {name}(x)]) gives its values one by one"
        )


def _instead_of(kind: type) -> str:
    """Returns what to write instead of a class."""
    if issubclass(kind, Stage) or "__call__" in dir(kind):
        return f"an instance: write {kind.__name__}()"
    return f"a stage: lambda x: {kind.__name__}(x) makes one object of every sample"


def may_be_shared(function: object) -> bool:
    """Returns true if several stages may have it: a function keeps nothing from one sample to the next."""
    return isinstance(function, (types.FunctionType, types.BuiltinFunctionType))


def what_it_is(stage: Stage) -> object:
    """Returns the object of which no two stages can be made."""
    if isinstance(stage, FunctionStage) and not may_be_shared(function := function_of(stage)):
        return function
    return stage


class StageOptions(TypedDict, total=False):
    """The keywords of `Stage.options`, for the type checker."""

    name: str | None
    buffer_size: SupportsIndex | None
    buffer_bytes: SupportsIndex | None
    overflow: Overflow | None
    intake: Intake | None
    max_age: float | None
    workers: SupportsIndex | None
    max_workers: SupportsIndex | None
    concurrency: SupportsIndex | None
    ordered: bool | None
    executor: Executor | None
    on_error: OnError | None
    on_crash: OnCrash | None
    max_restarts: SupportsIndex | None
    time_limit: float | None


@overload
def stage(x: StageLike, **options: Unpack[StageOptions]) -> Stage: ...
@overload
def stage(x: Callable[[Any, list[Any]], Any], **options: Unpack[StageOptions]) -> Stage: ...
def stage(x: Any, **options: Unpack[StageOptions]) -> Stage:
    """Makes a stage of a function, or of anything else that is called with a sample, and says more about it. The `join`
    of a `ForEach` is called with a sample and the results of its parts.

    The options are those of `Stage.options`; the name is otherwise the function's. A function may stand in a pipeline
    without this where there is nothing to say. Of a `Stage` it says more, and returns it.
    """
    # A generator function may be the split of a ForEach; elsewhere it is refused where it is given.
    return Stage.options(_stage_of("x", x), **options)
