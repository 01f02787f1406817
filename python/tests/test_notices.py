"""What is logged when it happens, while nobody asks."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import WATCHDOG, Collect, Gate, Pass

from DeepPipeline import Pipeline, Stage, StageError


class Messages(logging.Handler):
    """The messages of the package's logger, to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._more = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._more:
            self.texts.append(f"{record.levelname} {self.format(record)}")
            self._more.notify_all()

    def wait_for(self, words: str) -> str:
        """The first message with these words."""
        with self._more:
            assert self._more.wait_for(lambda: any(words in text for text in self.texts), WATCHDOG), self.texts
            return next(text for text in self.texts if words in text)


@pytest.fixture
def log() -> Iterator[Messages]:
    messages = Messages()
    logger = logging.getLogger("DeepPipeline")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(messages)
    yield messages
    logger.removeHandler(messages)
    logger.setLevel(level)


class Fails(Stage):
    def stage_run(self, x: Any) -> Any:
        raise ValueError("broken")


@pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])
def test_a_failure_is_logged_when_it_happens(log: Messages, multiprocess: bool) -> None:
    p = Pipeline([Fails(), Pass()], multiprocess=multiprocess).start()
    p.put(1)
    text = log.wait_for("failed in stage_run on sample 1")
    assert text.startswith("ERROR")
    assert "the pipeline stops" in text
    assert "ValueError: broken" in text
    with pytest.raises(StageError):
        p.join()


def test_the_first_drop_of_a_buffer_is_logged_with_advice_and_the_rest_summed_up(log: Messages) -> None:
    gate = Gate()
    p = Pipeline([gate.options(name="slow")], buffer_size=1).start()
    p.put(0)
    gate.in_flight()
    for x in range(1, 5):
        p.put(x)
    text = log.wait_for('stage "slow"')
    assert text.startswith("WARNING")
    assert 'give overflow "block" where nothing may be lost' in text
    gate.let_go(2)
    p.setstop()
    assert log.texts[1:] == ['WARNING 2 more samples were dropped in front of "slow"']


def test_what_is_dropped_between_processes_is_logged_at_the_end_at_the_latest(log: Messages) -> None:
    p = Pipeline([Slow(), Pass()], buffer_size=1, multiprocess=True).start()
    for x in range(20):
        p.put(x)
    report = p.setstop()
    assert report.dropped > 0
    log.wait_for('stage "Slow" is slower than its samples come')


class Slow(Stage):
    def stage_run(self, x: Any) -> Any:
        time.sleep(0.02)
        return x


def test_nothing_is_said_where_nothing_is_lost(log: Messages) -> None:
    Pipeline([Pass(), Pass()]).run(range(100))
    assert log.texts == []


class Stuck(Stage):
    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = threading.Event()

    def stage_run(self, x: Any) -> Any:
        if x == 1:
            self.entered.set()
            self.go.wait(WATCHDOG)
        return x


def test_a_stage_that_hangs_is_told_while_it_hangs_with_where_it_is(log: Messages) -> None:
    stuck = Stuck()
    p = Pipeline([Pass(), stuck.options(time_limit=0.05)]).start()
    try:
        for x in range(2):
            p.put(x)
        text = log.wait_for("hangs")
        assert text.startswith('WARNING stage "Stuck" hangs: sample 2 has taken longer than its time_limit of 50ms')
        assert "self.go.wait(WATCHDOG)" in text
    finally:
        stuck.go.set()
    p.setstop()
    assert sum("hangs" in text for text in log.texts) == 1


def test_waiting_for_room_is_not_hanging(log: Messages) -> None:
    gate = Gate()
    p = Pipeline([Pass().options(time_limit=0.05), gate], buffer_size=1, overflow="block").start()
    for x in range(3):
        p.put(x)
    gate.in_flight()
    slow = Stuck()
    with Pipeline([slow.options(time_limit=0.05)]) as other:
        other.put(1)
        log.wait_for('"Stuck" hangs')  # the other has waited for as long by now
        slow.go.set()
    gate.let_go(3)
    p.setstop()
    assert not any('"Pass" hangs' in text for text in log.texts)


def test_stages_that_only_wait_are_said_to_wait(log: Messages) -> None:
    stuck = Stuck()
    stages = [Pass().options(name="before"), stuck, Pass().options(name="behind"), Collect()]
    p = Pipeline(stages, buffer_size=1, overflow="block").start()
    for x in range(1, 4):
        p.put(x)
    assert stuck.entered.wait(WATCHDOG)
    busy: Callable[[], str] = lambda: p._started("test").still_busy()  # noqa: E731
    waits = "before waits for room in front of Stuck; behind waits for samples; Collect waits for samples"
    while busy() != f"Stuck; {waits}":
        time.sleep(0.001)
    try:
        p.setstop(abort_after=0)
    finally:
        stuck.go.set()
    text = log.wait_for("not drained in time")
    assert text.endswith(f"still busy: Stuck; {waits}")
