"""What a pipeline changes while it runs."""

from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

from DeepPipeline import _engine
from DeepPipeline._aside import logger
from DeepPipeline._checks import checked_wait, what
from DeepPipeline._replace import told_of
from DeepPipeline.errors import GraphError, UpdateError, UpdateTimeout
from DeepPipeline.parallel import checked_stage

if TYPE_CHECKING:
    from DeepPipeline._function import StageLike
    from DeepPipeline._replace import Place
    from DeepPipeline._stage import Stage

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
        name = _checked_name(stage)
        place = _engine.place_of_stage(engine, name)
        told = _pickled(name, values) if place is not None and place[1] else values
        key = ",".join(sorted(values))
        _raise(name, _engine.update(engine, name, key, told, timeout, partial(logger.info, "the update waits for %s")))

    def replace(self, stage: str, new: StageLike, *, timeout: float | None = None) -> None:
        """Puts another stage, or function, in the place of the one of that name, and loses no sample.

        Every worker sets its own up between two samples, as at the start, while the others go on; once all have, each
        lets the old one `finish` before its next sample, puts the new one in its place, and tears the old one down. If
        one `setup` fails, or kills its process, the old one goes on everywhere, and no sample meets the new one: what
        was raised is the cause of an `UpdateError`. What `finish` or `teardown` of the old one raises is only logged.

        The options of the place stay, with the name, the workers and the intake, which keeps its windows; the new one
        says none, or the same. Updates were for the old one. It waits as long as the workers take for their samples and
        for `setup`, at most `timeout` seconds, then raises `UpdateTimeout`: what not all have set up by then is given
        up, and otherwise takes its place afterwards.
        """
        timeout = checked_wait("timeout", timeout)
        engine = self._started("replace")
        name = _checked_name(stage)
        checked = checked_stage("new", new)
        place = _engine.place_of_stage(engine, name)
        told: Any = []
        if place is not None:
            index, _ = place
            there, present = self._place(index)
            told = told_of(name, there, checked, present.values(), LARGEST)
        refused = _engine.replace(engine, name, told, timeout, partial(logger.info, "the replacement waits for %s"))
        if place is not None and (refused is None or refused[0] == "late"):
            self._replaced[place[0]] = checked
        _raise(name, refused)

    def _place(self, index: int) -> tuple[Place, dict[int, Stage]]:
        """Returns the place of that index, and the stages that are in all of them now."""
        raise NotImplementedError

    _replaced: dict[int, Stage]

    def _started(self, what: str) -> _engine.Engine:
        raise NotImplementedError


def _checked_stage(stage: object) -> str | None:
    return None if stage is None else _checked_name(stage, ", or None for the first")


def _checked_name(stage: object, more: str = "") -> str:
    if not isinstance(stage, str):
        raise GraphError(f"stage is {what(stage)}, but must be the name of a stage{more}")
    return stage


def _raise(stage: str, refused: tuple[str, str, int | None, BaseException | None] | None) -> None:
    if refused is None:
        return
    kind, text, worker, cause = refused
    if kind == "unknown":
        raise GraphError(text)
    raised = UpdateTimeout if kind in ("timeout", "late") else UpdateError
    raise raised(text, stage=stage, worker=worker) from cause


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
