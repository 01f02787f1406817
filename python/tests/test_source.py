"""Samples from a source: an iterable on a worker of its own."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import WATCHDOG, Collect, Gate, Pass

from DeepPipeline import SKIP, Many, Pipeline, PutError, Report, Stage, StageError


class Camera:
    """Gives what it is sent, and waits in between; `close` wakes it."""

    def __init__(self) -> None:
        self.frames: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.waiting = threading.Semaphore(0)
        self.closed_by: list[threading.Thread] = []

    def __iter__(self) -> Iterator[Any]:
        while True:
            self.waiting.release()
            frame = self.frames.get()
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        self.closed_by.append(threading.current_thread())
        self.frames.put(None)

    def wait(self) -> None:
        assert self.waiting.acquire(timeout=WATCHDOG)


def test_run() -> None:
    for source in ([1, 2, 3], (x for x in (1, 2, 3)), range(1, 4), iter((1, 2, 3)), {1: 0, 2: 0, 3: 0}.keys()):
        end = Collect()
        report = Pipeline([Pass(), end]).run(source)
        assert end.got == [1, 2, 3]
        assert (report.outcome, report.stages[0].buffer.entered) == ("finished", 3)


def test_source_given_to_the_pipeline() -> None:
    end = Collect()
    Pipeline(source=range(3), stages=[Pass(), end]).run()
    assert end.got == [0, 1, 2]


class Live:
    """Samples that come at their own pace."""

    is_live = True

    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


def test_a_source_that_is_not_live_waits_for_room_in_front_of_every_stage() -> None:
    for source in (range(100), (x for x in range(100))):
        end = Collect()
        report = Pipeline(source=source, stages=[Pass(), Pass(), end], buffer_size=1).run()
        assert [stage.overflow for stage in report.stages] == ["block"] * 3
        assert end.got == list(range(100))


def test_a_live_source_does_not_wait_and_neither_does_put() -> None:
    report = Pipeline(source=Live(), stages=[Pass(), Pass()]).run()
    assert [stage.overflow for stage in report.stages] == ["drop_oldest"] * 2
    with Pipeline([Pass(), Pass()]) as p:
        assert [stage.overflow for stage in p.report().stages] == ["drop_oldest"] * 2


def test_overflow_overrules_what_a_source_says() -> None:
    report = Pipeline(source=Live(), stages=[Pass().options(overflow="drop_newest"), Pass()], overflow="block").run()
    assert [stage.overflow for stage in report.stages] == ["drop_newest", "block"]
    assert Pipeline([Pass()], overflow="drop_oldest").run([1]).stages[0].overflow == "drop_oldest"


def test_a_stream_waits_also_for_a_live_source() -> None:
    assert list(Pipeline([Pass()], buffer_size=1).stream(Live())) == [0, 1, 2]


def test_an_empty_source() -> None:
    assert Pipeline(source=[], stages=[Pass()]).run().stages[0].buffer.entered == 0


def test_none_is_a_sample_and_skip_is_not() -> None:
    end = Collect()
    Pipeline(source=[None, SKIP, 1, Many([2, 3])], stages=[end]).run()
    assert end.got == [None, 1, 2, 3]


def test_join_waits_for_the_source() -> None:
    camera, end = Camera(), Collect()
    p = Pipeline(source=camera, stages=[end]).start()
    for x in (1, 2, None):
        camera.frames.put(x)
    assert p.join().outcome == "finished"
    assert end.got == [1, 2]
    assert camera.closed_by == []


def test_a_report_tells_how_long_the_source_has_given_nothing() -> None:
    camera = Camera()
    p = Pipeline(source=camera, stages=[Collect()]).start()
    camera.wait()
    first, later = p.report().source(), p.report().source()
    assert first is not None and first.wait is not None
    assert later is not None and later.wait is not None
    assert 0 <= first.wait == first.longest_wait < later.wait == later.longest_wait
    source = p.setstop().source()
    assert source is not None and source.wait is None
    assert source.longest_wait >= later.wait
    with Pipeline([Collect()]) as without:
        assert without.report().sources == []


def test_setstop_wakes_it() -> None:
    camera, end = Camera(), Collect()
    p = Pipeline(source=camera, stages=[end]).start()
    camera.wait()
    camera.frames.put(1)
    camera.wait()
    assert p.setstop().outcome == "finished"
    assert end.got == [1]
    p.setstop()
    assert len(camera.closed_by) == 1


class Unclosable:
    """A source whose `close` waits for its reader, as that of `sys.stdin` does, and whose reader waits too."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.over = threading.Event()
        self.closing: threading.Thread | None = None

    def __iter__(self) -> Iterator[int]:
        self.asked.set()
        self.over.wait(WATCHDOG)
        return iter(())

    def close(self) -> None:
        self.closing = threading.current_thread()
        self.over.wait(WATCHDOG)


@pytest.mark.parametrize("stop", [lambda p: p.setstop(abort_after=0.1), Pipeline.abort], ids=["setstop", "abort"])
def test_whoever_stops_does_not_wait_for_a_close_that_waits(stop: Callable[[Pipeline], Report]) -> None:
    source = Unclosable()
    p = Pipeline(source=source, stages=[Pass()]).start(wait=False)
    assert source.asked.wait(WATCHDOG)
    try:
        assert stop(p).left_behind == ["source"]
        assert p.report().left_behind == ["source"], "a later report says so too"
        assert not source.over.is_set()
    finally:
        source.over.set()
    assert source.closing is not None
    assert source.closing is not threading.current_thread()


def test_a_close_that_does_not_return_is_named(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Camera):
        returned = threading.Event()

        def close(self) -> None:
            super().close()
            self.returned.wait(WATCHDOG)

    camera = Odd()
    p = Pipeline(source=camera, stages=[Pass()]).start()
    camera.wait()
    assert p.setstop().outcome == "finished"
    assert "close() of the source has not returned" in caplog.text
    camera.returned.set()


def test_abort_wakes_it() -> None:
    camera = Camera()
    p = Pipeline(source=camera, stages=[Pass()]).start()
    camera.wait()
    assert p.abort().left_behind == []
    assert len(camera.closed_by) == 1


def test_setstop_from_a_stage_wakes_it() -> None:
    camera = Camera()

    class Enough(Stage):
        def stage_run(self, x: Any) -> None:
            camera.wait()
            p.setstop()

    p = Pipeline(source=camera, stages=[Enough().options(name="enough")]).start()
    camera.wait()
    camera.frames.put(1)
    assert p.join().outcome == "finished"
    assert len(camera.closed_by) == 1


def test_a_failing_stage_wakes_it() -> None:
    camera = Camera()

    class Fails(Stage):
        def stage_run(self, x: Any) -> None:
            camera.wait()
            raise ValueError

    p = Pipeline(source=camera, stages=[Fails().options(name="fails")]).start()
    camera.wait()
    camera.frames.put(1)
    with pytest.raises(StageError, match="fails"):
        p.join()
    assert len(camera.closed_by) == 1


def test_setstop_from_the_source_itself() -> None:
    class Enough:
        closed = False

        def __iter__(self) -> Iterator[int]:
            yield 1
            p.setstop()
            yield 2
            raise AssertionError("asked again")

        def close(self) -> None:
            self.closed = True

    source, end = Enough(), Collect()
    p = Pipeline(source=source, stages=[end])
    p.start().join()
    assert end.got in ([1], [1, 2])
    assert not source.closed


def test_concurrent_setstops_close_it_once() -> None:
    camera = Camera()
    p = Pipeline(source=camera, stages=[Pass()]).start()
    camera.wait()
    threads = [threading.Thread(target=p.setstop) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(camera.closed_by) == 1


def test_a_source_that_raises_because_it_was_closed(tmp_path: Path) -> None:
    class Socket(Camera):
        def __iter__(self) -> Iterator[Any]:
            yield from super().__iter__()
            raise OSError("bad file descriptor")

    camera = Socket()
    p = Pipeline(source=camera, stages=[Pass()]).start()
    camera.wait()
    assert p.setstop().outcome == "finished"

    path = tmp_path / "lines"
    path.write_text("line\n" * 10_000)
    gate = Gate()
    with path.open() as lines:
        p = Pipeline(source=lines, stages=[gate], buffer_size=1).start()
        gate.in_flight()
        gate.let_go(10_000)
        assert p.setstop().outcome == "finished"


def test_a_close_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Camera):
        def close(self) -> None:
            super().close()
            raise OSError("cannot close")

    camera = Odd()
    p = Pipeline(source=camera, stages=[Pass()]).start()
    camera.wait()
    with caplog.at_level(logging.WARNING, "DeepPipeline"):
        assert p.setstop().outcome == "finished"
    assert "close() of the source raised" in caplog.text


def test_a_generator_is_closed_on_its_own_thread() -> None:
    closed_on: list[threading.Thread] = []
    started_on: list[threading.Thread] = []

    def frames() -> Iterator[int]:
        started_on.append(threading.current_thread())
        try:
            while True:
                yield 1
        finally:
            closed_on.append(threading.current_thread())

    p = Pipeline(source=frames(), stages=[Pass()]).start()
    while p.report().stages[0].buffer.entered == 0:
        pass
    p.setstop()
    assert closed_on == started_on
    assert closed_on[0].name == "source"


def test_an_iterator_that_cannot_be_made() -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise OSError("no camera")

    with pytest.raises(StageError, match='"source" failed in setup: OSError: no camera'):
        Pipeline(source=Broken(), stages=[Pass()]).start()


def test_nothing_is_asked_for_after_setstop() -> None:
    asked = []
    gate = Gate()

    def frames() -> Iterator[int]:
        for x in range(100):
            asked.append(x)
            yield x

    p = Pipeline(source=frames(), stages=[gate], buffer_size=1).start()
    gate.in_flight()
    gate.let_go(100)
    report = p.setstop()
    assert len(asked) <= 100
    assert report.stages[0].buffer.entered == len(asked)
    assert report.stages[0].counts.used == len(asked), "block loses nothing"


def test_put_is_refused_also_after_run() -> None:
    p = Pipeline([Pass()])
    p.run([1])
    with pytest.raises(PutError):
        p.put(2)
