"""The seat of a stage on its worker: the stage that is there, and the one that is to take its place."""

from __future__ import annotations

import logging
import pickle
from typing import Any

from DeepPipeline import _engine
from DeepPipeline._async_stage import LoopStage, is_async
from DeepPipeline._give import check_finished
from DeepPipeline._intake import Intake
from DeepPipeline._stage import Stage, method_of

logger = logging.getLogger("DeepPipeline")

Given = tuple[Stage, Intake, float | None]
"""A stage, its intake, and its time limit."""


class Holder:
    """What a worker runs around its stage, and keeps when another takes the place of that."""

    def exchange(self, new: Any) -> Any:
        """Takes another stage instead; returns the one before."""
        raise NotImplementedError


class Seat:
    """What a worker runs as its stage."""

    def __init__(self, name: str, stage: Any) -> None:
        self.stage = stage
        self._name = name
        self._new: Any = None

    def prepare(self, told: Any) -> None:
        """Sets up the stage that is to take the place of the one that is there, which goes on."""
        new = called_of(pickle.loads(told)) if isinstance(told, bytes) else told[_engine.worker_index()]
        _call(new, "setup")
        self._new = new

    def exchange(self) -> None:
        """Puts the new stage in its place, and tears the old one down."""
        new, self._new = self._new, None
        if isinstance(self.stage, Holder):
            old = self.stage.exchange(new)
        else:
            old, self.stage = self.stage, new
        _call(old, "teardown")

    def discard(self) -> None:
        """Tears down the new stage, if there is one."""
        new, self._new = self._new, None
        if new is not None:
            _call(new, "teardown")

    def teardown(self) -> None:
        """Tears down the stage, and before it one that was to take its place."""
        try:
            self.discard()
        except BaseException as error:  # whatever it is, it is no failure of the stage that is there
            logger.warning("stage %r: one that was to replace it failed in teardown", self._name, exc_info=error)
        _call(self.stage, "teardown")


def _call(stage: Stage, method: str) -> None:
    check_finished(method, method_of(stage, method)())


def called_of(given: Given) -> Stage:
    """Returns what a worker process calls."""
    stage, _, time_limit = given
    return LoopStage(stage, 1, time_limit) if is_async(stage) else stage
