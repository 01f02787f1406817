"""Sources that are opened again after an error or an end, while the others go on."""

from __future__ import annotations

import functools
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from DeepPipeline import Entrance, GraphError, Pipeline, Restart, Stage, StageError

modes = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])

SOON = 1e-6
"""A wait that is soon over."""
LONG = 3600.0
"""A wait that no test waits for."""


class Ask(Stage):
    def stage_run(self, x: Any) -> Any:
        assert self.sample is not None
        return self.sample.number, x


class Ignore(Stage):
    def stage_run(self, x: Any) -> None:
        pass


class Camera:
    """Gives what it is handed: raises an exception, and ends with a None."""

    is_live = True

    def __init__(self, frames: queue.SimpleQueue[Any]) -> None:
        self.frames = frames
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        frame = self.frames.get()
        if frame is None:
            raise StopIteration
        if isinstance(frame, Exception):
            raise frame
        return frame

    def close(self) -> None:
        self.closed.set()
        self.frames.put(None)


class Bench:
    """Opens cameras, and keeps them."""

    def __init__(self) -> None:
        self.frames: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.opened: list[Camera] = []

    def open(self) -> Camera:
        self.frames = queue.SimpleQueue()
        self.opened.append(Camera(self.frames))
        return self.opened[-1]


def fails(times: float = float("inf"), then: Callable[[], Any] = list) -> Callable[[], Any]:
    """A function that fails so many times, and then opens something."""
    calls = itertools.count(1)

    def open() -> Any:
        if (call := next(calls)) <= times:
            raise ConnectionError(f"failure {call}")
        return then()

    return open


def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        pass


def is_asked(pipeline: Pipeline, bench: Bench, opened: int) -> bool:
    """Returns true if the last of so many cameras is asked for a frame."""
    return len(bench.opened) == opened and pipeline.report().source().wait is not None


@modes
def test_a_source_that_fails_is_opened_again_and_numbers_go_on(multiprocess: bool) -> None:
    opened = itertools.count(1)

    def camera() -> Iterator[tuple[int, int]]:
        if (time := next(opened)) > 3:
            raise ConnectionError("gone for good")
        for i in range(5):
            yield time, i
        raise ConnectionError("camera went away")

    stream = Pipeline([Ask()], multiprocess=multiprocess).stream(Restart(camera, wait=SOON, times=1))
    got = list(itertools.islice(stream, 15))
    assert [number for number, _ in got] == list(range(1, 16))
    assert [x for _, x in got] == [(n, i) for n in (1, 2, 3) for i in range(5)]
    with pytest.raises(StageError, match="gone for good"):
        next(stream)


def test_a_source_that_ends_is_opened_again() -> None:
    with Pipeline([Ignore()], source=Restart(lambda: range(3), wait=SOON)) as p:
        until(lambda: p.report().source().counts.taken >= 9)
        report = p.setstop()
    assert report.source().restarts >= 2
    assert report.source().last_error is None
    assert report.balances()


def test_a_source_that_cannot_be_opened_so_often_has_failed() -> None:
    with pytest.raises(StageError, match="the source failed to open: ConnectionError: failure 3") as raised:
        Pipeline([Ignore()]).run(Restart(fails(), wait=SOON, times=2))
    assert isinstance(raised.value.__cause__, ConnectionError)
    assert raised.value.doing == "source_open"
    assert raised.value.report is not None
    row = raised.value.report.source()
    assert (row.state, row.restarts, row.next_try) == ("failed", 2, None)


def test_while_one_waits_the_others_go_on_and_the_report_says_for_what(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    sources = {
        "broken": Restart(fails(), wait=LONG, at_most=LONG),
        "fine": Restart(bench.open, wait=LONG, at_most=LONG),
    }
    with caplog.at_level(logging.INFO, "DeepPipeline"), Pipeline([Ignore()], sources=sources) as p:
        until(lambda: p.report().source("broken").state == "waiting")
        row = p.report().source("broken")
        assert "failure 1" in str(row.last_error)
        assert row.next_try is not None and 0 < row.next_try <= LONG
        until(lambda: p.report().source("fine").state == "streaming")
        bench.frames.put(1)
        until(lambda: p.report().source("fine").counts.taken == 1)
        bench.frames.put(ConnectionError("for a moment"))
        until(lambda: p.report().source("fine").state == "waiting")
        report = p.setstop()
    assert [row.state for row in report.sources] == ["ended", "ended"]
    lost = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sorted(lost) == [
        'source "broken" failed: ConnectionError: failure 1; it is opened again in 3600s',
        'source "fine" failed: ConnectionError: for a moment; it is opened again in 3600s',
    ]


def test_the_log_says_when_a_source_gives_samples_again(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "DeepPipeline"):
        with Pipeline([Ignore()], source=Restart(fails(3, lambda: range(2)), wait=SOON)) as p:
            until(lambda: p.report().source().counts.taken >= 2)
        said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith('source "source" failed: ConnectionError: failure 1; it is opened again in')
    assert said[1:] == ['source "source" gives samples again']


@pytest.mark.parametrize("end", ["setstop", "abort", "remove_source"])
def test_a_wait_ends_at_once(end: str) -> None:
    p = Pipeline([Ignore()], entrances=["door"]).start()
    p.add_source("gone", Entrance(Restart(fails(), wait=LONG, at_most=LONG)))
    until(lambda: p.report().source("gone").state == "waiting")
    if end == "remove_source":
        assert p.remove_source("gone")
    report = p.abort() if end == "abort" else p.setstop()
    assert report.source("gone").state == "ended"
    assert not report.left_behind


def test_what_was_open_is_closed_before_it_is_opened_again() -> None:
    bench = Bench()
    with Pipeline([Ignore()], source=Restart(bench.open, wait=SOON, is_live=True)) as p:
        for number, last in enumerate([ConnectionError(), None]):
            until(functools.partial(is_asked, p, bench, number + 1))
            bench.frames.put(last)
            assert bench.opened[number].closed.wait(30)
        until(functools.partial(is_asked, p, bench, 3))
        report = p.setstop()
    assert bench.opened[2].closed.is_set()
    assert (report.source().restarts, report.source().state) == (2, "ended")


def test_a_generator_is_closed_before_it_is_opened_again() -> None:
    ended = queue.SimpleQueue[str]()

    def camera() -> Iterator[int]:
        try:
            yield 1
            raise OSError
        finally:
            ended.put(threading.current_thread().name)

    with Pipeline([Ignore()], source=Restart(camera, wait=SOON)):
        assert [ended.get() for _ in range(3)] == ["source"] * 3


def test_one_that_only_ends_without_a_sample_has_ended_at_last() -> None:
    report = Pipeline([Ignore()]).run(Restart(list, wait=SOON, times=2))
    row = report.source()
    assert (row.state, row.last_error, row.restarts) == ("ended", None, 2)


def test_what_is_no_source_is_a_failure() -> None:
    for nothing in (None, 5, "rtsp://camera", Restart(list)):
        with pytest.raises(StageError, match="function of a Restart gave"):
            Pipeline([Ignore()]).run(Restart([nothing, nothing].pop, wait=SOON, times=1))


def test_it_says_of_itself_whether_it_is_live() -> None:
    def overflow(restart: Any) -> str:
        with Pipeline([Ignore()], source=restart) as p:
            return p.report().stages[0].overflow

    class Live:
        is_live = True

        def __iter__(self) -> Iterator[int]:
            return iter(())

    assert overflow(Restart(list)) == "block"
    assert overflow(Restart(list, is_live=True)) == "drop_oldest"
    assert overflow(Restart(Live)) == "drop_oldest"
    assert overflow(Restart(Live, is_live=False)) == "block"


@pytest.mark.parametrize(
    ("open", "options", "says"),
    [
        ([1, 2], {}, r"Restart got \[1, 2\] \(list\), but must get a function that opens the source"),
        (Camera(queue.SimpleQueue()), {}, "but must get a function"),
        (list, {"wait": -1}, "wait of Restart is -1, but must be a number of seconds, more than 0"),
        (list, {"wait": 0}, "wait of Restart is 0"),
        (list, {"at_most": "1"}, "at_most of Restart is '1'"),
        (list, {"wait": 2, "at_most": 1}, "at_most of Restart is 1.0, but must be at least its wait, which is 2.0"),
        (list, {"times": 0}, "times of Restart is 0"),
        (list, {"times": 1.5}, "times of Restart is 1.5"),
        (list, {"is_live": "yes"}, "is_live of Restart is 'yes'"),
    ],
)
def test_what_cannot_work_is_refused(open: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        Restart(open, **options)
