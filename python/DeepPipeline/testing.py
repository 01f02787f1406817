"""For tests: a stage alone, as the engine would run it.

A whole pipeline is tested with `Pipeline.simulate`: exactly, and without a sleep.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from DeepPipeline._async_stage import LoopStage, is_async
from DeepPipeline._function import StageLike, as_stage
from DeepPipeline._give import SKIP
from DeepPipeline._stage import OnError, Retry, Stage, method_of, name_of, options_of
from DeepPipeline.errors import GraphError
from DeepPipeline.pipeline import Pipeline

__all__ = ["StageRun", "run_stage"]


@dataclass
class StageRun:
    """What a stage has done with the samples of a test."""

    gave: list[Any] = field(default_factory=list)
    """What it gave, in order, what `finish` gave at the end: the values of a `Many` one by one."""
    skipped: list[Any] = field(default_factory=list)
    """What it got, a sample or a list, and ended with SKIP."""
    failed: list[tuple[Any, Exception]] = field(default_factory=list)
    """What it got and raised on, each with the exception: once for every try."""


def run_stage(stage: StageLike, samples: Iterable[Any]) -> StageRun:
    """Runs a stage alone, with its intake: `setup`, `stage_run` with each of these samples, `finish` and `teardown`.

    It runs on one thread, whatever its options say, as the stage itself and not as a copy, and goes on after a sample
    on which it raises. Raises `StageError` where `setup`, `finish` or `teardown` fail.
    """
    tested = as_stage("stage", stage)
    if tested._deeppipeline_native:
        raise GraphError(f"stage is {name_of(tested)}, which is native: run it in a Pipeline, between stages in Python")
    watched = _Watched(tested)
    watched.run.gave = list(Pipeline([watched]).stream(samples))
    return watched.run


class _Watched(Stage):
    """Calls a stage, and keeps what it skips and on what it fails."""

    def __init__(self, stage: Stage) -> None:
        self.run = StageRun()
        options = options_of(stage)
        self._stage = LoopStage(stage, 1, options.time_limit) if is_async(stage) else stage
        tries = options.on_error
        on_error: OnError = replace(tries, then="skip") if isinstance(tries, Retry) else "skip"
        vars(self)["_deeppipeline_options"] = replace(
            options,
            name=name_of(stage),
            workers=1,
            concurrency=1,
            time_limit=None if is_async(stage) else options.time_limit,
            executor="thread",
            on_crash=None,
            max_restarts=None,
            buffer_bytes=None,
            on_error=on_error,
        )

    def setup(self) -> None:
        method_of(self._stage, "setup")()

    def stage_run(self, x: Any) -> Any:
        try:
            result = method_of(self._stage, "stage_run")(x)
        except Exception as error:
            self.run.failed.append((x, error))
            raise
        if result is SKIP:
            self.run.skipped.append(x)
        return result

    def finish(self) -> Any:
        return method_of(self._stage, "finish")()

    def teardown(self) -> None:
        method_of(self._stage, "teardown")()
