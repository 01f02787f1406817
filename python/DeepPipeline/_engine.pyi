"""The compiled engine: what the Python package is built on."""

from collections.abc import Sequence
from typing import Any, Literal, final

@final
class SampleId:
    """Which sample it is."""

    @property
    def number(self) -> int:
        """The number of its put, from 1."""
    @property
    def part(self) -> int:
        """From 1 for what came out of a Many or of `finish`; 0 for a sample that was never split."""
    def __lt__(self, other: SampleId) -> bool: ...
    def __le__(self, other: SampleId) -> bool: ...
    def __gt__(self, other: SampleId) -> bool: ...
    def __ge__(self, other: SampleId) -> bool: ...
    def __hash__(self) -> int: ...

@final
class StageReport:
    """One stage and the buffer in front of it.

    At any quiet moment `entered = taken + dropped + discarded + waiting` and
    `taken = used + absorbed + skipped + failed + in_hand`.
    """

    @property
    def name(self) -> str:
        """The stage's name."""
    @property
    def intake(self) -> Literal["single", "latest", "all"]:
        """How it takes."""
    @property
    def overflow(self) -> Literal["drop_oldest", "drop_newest", "block"]:
        """What its buffer does when full."""
    @property
    def buffer_size(self) -> int:
        """How many samples its buffer holds at most."""
    @property
    def entered(self) -> int:
        """Samples that arrived in the buffer."""
    @property
    def taken(self) -> int:
        """Samples that the stage took."""
    @property
    def dropped_oldest(self) -> int:
        """Waiting samples dropped to make room."""
    @property
    def dropped_newest(self) -> int:
        """Arriving samples dropped for want of room."""
    @property
    def superseded(self) -> int:
        """Samples passed over by the intake "latest"."""
    @property
    def dropped(self) -> int:
        """All samples dropped: oldest, newest and superseded."""
    @property
    def discarded(self) -> int:
        """Samples given up because the pipeline stopped."""
    @property
    def waiting(self) -> int:
        """Samples in the buffer now."""
    @property
    def last_dropped(self) -> list[SampleId]:
        """The last samples dropped or superseded, oldest first, 16 at most."""
    @property
    def used(self) -> int:
        """Samples whose result went on (or, in the end stage, that were worked on)."""
    @property
    def absorbed(self) -> int:
        """Samples used by a list whose result went on under its newest sample's number."""
    @property
    def skipped(self) -> int:
        """Samples that the stage ended with SKIP."""
    @property
    def failed(self) -> int:
        """Samples on which the stage failed."""
    @property
    def in_hand(self) -> int:
        """Samples that stage_run is working on now."""
    @property
    def gave(self) -> int:
        """What the stage gave to the next buffer."""
    @property
    def busy(self) -> float:
        """Seconds spent in stage_run, all samples together."""
    @property
    def p50(self) -> float:
        """Half of the calls of stage_run took no longer than this many seconds."""
    @property
    def p99(self) -> float:
        """99 of 100 calls of stage_run took no longer than this many seconds."""

@final
class Report:
    """What happened to every sample, stage by stage. `print(report)` shows a table with a row per stage."""

    @property
    def outcome(self) -> Literal["running", "finished", "failed", "aborted"]:
        """Where the pipeline stood when the report was made."""
    @property
    def elapsed(self) -> float:
        """Seconds from the moment every stage was up until the last worker ended (or now)."""
    @property
    def stages(self) -> list[StageReport]:
        """One entry per stage, in order."""
    @property
    def left_behind(self) -> list[str]:
        """Workers that were still in the user's code when the pipeline stopped waiting for them."""
    @property
    def dropped(self) -> int:
        """All samples dropped in front of any stage."""
    def balances(self) -> bool:
        """Whether every sample has exactly one fate: always true at a quiet moment."""
    def stage(self, name: str) -> StageReport | None:
        """The stage of that name."""

@final
class Worker:
    """The engine's side of one worker: `next`, then one of the others."""

    @property
    def name(self) -> str: ...
    def next(self) -> tuple[str, tuple[Any, ...]] | None: ...
    def done(self, result: Any) -> None: ...
    def exhausted(self) -> None: ...
    def fail(self, exception: BaseException) -> bool: ...

@final
class Engine:
    """One pipeline."""

    def __new__(
        cls,
        stages: Sequence[tuple[str, str, str | None, str]],
        buffer_size: Sequence[int],
        overflow: str,
        source: bool,
    ) -> Engine: ...
    def workers(self) -> list[Worker]: ...
    def put(self, x: Any, timeout: float | None) -> bool | Literal["timeout", "closed", "failed", "own stage"]: ...
    def wait_up(self, timeout: float | None) -> Literal["up", "failed", "timeout"]: ...
    def wait_ended(self, timeout: float | None) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def called_by_own_worker(self) -> bool: ...
    def source_should_end(self) -> bool: ...
    def not_ended(self) -> list[str]: ...
    def not_up(self) -> list[str]: ...
    def report(self) -> Report: ...
    def final_report(self) -> Report: ...
    def failure(self) -> tuple[str, str, str, SampleId | None, BaseException | None] | None: ...

def current_sample() -> tuple[int, int, float] | None: ...
