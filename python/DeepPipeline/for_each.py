"""Samples of which each is split, and whose parts go through stages of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from DeepPipeline import _engine
from DeepPipeline._answers import no_answer
from DeepPipeline._called import check_not_awaited, name_of_function
from DeepPipeline._checks import what
from DeepPipeline._function import Around, FunctionStage, StageLike, function_of
from DeepPipeline._give import SKIP
from DeepPipeline._intake import All, Batch, Window
from DeepPipeline._stage import Stage, options_of
from DeepPipeline.errors import GraphError, NoAnswer

if TYPE_CHECKING:
    from DeepPipeline.parallel import Parallel, Route


@dataclass(frozen=True)
class Missing:
    """Stands for the result of a part that has none, in the list that `ForEach` gives."""

    index: int
    """The place of the part among those that `split` gave, from 0."""
    why: NoAnswer
    """The fate of the part: a `Dropped`, `Skipped`, `SampleFailed`, `Lost`, say."""


class ForEach:
    """Stages for the parts of each sample: an element of a pipeline's `stages`.

    `split(x)` gives the parts, the crops of a frame, say: any iterable, which may be empty. They go through `stages`,
    beside those of other samples, so that a batch fills across frames. `join(x, results)` gets the sample itself and
    the list of results in the order of the parts, where a `Missing` stands for one that was dropped, skipped, failed on
    or lost. What `join` returns goes on like the result of any stage; without one that is `(x, results)`.

    Samples go on in the order in which they came. As many are inside at a time as the stages and their buffers have
    room for, at most 128. A stage inside gives one result for each part, or `SKIP`.

    `split` and `join` run in the pipeline's own process, each as a stage of its own; `stage(function, ...)` says more
    about them. So the sample stays there, and only the parts go to processes. Neither is async, nor takes lists.
    """

    def __init__(
        self,
        split: Callable[[Any], Iterable[Any]] | Stage,
        stages: StageLike | Parallel | Route | ForEach | Iterable[StageLike | Parallel | Route | ForEach],
        join: Callable[[Any, list[Any]], Any] | Stage | None = None,
    ) -> None:
        self._split = _of_function("split", split, Split)
        self._join = None if join is None else _of_function("join", join, Together)
        self._stages: Any = stages

    def __repr__(self) -> str:
        functions: list[Any] = [function_of(stage) for stage in (self._split, self._join) if stage is not None]
        split, *join = [repr(function.function) for function in functions]
        return f"ForEach({', '.join([split, repr(self._stages), *join])})"


class Split(Around):
    """Gives a sample with its parts."""

    def __call__(self, x: Any) -> Any:
        parts: Any = self.function(x)
        if parts is SKIP:
            return SKIP
        if not isinstance(parts, Iterable) or isinstance(parts, (str, bytes, dict)):
            raise TypeError(f"split gave {what(parts)}, but must give an iterable of parts")
        return Parts(x, [*parts])


class Together(Around):
    """Calls `join` with a sample and the results of its parts."""

    def __call__(self, gathered: tuple[Any, list[Any]]) -> Any:
        return self.function(*gathered)


def _of_function(argument: str, got: Any, wrapper: Callable[[Any], Any]) -> FunctionStage:
    """Makes a stage in the pipeline's own process of a function, or of one with options."""
    if isinstance(got, FunctionStage):
        function, options = function_of(got), options_of(got)
        _check_is_called(argument, function)
        if isinstance(options.intake, (All, Batch, Window)):
            raise GraphError(
                f"{argument} has intake={options.intake!r}, but gets one sample at a time: leave it out, or take lists "
                f"in a stage {BESIDE[argument]}"
            )
        stage = FunctionStage(wrapper(function))
        vars(stage).update({name: value for name, value in vars(got).items() if name != "stage_run"})
        return stage if options.executor is not None else stage.options(executor="thread")
    if isinstance(got, Stage) or not callable(got) or (isinstance(got, type) and issubclass(got, Stage)):
        raise GraphError(f"{argument} is {what(got)}, but must be a function; stage(function, ...) says more about it")
    _check_is_called(argument, got)
    return FunctionStage(wrapper(got)).options(name=name_of_function(got), executor="thread")


BESIDE = {"split": "before the ForEach", "join": "behind the ForEach"}
"""The places for what a split or a join cannot do."""


def _check_is_called(argument: str, function: Callable[..., Any]) -> None:
    way_out = "await" if argument == "split" else "leave it out, and await"
    instead = f"a function that is not awaited: {way_out} in a stage {BESIDE[argument]}"
    check_not_awaited(argument, function, instead)


class Parts:
    """A sample, and its parts."""

    __slots__ = ("parts", "whole")

    def __init__(self, whole: Any, parts: Sequence[Any]) -> None:
        self.whole = whole
        self.parts = parts


class Gathering(Stage):
    """What runs where a sample comes together with the results of its parts: it names those that are missing."""

    def __init__(self, engine: _engine.Engine) -> None:
        self._engine = engine

    def stage_run(self, x: tuple[Any, list[Any]]) -> tuple[Any, list[Any]]:
        whole, results = x
        for index, result in enumerate(results):
            if type(result) is _engine.NoResult:
                results[index] = Missing(index, no_answer(self._engine, result.kind, result.text, result.facts))
        return whole, results
