"""`with Pipeline(...) as p`, and stopping in all other ways."""

import copy
import signal
import threading
from typing import Any

import pytest
from support import WATCHDOG, Collect, Gate, Pass

from DeepPipeline import Many, Pipeline, Stage


def test_with_starts_and_drains() -> None:
    end = Collect()
    with Pipeline([Pass(), end], overflow="block") as p:
        assert isinstance(p, Pipeline)
        for x in range(100):
            p.put(x)
    assert end.got == list(range(100))
    assert p.report().outcome == "finished"


def test_with_after_start_is_refused() -> None:
    p = Pipeline([Pass()]).start()
    with pytest.raises(Exception, match="start was called twice"), p:
        pass
    p.setstop()


def test_setstop_and_abort_inside_with() -> None:
    for stop in ("setstop", "abort"):
        with Pipeline([Pass()]) as p:
            getattr(p, stop)()


def test_with_does_not_wait_for_what_an_abort_left_behind() -> None:
    gate = Gate()
    with Pipeline([gate]) as p:
        p.put(1)
        gate.in_flight()
        assert p.abort().left_behind == ["Gate"]
    assert p.setstop().left_behind == ["Gate"]
    gate.let_go()


def test_setstop_again_and_again() -> None:
    end = Collect()
    p = Pipeline([end], overflow="block").start()
    p.put(1)
    reports = [p.setstop(), p.setstop(), p.join(), p.abort()]
    assert [report.outcome for report in reports] == ["finished"] * 4


def test_setstop_from_many_threads() -> None:
    end = Collect()
    p = Pipeline([Pass(), end], overflow="block", buffer_size=64).start()
    for x in range(50):
        p.put(x)
    outcomes: list[str] = []
    threads = [threading.Thread(target=lambda: outcomes.append(p.setstop().outcome)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == ["finished"] * 8
    assert end.got == list(range(50))


def test_a_timeout_turns_setstop_into_abort(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    p = Pipeline([gate.options(name="slow")]).start()
    p.put(1)
    gate.in_flight()
    p.put(2)
    report = p.setstop(abort_after=0.01)
    assert (report.outcome, report.left_behind, report.stages[0].buffer.discarded) == ("aborted", ["slow"], 1)
    assert "still busy: slow" in caplog.text
    gate.let_go()


def test_setstop_from_a_stage_only_requests() -> None:
    class Enough(Stage):
        def stage_run(self, x: int) -> int:
            if x == 3:
                assert p.setstop().outcome == "running"
            return x

    end = Collect()
    p = Pipeline([Enough(), end], overflow="block", buffer_size=8)
    p.start()
    with pytest.raises(Exception, match="put after setstop"):
        for x in range(1, 1_000_000):
            p.put(x)
    assert p.setstop().outcome == "finished"
    assert end.got[:3] == [1, 2, 3]
    assert end.got == list(range(1, len(end.got) + 1))


def test_abort_from_a_stage_only_requests() -> None:
    done = threading.Event()

    class Enough(Stage):
        def stage_run(self, x: int) -> None:
            p.abort()
            done.set()

    p = Pipeline([Enough()])
    p.start()
    p.put(1)
    assert done.wait(WATCHDOG)
    assert p.setstop().outcome == "aborted"


def test_setstop_from_a_signal_handler() -> None:
    gate, end = Gate(), Collect()
    p = Pipeline([gate, end], overflow="block", buffer_size=1).start()
    p.put(1)
    gate.in_flight()
    p.put(2)
    outcomes = []

    def stop(number: int, frame: object) -> None:
        gate.let_go(2)
        outcomes.append(p.setstop().outcome)

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        threading.Timer(0, signal.raise_signal, [signal.SIGUSR1]).start()
        with pytest.raises(Exception, match="put after setstop"):
            while True:
                p.put(3)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert outcomes == ["finished"]
    assert end.got[:2] == [1, 2]


def test_finish_and_teardown_come_in_order() -> None:
    calls: list[str] = []

    class Note(Stage):
        def __init__(self, name: str) -> None:
            self.name = name

        def setup(self) -> None:
            calls.append(f"setup {self.name}")

        def stage_run(self, x: Any) -> Any:
            calls.append(f"{self.name} {x}")
            return x

        def finish(self) -> Any:
            calls.append(f"finish {self.name}")
            return Many([f"from {self.name}"])

        def teardown(self) -> None:
            calls.append(f"teardown {self.name}")

    with Pipeline([Note("a"), Note("b")], overflow="block") as p:
        p.put(1)
    assert sorted(calls[:2]) == ["setup a", "setup b"]
    a = [call for call in calls if call.endswith(" a") or call.startswith("a ")]
    b = [call for call in calls if call.endswith(" b") or call.startswith("b ")]
    assert a == ["setup a", "a 1", "finish a", "b from a", "teardown a"] or "b from a" in calls
    assert [call for call in b if call != "b from a"] == ["setup b", "b 1", "finish b", "teardown b"]
    assert calls.index("b from a") < calls.index("finish b")
    assert calls.index("finish a") < calls.index("teardown a")


def test_one_object_stays_the_users_own() -> None:
    stage = Collect()
    assert copy.copy(stage) is not stage
    with Pipeline([stage], overflow="block") as p:
        p.put(1)
    assert stage.got == [1]
