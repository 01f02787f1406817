"""What a pipeline changes while it runs."""

from __future__ import annotations

from DeepPipeline import _engine
from DeepPipeline._checks import what
from DeepPipeline.errors import GraphError


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

    def _started(self, what: str) -> _engine.Engine:
        raise NotImplementedError


def _checked_stage(stage: object) -> str | None:
    if stage is None or isinstance(stage, str):
        return stage
    raise GraphError(f"stage is {what(stage)}, but must be the name of a stage, or None for the first")
