"""The compiled engine: what the Python package is built on."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, SupportsIndex, final

from DeepPipeline._description import EntranceDescription, PipelineDescription
from DeepPipeline._intake import Kind
from DeepPipeline._stage import Overflow

DEFAULT_BUFFER_SIZE: int
"""The number of samples that a buffer holds unless another is said."""

DEFAULT_RECORD: int
"""The number of samples of each stage of which the timeline knows unless another is said."""

MOST_RECORD: int
"""The largest such number."""

MAX_WORKERS: int
"""The number of workers that a stage may have at most."""

GRACE: float
"""Seconds that workers get, after an abort, to end and to run their `teardown`."""

@final
class SampleId:
    """The identity of a sample."""

    def __new__(cls, number: int, part: int = 0) -> SampleId: ...
    @property
    def number(self) -> int:
        """The number of its put, from 1."""
    @property
    def part(self) -> int:
        """Its part, from 1 for what came out of a Many or of `finish`; 0 for a sample that was never split."""
    def __lt__(self, other: SampleId) -> bool: ...
    def __le__(self, other: SampleId) -> bool: ...
    def __gt__(self, other: SampleId) -> bool: ...
    def __ge__(self, other: SampleId) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Ticket:
    """The fate of a sample at the entrance: true when it was accepted, false when it was dropped on arrival."""

    def __new__(cls, number: int | None) -> Ticket: ...
    @property
    def number(self) -> int | None:
        """The sample's number, from 1, as in reports and errors; None when it was dropped."""

    def __bool__(self) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Putting:
    """A sample on its way into the pipeline, for a coroutine that waits for room."""

    @property
    def ticket(self) -> Ticket | None: ...
    def attempt(self, wake: Callable[[], object] | None) -> bool: ...
    def leave(self) -> None: ...

@final
class Job:
    """What the calling thread of a worker works on."""

    def __new__(cls) -> Job: ...
    @property
    def sample(self) -> tuple[int, int, float, str | None] | None: ...
    @property
    def worker(self) -> int | None: ...
    @property
    def restarted(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def adopt(self) -> None: ...

def next_wakes() -> list[Callable[[], object]]: ...

@final
class Spread:
    """The spread of a number of durations, in seconds."""

    @property
    def p50(self) -> float:
        """Half of them are no longer than this."""
    @property
    def p99(self) -> float:
        """99 of 100 are no longer than this."""
    @property
    def max(self) -> float:
        """The longest."""
    @property
    def mean(self) -> float:
        """The mean, within one hundredth."""
    @property
    def count(self) -> int:
        """The number of them."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class BufferCounts:
    """The counts of one buffer. At any quiet moment `entered = taken + dropped + discarded + flushed + waiting`."""

    @property
    def reordering(self) -> int:
        """Results of several workers of the stage before that wait for one before them, and have not arrived yet."""
    @property
    def entered(self) -> int:
        """Samples that arrived."""
    @property
    def taken(self) -> int:
        """Samples that the stage took."""
    @property
    def dropped_oldest(self) -> int:
        """Waiting samples dropped to make room ("drop_oldest")."""
    @property
    def dropped_newest(self) -> int:
        """Arriving samples dropped for want of room ("drop_newest")."""
    @property
    def superseded(self) -> int:
        """Samples passed over by the intake "latest"."""
    @property
    def expired(self) -> int:
        """Samples that were older than `max_age` when they were to be taken."""
    @property
    def dropped(self) -> int:
        """All samples dropped: oldest, newest, superseded and expired."""
    @property
    def discarded(self) -> int:
        """Samples given up because the pipeline stopped."""
    @property
    def flushed(self) -> int:
        """Samples that had entered the pipeline before a flush."""
    @property
    def waiting(self) -> int:
        """Samples inside now."""
    @property
    def last_dropped(self) -> list[SampleId]:
        """The last samples dropped, superseded or expired, oldest first: 16 at most, all of them in a simulation."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class StageCounts:
    """The counts of one stage. At any quiet moment
    `taken = used + absorbed + skipped + failed + lost + flushed + in_flight`."""

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
    def lost(self) -> int:
        """Samples that were in flight in a worker process when it died."""
    @property
    def flushed(self) -> int:
        """Samples that a flush ended inside: kept for a window, or about to be tried again."""
    @property
    def in_flight(self) -> int:
        """Samples that stage_run is working on now, and those that a window has not used yet."""
    @property
    def gave(self) -> int:
        """Values that the stage gave to the next buffer."""
    @property
    def last_failed(self) -> list[SampleId]:
        """The last samples on which the stage has failed, oldest first: 16 at most, all of them in a simulation."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class Shares:
    """The shares of the time of a stage's workers, each 0 to 1; together they are 1."""

    @property
    def busy(self) -> float:
        """In stage_run, in the last ten seconds also in a call that has not come to its end."""
    @property
    def starved(self) -> float:
        """Without a sample."""
    @property
    def blocked(self) -> float:
        """Waiting until the next stage had room."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class Recent:
    """A stage in the last ten seconds: what changes now does not show in the quantiles of a long run. In steps of two
    seconds, so up to twelve."""

    @property
    def age(self) -> Spread:
        """The ages of samples when the stage took them."""
    @property
    def wait(self) -> Spread:
        """The times that samples waited in front of the stage until it took them."""
    @property
    def run(self) -> Spread:
        """The durations of stage_run."""
    @property
    def rate(self) -> float:
        """Samples that it took in a second."""
    @property
    def shares(self) -> Shares:
        """What its workers did."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class WorkerReport:
    """One worker that has not ended, at this moment."""

    @property
    def index(self) -> int:
        """Its index among those of its stage, from 0."""
    @property
    def doing(self) -> Literal["starting", "waiting", "working", "blocked", "ending"]:
        """What it does: "waiting" is for samples (one in a process that waits for room says this, too), "working" in
        `stage_run`, "blocked" until the next stage has room, "ending" in `finish` or `teardown`."""
    @property
    def since(self) -> float | None:
        """Seconds for which it has done so; None where that is not known."""
    @property
    def sample(self) -> int | None:
        """The number of the sample that it works on or has for the next stage, where that is known."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class StageReport:
    """One stage and the buffer in front of it."""

    @property
    def name(self) -> str:
        """The stage's name."""
    @property
    def intake(self) -> Kind:
        """The intake."""
    @property
    def overflow(self) -> Overflow:
        """The overflow policy: what its buffer does when full."""
    @property
    def buffer_size(self) -> int:
        """The number of samples that its buffer holds at most."""
    @property
    def next(self) -> list[int]:
        """The rows, by their indices in `report.stages`, that get what it gives: several behind a block without a stage
        in front of it, none behind an end stage. What comes in goes to the first row."""
    @property
    def buffer(self) -> BufferCounts:
        """The counts of the buffer in front of it."""
    @property
    def counts(self) -> StageCounts:
        """The counts of the stage."""
    @property
    def workers(self) -> int:
        """The number of its workers."""
    @property
    def doing(self) -> list[WorkerReport]:
        """What each of its workers does, of those that have not ended."""
    @property
    def max_workers(self) -> int:
        """The number of workers that it may be scaled to."""
    @property
    def paused(self) -> bool:
        """True if it takes nothing until it is resumed."""
    @property
    def restarts(self) -> int:
        """The number of times that a worker process of it was started again after a death."""
    @property
    def age(self) -> Spread:
        """The ages of samples when it took them."""
    @property
    def wait(self) -> Spread:
        """The times that samples waited in front of it until it took them."""
    @property
    def busy(self) -> float:
        """Seconds spent in stage_run, all samples together."""
    @property
    def p50(self) -> float:
        """Half of the calls of stage_run took no longer than this many seconds."""
    @property
    def p99(self) -> float:
        """99 of 100 calls of stage_run took no longer than this many seconds."""
    @property
    def recent(self) -> Recent:
        """The last ten seconds."""
    @property
    def blocked(self) -> float:
        """Seconds for which its workers waited until the next stage had room for what they gave, or for results that
        come before theirs, all together; what waits now counts once it is over."""
    @property
    def age_of_information(self) -> float | None:
        """The seconds since the birth of the newest sample that it was done with, where it is an end stage: the age of
        what is known at the end. It grows while nothing comes out. None before the first, and for all other stages."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names; durations are in seconds."""

@final
class SourceReport:
    """One source, or one entrance to put into."""

    @property
    def name(self) -> str:
        """Its name; "source" for one without a name."""
    @property
    def state(self) -> str:
        """ "opening", "streaming", "stalled", "waiting", "ended" or "failed"; "open" for an entrance to put into. One
        that waits is opened again after an error or an end."""
    @property
    def last_error(self) -> str | None:
        """The text of its last error: the one for which it has failed for good, or for which it is, or was, opened
        again."""
    @property
    def restarts(self) -> int:
        """The number of times that it was opened again."""
    @property
    def next_try(self) -> float | None:
        """Seconds until it is opened again, where it waits for that."""
    @property
    def counts(self) -> BufferCounts:
        """The counts of its samples in front of the first stage, without the numbers of those that were dropped."""
    @property
    def wait(self) -> float | None:
        """Seconds for which it has been asked for its next sample by now; `None` when it is not being asked. Its own
        wait for room does not count."""
    @property
    def longest_wait(self) -> float:
        """The most seconds for which it was asked for one sample, the present wait included."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class JoinCounts:
    """The counts of one parallel block. At any quiet moment `entered = joined + unjoined + waiting`."""

    @property
    def entered(self) -> int:
        """Samples that were given to all branches; where the first branch goes on with the newest of the others, its
        results."""
    @property
    def joined(self) -> int:
        """Samples of which every branch, or the first, had a result: the next stage got these."""
    @property
    def unjoined(self) -> int:
        """Samples that some branch has ended without a result, or whose results were given up."""
    @property
    def waiting(self) -> int:
        """Samples that are still inside."""
    @property
    def renewed(self) -> int:
        """Results of the other branches, where those of the first go on with the newest of them."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class JoinReport:
    """One parallel block."""

    @property
    def name(self) -> str:
        """The block's name."""
    @property
    def branches(self) -> int:
        """The number of its branches."""
    @property
    def counts(self) -> JoinCounts:
        """The counts of its samples."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class Explanation:
    """What limits a pipeline, and what another worker would change. `print(explanation)` says it in words."""

    @property
    def limit(self) -> str | None:
        """The stage that limits the rate; None where no stage does: less comes in than there is room for."""
    @property
    def confidence(self) -> float:
        """How sure that is, from 0 (another stage has hardly more room) to 1."""
    @property
    def rate(self) -> float:
        """Samples that the limiting stage takes in a second; without one, the last stage."""
    @property
    def with_another_worker(self) -> float | None:
        """The rate that one more worker of that stage would allow, where a core is free for it."""
    @property
    def then(self) -> str | None:
        """The stage that would limit then; None for what comes in."""
    @property
    def present(self) -> Prediction | None:
        """What the pipeline does by its last samples; None where those were not asked."""
    @property
    def alternatives(self) -> dict[str, Prediction]:
        """What it would do with another setting of that stage, by the setting, where that makes a difference."""
    @property
    def text(self) -> str:
        """All of it in words."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class TimelineStage:
    """A stage of a timeline."""

    @property
    def name(self) -> str:
        """Its name."""
    @property
    def workers(self) -> int:
        """How many workers it has."""
    @property
    def ordered(self) -> bool:
        """True if its samples leave it in the order in which it took them."""
    @property
    def intake(self) -> str:
        """How it takes: "single", "latest", "all", "window" or "batch"."""
    @property
    def buffer_size(self) -> int:
        """For how many samples the buffer in front of it has room."""
    @property
    def overflow(self) -> Overflow:
        """What happens when that is full."""
    @property
    def max_age(self) -> float | None:
        """How many seconds old a sample may be when it is taken, or None."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class Visit:
    """The visit of a sample at a stage: from its arrival in front of it to its end there. Times are seconds since all
    workers were up."""

    @property
    def stage(self) -> int:
        """The place of the stage in `Timeline.stages`."""
    @property
    def sample(self) -> SampleId:
        """The identity of the sample."""
    @property
    def source(self) -> str | None:
        """The name of the source or entrance that it came from, or None."""
    @property
    def came(self) -> float:
        """When it came: when the stage before gave it or, where that had to wait for room, when there was some."""
    @property
    def taken(self) -> float | None:
        """When a worker took it; None if none did."""
    @property
    def worker(self) -> int | None:
        """The index of that worker among those of the stage."""
    @property
    def ended(self) -> float | None:
        """When it ended there: `stage_run` returned, or it was given up. None while it is there."""
    @property
    def fate(self) -> str | None:
        """How it ended: None where its result went on, where it is there, and where it is tried again."""
    @property
    def crashed(self) -> bool:
        """True if its worker process died with it. Without a fate it is tried again."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class Mark:
    """Something that happened to the pipeline."""

    @property
    def at(self) -> float:
        """When it happened, in seconds since all workers were up."""
    @property
    def text(self) -> str:
        """The event, in words."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class Timeline:
    """When each of the last samples came to a stage, was taken there, and ended. A notebook shows it as a picture."""

    @property
    def until(self) -> float:
        """When it was read, in seconds since all workers were up."""
    @property
    def stages(self) -> list[TimelineStage]:
        """The stages, in reading order."""
    @property
    def visits(self) -> list[Visit]:
        """The visits of samples, by the time when they came."""
    @property
    def marks(self) -> list[Mark]:
        """What happened to the pipeline, in order."""
    def last(self, seconds: float) -> Timeline:
        """Returns the part of it that is no older than that many seconds: visits that ended before are left out."""
    def of_sample(self, number: int) -> list[Visit]:
        """Returns the visits of the sample of that number, and of its parts, by the time when they came."""
    def to_svg(self, follow: int | None = None) -> str:
        """Returns it as an SVG picture: a row for each worker and for what waits in front of each stage, a bar for each
        sample. `follow` draws the way of one sample, by its number."""
    def to_json(self) -> str:
        """Returns it as JSON that Perfetto opens, and that `from_json` reads."""
    @classmethod
    def from_json(cls, text: str) -> Timeline:
        """Reads what `to_json` has made. Raises `ValueError` where it is something else."""
    def save(self, path: str | os.PathLike[str], follow: int | None = None) -> None:
        """Writes it into a file: as a picture where the name ends in `.svg`, and otherwise as JSON, which Perfetto
        (https://ui.perfetto.dev) opens and `load` reads."""
    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Timeline:
        """Reads what `save` has written. Raises `ValueError` where it is something else."""
    def what_if(self, settings: Mapping[str, Mapping[str, object]] = ...) -> Prediction:
        """Returns what the pipeline would do with these settings, or without any what it does, as its last samples
        tell: `{"detect": {"workers": 2, "buffer_size": 4}}`. See `Pipeline.what_if`."""
    def _tune(self, goal: str, most_workers: int) -> Tuned: ...
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class Prediction:
    """What a pipeline does, or would do."""

    @property
    def rate(self) -> float:
        """Samples that come out in a second; of several end stages, at the last."""
    @property
    def age_p50(self) -> float:
        """The median age of what comes out, in seconds from the moment when it came in."""
    @property
    def age_p99(self) -> float:
        """The 99th percentile of it."""
    @property
    def dropped(self) -> float:
        """The share of what comes in that is dropped or too old somewhere, 0 to 1."""
    @property
    def busy_workers(self) -> float:
        """The workers that are in `stage_run` at the same time, on the average. Where they compute, and this is more
        than there are cores for them, less comes out."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class Tuned:
    """Settings that were found by `Pipeline.tune`, and what the pipeline would do with them."""

    @property
    def settings(self) -> dict[str, dict[str, int]]:
        """The settings to change, as `what_if` takes them; none where nothing better was found."""
    @property
    def before(self) -> Prediction:
        """What it does as it is."""
    @property
    def after(self) -> Prediction:
        """What it would do."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names."""

@final
class Report:
    """The fate of every sample, stage by stage. `print(report)` shows a table with a row per stage, and
    so does a notebook."""

    @property
    def outcome(self) -> Literal["running", "finished", "failed", "aborted"]:
        """The state of the pipeline when the report was made."""
    @property
    def elapsed(self) -> float:
        """Seconds from the moment every stage was up until the last worker ended (or now)."""
    @property
    def sources(self) -> list[SourceReport]:
        """One entry per source, and per entrance with a name, in the order in which they were added."""
    @property
    def stages(self) -> list[StageReport]:
        """One entry per stage, in order."""
    @property
    def age(self) -> Spread:
        """The ages of samples when the end stage was done with them (for a list, its newest)."""
    @property
    def recent_age(self) -> Spread:
        """The same of the last ten seconds."""
    @property
    def joins(self) -> list[JoinReport]:
        """One entry per parallel block whose branches are joined."""
    @property
    def left_behind(self) -> list[str]:
        """Workers that were still in the user's code when the pipeline stopped waiting for them, and what was discarded
        and is still in its `__del__`."""
    @property
    def fates_missed(self) -> int:
        """Samples that did not come through of which `on_fate` learnt nothing, since it was too slow."""
    @property
    def dropped(self) -> int:
        """All samples dropped in front of any stage."""
    def balances(self) -> bool:
        """Returns true if every sample has exactly one fate: always true at a quiet moment."""
    def explain(self) -> Explanation:
        """Returns what limits the pipeline, from what its workers did in the last ten seconds (of one that has ended:
        in the last ten seconds before its end), and what another worker of that stage would give."""
    def to_mermaid(self) -> str:
        """Returns the stages and what goes from one to the next as a Mermaid flowchart, with the numbers of what has
        begun."""
    def to_svg(self) -> str:
        """Returns the same as an SVG picture; the stage that limits has a frame."""
    def stage(self, name: str) -> StageReport:
        """The stage of that name. Raises `KeyError`, which names those that there are."""
    def source(self, name: str = "source") -> SourceReport:
        """The source or entrance of that name ("source" for one without). Raises `KeyError`, which names those that
        there are."""
    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, with the same names, as for JSON; durations are in seconds."""
    def _repr_html_(self) -> str:
        """The table for a notebook."""

@final
class Worker:
    """The engine's side of one worker: `next`, then one of the others."""

    @property
    def name(self) -> str: ...
    def next(self) -> str | None: ...
    @property
    def takes_batches(self) -> bool: ...
    @property
    def tells_fates(self) -> bool: ...
    def update_values(self) -> Any: ...
    @property
    def replaced(self) -> bytes | None: ...
    def alone(self) -> int: ...
    def expect_results(self, results: int) -> None: ...
    def expects_result(self) -> bool: ...
    def tries_again(self) -> bool: ...
    def arguments(self) -> tuple[Any, ...]: ...
    def next_input(self, other: object) -> Any: ...
    def send_note(self, note: bytes) -> bool: ...
    def done(self, result: Any) -> bool: ...
    def give_part(self, value: Any) -> bool: ...
    def done_many(self, any: bool) -> bool: ...
    def account(self, used: int, skipped: int, flushed: int = 0) -> None: ...
    def forgets_windows(self) -> bool: ...
    def forgets_sources(self) -> list[tuple[int, int]]: ...
    def keep(self) -> bool: ...
    def is_end_stage(self) -> bool: ...
    def exhausted(self) -> None: ...
    def fails_on(self, index: int, value: Any) -> None: ...
    def fail(self, exception: BaseException, *on: Any) -> FailureEvent | None: ...

@final
class Startup:
    """What came of the start."""

    Up: ClassVar[Startup]
    Failed: ClassVar[Startup]
    TimedOut: ClassVar[Startup]

@final
class FailureEvent:
    """What is to be logged about a failure that no caller will learn of; `str` is the text."""

    Skipped: ClassVar[FailureEvent]
    Retried: ClassVar[FailureEvent]
    Later: ClassVar[FailureEvent]
    AtExchange: ClassVar[FailureEvent]

@final
class WindowStore:
    """The windows of all keys, for the worker of a stage that takes windows."""

    def __new__(
        cls,
        size: SupportsIndex,
        stride: SupportsIndex,
        max_keys: SupportsIndex,
        idle: SupportsIndex | None,
        partial: bool,
    ) -> WindowStore: ...
    def begin(self) -> int: ...
    def forget(self) -> None: ...
    def forget_sources(self, cuts: Sequence[tuple[int, int]]) -> int: ...
    def again(self, key: Any) -> list[Any]: ...
    def put(self, key: Any, item: Any) -> tuple[list[Any] | None, bool, int, int]: ...

@final
class Discarded:
    """Values that were discarded in front of a stage."""

    def take(self) -> list[Any]: ...
    def freed(self) -> None: ...

class Notice:
    """Something that is to be logged when it happens."""

    @final
    class Dropped(Notice):
        """Samples were dropped in front of a stage."""

        text: str

    @final
    class Failed(Notice):
        """The pipeline has failed."""

    @final
    class Hangs(Notice):
        """A stage on a thread hangs: the worker, by its place among all."""

        text: str
        worker: int

    @final
    class SourceLost(Notice):
        """A source has failed or ended, and is to be opened again."""

        text: str

    @final
    class SourceBack(Notice):
        """A source of which that was told gives samples again."""

        text: str

    @final
    class SourceStalled(Notice):
        """A source gives nothing for longer than it may."""

        text: str

    @final
    class CloseSource(Notice):
        """The source is to be closed that has that number."""

        source: int

def update(
    engine: Engine,
    stage: str,
    key: str,
    values: bytes | dict[str, Any],
    timeout: float | None,
    note: Callable[[str], object],
) -> tuple[str, str, int | None, BaseException | None] | None: ...
def replace(
    engine: Engine, stage: str, new: bytes | list[Any], timeout: float | None, note: Callable[[str], object]
) -> tuple[str, str, int | None, BaseException | None] | None: ...
def place_of_stage(engine: Engine, stage: str) -> tuple[int, bool] | None: ...
def scale(
    engine: Engine, stage: str, workers: int, timeout: float | None, note: Callable[[str], object]
) -> Scaling | tuple[str, str, int | None, BaseException | None]: ...

@final
class Scaling:
    """A change of the number of a stage's workers that is under way."""

    def joining(self, engine: Engine) -> list[tuple[int, int, Worker | WorkerProcess]]: ...
    def wait(self, note: Callable[[str], object]) -> tuple[str, str, int | None, BaseException | None] | None: ...

def simulate(
    description: PipelineDescription,
    durations: Sequence[tuple[str, float | Callable[[int], float]]],
    arrivals: Sequence[tuple[str | None, Sequence[float]]],
    flushes: Sequence[tuple[str | None, float]],
    pauses: Sequence[tuple[str | None, float, float]],
    scalings: Sequence[tuple[str, float, int]],
) -> Report: ...

@final
class NoResult:
    @property
    def kind(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def facts(self) -> Any: ...

@final
class Dashboard:
    """A dashboard that is open."""

    def __new__(cls, address: str | None, token: str | None) -> Dashboard: ...
    @property
    def url(self) -> str: ...
    @property
    def port(self) -> int: ...
    def watch(self, name: str, engine: Engine) -> str | None: ...
    def close(self) -> None: ...

class Engine:
    """One pipeline."""

    def __new__(cls, description: PipelineDescription) -> Engine: ...
    @staticmethod
    def check(description: PipelineDescription) -> None: ...
    def drivers(
        self, natives: Sequence[NativeStage | NativeCapture | None]
    ) -> list[tuple[int | None, int | None, int | None, Worker | WorkerProcess | None]]: ...
    def drop_drivers(self) -> None: ...
    def dump_to(self, folder: Path) -> None: ...
    def start_native(self) -> None: ...
    def join_native(self) -> None: ...
    def put(self, x: Any, entrance: str | None, timeout: float | None) -> Ticket | None: ...
    def add_source(
        self, description: EntranceDescription, native: NativeCapture | None
    ) -> tuple[int, Worker | None]: ...
    def remove_source(self, name: str) -> None: ...
    def wait_source_ended(self, name: str, timeout: float | None) -> bool: ...
    def close_after_sources(self) -> None: ...
    def submit(self, x: Any, entrance: str | None, answer: Any, timeout: float | None) -> Ticket | None: ...
    def putting(self, x: Any, entrance: str | None, answer: Any | None) -> Putting: ...
    def next_answers(self) -> list[tuple[Any, str, str | None, Any]] | None: ...
    def wait_up(self, timeout: float | None) -> Startup: ...
    def wait_ended(self, timeout: float | None) -> bool: ...
    def drain(
        self,
        abort_after: float | None,
        look: Callable[[], object],
        note: Callable[[str], object],
        no_longer: Callable[[str], object],
    ) -> None: ...
    def wait_aborted(self) -> None: ...
    def flush(self, source: str | None) -> None: ...
    def wait_flushed(self, timeout: float | None, note: Callable[[str], object]) -> list[str]: ...
    def pause(self, stage: str | None) -> None: ...
    def resume(self, stage: str | None) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def called_by_own_worker(self) -> bool: ...
    def sources_that_should_end(self) -> list[int]: ...
    def sources_left_behind(self) -> list[int]: ...
    def not_ended(self) -> list[str]: ...
    def next_notice(
        self,
    ) -> (
        Notice.Dropped
        | Notice.Failed
        | Notice.Hangs
        | Notice.SourceLost
        | Notice.SourceBack
        | Notice.SourceStalled
        | Notice.CloseSource
        | None
    ): ...
    def next_discarded(self) -> Discarded | None: ...
    def keep_fates(self, only_failures: bool) -> None: ...
    def next_fate(
        self,
    ) -> tuple[int, int, str | None, str, str, BaseException | None, Any] | None: ...
    def still_busy(self) -> str: ...
    def not_up(self) -> list[str]: ...
    def report(self) -> Report: ...
    def explain(self) -> Explanation: ...
    def timeline(self) -> Timeline: ...
    def final_report(self) -> Report: ...
    def failure(self) -> tuple[str, str, str, SampleId | None, BaseException] | None: ...

@final
class Console:
    """The stderr of workers, put together into one stream."""

    def shows(self, pid: int, stage: str, text: str, redraws: bool, ends: bool) -> str: ...

class News:
    """What a caller that watches over a process is to do something about."""

    @final
    class Wrote(News):
        """The process wrote this to stderr."""

        text: str
        redraws: bool
        ends: bool

    @final
    class Note(News):
        """The process sent this: a log record."""

        note: bytes

    @final
    class Told(News):
        """Something happened that is to be logged."""

        text: str

    @final
    class LaterFailure(News):
        """The stage failed, after the failure that stopped the pipeline."""

        exception: BaseException

    @final
    class Nothing(News):
        """Nothing that is to be read for now: to be asked again."""

@final
class WorkerProcess:
    """A stage in a process, for the thread that watches over it."""

    @property
    def name(self) -> str: ...
    def never_restart(self) -> None: ...
    def open(self) -> tuple[int, int]: ...
    def started(self, pid: int) -> None: ...
    def watch(
        self, stderr: bool, words: bool
    ) -> News.Wrote | News.Note | News.Told | News.LaterFailure | News.Nothing | None: ...
    def wait_for(self, forker: int) -> bool: ...
    def ended(self, code: int | None) -> tuple[float | None, str | None]: ...
    def rest(self, pause: float) -> bool: ...
    def cannot_start(self, why: str) -> None: ...

def left_to_the_program() -> list[int]: ...
def leave_to_the_program() -> None: ...
def cancelled() -> bool: ...
def worker_index() -> int | None: ...
def restarted() -> bool: ...
def vision_warnings() -> int: ...

@final
class Lifeline:
    """A worker process's hold on the pipeline's process."""

    def __init__(self, socket: int, pipeline: int) -> None: ...
    def become_worker(self) -> Worker: ...

def current_sample() -> tuple[int, int, float, str | None] | None: ...

@final
class NativeStage:
    """A native stage until its pipeline starts."""

    @property
    def takes(self) -> str: ...
    @property
    def gives(self) -> str: ...
    @property
    def used(self) -> bool: ...
    @staticmethod
    def detect_people(model: str, runtime: str, min_score: float | None) -> NativeStage: ...
    @staticmethod
    def track() -> NativeStage: ...
    @staticmethod
    def estimate_pose(model: str, runtime: str) -> NativeStage: ...
    @staticmethod
    def classify_behaviour(model: str, runtime: str) -> NativeStage: ...
    @staticmethod
    def record(path: str) -> NativeStage: ...
    @staticmethod
    def draw() -> NativeStage: ...
    @staticmethod
    def write_video(path: str, frame_rate: float | None) -> NativeStage: ...

@final
class NativeCapture:
    """An opened video, camera or stream."""

    def __new__(
        cls,
        input: str,
        format: str | None,
        realtime: bool,
        limit: int | None,
        open_timeout: float,
        stall_after: float,
    ) -> NativeCapture: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def frame_rate(self) -> float | None: ...
    @property
    def frames(self) -> int | None: ...
    @property
    def is_live(self) -> bool: ...
    def next(self) -> Frame | None: ...
    def close(self) -> None: ...
    @property
    def takes(self) -> str: ...
    @property
    def gives(self) -> str: ...
    @property
    def used(self) -> bool: ...

@final
class Frame:
    """One picture: RGB, 8 bits a channel.

    `pixels` is an array of shape (height, width, 3) over the frame's own memory. It is read-only, because other stages
    may look at the same picture: `pixels.copy()` gives one to draw on, and `Frame(pixels, ...)` makes a frame of it.
    """

    def __new__(cls, pixels: Any, index: int = 0, time: float = 0.0) -> Frame:
        """A frame of these pixels, which are copied: shape (height, width, 3), unsigned bytes."""
    @property
    def pixels(self) -> Any:
        """Shape (height, width, 3), RGB, without a copy: an ndarray where numpy imports, else a memoryview."""
    @property
    def width(self) -> int:
        """Pixels from left to right."""
    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
    @property
    def index(self) -> int:
        """Its place in the video, from 0."""
    @property
    def time(self) -> float:
        """The time at which it is to be shown, in seconds."""
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Scene:
    """A picture and the people in it. Both may be changed; what a stage gives on is what stands here then."""

    def __new__(cls, frame: Frame, people: list[Person]) -> Scene: ...
    frame: Frame
    """The picture."""
    people: list[Person]
    """The people found in it."""

@final
class Person:
    """One person in a picture."""

    def __new__(
        cls,
        bounds: tuple[float, float, float, float],
        score: float,
        track: int | None = None,
        behaviour: tuple[str, float] | None = None,
        pose: list[tuple[float, float, float]] | None = None,
    ) -> Person: ...
    bounds: tuple[float, float, float, float]
    """Left, top, right, bottom, in pixels."""
    score: float
    """The confidence of the detector, 0 to 1."""
    track: int | None
    """The number that stays with the person from picture to picture."""
    behaviour: tuple[str, float] | None
    """The behaviour of the person, and the confidence in it, 0 to 1."""
    pose: list[tuple[float, float, float]] | None
    """17 keypoints in COCO's order: x and y in pixels, and a score, 0 to 1."""

def keep_for_ever(object: Any, /) -> None:
    """Keeps an object alive until the process ends."""
