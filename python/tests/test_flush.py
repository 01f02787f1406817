"""An exact cut: after `flush` nothing that had entered before comes out, and nothing else is missing."""

import logging
import queue
from contextlib import nullcontext
from typing import Any

import pytest
from process_stages import Pass as PassInProcess
from process_stages import UntilCancelled, Wire
from support import WATCHDOG, Collect, Gate, Pass, wait_until

from DeepPipeline import (
    Flushed,
    FlushTimeout,
    GraphError,
    Pipeline,
    PipelineError,
    Stage,
    StageError,
    StartError,
    retry,
)


def test_what_waits_is_flushed_and_what_enters_afterwards_comes_out() -> None:
    gate, end = Gate(), Collect()
    with Pipeline([gate, end], buffer_size=4) as p:
        for x in range(3):
            p.put(x)
        assert gate.in_flight() == 0
        p.flush()
        p.put("after")
        gate.let_go(2)
        assert gate.in_flight() == "after"
    report = p.report()
    assert end.got == ["after"]
    assert report.stages[0].buffer.flushed == 2
    assert report.stages[1].buffer.flushed == 1, "the result that was in work"
    assert report.balances()


def test_the_end_stage_is_waited_for() -> None:
    end = Gate()
    with Pipeline([end]) as p:
        p.put(1)
        assert end.in_flight() == 1
        with pytest.raises(
            FlushTimeout, match=r"after 0\.01 s: still at work on what had entered before: Gate"
        ) as caught:
            p.flush(timeout=0.01)
        assert isinstance(caught.value, PipelineError) and isinstance(caught.value, TimeoutError)
        end.let_go()
        p.flush()
        assert p.report().stages[0].counts.used == 1


class Speaks(Stage):
    """Works until it is told that nobody wants to hear it."""

    def __init__(self) -> None:
        self.begun: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def stage_run(self, x: Any) -> Any:
        assert not self.cancelled
        self.begun.put(x)
        while x == "old" and not self.cancelled:
            pass
        return x


def test_a_stage_that_takes_long_is_told() -> None:
    speaks, end = Speaks(), Collect()
    with Pipeline([speaks, end]) as p:
        p.put("old")
        assert speaks.begun.get(timeout=WATCHDOG) == "old"
        p.flush()
        p.put("new")
    assert end.got == ["new"]
    assert not speaks.cancelled, "outside of stage_run"


def test_a_stage_in_a_process_is_told() -> None:
    begun, end = Wire(), Collect()
    with Pipeline(
        [UntilCancelled(begun).options(executor="process"), PassInProcess().options(executor="process"), end]
    ) as p:
        p.put("old")
        assert begun.get() == "old"
        p.flush()
        p.put("new")
        assert begun.get() == "new"
    assert end.got == ["new"]
    assert p.report().balances()


@pytest.mark.parametrize("key", [None, lambda x: x % 1, lambda x: {"all": x}], ids=["one", "by key", "by keys"])
def test_windows_start_empty(key: Any) -> None:
    got: list[Any] = []

    class Lists(Stage):
        def stage_run(self, x: Any) -> Any:
            got.append(dict(x) if isinstance(x, dict) else x)

    gate = Gate()
    with Pipeline([gate, Lists().set_get_window(2, key=key)], overflow="block") as p:
        gate.let_go(4)
        for x in (1, 2):
            p.put(x)
            assert gate.in_flight() == x
        while not any(got):
            pass
        p.flush()
        for x in (3, 4):
            p.put(x)
    assert [x["all"] if isinstance(x, dict) else x for x in got if x] == [[1, 2], [3, 4]]
    assert p.report().balances()


def test_what_is_flushed_is_not_tried_again() -> None:
    gate = Gate()

    class Fails(Stage):
        runs = 0

        def stage_run(self, x: Any) -> Any:
            self.runs += 1
            gate.stage_run(x)
            raise ValueError(x)

    fails = Fails()
    with Pipeline([fails.options(on_error=retry(5)), Collect()]) as p:
        p.put(1)
        assert gate.in_flight() == 1
        p.flush()
        gate.let_go()
    assert fails.runs == 1
    assert p.report().stages[0].counts.flushed == 1
    assert p.report().balances()


def test_a_stage_only_requests_it() -> None:
    end = Collect()

    class Flushes(Stage):
        def stage_run(self, x: Any) -> Any:
            if x == 2:
                p.flush()
                assert self.cancelled
            return x

    with Pipeline([Flushes(), end], overflow="block") as p:
        for x in (1, 2):
            p.put(x)
        while p.report().stages[1].buffer.flushed + p.report().stages[0].buffer.flushed < 1:
            pass
        p.put(3)
    assert end.got[-1] == 3 and 2 not in end.got


def test_a_stream_gives_nothing_old() -> None:
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()

    def numbers() -> Any:
        while (x := asked.get()) > 0:
            yield x

    p = Pipeline([Pass()], source=numbers())
    stream = p.stream()
    asked.put(1)
    while p.report().stages[1].counts.in_flight < 1:
        pass
    p.flush()
    asked.put(2)
    asked.put(0)
    assert list(stream) == [2]


def test_what_is_flushed_makes_room() -> None:
    gate, end = Gate(), Collect()
    with Pipeline([gate, end], buffer_size=1, overflow="block") as p:
        p.put(1)
        assert gate.in_flight() == 1
        p.put(2)
        p.flush()
        p.put(3)
        gate.let_go(2)
    assert end.got == [3]


def test_a_flush_before_the_start_is_refused_and_after_the_end_does_nothing() -> None:
    p = Pipeline([Collect()])
    with pytest.raises(StartError, match="flush before start"):
        p.flush()
    with p:
        p.put(1)
    before = p.report().stages[0].buffer.to_dict()
    p.flush()
    assert p.report().stages[0].buffer.to_dict() == before


def test_a_flush_after_a_failure_does_nothing() -> None:
    def fails(x: Any) -> None:
        raise ValueError(x)

    p = Pipeline([fails]).start()
    p.put(1)
    with pytest.raises(StageError):
        p.setstop()
    p.flush(timeout=WATCHDOG)
    assert p.report().balances()


def test_an_aborted_pipeline_keeps_no_flush_waiting(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    end = Gate()
    p = Pipeline([end]).start()
    p.put(1)
    assert end.in_flight() == 1
    p.abort()
    p.flush()
    end.let_go()
    assert p.report().balances()


@pytest.mark.parametrize("timeout", [-1, "soon", True])
def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    with Pipeline([Collect()]) as p, pytest.raises(GraphError, match="timeout is"):
        p.flush(timeout=timeout)


@pytest.mark.parametrize("end_stage", [Gate, PassInProcess])
def test_one_entrance_is_flushed_and_the_others_are_untouched(end_stage: type[Stage]) -> None:
    gate, end = Gate(), Collect()
    stages = [gate, end] if end_stage is Gate else [gate, end_stage(), end]
    with Pipeline(entrances=["ann", "bob"], stages=stages, buffer_size=4) as p:
        for x in range(3):
            p.put(f"ann {x}", entrance="ann")
            p.put(f"bob {x}", entrance="bob")
        assert gate.in_flight() == "ann 0"
        p.flush(source="ann")
        p.put("ann again", entrance="ann")
        gate.let_go(5)
    report = p.report()
    assert end.got == ["bob 0", "ann again", "bob 1", "bob 2"]
    assert (report.source("ann").counts.flushed, report.source("bob").counts.flushed) == (2, 0)
    assert report.stages[1].buffer.flushed == 1, "the result that was in work"
    assert report.balances()


def test_only_a_stage_that_works_for_the_source_is_told() -> None:
    told: dict[str, list[bool]] = {"ann": [], "bob": []}
    begun: queue.SimpleQueue[Any] = queue.SimpleQueue()
    go_on: queue.SimpleQueue[None] = queue.SimpleQueue()

    class Speaks(Stage):
        def stage_run(self, x: str) -> None:
            begun.put(x)
            go_on.get()
            told[x].append(self.cancelled)

    with Pipeline(entrances=["ann", "bob"], stages=[Speaks()]) as p:
        for name in ("ann", "bob"):
            p.put(name, entrance=name)
            assert begun.get(timeout=WATCHDOG) == name
            with nullcontext() if name == "bob" else pytest.raises(FlushTimeout):
                p.flush(timeout=0, source="ann")
            go_on.put(None)
    assert told == {"ann": [True], "bob": [False]}


def test_a_window_keeps_what_is_of_other_sources() -> None:
    end = Collect()
    window = Pass().set_get_window(3)
    with Pipeline(entrances=["ann", "bob"], stages=[window, end], buffer_size=4, overflow="block") as p:
        p.put("ann 0", entrance="ann")
        p.put("bob 0", entrance="bob")
        wait_until(lambda: p.report().stages[0].counts.in_flight == 2)
        p.flush(source="ann")
        p.put("bob 1", entrance="bob")
        p.put("bob 2", entrance="bob")
    assert end.got == [["bob 0", "bob 1", "bob 2"]]
    counts = p.report().stages[0].counts
    assert (counts.flushed, counts.used, counts.absorbed) == (1, 1, 2)


def test_an_answer_of_another_source_still_comes() -> None:
    gate = Gate()
    with Pipeline(entrances=["ann", "bob"], stages=[gate], buffer_size=4) as p:
        ann, bob = (p.submit(name, entrance=name) for name in ("ann", "bob"))
        assert gate.in_flight() == "ann"
        late = p.submit("late", entrance="ann")
        with pytest.raises(FlushTimeout):
            p.flush(source="ann", timeout=0)
        gate.let_go(2)
        assert (ann.result(WATCHDOG), bob.result(WATCHDOG)) == ("ann", "bob"), "the last stage had the one in work"
        with pytest.raises(Flushed):
            late.result(WATCHDOG)


def test_what_has_no_such_name_is_refused_with_the_known_ones() -> None:
    with Pipeline(entrances=["ann", "bob"], stages=[Pass()]) as p:
        with pytest.raises(GraphError, match=r'no source or entrance is named "eve"; there are \["ann", "bob"\]'):
            p.flush(source="eve")
        with pytest.raises(GraphError, match=r"source is 7 .*but must be the name of a source or an entrance"):
            p.flush(source=7)  # type: ignore[arg-type]
    with Pipeline([Pass()]) as p, pytest.raises(GraphError, match='"ann": the pipeline has one, without a name'):
        p.flush(source="ann")
