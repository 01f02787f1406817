"""The exceptions of this package. Every one is a `PipelineError`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from DeepPipeline._engine import Report, SampleId
from DeepPipeline._pickled import SurvivesPickle


class PipelineError(SurvivesPickle):
    """The base of all exceptions of this package.

    They survive pickle, so they come out of a pool of processes as they went in. What they carry is replaced by its
    repr there if it does not pickle, and the `__cause__` has its traceback as text.
    """


class GraphError(PipelineError, ValueError):
    """The description of the pipeline is invalid; found before anything starts."""


class StartError(PipelineError):
    """The pipeline could not be started, or not in time, or it was not started when it should have been."""


class StartTimeout(StartError, TimeoutError):
    """A `setup` had not returned when the time-out of `start` was over; the pipeline was aborted."""


class FlushTimeout(PipelineError, TimeoutError):
    """An end stage still worked on what had entered before the flush when the time-out of `flush` was over."""


class UpdateError(PipelineError):
    """An update was not applied by every worker of the stage, or the stage was not replaced.

    What the stage raised is the `__cause__`.
    """

    stage: str
    """The name of the stage."""
    worker: int | None
    """The index of the worker whose `update` raised, or the `setup` of the new stage there, if one did."""

    def __init__(self, message: str, *, stage: str, worker: int | None) -> None:
        super().__init__(message)
        self.stage = stage
        self.worker = worker


class UpdateTimeout(UpdateError, TimeoutError):
    """A worker was still at work on a sample when the time-out of `update` was over; the values come afterwards.

    Of `replace`: not every worker had set the new stage up by then, and it is given up; or it takes its place
    afterwards.
    """


class ScaleError(PipelineError):
    """A stage has not got as many workers as it was to have. What a worker's `setup` raised is the `__cause__`."""

    stage: str
    """The name of the stage."""
    worker: int | None
    """The index of the worker whose `setup` failed, if one did."""

    def __init__(self, message: str, *, stage: str, worker: int | None) -> None:
        super().__init__(message)
        self.stage = stage
        self.worker = worker


class ScaleTimeout(ScaleError, TimeoutError):
    """The time-out of `scale` was over, and some workers had not joined or left the stage: they do so afterwards.

    Or it had not begun, as the message says then, and nothing is changed.
    """


class StageError(PipelineError):
    """A stage or the source failed, and the pipeline stopped. The stage's own exception is the `__cause__`."""

    stage: str
    """The name of the stage that failed; "source" for the source."""
    doing: str
    """The call that failed: "setup", "stage_run", "finish", "teardown" or "source_next"."""
    sample: SampleId | None
    """The sample it was working on, if any; for a list, its newest."""
    report: Report
    """The report of what happened to every sample."""

    def __init__(self, message: str, *, stage: str, doing: str, sample: SampleId | None, report: Report) -> None:
        super().__init__(message)
        self.stage = stage
        self.doing = doing
        self.sample = sample
        self.report = report


class SendError(PipelineError):
    """A sample cannot be sent to the process of a stage: it does not pickle, or is larger than `buffer_bytes`.

    Or it has arrived, and cannot be made again from its pickle.
    """


class RemoteError(PipelineError):
    """The exception that a stage in a process raised, where that itself cannot be pickled: its type and its text."""


class WorkerDied(PipelineError):
    """The process of a stage died, and is not started again. It is the cause of a `StageError`."""

    exitcode: int | None
    """Its exit code; a negative one is the number of the signal that ended it. None where nobody can tell: the program
    ignores SIGCHLD, or collects children that are not its own."""
    stderr: list[str]
    """The last lines that it wrote to stderr, 20 at most, oldest first."""
    while_starting: bool
    """True if it died before its `setup` had succeeded."""


class PutError(PipelineError):
    """The pipeline did not take the sample."""

    value: Any
    """The sample that was not taken."""

    def __init__(self, message: str, value: Any) -> None:
        super().__init__(message)
        self.value = value


class PutTimeout(PutError, TimeoutError):
    """The first buffer stayed full until the time-out of `put`."""


class PutAfterFailure(PutError, StageError):
    """A stage or the source had failed, so the pipeline did not take the sample, which is the `value`."""

    def __init__(
        self, message: str, value: Any, *, stage: str, doing: str, sample: SampleId | None, report: Report
    ) -> None:
        StageError.__init__(self, message, stage=stage, doing=doing, sample=sample, report=report)
        self.value = value


class NoAnswer(PipelineError):
    """The last stage gave nothing for a sample that was submitted: the subclass names the sample's fate."""


class Dropped(NoAnswer):
    """The sample was dropped in front of a stage."""

    stage: str
    """The name of the stage."""
    why: str
    """The rule: "oldest", "newest", "superseded" or "expired", as the report counts it."""

    def __init__(self, message: str, stage: str, why: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.why = why


class Skipped(NoAnswer):
    """A stage ended the sample without a result of its own."""

    stage: str
    """The name of the stage."""
    why: str
    """The way: the "stage" gave SKIP, a "list" used it whose result went on under its newest sample's number, or a
    "window" keeps it for a later list."""

    def __init__(self, message: str, stage: str, why: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.why = why


class Lost(NoAnswer):
    """A worker had the sample in flight when its process died, or kept others waiting with it for too long."""

    stage: str
    """The name of the stage."""

    def __init__(self, message: str, stage: str) -> None:
        super().__init__(message)
        self.stage = stage


class Discarded(NoAnswer):
    """The sample was given up because the pipeline stopped; after a failure, that `StageError` is the `__cause__`."""


class Flushed(NoAnswer):
    """A flush came before the sample had gone through."""


class SampleFailed(NoAnswer, StageError):
    """A stage failed on the sample, whether the pipeline stopped for it or not. The stage's own exception is the
    `__cause__`."""


class ResultTimeout(PipelineError, TimeoutError):
    """No result came out of the pipeline until the time-out of `next`."""


class DeadLetterError(PipelineError):
    """A dead letter cannot be kept or read."""

    paths: tuple[Path, ...]
    """The files that could not be read, oldest first."""

    def __init__(self, message: str, *, paths: tuple[Path, ...] = ()) -> None:
        super().__init__(message)
        self.paths = paths


class CaptureError(PipelineError):
    """A video, camera or stream cannot be opened or read."""


class ModelError(PipelineError):
    """A model is missing, broken or not the expected one, or nothing can run it."""


class OutputError(PipelineError):
    """A result cannot be written."""
