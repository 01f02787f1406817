"""`on_fate`: the program hears of every sample that does not come through, once, as the report counts it."""

import logging
import threading
from collections import Counter
from typing import Any

import pytest
from support import Collect, Gate, Pass, wait_until

from DeepPipeline import SKIP, FateEvent, GraphError, Latest, Pipeline, Report, Stage

FATES_OF_BUFFERS = ("dropped_oldest", "dropped_newest", "superseded", "expired", "discarded")
FATES_OF_STAGES = ("absorbed", "skipped", "failed", "lost")


def counted(report: Report) -> Counter[tuple[str, str]]:
    """The counters of all that did not come through, by stage and fate."""
    counts: Counter[tuple[str, str]] = Counter()
    for stage in report.stages:
        for fate in FATES_OF_BUFFERS:
            counts[stage.name, fate] = getattr(stage.buffer, fate)
        for fate in FATES_OF_STAGES:
            counts[stage.name, fate] = getattr(stage.counts, fate)
        counts[stage.name, "flushed"] = stage.buffer.flushed + stage.counts.flushed
    return +counts


def told(events: list[FateEvent]) -> Counter[tuple[str, str]]:
    return Counter((event.stage, event.fate) for event in events)


class Inverse(Stage):
    def stage_run(self, x: int) -> int:
        return 10 // x


class SkipOdd(Stage):
    def stage_run(self, x: int) -> Any:
        return SKIP if x % 2 else x


def test_every_drop_is_told_with_its_number_and_value() -> None:
    gate, events = Gate(), list[FateEvent]()
    with Pipeline([gate], buffer_size=1, on_fate=events.append) as pipeline:
        pipeline.put("first")
        assert gate.in_flight() == "first"
        for x in range(100):
            pipeline.put(x)
        gate.let_go(2)
    assert [(event.number, event.fate, event.value) for event in events] == [
        (number, "dropped_oldest", number - 2) for number in range(2, 101)
    ]
    assert told(events) == counted(pipeline.report())


def test_a_sample_dropped_on_arrival_is_told_with_its_value() -> None:
    gate, events = Gate(), list[FateEvent]()
    with Pipeline([gate], buffer_size=1, overflow="drop_newest", on_fate=events.append) as pipeline:
        pipeline.put("in flight")
        gate.in_flight()
        pipeline.put("waiting")
        assert not pipeline.put("dropped")
        gate.let_go(2)
    assert [(event.number, event.fate, event.value) for event in events] == [(3, "dropped_newest", "dropped")]


@pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])
def test_failed_and_skipped_samples_are_told_with_stage_and_error(multiprocess: bool) -> None:
    events = list[FateEvent]()
    stages = [Inverse().options(on_error="skip"), SkipOdd()]
    report = Pipeline(stages, overflow="block", multiprocess=multiprocess, on_fate=events.append).run([2, 0, 1, 0])
    failed = [event for event in events if event.fate == "failed"]
    assert [(event.number, event.stage) for event in failed] == [(2, "Inverse"), (4, "Inverse")]
    assert all(isinstance(event.error, ZeroDivisionError) for event in failed)
    assert [(event.number, event.error) for event in events if event.fate == "skipped"] == [(1, None)]
    assert told(events) == counted(report)


def test_what_an_abort_discards_is_told_with_its_value() -> None:
    gate, events = Gate(), list[FateEvent]()
    pipeline = Pipeline([gate], buffer_size=3, on_fate=events.append).start()
    pipeline.put("in flight")
    gate.in_flight()
    pipeline.put("waiting")
    aborter = threading.Thread(target=pipeline.abort)
    aborter.start()
    wait_until(lambda: pipeline.report().outcome == "aborted")
    gate.let_go()
    aborter.join()
    assert [(event.fate, event.value) for event in events if event.fate == "discarded"] == [("discarded", "waiting")]


def test_the_source_of_a_sample_is_told() -> None:
    events = list[FateEvent]()
    sources = {"north": [1], "south": [0]}
    Pipeline([Inverse().options(on_error="skip")], sources=sources, on_fate=events.append).run()
    assert [(event.source, event.fate) for event in events] == [("south", "failed")]


def test_setstop_returns_when_the_function_has_had_all_events() -> None:
    go, events = threading.Event(), list[FateEvent]()

    def on_fate(event: FateEvent) -> None:
        go.wait()
        events.append(event)

    pipeline = Pipeline([Inverse().options(on_error="skip")], overflow="block", on_fate=on_fate).start()
    for _ in range(5):
        pipeline.put(0)
    stopper = threading.Thread(target=pipeline.setstop)
    stopper.start()
    go.set()
    stopper.join()
    assert len(events) == 5


def test_a_function_that_hangs_is_left_behind_by_an_abort() -> None:
    go = threading.Event()
    pipeline = Pipeline([SkipOdd()], on_fate=lambda _: go.wait()).start()
    pipeline.put(1)
    report = pipeline.setstop(abort_after=0)
    assert report.left_behind == ["on_fate"]
    go.set()


def test_events_beyond_those_that_may_wait_are_missed_and_counted() -> None:
    go, first, events = threading.Event(), threading.Event(), list[FateEvent]()

    def on_fate(event: FateEvent) -> None:
        first.set()
        go.wait()
        events.append(event)

    with Pipeline([SkipOdd(), Collect()], overflow="block", on_fate=on_fate) as pipeline:
        pipeline.put(1)
        first.wait()
        for _ in range(1100):
            pipeline.put(1)
        pipeline.put(2)
        pipeline.put(2)
        while pipeline.report().stage("SkipOdd").counts.skipped < 1101:
            pass
        go.set()
    report = pipeline.report()
    assert (len(events), report.fates_missed) == (1 + 1024, 76)


def test_a_function_that_raises_is_logged_once_and_called_again(caplog: pytest.LogCaptureFixture) -> None:
    def on_fate(event: FateEvent) -> None:
        raise ValueError(f"no room for {event.number}")

    pipeline = Pipeline([SkipOdd()], overflow="block", on_fate=on_fate)
    with caplog.at_level(logging.ERROR, "DeepPipeline"), pipeline:
        pipeline.put(1)
        pipeline.put(3)
    records = [record for record in caplog.records if "on_fate raised" in record.getMessage()]
    assert len(records) == 1 and "no room for 1" in caplog.text


def test_the_function_may_ask_for_a_stop_and_does_not_wait_for_itself() -> None:
    pipeline = Pipeline([SkipOdd()], on_fate=lambda _: pipeline.setstop())
    with pipeline:
        pipeline.put(1)
    assert pipeline.report().outcome == "finished"


def test_superseded_samples_are_told() -> None:
    gate, events = Gate(), list[FateEvent]()
    with Pipeline([gate.options(intake=Latest(), buffer_size=3), Pass()], on_fate=events.append) as pipeline:
        pipeline.put(0)
        gate.in_flight()
        for x in range(1, 4):
            pipeline.put(x)
        gate.let_go(2)
    assert [(event.number, event.fate) for event in events] == [(2, "superseded"), (3, "superseded")]


def test_on_fate_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(GraphError, match=r"on_fate is 3 \(int\), but must be a function"):
        Pipeline([Pass()], on_fate=3)  # type: ignore[arg-type]


async def awaited(event: FateEvent) -> None:
    pass


def test_on_fate_that_is_async_is_refused() -> None:
    with pytest.raises(GraphError, match=r"on_fate is async, .* asyncio\.run_coroutine_threadsafe"):
        Pipeline([Pass()], on_fate=awaited)
