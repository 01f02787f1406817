"""What a pipeline changes while it runs."""

from __future__ import annotations

import pickle
from typing import Any

from DeepPipeline import _engine
from DeepPipeline._aside import logger
from DeepPipeline._checks import checked_wait, what
from DeepPipeline.errors import GraphError, UpdateError, UpdateTimeout

LARGEST = 16 << 20
"""Bytes that the values of an update may have where they cross to a process."""


class Changes:
    """The part of a pipeline that changes it while it runs."""

    def pause(self, stage: str | None = None) -> None:
        """Lets the stage of that name, or the first, take nothing until it is resumed.

        What comes in waits, or is dropped as the policy of the buffer says: a file loses nothing under "block", and of
        a live camera the newest is there afterwards. A sample in work is finished. A stop ends every pause: `setstop`
        lets everything inside flow out. Once the pipeline stops it does nothing.
        """
        self._started("pause").pause(_checked_stage(stage))

    def resume(self, stage: str | None = None) -> None:
        """Lets the stage of that name, or the first, take samples again."""
        self._started("resume").resume(_checked_stage(stage))

    def update(self, stage: str, /, *, timeout: float | None = None, **values: Any) -> None:
        """Calls the stage's `update` with these values on every worker, between two samples, and waits for all.

        A stage that has no `update` of its own has attributes of these names set, if they exist. It waits as long as
        the workers take for the samples that they have, at most `timeout` seconds, then raises `UpdateTimeout`; they
        apply the values afterwards. What the stage raises is the cause of an `UpdateError`, and the stage goes on.
        Other stages are not disturbed. A process that is started again after a crash gets the values, too: the last of
        each set of names.
        """
        timeout = checked_wait("timeout", timeout)
        engine = self._started("update")
        name = _checked_stage(stage)
        if name is None:
            raise GraphError("stage is None, but must be the name of a stage")
        crosses = _engine.is_in_process(engine, name)
        told = _pickled(name, values) if crosses else values
        key = ",".join(sorted(values))
        refused = _engine.update(
            engine, name, key, told, timeout, lambda busy: logger.info("the update waits for %s", busy)
        )
        if refused is None:
            return
        kind, text, worker, cause = refused
        if kind == "unknown":
            raise GraphError(text)
        raised = UpdateTimeout if kind == "timeout" else UpdateError
        raise raised(text, stage=name, worker=worker) from cause

    def _started(self, what: str) -> _engine.Engine:
        raise NotImplementedError


def _checked_stage(stage: object) -> str | None:
    if stage is None or isinstance(stage, str):
        return stage
    raise GraphError(f"stage is {what(stage)}, but must be the name of a stage, or None for the first")


def _pickled(stage: str, values: dict[str, Any]) -> bytes:
    try:
        pickled = pickle.dumps(values)
    except Exception as error:
        text = f"the values for stage {stage!r} cannot be sent to its process: {error}"
        raise UpdateError(text, stage=stage, worker=None) from error
    if len(pickled) > LARGEST:
        text = f"the values for stage {stage!r} are {len(pickled)} bytes, but must be at most {LARGEST}: name a file"
        raise UpdateError(text, stage=stage, worker=None)
    return pickled
