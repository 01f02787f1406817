"""The replacement of a stage by another while the pipeline runs: what may take its place, and what its workers run."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable
from dataclasses import dataclass, fields
from dataclasses import replace as with_changes
from typing import Any

from DeepPipeline._async_stage import Loops, is_async
from DeepPipeline._called import name_of_function
from DeepPipeline._function import Around, FunctionStage, function_of, what_it_is
from DeepPipeline._intake import Window
from DeepPipeline._payload import why_not
from DeepPipeline._stage import Executor, Options, Stage, name_of, options_of
from DeepPipeline.errors import GraphError, StartError, UpdateError


@dataclass(frozen=True)
class Place:
    """The place of a stage in a pipeline that runs."""

    stage: Stage
    """The stage that stood there at the start, whose options stay."""
    executor: Executor
    loops: Loops

    def options(self) -> Options:
        return with_changes(options_of(self.stage), executor=self.executor)


def bodies_of(stage: Stage, options: Options, executor: Executor, loops: Loops) -> list[Stage]:
    """Returns what the workers of a stage run, one entry per worker; each process makes its own of the stage."""
    if executor == "thread" and is_async(stage):
        return loops.workers(stage, options)
    most = options.most_workers
    if most == 1 or executor == "process":
        return [stage] * options.workers
    try:
        return [copy.copy(stage) for _ in range(options.workers)]
    except Exception as error:
        raise StartError(
            f"stage {name_of(stage)!r} cannot be copied for its {most} workers: {error}. "
            "Make what cannot be copied in setup(), which runs on each worker"
        ) from error


def told_of(name: str, place: Place, new: Stage, present: Iterable[Stage], largest: int) -> Any:
    """Returns what the workers in a place are told of the stage that is to take it, unless it cannot."""
    _check_fits(name, place, new)
    if any(what_it_is(new) is what_it_is(stage) for stage in present):
        raise GraphError(f"new is a {type(new).__name__} that the pipeline has already: make another")
    options = place.options()
    if place.executor == "thread":
        # One entry per worker that there may be.
        options = with_changes(options, workers=options.most_workers)
        try:
            return bodies_of(new, options, place.executor, place.loops)
        except StartError as error:
            raise UpdateError(str(error), stage=name, worker=None) from error.__cause__
    try:
        pickled = pickle.dumps((new, options.intake, options.time_limit))
    except Exception as error:
        text = (
            f"what is to replace stage {name!r} cannot be sent to its process: cannot pickle "
            f"{why_not(new, pickle.dumps)} ({error}). Make it in setup(), which runs in the process"
        )
        raise UpdateError(text, stage=name, worker=None) from error
    if len(pickled) > largest:
        text = f"what is to replace stage {name!r} is {len(pickled)} bytes, but must be at most {largest}"
        raise UpdateError(f"{text}: load what is large in setup()", stage=name, worker=None)
    return pickled


def _check_fits(name: str, place: Place, new: Stage) -> None:
    for stage in (place.stage, new):
        if stage._deeppipeline_native:
            raise GraphError(f"{name_of(stage)} is native: replace({name!r}, ...) is for stages in Python")
    if isinstance(place.stage, FunctionStage) and isinstance(function_of(place.stage), Around):
        raise GraphError(f"{name!r} is the split or the join of a ForEach, which cannot be replaced: update it")
    if is_async(new) != is_async(place.stage):
        is_or_not = "is async" if is_async(new) else "is not async"
        raise GraphError(
            f"new is a {type(new).__name__} that {is_or_not}, unlike the stage {name!r} that it is to replace"
        )

    own, there, default = _said_by(new), place.options(), Options()
    for option in (field.name for field in fields(Options)):
        said, stays = getattr(own, option), getattr(there, option)
        if isinstance(said, Window) and isinstance(stays, Window):
            said = with_changes(said, key=stays.key)  # a lambda is never the same as another
        if said not in (getattr(default, option), stays):
            raise GraphError(
                f"new has {option}={said!r}, but the options of the place stay, which has {option}={stays!r}: "
                "leave it out"
            )


def _said_by(stage: Stage) -> Options:
    """Returns the options that a stage says for itself; the name of a function is none."""
    options = options_of(stage)
    if isinstance(stage, FunctionStage) and options.name == name_of_function(function_of(stage)):
        options = with_changes(options, name=None)
    return options
