"""Workers that join and leave a stage while the pipeline runs."""

import itertools
import threading
from functools import partial
from typing import Any

import pytest
from process_stages import Factor, Member, Wire
from support import Collect, Gate, Pass, wait_until

from DeepPipeline import (
    SKIP,
    GraphError,
    Pipeline,
    ScaleError,
    ScaleTimeout,
    Stage,
    StartError,
    Window,
    stage,
)

PLACES = pytest.mark.parametrize("executor", ["thread", "process"])


def has_got(end: Collect, x: Any) -> bool:
    return x in end.got


def told(wire: Wire, words: int) -> list[Any]:
    return sorted(wire.get() for _ in range(words))


@PLACES
def test_workers_join_and_leave_under_load_and_nothing_is_lost_or_out_of_order(executor: Any) -> None:
    wire, end, over = Wire(), Collect(), threading.Event()
    source = itertools.takewhile(lambda _: not over.is_set(), itertools.count())
    member = Member(wire).options(workers=1, max_workers=4, executor=executor)
    with Pipeline([member, end], source=source, overflow="block") as p:
        assert told(wire, 1) == [("joins", 0, False)]
        for workers in [4, 2, 3, 1] * (50 if executor == "thread" else 2):
            before = p.report().stages[0].workers
            p.scale("Member", workers)
            member_now = p.report().stages[0]
            assert (member_now.workers, member_now.max_workers) == (workers, 4)
            joined = [("joins", worker, False) for worker in range(before, workers)]
            left = [("leaves", worker, False) for worker in range(workers, before)]
            assert told(wire, abs(workers - before)) == joined + left
        over.set()
        report = p.join()
    assert end.got == list(range(len(end.got)))
    assert report.stages[0].counts.used == len(end.got)
    assert report.balances()


@PLACES
def test_what_a_worker_that_leaves_still_holds_goes_on(executor: Any) -> None:
    wire, end = Wire(), Collect()
    member = Member(wire).options(workers=2, executor=executor)
    with Pipeline([member, end]) as p:
        assert told(wire, 2) == [("joins", 0, False), ("joins", 1, False)]
        p.put("hold")
        wait_until(lambda: p.report().stages[0].counts.skipped == 1)
        # One of the two has it.
        p.scale("Member", 1)
        p.setstop()
    assert end.got == ["hold"]


@PLACES
def test_a_worker_that_joins_has_all_updates(executor: Any) -> None:
    wire, end = Wire(), Collect()
    member = Member(wire).options(workers=1, max_workers=3, executor=executor)
    with Pipeline([member, end], overflow="block", buffer_size=8) as p:
        p.update("Member", factor=5)
        p.update("Member", factor=7)
        p.scale("Member", 3)
        for x in range(30):
            p.put(x)
        report = p.setstop()
    assert end.got == [7 * x for x in range(30)]
    assert report.balances()


@PLACES
def test_a_setup_that_fails_is_raised_and_the_stage_goes_on(executor: Any) -> None:
    wire, end = Wire(), Collect()
    member = Member(wire).options(workers=1, max_workers=3, executor=executor)
    with Pipeline([member, end]) as p:
        assert told(wire, 1) == [("joins", 0, False)]
        # The workers to come get a copy of the object.
        member.fails = True
        with pytest.raises(ScaleError, match='did not join stage "Member", since its setup failed') as failed:
            p.scale("Member", 3)
        assert isinstance(failed.value.__cause__, ValueError) and failed.value.worker in (1, 2)
        assert p.report().stages[0].workers == 1
        member.fails = False
        p.scale("Member", 3)
        assert told(wire, 2) == [("joins", 1, False), ("joins", 2, False)]
        p.put(1)
        report = p.setstop()
    assert end.got == [1]
    assert report.balances()


def test_a_process_that_joined_and_dies_is_started_again_and_one_that_left_begins_anew() -> None:
    wire, end = Wire(), Collect()
    member = Member(wire).options(workers=1, max_workers=2, executor="process", max_restarts=1)
    with Pipeline([member, end], overflow="block") as p:
        p.scale("Member", 2)
        assert told(wire, 2) == [("joins", 0, False), ("joins", 1, False)]
        p.put("die")
        (joined,) = told(wire, 1)
        assert joined in [("joins", 0, True), ("joins", 1, True)]
        p.scale("Member", 1)
        assert told(wire, 1)[0][:2] == ("leaves", 1)
        p.scale("Member", 2)
        assert told(wire, 1) == [("joins", 1, False)]
        p.put(5)
        report = p.setstop()
    assert end.got == [5]
    assert report.stages[0].counts.lost == 1 and report.balances()


def test_a_sample_in_work_goes_on_before_its_worker_leaves() -> None:
    gate, end = Gate(), Collect()
    # Copies share the queues.
    with Pipeline([gate.options(workers=2), end], overflow="block") as p:
        p.put(1)
        p.put(2)
        assert {gate.in_flight(), gate.in_flight()} == {1, 2}
        with pytest.raises(ScaleTimeout, match=r"timed out after .*: workers \[1\] have not") as late:
            p.scale("Gate", 1, timeout=0.01)
        assert isinstance(late.value, TimeoutError) and late.value.stage == "Gate"
        assert p.report().stages[0].workers == 1
        gate.let_go(2)
        p.setstop()
    assert end.got == [1, 2]


def test_a_paused_stage_is_scaled_and_takes_nothing() -> None:
    end = Collect()
    with Pipeline([Factor(2).options(workers=2, max_workers=4), end], overflow="block", buffer_size=4) as p:
        p.pause("Factor")
        for x in range(4):
            p.put(x)
        p.scale("Factor", 4)
        p.scale("Factor", 1)
        assert p.report().stages[0].buffer.waiting == 4
        p.resume("Factor")
        p.setstop()
    assert end.got == [0, 2, 4, 6]


def test_a_flush_beside_a_scaling_keeps_nothing_old() -> None:
    end = Collect()
    with Pipeline([Factor(1).options(workers=3), end], overflow="block", buffer_size=16) as p:
        for first in range(0, 1000, 100):
            for x in range(first, first + 10):
                p.put(x)
            scaled = threading.Thread(target=p.scale, args=("Factor", 1 + first // 100 % 3))
            scaled.start()
            p.flush()
            p.put(first + 50)
            wait_until(partial(has_got, end, first + 50))
            scaled.join()
        report = p.setstop()
    assert [x for x in end.got if x % 100 == 50] == [first + 50 for first in range(0, 1000, 100)]
    assert end.got == sorted(end.got) and report.balances()


def test_callers_that_scale_a_stage_at_the_same_time_come_one_after_the_other() -> None:
    end = Collect()
    with Pipeline([Factor(1).options(workers=1, max_workers=8), end], overflow="block") as p:
        callers = [threading.Thread(target=p.scale, args=("Factor", workers)) for workers in (8, 3, 5, 1)]
        for caller in callers:
            caller.start()
        for x in range(100):
            p.put(x)
        for caller in callers:
            caller.join()
        assert p.report().stages[0].workers in (8, 3, 5, 1)
        report = p.setstop()
    assert end.got == list(range(100)) and report.balances()


def test_an_async_stage_is_scaled_by_its_workers() -> None:
    async def double(x: int) -> int:
        return 2 * x

    end = Collect()
    with Pipeline([stage(double, workers=1, max_workers=3), end], overflow="block") as p:
        p.scale("double", 3)
        for x in range(20):
            p.put(x)
        wait_until(lambda: len(end.got) == 20)
        p.scale("double", 1)
        p.put(20)
        p.setstop()
    assert end.got == [2 * x for x in range(21)]


def test_a_stage_that_cannot_be_copied_any_more_is_not_scaled() -> None:
    class Once(Stage):
        whole = True

        def __copy__(self) -> "Once":
            if not self.whole:
                raise ValueError("used up")
            return Once()

        def stage_run(self, x: Any) -> Any:
            return x

    once, end = Once(), Collect()
    with Pipeline([once.options(workers=1, max_workers=2), end]) as p:
        once.whole = False
        with pytest.raises(ScaleError, match=r"'Once' cannot get one more worker: .*used up"):
            p.scale("Once", 2)
        assert p.report().stages[0].workers == 1
        p.put(1)
        p.setstop()
    assert end.got == [1]


def test_what_cannot_be_scaled_is_refused() -> None:
    p = Pipeline([Pass().options(workers=2, max_workers=4), Collect()])
    with pytest.raises(StartError, match="scale before start"):
        p.scale("Pass", 3)
    with p:
        with pytest.raises(GraphError, match="no stage is named"):
            p.scale("Nobody", 1)
        with pytest.raises(GraphError, match='workers for stage "Pass" is 0, but must be at least 1: pause it'):
            p.scale("Pass", 0)
        with pytest.raises(GraphError, match="is 5, but must be 1 to 4: say max_workers=5"):
            p.scale("Pass", 5)
        with pytest.raises(GraphError, match=r"stage is 3 \(int\), but must be the name of a stage"):
            p.scale(3, 1)  # type: ignore[arg-type]
        with pytest.raises(GraphError, match="workers is 'two'"):
            p.scale("Pass", "two")  # type: ignore[arg-type]
    with pytest.raises(ScaleError, match="the pipeline does not run any longer"):
        p.scale("Pass", 3)


def test_a_stage_does_not_scale_its_own_pipeline() -> None:
    class Asks(Stage):
        def stage_run(self, x: Any) -> Any:
            with pytest.raises(ScaleError, match="say it from outside"):
                p.scale("Asks", 1)
            return SKIP

    with Pipeline([Asks(), Collect()]) as p:
        p.put(1)
        assert p.setstop().stages[0].counts.skipped == 1


def test_max_workers_that_cannot_be_are_refused() -> None:
    async def double(x: int) -> int:
        return 2 * x

    with pytest.raises(GraphError, match='max_workers of stage "Pass" is 1, but must be 2'):
        Pipeline([Pass().options(workers=2, max_workers=1), Collect()])
    with pytest.raises(GraphError, match="takes windows and has 2 workers"):
        Pipeline([Pass().options(max_workers=2, intake=Window(3)), Collect()])
    with pytest.raises(GraphError, match="concurrency=4 and max_workers=2"):
        Pipeline([stage(double, concurrency=4, max_workers=2), Collect()])
    with pytest.raises(GraphError, match="max_workers is 0"):
        Pass().options(max_workers=0)


@PLACES
def test_a_worker_that_joins_after_a_replacement_runs_the_new_stage(executor: Any) -> None:
    wire, end = Wire(), Collect()
    member = Member(wire).options(workers=1, max_workers=3, executor=executor)
    with Pipeline([member, end], overflow="block", buffer_size=8) as p:
        p.update("Member", factor=2)
        p.replace("Member", Factor(11))
        p.scale("Member", 3)
        for x in range(20):
            p.put(x)
        wait_until(partial(has_got, end, 19 * 11))
        p.update("Member", factor=3)
        p.scale("Member", 1)
        p.replace("Member", Factor(5))
        p.update("Member", factor=7)
        p.scale("Member", 3)
        for x in range(20):
            p.put(x)
        report = p.setstop()
    assert end.got == [11 * x for x in range(20)] + [7 * x for x in range(20)]
    assert report.balances()
