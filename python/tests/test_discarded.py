"""What a stop discards is freed beside it: a `__del__` that waits holds up nobody, and is named."""

import threading
import time
from collections.abc import Callable

import pytest
from support import WATCHDOG, Gate, Pass

from DeepPipeline import Parallel, Pipeline, Stage, StageError

LEFT = "__del__ of what was discarded in front of {}"


class Clings:
    """Waits in its `__del__` until its test lets it go."""

    def __init__(self, let_go: threading.Event) -> None:
        self._let_go = let_go

    def __del__(self) -> None:
        self._let_go.wait(WATCHDOG)


class Stops:
    """Stops a pipeline in its `__del__`."""

    def __init__(self, stop: Callable[[], object]) -> None:
        self._stop = stop

    def __del__(self) -> None:
        self._stop()


class Second(Stage):
    """Makes something that clings of the second sample."""

    def __init__(self, let_go: threading.Event) -> None:
        self._until = let_go

    def stage_run(self, x: int) -> object:
        return Clings(self._until) if x == 2 else x


class Fails(Gate):
    def stage_run(self, x: object) -> object:
        super().stage_run(None)
        raise ValueError("gives up")


def clinging(gate: Gate, let_go: threading.Event) -> Pipeline:
    """A pipeline whose stage has a first sample in flight while others, that cling, wait in front of it."""
    p = Pipeline([gate.options(name="end")], buffer_size=3).start()
    p.put(None)
    gate.in_flight()
    for _ in range(2):
        assert p.put(Clings(let_go))
    return p


def test_discarded_values_that_cling_hold_up_no_abort_and_are_named() -> None:
    gate, let_go = Gate(), threading.Event()
    p = clinging(gate, let_go)
    left = p.abort().left_behind
    gate.let_go()
    let_go.set()
    assert left == ["end", LEFT.format("end")]
    # Once they are gone nothing is left behind, and a stop without a bound has waited for that.
    assert p.setstop().left_behind == []


def test_what_a_block_has_joined_holds_up_no_abort() -> None:
    gate, let_go = Gate(), threading.Event()
    p = Pipeline([Parallel([Second(let_go), Pass()]), gate.options(name="end")]).start()
    p.put(1)
    gate.in_flight()
    p.put(2)
    p.put(3)
    # When the third is there, nobody has the second in flight any longer.
    while p.report().stages[-1].buffer.entered < 3:
        time.sleep(0.001)
    left = p.abort().left_behind
    gate.let_go()
    let_go.set()
    assert left == ["end", LEFT.format("end")]
    assert p.setstop().left_behind == []


def test_discarded_values_that_cling_hold_up_no_stop_with_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    gate, let_go = Fails(), threading.Event()
    p = clinging(gate, let_go)
    gate.let_go()
    with pytest.raises(StageError) as stopped:
        p.setstop(abort_after=0.01)
    left = stopped.value.report.left_behind
    let_go.set()
    assert left == [LEFT.format("end")]
    assert f"not drained in time, aborting; still busy: {left[0]}" in caplog.messages
    with pytest.raises(StageError) as stopped:
        p.setstop()
    assert stopped.value.report.left_behind == []


def test_a_discarded_value_that_stops_its_pipeline_does_not_wait_for_itself() -> None:
    gate, stopped = Gate(), threading.Event()
    p = Pipeline([gate]).start()
    p.put(None)
    gate.in_flight()

    def stop() -> None:
        p.abort()
        p.setstop()
        stopped.set()

    p.put(Stops(stop))
    p.abort()
    assert stopped.wait(WATCHDOG)
    gate.let_go()
    assert p.setstop().left_behind == []
