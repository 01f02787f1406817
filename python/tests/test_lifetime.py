"""Samples, exceptions, stages and pipelines are freed when nobody needs them any longer."""

import gc
import logging
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from support import WATCHDOG, Collect, Gate, Pass

from DeepPipeline import SKIP, Many, Parallel, Pipeline, PutTimeout, Stage, StageError


class Thing:
    """A sample that tells when it is freed."""

    def __init__(self) -> None:
        self.freed = threading.Event()
        weakref.finalize(self, self.freed.set)


class Drop(Stage):
    """An end stage that keeps nothing."""

    def stage_run(self, x: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """What is freed here is freed by reference counts, unless a test asks for more."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def put_thing(p: Pipeline) -> threading.Event:
    thing = Thing()
    p.put(thing)
    return thing.freed


def test_a_used_sample_is_freed_while_the_workers_wait() -> None:
    for stages in ([Pass(), Pass(), Drop()], [Drop()], [Pass().set_get_latest(), Drop()]):
        with Pipeline(stages, overflow="drop_oldest") as p:
            assert put_thing(p).wait(WATCHDOG)


def test_a_list_is_freed() -> None:
    with Pipeline([Drop().set_get_all()], buffer_size=2) as p:
        freed = [put_thing(p), put_thing(p)]
        assert all(event.wait(WATCHDOG) for event in freed)


def test_a_skipped_sample_is_freed() -> None:
    class Skips(Stage):
        def stage_run(self, x: Any) -> Any:
            return SKIP

    with Pipeline([Skips(), Drop()]) as p:
        assert put_thing(p).wait(WATCHDOG)


def test_a_sample_that_failed_is_freed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "DeepPipeline")

    class Fails(Stage):
        def stage_run(self, x: Any) -> Any:
            raise ValueError

    class Splits(Stage):
        def stage_run(self, x: Any) -> Many:
            def values() -> Iterator[Any]:
                yield x
                raise ValueError

            return Many(values())

    for stage in (Fails(), Splits()):
        with Pipeline([stage.options(on_error="skip"), Drop()]) as p:
            assert put_thing(p).wait(WATCHDOG)


def test_a_dropped_sample_is_freed() -> None:
    gate = Gate()
    p = Pipeline([gate, Drop()], buffer_size=1).start()
    p.put(1)
    gate.in_flight()
    first, second = put_thing(p), put_thing(p)
    assert first.is_set()
    assert not second.is_set()
    gate.let_go(2)
    p.setstop()
    gate.in_flight()
    assert second.wait(WATCHDOG)


def test_a_sample_dropped_on_arrival_is_freed() -> None:
    gate = Gate()
    p = Pipeline([gate], buffer_size=1, overflow="drop_newest").start()
    p.put(1)
    gate.in_flight()
    p.put(2)
    assert put_thing(p).is_set()
    gate.let_go(2)
    p.setstop()


def test_a_superseded_sample_is_freed() -> None:
    gate = Gate().set_get_latest()
    p = Pipeline([gate], buffer_size=4).start()
    p.put(1)
    gate.in_flight()
    freed = put_thing(p)
    p.put(2)
    gate.let_go()
    assert gate.in_flight() == 2
    assert freed.wait(WATCHDOG)
    gate.let_go()
    p.setstop()


def test_a_discarded_sample_is_freed() -> None:
    gate = Gate()
    p = Pipeline([gate], buffer_size=1).start()
    p.put(1)
    gate.in_flight()
    freed = put_thing(p)
    p.abort()
    assert freed.is_set()
    gate.let_go()


def test_the_collector_frees_nothing_of_a_failed_pipeline(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "DeepPipeline")

    class Fails(Stage):
        def stage_run(self, x: Any) -> Any:
            if x == "bad":
                raise ValueError
            return x

    class Ends(Stage):
        def stage_run(self, x: Any) -> Any:
            return SKIP if isinstance(x, Thing) else x

    one, other = Gate(), Gate()
    p = Pipeline([Fails(), Parallel([one, [Ends(), other]]), Drop()], overflow="block").start()
    freed = put_thing(p)
    one.in_flight()
    one.let_go()
    p.put(1)
    assert one.in_flight() == other.in_flight() == 1
    p.put("bad")
    # The other branch has ended the thing, of which this one has a result in the join.
    while p.report().outcome != "failed" or p.report().joins[0].counts.unjoined < 1:
        time.sleep(0.001)
    gc.collect()
    assert not freed.is_set()
    one.let_go()
    other.let_go()
    with pytest.raises(StageError):
        p.setstop()
    assert freed.wait(WATCHDOG)


def test_a_sample_that_was_not_taken_is_the_callers_alone() -> None:
    gate = Gate()
    p = Pipeline([gate], buffer_size=1, overflow="block").start()
    p.put(1)
    gate.in_flight()
    p.put(2)
    thing = Thing()
    before = sys.getrefcount(thing)
    with pytest.raises(PutTimeout):
        p.put(thing, timeout=0.01)
    gc.collect()
    assert sys.getrefcount(thing) == before
    gate.let_go(2)
    p.setstop()


def test_counts_come_back() -> None:
    thing, end = object(), Collect()
    before = sys.getrefcount(thing)
    p = Pipeline([Pass(), Pass().set_get_all(), end], overflow="block").start()
    for _ in range(100):
        p.put(thing)
    p.setstop()
    assert sum(len(got) for got in end.got) == 100
    end.got.clear()
    assert sys.getrefcount(thing) == before


def test_a_finished_pipeline_is_freed() -> None:
    stage = Pass()
    p = Pipeline([stage, Drop()], overflow="block").start()
    p.put(1)
    p.setstop()
    stage_is, pipeline_is = weakref.ref(stage), weakref.ref(p)
    del p, stage
    assert (stage_is(), pipeline_is()) == (None, None)


def test_a_pipeline_that_was_never_started_is_freed() -> None:
    p = Pipeline([Drop()])
    is_alive = weakref.ref(p)
    del p
    assert is_alive() is None


@pytest.mark.parametrize("knows_its_pipeline", [False, True])
@pytest.mark.parametrize("where", ["setup", "stage_run", "finish", "teardown"])
def test_a_failed_pipeline_is_freed(monkeypatch: pytest.MonkeyPatch, where: str, knows_its_pipeline: bool) -> None:
    # What pytest captures of the log keeps the exception.
    monkeypatch.setattr(logging.getLogger("DeepPipeline"), "propagate", False)

    class Mine(Exception):
        pass

    class Fails(Pass):
        pipeline: Pipeline | None = None

    def fails(*arguments: Any) -> None:
        raise Mine

    def run() -> list[weakref.ref[Any]]:
        stage = Fails()
        setattr(stage, where, fails)
        p = Pipeline([stage, Drop()], overflow="block")
        if knows_its_pipeline:
            stage.pipeline = p
        with pytest.raises(StageError) as caught:
            p.run([1])
        return [weakref.ref(x) for x in (stage, p, caught.value.__cause__)]

    alive = run()
    gc.collect()
    assert [x() for x in alive] == [None, None, None]


def test_the_last_reference_aborts_and_does_not_wait() -> None:
    gate, end = Gate(), Collect()
    p = Pipeline([gate, end], overflow="block").start()
    p.put(1)
    gate.in_flight()
    p.put(2)
    p.put(3)
    worker = next(thread for thread in threading.enumerate() if thread.name == "Gate")
    is_alive = weakref.ref(p)
    del p
    assert is_alive() is None, "no worker keeps it"
    assert worker.is_alive(), "nobody waited for the stage"
    gate.let_go()
    worker.join(WATCHDOG)
    assert end.got == []


def log_of(p: Pipeline) -> threading.Thread:
    assert p._notices is not None
    return p._notices._thread


def test_the_last_reference_to_one_that_is_open_is_told_with_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    p = Pipeline([gate, Collect()], overflow="block").start()
    p.put(1)
    gate.in_flight()
    p.put(2)
    p.put(3)
    log = log_of(p)
    del p
    gate.let_go()
    log.join(WATCHDOG)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "freed while it was open, and is aborted: 3 samples were discarded; use `with`" in record.getMessage()


def test_the_last_reference_to_one_that_was_ended_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    for end in (Pipeline.setstop, Pipeline.abort):
        p = Pipeline([gate, Collect()], overflow="block").start()
        p.put(1)
        gate.in_flight()
        log, ending = log_of(p), threading.Thread(target=end, args=(p,))
        ending.start()
        gate.let_go()
        ending.join()
        del p, ending
        log.join(WATCHDOG)
    assert caplog.records == []


def test_the_last_reference_wakes_the_source() -> None:
    closed = threading.Event()

    class Camera:
        def __iter__(self) -> Iterator[int]:
            closed.wait()
            return iter(())

        def close(self) -> None:
            closed.set()

    p = Pipeline(source=Camera(), stages=[Drop()]).start(wait=False)
    del p
    assert closed.wait(WATCHDOG)


def test_the_last_reference_in_a_worker() -> None:
    class Owner(Stage):
        def __init__(self) -> None:
            self.pipelines: list[Pipeline] = []
            self.dropped = threading.Event()

        def stage_run(self, x: Any) -> None:
            x.wait()
            self.pipelines.clear()
            self.dropped.set()

    owner, go = Owner(), threading.Event()
    owner.pipelines.append(Pipeline([owner]).start())
    owner.pipelines[0].put(go)
    go.set()
    assert owner.dropped.wait(WATCHDOG)


def test_del_of_a_sample_that_puts() -> None:
    """User code in a finalizer runs outside of every lock."""
    end = Collect()
    gate = Gate()
    p = Pipeline([gate, end], buffer_size=1, overflow="drop_oldest").start()
    other_end = Collect()
    other = Pipeline([other_end], overflow="block").start()
    p.put(1)
    gate.in_flight()

    class Heavy:
        def __del__(self) -> None:
            p.report()
            other.put("freed")

    p.put(Heavy())
    p.put(2)
    gate.let_go(2)
    p.setstop()
    other.setstop()
    assert other_end.got == ["freed"]
    assert 2 in end.got
