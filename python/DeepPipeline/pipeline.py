"""The handle of a pipeline: start, put, setstop."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
import traceback as tracebacks
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self, SupportsIndex, TypeVar

from DeepPipeline import _aside, _engine, _exit
from DeepPipeline._answers import Answer, Answers
from DeepPipeline._aside import logger
from DeepPipeline._async_stage import Loops, as_the_engine_sees, check_concurrency, is_async
from DeepPipeline._asynchronous import Asynchronous
from DeepPipeline._change import Changes
from DeepPipeline._checks import (
    checked_count,
    checked_flag,
    checked_folder,
    checked_number,
    checked_seconds,
    checked_wait,
    one_of,
    what,
)
from DeepPipeline._dashboard import Dashboard, checked_dashboard, shared_dashboard
from DeepPipeline._dead_letters import DeadLetters, Writer, checked_dead_letters
from DeepPipeline._description import PipelineDescription
from DeepPipeline._discarded import Discarded
from DeepPipeline._engine import Explanation, Prediction, Report, StageCounts, Startup, Ticket, Timeline, Tuned
from DeepPipeline._entrances import (
    Entrance,
    Entrances,
    Sources,
    checked_entrances,
    checked_named_source,
    checked_sources,
)
from DeepPipeline._fates import Fates, OnFate, checked_on_fate
from DeepPipeline._intake import All, Batch, Window
from DeepPipeline._notices import Notices
from DeepPipeline._reachable import START_METHODS, StartMethod, check_stages
from DeepPipeline._remote import check_not_in_a_worker_that_starts
from DeepPipeline._replace import Place, bodies_of
from DeepPipeline._restart import source_stage
from DeepPipeline._scale import Scales, thread_for
from DeepPipeline._simulate import Arrivals, Durations, Flushes, Pauses, Scalings, simulate
from DeepPipeline._sources import Source
from DeepPipeline._stage import OVERFLOWS, Executor, Options, Overflow, Retry, Stage, name_of, options_of
from DeepPipeline._threads import WorkerThread
from DeepPipeline._worker import Running, SourceStage, work
from DeepPipeline.errors import (
    FlushTimeout,
    GraphError,
    PutAfterFailure,
    PutError,
    StageError,
    StartError,
    StartTimeout,
)
from DeepPipeline.for_each import Gathering
from DeepPipeline.parallel import Branches, Chain, Element, Relay, Row, checked_chain, in_a_row
from DeepPipeline.stream import HandOver, Results, Stream

T = TypeVar("T")


class Pipeline(Changes, Scales, Asynchronous):
    """Runs a chain of stages with every stage busy at the same time on a different sample.

    - `stages`: the stages in order: objects of `Stage`, functions and whatever else is called with a sample, and
      `Parallel` blocks of branches, and a `Route` where each sample goes one of several ways. The last one is the end
      stage, unless `end_stage` is given apart.
    - `buffer_size`: how many samples wait in front of a stage at most: one number for all, or a list with one per
      stage, the end stage included, in reading order where there are branches.
    - `multiprocess`: a process for every stage; False is a thread for every stage. `options(executor=...)` says
      otherwise for one stage. Native stages of `DeepPipeline.vision` run without the GIL and stay on threads.
    - `source`: an iterable or a data set that samples come from, on a worker of its own, instead of `put`. One whose
      samples come at their own pace, as a camera's do, says so by an attribute `is_live` that is True. `Restart(open)`
      is a source that a function opens, again after an error or an end.
    - `sources`: several sources by name, each on a worker of its own: `{"north": camera, "south": other}`. The first
      stage takes from those that have something in turn, so that a fast one starves nobody; order is kept for each, and
      `self.sample.source` names it. One that fails ends alone, and `join` tells of it at the end. `Entrance(...)` says
      more of one.
    - `entrances`: the names of entrances to put into, `put(x, entrance="a")`, each with a buffer of its own in front of
      the first stage. Sources and entrances may stand together.
    - `overflow`: what happens when a buffer is full, for stages that do not say: "drop_oldest" for live streams (the
      default with `put` and a live source), "drop_newest", or "block" where nothing may be lost (the default with any
      other source, and in a `stream`).
    - `buffer_bytes`: how many bytes wait in front of a stage at most, where samples cross from one process to another:
      256 MiB by default. Refused where every stage is on a thread.
    - `start_method`: how processes are started, as in `multiprocessing`: "spawn", "forkserver" or "fork". Processes
      that were forked are not restarted.
    - `max_age`: how many seconds old a sample may be when a stage takes it, for stages that do not say; an older one is
      dropped and counted as expired.
    - `on_fate`: a function that is called with a `FateEvent` for every sample that does not come through, on a thread
      of its own. Of what ends while 1024 events wait it learns nothing: `report.fates_missed` counts that.
    - `dead_letters`: a folder, or `DeadLetters(...)`, in which samples are kept on which a stage fails, or that a
      process takes with it when it dies; `replay` gives them out again.
    - `stall_timeout`: how many seconds a source may give nothing, for sources that do not say. One that takes longer is
      stalled, as the report and the log say. A `Restart` is closed then, by the `close()` of what it has opened, and
      opened again; if it does not return from that within half a second, it has failed and is left behind: what it
      gives later is given to nobody.
    - `record`: of how many samples of each stage, the last, `timeline()` knows when they came, were taken and ended.
      Each takes 64 bytes of memory; with 0 nothing is kept.
    - `dump_to`: a folder into which the timeline is written when something has gone wrong: a stage failed, a sample was
      lost or older than `max_age`, a worker died; and when the program gets SIGUSR2. It is looked once a second, and at
      the end; ten seconds at least lie between two that were not asked for, and the folder keeps the newest ten.
    - `dashboard`: True shows the pipeline live in the browser, on http://127.0.0.1:8910 or, if that port is taken,
      where the log says; a number is the port. A `Dashboard` says more, and shows several pipelines.
    """

    def __init__(
        self,
        stages: Iterable[Element],
        end_stage: Element | None = None,
        buffer_size: SupportsIndex | Iterable[SupportsIndex] = _engine.DEFAULT_BUFFER_SIZE,
        multiprocess: bool = False,
        *,
        source: Source | None = None,
        sources: Sources | None = None,
        entrances: Entrances | None = None,
        overflow: Overflow | None = None,
        buffer_bytes: SupportsIndex | None = None,
        start_method: StartMethod = "spawn",
        max_age: float | None = None,
        on_fate: OnFate | None = None,
        dead_letters: str | os.PathLike[str] | DeadLetters | None = None,
        stall_timeout: float | None = None,
        record: SupportsIndex = _engine.DEFAULT_RECORD,
        dump_to: str | os.PathLike[str] | None = None,
        dashboard: bool | int | Dashboard = False,
    ) -> None:
        self._chain, count = checked_chain(stages, end_stage)
        self._buffer_size = _checked_sizes(buffer_size, count)
        self._multiprocess = checked_flag("multiprocess", multiprocess)
        self._lay_out()
        self._buffer_bytes = None if buffer_bytes is None else checked_count("buffer_bytes", buffer_bytes, "bytes")
        self._start_method: StartMethod = one_of("start_method", start_method, START_METHODS)
        self._overflow: Overflow | None = None if overflow is None else one_of("overflow", overflow, OVERFLOWS)
        self._max_age = None if max_age is None else checked_seconds("max_age", max_age)
        self._on_fate = checked_on_fate(on_fate)
        self._dead_letters = checked_dead_letters(dead_letters)
        self._stall_timeout = None if stall_timeout is None else checked_seconds("stall_timeout", stall_timeout)
        self._record = checked_number(
            "record",
            record,
            0,
            _engine.MOST_RECORD,
            f"0 to {_engine.MOST_RECORD}: so many samples of each stage are kept",
        )
        self._dump_to = None if dump_to is None else checked_folder("dump_to", dump_to)
        self._dashboard = checked_dashboard(dashboard)
        self._source = None if source is None else source_stage(source)
        self._entrances = [*checked_sources(sources), *checked_entrances(entrances)]
        if self._source is not None and self._entrances:
            raise GraphError("source stands beside sources or entrances: give it a name, as one of sources")
        self._running = Running()
        """The sources by the numbers of their workers."""
        self._loops = Loops()
        self._replaced: dict[int, Stage] = {}
        """The stages that have taken the places of others since the start."""
        self._engine: _engine.Engine | None = None
        self._threads: list[WorkerThread] = []
        self._notices: Notices | None = None
        self._discarded: Discarded | None = None
        self._fates: Fates | None = None
        self._joined = False
        self._aborted = False
        self._hand_over: HandOver | None = None
        """The end stage of a stream."""
        self._answers: Answers | None = None
        self._answers_made = threading.Lock()
        self._told = False
        """True if a failure has been raised to the caller."""
        self._described(_engine.Engine.check)

    def start(self, timeout: float | None = None, wait: bool = True) -> Self:
        """Starts every worker, and returns the pipeline when every `setup` has succeeded.

        With `wait=False` it returns at once, and what goes wrong in a `setup` comes from the next `put`, `join` or
        `setstop`; no stage runs before every `setup` has succeeded. Raises `StageError` for a `setup` that failed and
        `StartTimeout` for one that takes longer than `timeout` seconds; then nothing is left running.
        """
        timeout = checked_wait("timeout", timeout)
        self._check_fresh()
        self._check_processes()
        bodies = self._bodies()
        # Before anything runs, as its port may be taken.
        dashboard = shared_dashboard(self._dashboard)
        try:
            engine = self._engine = self._described(_engine.Engine)
            if dashboard is not None:
                dashboard.watch(self)
            _exit.watch(self)
            self._start_workers(engine, bodies)
            came_up = engine.wait_up(timeout) if wait else Startup.Up
        except BaseException as error:
            if self._engine is not None:
                self._give_up_start(self._engine, error)
            raise
        if wait:
            self._check_up(engine, came_up, timeout)
        return self

    def _check_up(self, engine: _engine.Engine, came_up: Startup, timeout: float | None) -> None:
        if came_up == Startup.Failed or self._aborted:
            engine.wait_ended(_engine.GRACE)
            self._check_processes_started()
            self._outcome(engine)
            raise StartError("the pipeline was aborted while it was starting")
        if came_up == Startup.TimedOut:
            late = ", ".join(engine.not_up())
            self._abort(engine)
            raise StartTimeout(f"start timed out after {timeout} s: still in setup: {late}; the pipeline was aborted")

    def put(self, x: Any, timeout: float | None = None, *, entrance: str | None = None) -> Ticket:
        """Puts one sample into the first buffer, by the entrance of that name where they have names.

        Safe from many threads. The ticket is true when the sample was accepted, and knows its `number`; it is false
        when the sample was dropped on arrival ("drop_newest"). Under "block" it waits for room, at most `timeout`
        seconds, then raises
        `PutTimeout`. Every error of `put` is a `PutError` and has the sample as its `value`; after a failure it is the
        `StageError` as well.
        """
        engine = self._entrance("put", x, entrance)
        ticket = engine.put(x, entrance, None if timeout is None else checked_wait("timeout", timeout))
        if ticket is None:
            raise self._refusal(engine, "put", x)
        return ticket

    def submit(self, x: Any, timeout: float | None = None, *, entrance: str | None = None) -> Answer:
        """Puts one sample as `put` does, and returns the answer to come: what the last stage gives for it.

        The answer is a `concurrent.futures.Future` that can be awaited, too. It always comes: where the last stage
        gives nothing for the sample, it raises a `NoAnswer` that names the sample's fate, also for a sample that was
        dropped on arrival. Under "block" it waits for room, at most `timeout` seconds, and so it does where very many
        answers are to come. Raises what `put` raises.
        """
        engine = self._entrance("submit", x, entrance)
        seconds = None if timeout is None else checked_wait("timeout", timeout)
        with self._answer_to(engine, "submit", x) as answer:
            ticket = engine.submit(x, entrance, answer, seconds)
            if ticket is None:
                raise self._refusal(engine, "submit", x)
        answer._number = ticket.number
        return answer

    def _entrance(self, call: str, x: Any, entrance: str | None) -> _engine.Engine:
        engine = self._engine
        if engine is None:
            raise PutError(f"{call} before start: call start() first, or use `with Pipeline(...) as p:`", x)
        if self._source is not None:
            raise PutError(f"{call} on a pipeline with a source: its samples come from the source alone", x)
        if entrance is not None and not isinstance(entrance, str):
            raise PutError(f"entrance is {what(entrance)}, but must be the name of one", x)
        return engine

    def _may_answer(self) -> bool:
        end = self._chain[-1] if self._chain else None
        # Parts come together again.
        ends_apart = isinstance(end, Branches) and end.split is None
        return self._source is None and not ends_apart

    @contextlib.contextmanager
    def _answer_to(self, engine: _engine.Engine, call: str, x: Any) -> Generator[Answer]:
        """Makes an answer that is expected from now on, unless its sample does not enter."""
        if not self._may_answer():
            raise PutError(f"{call} on a pipeline that ends in parallel: join the branches, or use put", x)
        answer, answers = Answer(), self._open_answers(engine, x)
        answers.pending.add(answer)
        try:
            yield answer
        except BaseException:
            answers.pending.discard(answer)
            raise

    def _open_answers(self, engine: _engine.Engine, x: Any) -> Answers:
        with self._answers_made:
            if self._answers is None:
                try:
                    self._answers = Answers(engine)
                except RuntimeError as error:
                    raise PutError(f"cannot start a thread for answers: {error}", x) from error
            return self._answers

    def _refusal(self, engine: _engine.Engine, what: str, x: Any) -> PutError:
        """Returns the error of a put after a failure."""
        failure = self._failure(engine, engine.report())
        if failure is None:
            return PutError(f"{what} after the pipeline failed", x)
        stage, doing, sample, report = failure.stage, failure.doing, failure.sample, failure.report
        refused = PutAfterFailure(str(failure), x, stage=stage, doing=doing, sample=sample, report=report)
        refused.__cause__ = failure.__cause__
        return refused

    def setstop(self, abort_after: float | None = None) -> Report:
        """Closes the entrance, lets everything inside flow out in order, and returns the report.

        It can be called again. After `abort_after` seconds what is still inside is discarded, as by `abort`. Raises
        `StageError` if a stage failed. From the pipeline's own stages it only requests the stop.
        """
        abort_after = checked_wait("abort_after", abort_after)
        engine = self._started("setstop")
        self._close(engine)
        return self._drain(engine, abort_after)

    def join(self) -> Report:
        """Waits for the source to end and for everything to flow out, and returns the report.

        Without a source it does the same as `setstop`. Ctrl-C drains, a second one aborts.
        """
        engine = self._started("join")
        if self._has_source():
            engine.close_after_sources()
        else:
            self._close(engine)
        return self._drain(engine, None)

    def add_source(self, name: str, source: Source | Entrance) -> None:
        """Adds a source while the pipeline runs, which began with named `sources` or `entrances`.

        A name is free again once the source that had it has ended; its row in the report goes on.
        """
        engine = self._started("add_source")
        described = checked_named_source("source", name, source)
        body = described.source
        assert body is not None
        for stage in self._chain[:1]:
            if not isinstance(stage, Branches):
                _check_neighbours(body, stage)
        _check_unused(body)
        number, worker = engine.add_source(described, body._deeppipeline_native)
        self._running[number] = body
        if worker is None:
            return
        thread = WorkerThread(worker.name, work, worker, body, body, False)
        thread.drives = body
        self._threads = [*(other for other in self._threads if other.is_alive() or not other.ident), thread]
        thread.start()

    def remove_source(self, name: str, timeout: float | None = None) -> bool:
        """Asks a source for nothing more, and waits until its own code has returned; False if that takes longer.

        What it gave flows out in order, and the others go on. From the pipeline's own stages it only asks.
        """
        engine = self._started("remove_source")
        timeout = checked_wait("timeout", timeout)
        if not isinstance(name, str):
            raise GraphError(f"name is {what(name)}, but must be the name of a source")
        engine.remove_source(name)
        self._wake_source(engine)
        return not engine.called_by_own_worker() and engine.wait_source_ended(name, timeout)

    def run(self, source: Source | None = None) -> Report:
        """Starts, takes all samples from the source, waits for everything to flow out, and returns the report."""
        self._check_fresh()
        self._needs_source("run", source)
        return self.start().join()

    def stream(self, source: Source | None = None) -> Stream:
        """Starts, takes samples from the source, and gives out what the last stage gives, in order: an iterator.

        Nothing is dropped unless an `overflow` says so: the source runs ahead only as far as the buffers let it.
        Stopping early ends the pipeline. Raises `StageError` from the iterator if a stage fails.
        """
        self._check_fresh()
        self._needs_source("stream", source)
        hand_over = self._hand_over = HandOver()
        self._add_end_stage(hand_over)
        self.start()
        return Stream(self, hand_over)

    def results(self, with_sample: bool = False) -> Results:
        """Starts, and gives out what the last stage gives, in order, while samples are put: an iterator.

        A caller that does not ask for the next result makes the pipeline wait, as a `stream` does, until `setstop`:
        what is inside then flows out, and the iterator has all that is left. `with_sample` makes each result a pair of
        the `Sample` that it comes from and the value. A sample that was submitted has its answer once its result was
        asked for.
        """
        self._check_fresh()
        with_sample = checked_flag("with_sample", with_sample)
        if self._source is not None:
            raise GraphError("results on a pipeline with a source: use stream(), or leave the source out")
        hand_over = self._hand_over = HandOver(with_sample, flows_out=True)
        self._add_end_stage(hand_over)
        self.start()
        return Results(self, hand_over)

    def simulate(
        self,
        durations: Durations,
        arrivals: Arrivals,
        *,
        flushes: Flushes = (),
        pauses: Pauses = (),
        scalings: Scalings = MappingProxyType({}),
    ) -> Report:
        """Returns the report of what would become of samples that arrive at these times: drops, order, ages, exactly.

        No stage runs, and no time passes: a virtual clock does. `durations` says of stages, by name, how many seconds
        each sample takes there: a number, or a function from the sample's number to one; otherwise none. Every stage
        gives one result for what it takes; a window by key counts as one of all samples. `arrivals` are times in
        seconds: `every(0.04, 100)` is a camera's. Where the pipeline has a source, these are its samples, and a full
        buffer does what it does behind that source; where entrances have names, `arrivals` is a dict of these and their
        times. `flushes` are the times at which the pipeline is flushed, or a dict of these by the names of sources,
        `pauses` pairs of times from when and until when the first stage is paused, or a dict of these by the names of
        stages, and `scalings` a dict of pairs of a time and the number of workers from then on, by the names of stages.
        The report names all samples that were dropped. The pipeline may still be started, or may have been.
        """
        return self._described(
            lambda description: simulate(description, durations, arrivals, flushes, pauses, scalings)
        )

    def flush(self, timeout: float | None = None, *, source: str | None = None) -> None:
        """Drops all that has entered by now, and returns when nothing of it leaves the pipeline any more.

        With `source`, the name of a source or an entrance, only what has entered by that: what others gave is
        untouched. A list that gives one result goes on if its newest sample does.

        What waits is counted as flushed, windows start empty, and a result that a stage still has in work is dropped as
        it is given; `self.cancelled` tells that stage. What enters afterwards is untouched. It waits as long as the end
        stages take for the sample that they work on, at most `timeout` seconds, then raises `FlushTimeout`: only that
        sample is left then. From the pipeline's own stages it only requests the flush. Once the pipeline has ended it
        does nothing.
        """
        timeout = checked_wait("timeout", timeout)
        engine = self._started("flush")
        if source is not None and not isinstance(source, str):
            raise GraphError(f"source is {what(source)}, but must be the name of a source or an entrance")
        engine.flush(source)
        if self._hand_over is not None:
            self._hand_over.look()
        if engine.called_by_own_worker():
            return
        late = engine.wait_flushed(timeout, lambda busy: logger.info("the flush waits for %s", busy))
        if late:
            raise FlushTimeout(
                f"flush timed out after {timeout} s: still at work on what had entered before: {', '.join(late)}; "
                "nothing else of it is left"
            )

    def abort(self) -> Report:
        """Discards what is inside and returns the report.

        Workers get 0.5 s to end and to run their `teardown`. One that is still in the user's code then is named in
        the report's `left_behind`, as is what was discarded and is still in its `__del__`. From the pipeline's own
        stages it only requests the abort.
        """
        return self._abort(self._started("abort"))

    def report(self) -> Report:
        """Returns a report of what happened to every sample up to now."""
        return self._started("report").report()

    def to_mermaid(self) -> str:
        """Returns the stages and what goes where as a Mermaid flowchart, with live numbers once it runs."""
        return self._present().to_mermaid()

    def to_svg(self) -> str:
        """Returns the same as an SVG picture, as a notebook shows the pipeline."""
        return self._present().to_svg()

    def _repr_html_(self) -> str:
        return self.to_svg()

    def _present(self) -> Report:
        """Returns the report, or before the start that of a pipeline in which nothing has happened."""
        if self._engine is not None:
            return self._engine.report()
        return self._described(_engine.Engine).report()

    def timeline(self) -> Timeline:
        """Returns when each of the last samples came to a stage, was taken there, and ended: the last `record` of each.

        A notebook shows it as a picture; `save("run.json")` writes a file that Perfetto opens
        (https://ui.perfetto.dev).
        """
        return self._started("timeline").timeline()

    def what_if(self, settings: Mapping[str, Mapping[str, object]] = MappingProxyType({})) -> Prediction:
        """Returns what the pipeline would do with other settings, as its last samples tell; without any, what it does.

        `settings` says of stages, by name, what would be otherwise: `{"detect": {"workers": 2, "buffer_size": 4}}`;
        `workers`, `buffer_size`, `overflow`, `max_age` in seconds, and `batch`, the samples of one at most. The samples
        that are kept (`record` says how many) come again, on a virtual clock: at the same times or, where those who
        brought them waited for room, as soon as there is some; each stage takes as long as it took for them. Of the
        processor it knows nothing: where more workers compute at the same time (`busy_workers`) than there are cores
        for, they make each other slower.
        """
        return self.timeline().what_if(_checked_settings(settings))

    def tune(self, goal: Literal["rate", "age"] = "rate", *, most_workers: SupportsIndex | None = None) -> Tuned:
        """Searches for settings with which the pipeline would do better, as `what_if` tells; it changes nothing.

        The goal "rate" is that more comes out, "age" that the 99th percentile of the age of what comes out is lower,
        and no less comes out. It tries numbers of workers, `most_workers` of all stages together at most (as many as
        there are cores, or as there are now, unless this says otherwise), and buffer sizes, step by step: there may be
        something better still.
        """
        one_of("goal", goal, ("rate", "age"))
        timeline = self.timeline()
        most = max(sum(stage.workers for stage in timeline.stages), os.cpu_count() or 1)
        return timeline._tune(
            goal, most if most_workers is None else checked_count("most_workers", most_workers, "workers")
        )

    def explain(self) -> Explanation:
        """Returns which stage limits the pipeline, and what it would do with other settings of that stage.

        Printing it says it in words. It looks at what the workers did in the last ten seconds, and asks the last
        samples as `what_if` does.
        """
        return self._started("explain").explain()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._engine is None:
            return  # in a forked child
        try:
            if isinstance(error, KeyboardInterrupt):
                self._drain_interrupted(self._engine, math.inf)
            else:
                self.setstop()
        except StageError:
            # What failed is on its way to the caller already.
            if not isinstance(error, StageError):
                raise

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None and not engine.wait_ended(0):
            if self._notices is not None and not self._aborted:
                self._notices.freed.is_true = True  # its thread tells: here, a handler may hold what it waits for
            self._request_abort()

    def _check_fresh(self) -> None:
        if self._engine is not None:
            raise StartError("start was called twice: a pipeline runs once; make a new Pipeline to run again")

    def _needs_source(self, what: str, source: Source | None) -> None:
        if source is not None:
            if self._has_source() or self._entrances:
                raise GraphError(f"{what} got a source, but the pipeline has one already: give one of the two")
            self._source = source_stage(source)
        if not self._has_source():
            raise GraphError(f"{what} needs a source: {what}(source), or Pipeline(source=..., ...)")

    def _sources(self) -> list[SourceStage]:
        """Returns the sources that are there from the beginning."""
        named = [entrance.source for entrance in self._entrances if entrance.source is not None]
        return named if self._source is None else [self._source]

    def _has_source(self) -> bool:
        return bool(self._running or self._sources())

    def _lay_out(self) -> None:
        self._row: Row = in_a_row(self._chain)
        self._executors: list[Executor] = [_executor_of(stage, self._multiprocess) for stage in self._row.stages]

    def _add_end_stage(self, stage: Stage) -> None:
        """Adds a stage of the package's own; buffer sizes are said of the user's stages."""
        self._chain.append(stage)
        self._lay_out()
        if isinstance(self._buffer_size, list):
            self._buffer_size.append(_engine.DEFAULT_BUFFER_SIZE)

    def _started(self, what: str) -> _engine.Engine:
        if self._engine is None:
            raise StartError(f"{what} before start: call start() first, or use `with Pipeline(...) as p:`")
        return self._engine

    def _place(self, index: int) -> tuple[Place, dict[int, Stage]]:
        stage = self._row.stages[index]
        if stage is self._hand_over:
            raise GraphError(f"{name_of(stage)!r} gives out the results, and cannot be replaced")
        present = {**dict(enumerate(self._row.stages)), **self._replaced}
        return Place(stage, self._executors[index], self._loops), present

    def _described(self, make: Callable[[PipelineDescription], T]) -> T:
        """Hands the description to the engine, which refuses what cannot work."""
        sources: list[SourceStage | None] = [*self._sources()]
        for source in sources or [None]:
            _check_native(source, self._chain)
        stages = [
            replace(as_the_engine_sees(stage), name=name_of(stage), executor=executor)
            for stage, executor in zip(self._row.stages, self._executors, strict=True)
        ]
        overflow = self._overflow or (None if self._hand_over is None else "block")
        return make(
            PipelineDescription(
                stages,
                self._row.blocks,
                self._buffer_size,
                self._buffer_bytes,
                overflow,
                self._source,
                self._entrances,
                self._may_answer(),
                self._on_fate is not None or self._dead_letters is not None,
                self._max_age,
                self._stall_timeout,
                self._record,
            )
        )

    def _check_processes(self) -> None:
        in_process = [
            (name_of(stage), stage)
            for stage, executor in zip(self._row.stages, self._executors, strict=True)
            if executor == "process"
        ]
        if in_process:
            check_not_in_a_worker_that_starts()
            check_stages(in_process, self._start_method)

    def _bodies(self) -> list[list[Stage | SourceStage]]:
        """Returns what the workers of each stage run, one entry per worker; those of sources last."""
        bodies: list[list[Stage | SourceStage]] = []
        for stage, executor in zip(self._row.stages, self._executors, strict=True):
            of_stage: list[Stage | SourceStage] = [*bodies_of(stage, options_of(stage), executor, self._loops)]
            bodies.append(of_stage)
        bodies.extend([source] for source in self._sources())
        return bodies

    def _start_workers(self, engine: _engine.Engine, of_stages: list[list[Stage | SourceStage]]) -> None:
        natives = [stage._deeppipeline_native for stage in self._row.stages]
        sources = self._sources()
        self._running.update(enumerate(sources))
        drivers = engine.drivers([*natives, *(source._deeppipeline_native for source in sources)])
        left = [iter(bodies) for bodies in of_stages]
        relay = Relay()
        gathering = Gathering(engine)
        workers = [
            (
                place,
                driver,
                next(left[index])
                if index is not None
                else relay
                if block is None
                else self._row.routers.get(block, gathering),
            )
            for index, block, place, driver in drivers
        ]
        notices = self._notices = Notices(engine, self._running, self._loops.cancel)
        for place, driver, body in reversed(workers):
            if driver is None:
                continue  # a native stage, on a thread of the engine
            options = options_of(body) if isinstance(body, Stage) else Options()
            thread = thread_for(driver, body, options, self._running, self._start_method)
            self._threads.append(thread)
            if thread.watch is not None and self._start_method == "fork":
                # Now, since a process that is forked beside threads may hang.
                try:
                    thread.watch.start()
                except Exception as error:
                    raise StartError(f"cannot start a process for stage {driver.name!r}: {error}") from error
            if place is not None:
                notices.threads[place] = thread
        try:
            self._discarded = Discarded(engine)
        except RuntimeError as error:
            raise StartError(f"cannot start a thread for what is discarded: {error}") from error
        try:
            self._fates = self._listener(engine)
        except RuntimeError as error:
            raise StartError(f"cannot start a thread for on_fate: {error}") from error
        try:
            if self._dump_to is not None:
                engine.dump_to(self._dump_to)
        except OSError as error:
            raise StartError(f"cannot start a thread for dump_to: {error}") from error
        try:
            engine.start_native()
        except OSError as error:
            raise StartError(f"cannot start a thread for a native stage: {error}") from error
        for thread in self._threads:
            try:
                thread.start()
            except RuntimeError as error:
                raise StartError(f"cannot start a thread for stage {thread.name!r}: {error}") from error
        try:
            notices.start()
        except RuntimeError as error:
            raise StartError(f"cannot start a thread for the log: {error}") from error

    def _listener(self, engine: _engine.Engine) -> Fates | None:
        """Starts the thread that hears of fates, if anybody asks for them."""
        if self._on_fate is None and self._dead_letters is None:
            return None
        keep = None if self._dead_letters is None else Writer(self._dead_letters).write
        return Fates(engine, self._on_fate, keep)

    def _give_up_start(self, engine: _engine.Engine, error: BaseException) -> None:
        """Ends what has no driver yet, after a failure between two steps of a start, wherever it was."""
        self._told = True
        # The frames of the traceback may own what no thread has got.
        tracebacks.clear_frames(error.__traceback__)
        engine.drop_drivers()
        for thread in self._threads:
            thread.give_up(error)
        self._abort(engine)

    def _check_processes_started(self) -> None:
        for thread in self._threads:
            if thread.watch is not None and (error := thread.watch.failure) is not None:
                self._told = True
                raise StartError(f"cannot start a process for stage {thread.name!r}: {error}") from error

    def _close(self, engine: _engine.Engine) -> None:
        engine.close()
        self._wake_source(engine)
        if self._hand_over is not None:
            self._hand_over.close()  # whoever waits for the end does not ask for values meanwhile

    def _drain(self, engine: _engine.Engine, abort_after: float | None) -> Report:
        if engine.called_by_own_worker():
            return engine.report()
        deadline = math.inf if abort_after is None else time.monotonic() + abort_after
        try:
            self._flow_out(engine, deadline)
        except KeyboardInterrupt:
            self._drain_interrupted(engine, deadline)
            raise
        return self._outcome(engine)

    def _drain_interrupted(self, engine: _engine.Engine, deadline: float) -> None:
        """Drains after a first Ctrl-C; the next one aborts."""
        try:
            logger.warning("interrupted: draining; interrupt again to abort")
            self._close(engine)
            self._flow_out(engine, deadline)
            self._join_threads(engine)
        except KeyboardInterrupt:
            self._abort(engine)
            raise

    def _flow_out(self, engine: _engine.Engine, deadline: float) -> None:
        """Waits until every worker has ended; aborts after the deadline."""

        def look() -> None:
            self._wake_source(engine)  # a native stage that failed cannot do it

        def note(waiting_for: str) -> None:
            look()
            logger.info("waiting for %s", waiting_for)

        def no_longer(waited_for: str) -> None:
            logger.warning("not drained in time, aborting; still busy: %s", waited_for)
            self._request_abort()

        engine.drain(None if deadline == math.inf else max(0.0, deadline - time.monotonic()), look, note, no_longer)

    def _wake_source(self, engine: _engine.Engine) -> None:
        for number in engine.sources_that_should_end():
            if number in self._running:
                self._running[number].wake()

    def _abort(self, engine: _engine.Engine) -> Report:
        self._request_abort()
        if engine.called_by_own_worker():
            return engine.report()
        engine.wait_aborted()
        return self._final_report(engine)

    def _request_abort(self) -> None:
        self._aborted = True
        if self._engine is not None:
            self._engine.abort()
            self._wake_source(self._engine)
            self._loops.cancel()
        if self._hand_over is not None:
            self._hand_over.give_up()

    def _outcome(self, engine: _engine.Engine) -> Report:
        report = self._final_report(engine)
        failure = self._failure(engine, report)
        if failure is not None:
            raise failure
        return report

    def _failure(self, engine: _engine.Engine, report: Report) -> StageError | None:
        found = engine.failure()
        if found is None:
            return None
        self._told = True
        message, stage, doing, sample, cause = found
        error = StageError(message, stage=stage, doing=doing, sample=sample, report=report)
        error.__cause__ = cause
        return error

    def _final_report(self, engine: _engine.Engine) -> Report:
        self._join_threads(engine)
        _aside.flush()
        return engine.final_report()

    def _join_threads(self, engine: _engine.Engine) -> None:
        """Waits for threads that have nothing more to do."""
        if engine.wait_ended(0):
            left = [self._running.get(number) for number in engine.sources_left_behind()]
            for thread in self._threads:
                if thread.is_alive() and (thread.drives is None or thread.drives not in left):
                    thread.join()
            self._threads.clear()
            engine.join_native()
            if self._notices is not None:
                self._notices.wait(_engine.GRACE)
            if self._answers is not None:
                self._answers.wait(_engine.GRACE)
            if self._discarded is not None:
                self._discarded.wait()
            if self._fates is not None:
                self._fates.wait()
            if not self._joined and any(source.still_closes(_engine.GRACE) for source in self._running.values()):
                logger.warning("close() of the source has not returned: it is left behind")
            self._joined = True

    def _drain_at_exit(self, patience: float) -> bool:
        """Drains as long as there is progress; the interpreter always exits. False if anything is lost by that."""
        engine = self._engine
        if engine is None:
            return True
        try:
            return self._drain_open(engine, patience)
        finally:
            if not engine.wait_ended(0) or engine.sources_left_behind():
                for source in self._running.values():
                    source.keep()

    def _drain_open(self, engine: _engine.Engine, patience: float) -> bool:
        drained = True
        try:
            self._close(engine)
            progress: list[tuple[int, StageCounts]] | None = None
            while not engine.wait_ended(0):
                if self._aborted:
                    return True  # what is still busy was left behind before
                before = progress
                progress = [(stage.buffer.taken, stage.counts) for stage in engine.report().stages]
                if progress == before:
                    stuck = engine.still_busy()
                    logger.error("the interpreter exits and does not wait any longer; still busy: %s", stuck)
                    drained = False
                    self._abort(engine)
                    break
                engine.wait_ended(patience)
            self._join_threads(engine)
        except KeyboardInterrupt:
            logger.warning("interrupted while the interpreter exits: aborting")
            self._abort(engine)
            drained = False
        if not self._told and (failure := self._failure(engine, engine.report())) is not None:
            logger.error("a pipeline that nobody waited for has failed: %s", failure)
            drained = False
        return drained

    def _forget(self) -> None:
        """Makes the pipeline one that was never started, in a forked child: there are no workers here."""
        if self._answers is not None:
            self._answers.forget()
        if not self._joined:
            self._engine = None
            self._threads = []


def _check_native(source: SourceStage | None, chain: Chain) -> None:
    """Native stages are typed: what one gives must be what the next takes. A Python stage between them may convert."""
    _check_chain(source, chain)
    if source is not None:
        _check_unused(source)


def _check_chain(before: SourceStage | Stage | Branches | None, chain: Chain) -> None:
    for after in chain:
        if isinstance(after, Branches) and after.split is not None:
            _check_chain(after.split, after.branches[0])
            before = after.put_together or after
            continue
        if isinstance(after, Branches):
            for branch in after.branches:
                _check_chain(before, branch)
        else:
            _check_neighbours(before, after)
            if after._deeppipeline_native:
                _check_unused(after)
                _check_native_options(after)
        before = after


def _check_neighbours(before: SourceStage | Stage | Branches | None, after: Stage) -> None:
    if before is None or not after._deeppipeline_native:
        return
    takes = after._deeppipeline_native.takes
    if isinstance(before, Branches) and before.router is not None:
        for way in before.branches:
            _check_neighbours(way[-1], after)
        return
    if isinstance(before, Branches):
        block = "parallel block" if before.split is None else "ForEach"
        raise GraphError(
            f"{_title(after)} takes a {takes}, but the {block} before it gives a tuple: "
            "put a stage between them that makes one of it"
        )
    gives = before._deeppipeline_native and before._deeppipeline_native.gives
    if gives is not None and gives != takes:
        raise GraphError(
            f"{_title(after)} takes a {takes}, but {_title(before)} before it gives "
            f"{'nothing' if gives == 'nothing' else 'a ' + gives}"
        )


def _check_unused(body: SourceStage | Stage) -> None:
    if body._deeppipeline_native and body._deeppipeline_native.used:
        raise GraphError(f"{_title(body)} has been part of a pipeline before: make a new one")


def _check_native_options(stage: Stage) -> None:
    options = options_of(stage)
    if isinstance(options.intake, (All, Batch, Window)):
        raise GraphError(f"{_title(stage)} takes one sample at a time: leave out intake={options.intake!r}")
    for option, number in (("workers", options.workers), ("max_workers", options.most_workers)):
        if number > 1:
            raise GraphError(
                f"{_title(stage)} is native and cannot be copied for several workers: leave out {option}={number}"
            )
    if isinstance(options.on_error, Retry):
        raise GraphError(
            f"{_title(stage)} is native and cannot be run again on a sample: leave out on_error=retry(...)"
        )


def _executor_of(stage: Stage, multiprocess: bool) -> Executor:
    """Returns where a stage runs: where its options say, else where the pipeline says; what is async, on a thread."""
    check_concurrency(stage)
    said = options_of(stage).executor
    if stage._deeppipeline_native is None:
        return said or ("process" if multiprocess and not is_async(stage) else "thread")
    if said == "process":
        raise GraphError(
            f"{name_of(stage)} is native and runs on a thread, without the GIL: leave out executor='process'"
        )
    return "thread"


def _title(body: SourceStage | Stage) -> str:
    return "the source" if isinstance(body, SourceStage) else name_of(body)


def _checked_settings(settings: object) -> dict[str, dict[str, object]]:
    wants = 'a dict of the names of stages and what is set of them: {"detect": {"workers": 2}}'
    if not isinstance(settings, Mapping):
        raise GraphError(f"settings is {what(settings)}, but must be {wants}")
    for stage, options in settings.items():
        if not isinstance(options, Mapping):
            raise GraphError(f"settings[{stage!r}] is {what(options)}, but settings must be {wants}")
    return {
        str(stage): {str(option): value for option, value in options.items()} for stage, options in settings.items()
    }


def _checked_sizes(buffer_size: SupportsIndex | Iterable[SupportsIndex], stages: int) -> int | list[int]:
    if isinstance(buffer_size, Iterable) and not isinstance(buffer_size, (str, bytes, dict)):
        sizes = [checked_count(f"buffer_size[{index}]", size) for index, size in enumerate(buffer_size)]
        if stages and len(sizes) != stages:
            raise GraphError(
                f"buffer_size has {len(sizes)} sizes, but the pipeline has {stages} stages "
                "(the end stage counts): give one size per stage, or a single number for all"
            )
        return sizes
    return checked_count("buffer_size", buffer_size)
