"""What user code raises reaches the caller, with its traceback, and nothing is left running."""

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import Collect, Gate, Pass

from DeepPipeline import Many, Pipeline, PutError, Report, SampleId, Stage, StageError, StartError, StartTimeout


class Boom(Exception):
    pass


class Fails(Stage):
    """Raises where it is told to, and notes what was called."""

    def __init__(self, where: str, error: BaseException) -> None:
        self.where, self.error = where, error
        self.calls: list[str] = []

    def _call(self, method: str) -> None:
        self.calls.append(method)
        if method == self.where:
            raise self.error

    def setup(self) -> None:
        self._call("setup")

    def stage_run(self, x: Any) -> Any:
        self._call("stage_run")
        return x

    def finish(self) -> None:
        self._call("finish")

    def teardown(self) -> None:
        self._call("teardown")


def failure(p: Pipeline, call: Callable[[], object]) -> StageError:
    with pytest.raises(StageError) as caught:
        call()
    assert caught.value.report.balances()
    return caught.value


def test_setup() -> None:
    stage, other = Fails("setup", Boom("no model")), Fails("", Boom())
    p = Pipeline([other, stage])
    error = failure(p, p.start)
    assert (error.stage, error.doing, error.sample) == ("Fails 2", "setup", None)
    assert str(error) == 'stage "Fails 2" failed in setup: Boom: no model'
    assert error.__cause__ is stage.error
    assert stage.calls == ["setup"]
    assert other.calls in (["setup", "teardown"], [])
    assert error.report.outcome == "failed"
    failure(p, p.setstop)


@pytest.mark.parametrize("call", ["put", "join", "setstop"])
def test_setup_when_nobody_waited(call: str) -> None:
    go = threading.Event()

    class Late(Stage):
        def setup(self) -> None:
            go.wait()
            raise Boom

        def stage_run(self, x: Any) -> None:
            raise AssertionError("never runs")

    end = Fails("", Boom())
    p = Pipeline([Late(), end], overflow="block").start(wait=False)
    assert p.put(1)
    go.set()
    if call == "put":
        with pytest.raises(StageError):
            while True:
                p.put(2)
    error = failure(p, p.setstop if call == "put" else getattr(p, call))
    assert error.doing == "setup"
    first = error.report.stages[0]
    assert first.buffer.discarded == first.buffer.entered >= 1
    assert end.calls in (["setup", "teardown"], [])


def test_stage_run() -> None:
    stage, end = Fails("stage_run", Boom("bad")).options(name="detect"), Collect()
    p = Pipeline([Pass(), stage, end], overflow="block").start()
    p.put(1)
    error = failure(p, p.setstop)
    assert str(error) == 'stage "detect" failed in stage_run on sample 1: Boom: bad'
    assert error.sample is not None
    assert (error.sample.number, error.sample.part) == (1, 0)
    assert error.__cause__ is stage.error
    shown = "".join(traceback.format_exception(error))
    assert "in _call" in shown
    assert "in stage_run" in shown
    assert stage.calls == ["setup", "stage_run", "teardown"]
    assert end.got == []
    assert failure(p, p.setstop).__cause__ is stage.error, "it can be asked again"
    sample = object()
    refused = failure(p, lambda: p.put(sample))
    assert refused.__cause__ is stage.error
    assert isinstance(refused, PutError), "every error of put is one, and hands the sample back"
    assert refused.value is sample


def test_finish() -> None:
    stage, end = Fails("finish", Boom()), Collect()
    p = Pipeline([stage, end], overflow="block").start()
    p.put(1)
    error = failure(p, p.setstop)
    assert (error.stage, error.doing, str(error)) == ("Fails", "finish", 'stage "Fails" failed in finish: Boom')
    assert end.got == [1]
    assert stage.calls[-1] == "teardown"


def test_teardown() -> None:
    stage, end = Fails("teardown", Boom()), Collect()
    p = Pipeline([stage, end], overflow="block").start()
    p.put(1)
    error = failure(p, p.setstop)
    assert (error.stage, error.doing) == ("Fails", "teardown")
    assert end.got == [1]


def test_source() -> None:
    def frames() -> Iterator[int]:
        yield 1
        raise Boom("camera unplugged")

    end = Collect()
    p = Pipeline([Pass(), end], overflow="block")
    error = failure(p, lambda: p.run(frames()))
    assert (error.stage, error.doing) == ("source", "source_next")
    assert str(error) == "the source failed to give its next sample: Boom: camera unplugged"
    assert end.got == [1], "what came before flows out"


def test_only_results_before_the_failure() -> None:
    gate, end = Gate(), Collect()

    class Third(Stage):
        def stage_run(self, x: int) -> int:
            if x == 3:
                raise Boom
            return x

    p = Pipeline([Third(), gate, end], buffer_size=8, overflow="block").start()
    for x in range(1, 4):
        p.put(x)
    with pytest.raises(StageError):
        while True:
            p.put(4)
    gate.let_go(2)
    error = failure(p, p.setstop)
    assert end.got == [1, 2]
    assert error.sample == error.sample
    assert str(error.sample) == "3"


def test_a_blocked_put_learns_of_the_failure() -> None:
    entered, go = threading.Event(), threading.Event()

    class Slow(Stage):
        def stage_run(self, x: int) -> None:
            entered.set()
            go.wait()
            raise Boom

    p = Pipeline([Slow()], buffer_size=1, overflow="block").start()
    p.put(1)
    entered.wait()
    p.put(2)
    # Whether the put below waits already or comes after the failure, it must end with the error.
    threading.Timer(0, go.set).start()
    assert failure(p, lambda: p.put(3)).stage == "Slow"
    report = failure(p, p.setstop).report
    assert report.stages[0].buffer.discarded == 1


def test_with() -> None:
    stage = Fails("stage_run", Boom())
    with pytest.raises(StageError) as caught, Pipeline([stage], overflow="block") as p:
        p.put(1)
    assert caught.value.__cause__ is stage.error


def test_with_an_error_of_its_own() -> None:
    end = Collect()
    with pytest.raises(Boom, match="mine"), Pipeline([end], overflow="block") as p:
        p.put(1)
        raise Boom("mine")
    assert end.got == [1], "what is inside flows out"


def test_skip(caplog: pytest.LogCaptureFixture) -> None:
    class Inverse(Stage):
        def stage_run(self, x: int) -> float:
            return 1 / x

    end = Collect()
    with caplog.at_level(logging.WARNING, "DeepPipeline"):
        report = Pipeline([Inverse().options(on_error="skip", name="inverse"), end], overflow="block").run([1, 0, 2])
    assert end.got == [1.0, 0.5]
    assert (report.outcome, report.stages[0].counts.failed) == ("finished", 1)
    [record] = caplog.records
    assert "inverse" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


class OddText(Exception):
    def __str__(self) -> str:
        raise Boom

    __repr__ = __str__


class NoText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class Stubborn(Exception):
    def __str__(self) -> str:
        raise SystemExit


class OddAttributes(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise Boom(name)


ODD = [
    (OddText(), "OddText"),
    (NoText(), "NoText"),
    (Stubborn(), "Stubborn"),
    (OddAttributes("text"), "OddAttributes: text"),
    (Boom("\ud800 \0 é"), "Boom: "),
    (Boom("line\nline"), "Boom: line\nline"),
    (StopIteration(3), "StopIteration: 3"),
    (StopAsyncIteration(), "StopAsyncIteration"),
    (GeneratorExit(), "GeneratorExit"),
    (SystemExit(3), "SystemExit: 3"),
    (KeyboardInterrupt(), "KeyboardInterrupt"),
    (MemoryError(), "MemoryError"),
    (BaseExceptionGroup("several", [Boom("one")]), "ExceptionGroup: several"),
    (StageError("nested", stage="a", doing="setup", sample=None, report=None), "StageError: nested"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("error", "text"), ODD, ids=[type(error).__name__ for error, _ in ODD])
@pytest.mark.parametrize("where", ["setup", "stage_run", "finish", "teardown"])
def test_odd_exceptions(where: str, error: BaseException, text: str) -> None:
    stage = Fails(where, error)
    p = Pipeline([stage, Pass()], overflow="block")

    def run() -> None:
        p.start()
        p.put(1)
        p.setstop()

    caught = failure(p, run)
    assert caught.__cause__ is error
    assert text in str(caught)
    assert caught.doing == where


@pytest.mark.parametrize(("error", "text"), ODD, ids=[type(error).__name__ for error, _ in ODD])
def test_odd_exceptions_are_skipped(error: BaseException, text: str) -> None:
    report = Pipeline([Fails("stage_run", error).options(on_error="skip"), Pass()], overflow="block").run([1, 2])
    assert report.stages[0].counts.failed == 2


def test_endless_recursion() -> None:
    class Deep(Stage):
        def stage_run(self, x: Any) -> Any:
            return self.stage_run(x)

    p = Pipeline([Deep()], overflow="block")
    assert isinstance(failure(p, lambda: p.run([1])).__cause__, RecursionError)


def test_attributes_that_raise() -> None:
    class Odd(Stage):
        armed = False

        def __getattribute__(self, name: str) -> Any:
            if name == "stage_run" and object.__getattribute__(self, "armed"):
                raise Boom(name)
            return object.__getattribute__(self, name)

    stage = Odd()
    Odd.stage_run = Pass.stage_run  # type: ignore[method-assign,assignment]
    p = Pipeline([stage], overflow="block").start()
    stage.armed = True
    p.put(1)
    assert str(failure(p, p.setstop).__cause__) == "stage_run"


def test_many_that_raises_after_two() -> None:
    def values() -> Iterator[int]:
        yield 1
        yield 2
        raise Boom

    class Split(Stage):
        def stage_run(self, x: Any) -> Many:
            return Many(values())

    end = Collect()
    p = Pipeline([Split().options(on_error="skip"), end], buffer_size=8, overflow="block")
    report = p.run([0])
    assert end.got == [1, 2]
    assert (report.stages[0].counts.failed, report.stages[0].counts.gave) == (1, 2)


def test_the_first_failure_counts() -> None:
    class Both(Stage):
        def stage_run(self, x: Any) -> None:
            raise Boom("first")

        def teardown(self) -> None:
            raise Boom("second")

    p = Pipeline([Both()], overflow="block")
    assert str(failure(p, lambda: p.run([1])).__cause__) == "first"


def test_nothing_goes_to_the_thread_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    p = Pipeline([Fails("stage_run", SystemExit())], overflow="block")
    failure(p, lambda: p.run([1]))
    assert seen == []


def test_a_setup_that_takes_too_long() -> None:
    go, torn_down = threading.Event(), threading.Event()

    class Slow(Stage):
        def setup(self) -> None:
            go.wait()

        def stage_run(self, x: Any) -> Any:
            return x

    class Quick(Pass):
        def teardown(self) -> None:
            torn_down.set()

    p = Pipeline([Quick(), Slow()])
    with pytest.raises(StartTimeout, match=r"start timed out after 0.01 s: still in setup: .*Slow.*; the pipeline was"):
        p.start(timeout=0.01)
    assert "Slow" in p.report().stages[1].name
    go.set()
    assert p.setstop().outcome == "aborted"


def test_abort_while_starting() -> None:
    inside, go = threading.Event(), threading.Event()

    class Slow(Stage):
        def setup(self) -> None:
            inside.set()
            go.wait()

        def stage_run(self, x: Any) -> Any:
            return x

    p = Pipeline([Slow()])

    def abort() -> None:
        inside.wait()
        p.abort()
        go.set()

    aborter = threading.Thread(target=abort)
    aborter.start()
    with pytest.raises(StartError, match="aborted while it was starting"):
        p.start()
    aborter.join()
    assert p.report().outcome == "aborted"


def test_setstop_while_starting() -> None:
    end = Collect()

    class Slow(Pass):
        def setup(self) -> None:
            p.setstop()

    p = Pipeline([Slow(), end])
    p.start()
    assert p.setstop().outcome == "finished"


def test_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == "first":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    end = Fails("", Boom())
    p = Pipeline([Pass().options(name="first"), end])
    with pytest.raises(StartError, match="cannot start a thread for stage 'first': can't start new thread"):
        p.start()
    assert end.calls in (["setup", "teardown"], [])


def test_what_an_error_tells() -> None:
    p = Pipeline([Fails("stage_run", Boom())], overflow="block")
    error = failure(p, lambda: p.run([1]))
    assert isinstance(error.report, Report)
    assert isinstance(error.sample, SampleId)
    assert (repr(error.sample), hash(error.sample)) == ("SampleId(number=1, part=0)", hash(error.sample))
    assert "Fails" in str(error.report)
    assert error.report.stages[0].counts.failed == 1


def test_a_failure_after_the_first_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Twice(Stage):
        def stage_run(self, x: object) -> None:
            raise Boom("first")

        def teardown(self) -> None:
            raise Boom("second")

    p = Pipeline([Twice()]).start()
    p.put(1)
    assert str(failure(p, p.setstop).__cause__) == "first"
    records = [record for record in caplog.records if "failed too" in record.getMessage()]
    assert [str(record.exc_info[1]) for record in records if record.exc_info] == ["second"]
