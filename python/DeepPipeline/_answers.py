"""The answers to what was submitted, and the thread that hands them over."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any

from DeepPipeline import _engine
from DeepPipeline.errors import Discarded, Dropped, Flushed, Lost, NoAnswer, SampleFailed, Skipped, StageError


class Answer(Future[Any]):
    """The answer to a sample that was submitted: what the last stage gave for it, a list where it became several.

    Where the last stage gave nothing, `result` raises a `NoAnswer` that names the sample's fate. An answer is a
    `concurrent.futures.Future`, and can be awaited in any event loop, in several at once. What is called when it is
    done runs on a thread of its own. `cancel` makes nobody wait for it any longer; the sample goes its way.
    """

    def __init__(self) -> None:
        super().__init__()
        self._number: int | None = None

    @property
    def number(self) -> int | None:
        """The sample's number, from 1, as in reports and errors; `None` where it was dropped on arrival."""
        return self._number

    def __await__(self) -> Generator[Any, None, Any]:
        import asyncio  # it takes a while, and whoever awaits has it

        from DeepPipeline import _loops

        yield from _loops.until_done(self).__await__()
        if self.cancelled():
            raise asyncio.CancelledError
        return self.result()


class Answers:
    """A thread that hands over answers, as long as its pipeline runs."""

    def __init__(self, engine: _engine.Engine) -> None:
        self.pending: set[Answer] = set()
        """The answers that have not come, for a child that is forked, where none will come."""
        # It must not keep the pipeline alive, only what it needs of it.
        arguments = (engine, self.pending)
        self._thread = threading.Thread(target=_hand_over_all, args=arguments, name="answers", daemon=True)
        self._thread.start()

    def wait(self, patience: float) -> None:
        """Waits until all are handed over, `patience` seconds at most: what is called then may hang."""
        if self._thread is not threading.current_thread():
            self._thread.join(patience)

    def forget(self) -> None:
        """Ends the waiting in a forked child, where nothing comes any more."""
        for answer in list(self.pending):
            # A thread that is not here may have had its lock.
            answer._condition = threading.Condition()
            _fail(answer, Discarded("the sample is in the process that this one was forked from"))
        self.pending.clear()


def _hand_over_all(engine: _engine.Engine, pending: set[Answer]) -> None:
    while (answers := engine.next_answers()) is not None:
        while answers:
            answer, kind, text, facts = answers.pop(0)
            pending.discard(answer)
            if kind != "value":
                _fail(answer, facts if kind == "raise" else no_answer(engine, kind, text or "", facts))
            elif answer.set_running_or_notify_cancel():
                answer.set_result(facts)
            del answer, facts  # a value is not kept alive while nothing comes


def _fail(answer: Answer, error: BaseException) -> None:
    if answer.set_running_or_notify_cancel():
        answer.set_exception(error)


def no_answer(engine: _engine.Engine, kind: str, text: str, facts: tuple[Any, ...]) -> NoAnswer:
    """Makes the exception that names the fate of a sample."""
    if kind == "dropped":
        return Dropped(text, *facts)
    if kind == "skipped":
        return Skipped(text, *facts)
    if kind == "lost":
        return Lost(text, *facts)
    if kind == "failed":
        message, stage, doing, sample, cause = facts
        failed = SampleFailed(message, stage=stage, doing=doing, sample=sample, report=engine.report())
        failed.__cause__ = cause
        return failed
    if kind == "flushed":
        return Flushed(text)
    discarded = Discarded(text)
    if facts[0] is not None:
        message, stage, doing, sample, cause = facts[0]
        failure = StageError(message, stage=stage, doing=doing, sample=sample, report=engine.report())
        failure.__cause__ = cause
        discarded.__cause__ = failure
    return discarded
