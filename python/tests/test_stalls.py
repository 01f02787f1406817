"""Sources that give nothing for too long: told, closed and opened again, or left behind; the others go on."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from DeepPipeline import Entrance, GraphError, Pipeline, Restart, Stage, StageError

SOON = 1e-3
"""A limit that a source that waits for a test has soon passed."""
LONG = 3600.0


class Ignore(Stage):
    def stage_run(self, x: Any) -> None:
        pass


class Camera:
    """Gives what it is handed, until a None; a close() lets it end."""

    def __init__(self, frames: queue.SimpleQueue[Any]) -> None:
        self.frames = frames

    def __iter__(self) -> Iterator[Any]:
        return iter(self.frames.get, None)

    def close(self) -> None:
        self.frames.put(None)


def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        pass


@pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])
def test_a_source_that_gives_nothing_is_closed_and_opened_again(
    multiprocess: bool, caplog: pytest.LogCaptureFixture
) -> None:
    frames, fine = queue.SimpleQueue[Any](), queue.SimpleQueue[Any]()
    stalls = Restart(lambda: Camera(frames), wait=SOON, at_most=SOON)
    sources: dict[str, Any] = {"stalls": Entrance(stalls, stall_timeout=SOON), "fine": Restart(lambda: Camera(fine))}
    caplog.set_level(logging.INFO, "DeepPipeline")
    with Pipeline([Ignore()], sources=sources, multiprocess=multiprocess) as p:
        until(lambda: p.report().source("stalls").restarts >= 2)
        assert p.report().source("stalls").last_error == "it has given nothing for 1ms"
        frames.put(1)
        fine.put(2)
        until(lambda: all(p.report().source(name).counts.taken == 1 for name in ("stalls", "fine")))
        report = p.setstop()
    assert report.source("fine").restarts == 0
    assert report.balances()
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == 'source "stalls" has given nothing for 1ms; it is closed, to be opened again'


def test_a_source_that_is_not_opened_again_is_told_as_stalled(caplog: pytest.LogCaptureFixture) -> None:
    frames = queue.SimpleQueue[Any]()
    caplog.set_level(logging.INFO, "DeepPipeline")
    with Pipeline([Ignore()], source=Camera(frames), stall_timeout=SOON) as p:
        until(lambda: p.report().source().state == "stalled")
        frames.put(1)
        until(lambda: p.report().source().counts.taken == 1)
        until(lambda: p.report().source().state == "stalled")
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == 'source "source" has given nothing for 1ms'
    assert said.count(said[0]) == 1


def test_a_source_that_hangs_is_left_behind_and_gives_to_nobody() -> None:
    frames, fine, returned = queue.SimpleQueue[Any](), queue.SimpleQueue[Any](), threading.Event()

    def cannot_be_closed() -> Iterator[Any]:
        try:
            yield frames.get()
        finally:
            returned.set()

    sources: dict[str, Any] = {"hangs": Entrance(Restart(cannot_be_closed), stall_timeout=SOON), "fine": Camera(fine)}
    p = Pipeline([Ignore()], sources=sources).start()
    until(lambda: p.report().source("hangs").state == "failed")
    fine.put(1)
    fine.put(None)
    with pytest.raises(StageError, match="does not return though it was closed") as raised:
        p.join()
    report = raised.value.report
    assert report is not None
    assert report.left_behind == ["hangs"]
    assert report.source("fine").counts.taken == 1
    frames.put(2)
    assert returned.wait(30)
    until(lambda: not p.report().left_behind)
    assert p.report().source("hangs").counts.entered == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"source": [1], "stall_timeout": 0}, "stall_timeout is 0, but must be a number of seconds, more than 0"),
        ({"source": [1], "stall_timeout": "5"}, "stall_timeout is '5'"),
        ({"sources": {"a": Entrance([1], stall_timeout=-1)}}, r"stall_timeout of sources\['a'\] is -1"),
        ({"entrances": {"a": Entrance(stall_timeout=1)}}, 'stall_timeout of entrance "a" is said in vain'),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        Pipeline([Ignore()], **wrong)
