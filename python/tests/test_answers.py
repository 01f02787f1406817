"""Answers: every sample that is submitted gets one, whatever becomes of it; and results beside put."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import threading
from concurrent.futures import CancelledError
from typing import Any

import pytest

from DeepPipeline import (
    SKIP,
    Answer,
    Batch,
    Discarded,
    Dropped,
    Failed,
    GraphError,
    Lost,
    Many,
    NoAnswer,
    Parallel,
    Pipeline,
    PutAfterFailure,
    PutError,
    PutTimeout,
    ResultTimeout,
    SampleFailed,
    Skipped,
    Stage,
    StageError,
    Window,
    stage,
)

modes = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])

SOON = 60.0
"""Only what hangs takes that long."""


class Square(Stage):
    def stage_run(self, x: int) -> int:
        return x * x


class Whims(Stage):
    """Does what it is told by the sample."""

    def stage_run(self, x: Any) -> Any:
        match x:
            case "skip":
                return SKIP
            case "fail":
                raise ValueError("it is bad")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case ("many", n):
                return Many(range(n))
        return x


class Gate(Stage):
    """Says when it has a sample, and goes on when it is told to."""

    def __init__(self) -> None:
        self.has = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def stage_run(self, x: Any) -> Any:
        self.has.release()
        self.go.acquire()
        return x


@modes
def test_the_answer_is_what_the_last_stage_gave_for_the_sample(multiprocess: bool) -> None:
    with Pipeline([Square(), Square()], overflow="block", multiprocess=multiprocess) as p:
        answers = [p.submit(x) for x in range(50)]
        assert [answer.result(SOON) for answer in answers] == [x**4 for x in range(50)]
        assert [answer.number for answer in answers] == list(range(1, 51))
        assert p.put(3)
    report = p.report()
    assert [s.name for s in report.stages] == ["Square", "Square 2"]
    assert report.stages[1].counts.used == 51
    assert report.balances()


@modes
def test_several_workers_answer_each_to_its_own(multiprocess: bool) -> None:
    with Pipeline([Square().options(workers=3)], overflow="block", multiprocess=multiprocess) as p:
        answers = [p.submit(x) for x in range(100)]
        assert [answer.result(SOON) for answer in answers] == [x * x for x in range(100)]


@modes
def test_every_fate_has_its_exception(multiprocess: bool) -> None:
    whims = Whims().options(on_error="skip", name="whims")
    with Pipeline([whims, Square()], overflow="block", multiprocess=multiprocess) as p:
        skipped, failed, many = p.submit("skip"), p.submit("fail"), p.submit(("many", 4))
        none, one = p.submit(("many", 0)), p.submit(("many", 1))
        with pytest.raises(Skipped, match="skipped it") as s:
            skipped.result(SOON)
        assert (s.value.stage, s.value.why) == ("whims", "stage")
        with pytest.raises(SampleFailed, match="it is bad") as f:
            failed.result(SOON)
        assert isinstance(f.value.__cause__, ValueError)
        assert f.value.stage == "whims" and f.value.doing == "stage_run" and f.value.sample is not None
        assert f.value.sample.number == 2
        assert f.value.__cause__.__traceback__ is not None or multiprocess
        assert many.result(SOON) == [0, 1, 4, 9]
        assert one.result(SOON) == [0]
        with pytest.raises(Skipped):
            none.result(SOON)


def test_a_sample_whose_worker_dies_is_lost_and_the_others_are_answered() -> None:
    with Pipeline([Whims().options(name="whims"), Square()], overflow="block", multiprocess=True) as p:
        first, died, last = p.submit(2), p.submit("die"), p.submit(3)
        assert first.result(SOON) == 4
        with pytest.raises(Lost) as lost:
            died.result(SOON)
        assert lost.value.stage == "whims"
        assert last.result(SOON) == 9


@modes
def test_a_failure_that_stops_is_the_cause_of_what_is_discarded(multiprocess: bool) -> None:
    p = Pipeline([Whims(), Square()], overflow="block", buffer_size=4, multiprocess=multiprocess)
    p.start(wait=False)
    failed, waits = p.submit("fail"), p.submit(2)
    with pytest.raises(SampleFailed):
        failed.result(SOON)
    with pytest.raises(Discarded) as discarded:
        waits.result(SOON)
    assert isinstance(discarded.value.__cause__, StageError)
    assert isinstance(discarded.value.__cause__.__cause__, ValueError)
    with pytest.raises(PutAfterFailure):
        p.submit(3)
    with pytest.raises(StageError):
        p.setstop()


def test_what_a_full_buffer_drops_is_answered_by_the_rule() -> None:
    gate = Gate()
    with Pipeline([gate], buffer_size=1) as p:
        taken = p.submit(1)
        gate.has.acquire()
        dropped, kept = p.submit(2), p.submit(3)
        with pytest.raises(Dropped) as error:
            dropped.result(SOON)
        assert (error.value.stage, error.value.why) == ("Gate", "oldest")
        gate.go.release(2)
        assert (taken.result(SOON), kept.result(SOON)) == (1, 3)


def test_a_sample_that_is_dropped_on_arrival_has_no_number() -> None:
    gate = Gate()
    with Pipeline([gate], buffer_size=1, overflow="drop_newest") as p:
        p.submit(1)
        gate.has.acquire()
        p.submit(2)
        dropped = p.submit(3)
        assert dropped.number is None
        with pytest.raises(Dropped):
            dropped.result(SOON)
        gate.go.release(2)


def test_lists_and_windows_answer_for_the_newest() -> None:
    add = stage(sum, name="add", intake=Batch(2, max_wait=3600, fold=True), buffer_size=2)
    with Pipeline([add], overflow="block") as p:
        older, newest = p.submit(1), p.submit(2)
        assert newest.result(SOON) == 3
        with pytest.raises(Skipped) as error:
            older.result(SOON)
        assert error.value.why == "list"
    with Pipeline([stage(lambda xs: list(xs), name="window", intake=Window(2))], overflow="block") as p:
        first, second = p.submit(1), p.submit(2)
        with pytest.raises(Skipped) as error:
            first.result(SOON)
        assert error.value.why == "window"
        assert second.result(SOON) == [1, 2]


def test_put_and_submit_refuse_in_the_same_way() -> None:
    gate = Gate()
    p = Pipeline([gate], buffer_size=1, overflow="block")
    with pytest.raises(PutError, match="submit before start"):
        p.submit(1)
    with p:
        p.submit(1)
        gate.has.acquire()
        p.submit(2)
        with pytest.raises(PutTimeout, match="submit timed out") as error:
            p.submit(3, timeout=0.01)
        assert error.value.value == 3
        with pytest.raises(GraphError, match="timeout is 'x'"):
            p.submit(3, timeout="x")  # type: ignore[arg-type]
        gate.go.release(2)
    with pytest.raises(PutError, match="submit after setstop"):
        p.submit(4)
    with pytest.raises(PutError, match="with a source"):
        Pipeline([Square()], source=[1]).start().submit(1)


def test_end_stages_in_parallel_give_no_answers() -> None:
    with Pipeline([Parallel([Square(), Square()])], overflow="block") as p:
        with pytest.raises(PutError, match="ends in parallel"):
            p.submit(1)
        assert p.put(1)


def test_a_stage_does_not_submit_to_its_own_pipeline() -> None:
    class Own(Stage):
        def stage_run(self, x: int) -> str:
            with pytest.raises(PutError, match="submit from one of the pipeline's own stages") as error:
                p.submit(x)
            return str(error.value.value)

    p = Pipeline([Own()], overflow="block").start()
    assert p.submit(7).result(SOON) == "7"
    p.setstop()


def test_a_stop_answers_what_is_inside_and_an_abort_discards_it() -> None:
    with Pipeline([Square()], overflow="block", buffer_size=10) as p:
        answers = [p.submit(x) for x in range(10)]
    assert [answer.result(0) for answer in answers] == [x * x for x in range(10)]

    gate = Gate()
    p = Pipeline([gate], overflow="block").start()
    stuck, waits = p.submit(1), None
    gate.has.acquire()
    waits = p.submit(2)
    p.abort()
    for answer in (stuck, waits):
        with pytest.raises(Discarded) as error:
            answer.result(SOON)
        assert error.value.__cause__ is None
    gate.go.release(2)


def test_a_cancelled_answer_makes_nobody_wait_and_the_sample_goes_its_way() -> None:
    gate = Gate()
    with Pipeline([gate], overflow="block") as p:
        answer = p.submit(1)
        gate.has.acquire()
        assert answer.cancel()
        with pytest.raises(CancelledError):
            answer.result(SOON)
        gate.go.release()
    assert p.report().stages[0].counts.used == 1


def test_a_callback_that_waits_holds_up_no_worker() -> None:
    release, called = threading.Event(), threading.Event()

    def slow(answer: Answer) -> None:
        called.set()
        release.wait(SOON)

    with Pipeline([Square()], overflow="block") as p:
        p.submit(1).add_done_callback(slow)  # type: ignore[arg-type]
        assert called.wait(SOON)
        for x in range(20):
            p.put(x)
        while p.report().stages[0].counts.used < 21:
            pass
        release.set()


def test_answers_are_awaited_in_several_loops() -> None:
    gate = Gate()

    async def ask(answer: Answer) -> Any:
        ticks = asyncio.create_task(asyncio.sleep(0))
        found = await answer
        await ticks
        return found

    with Pipeline([gate], overflow="block") as p:
        answer = p.submit(5)
        found: list[Any] = []
        loops = [threading.Thread(target=lambda: found.append(asyncio.run(ask(answer)))) for _ in range(3)]
        for loop in loops:
            loop.start()
        gate.go.release()
        for loop in loops:
            loop.join(SOON)
        assert found == [5, 5, 5]
        assert asyncio.run(ask(answer)) == 5


def test_who_gives_up_awaiting_leaves_the_answer_to_others() -> None:
    gate = Gate()

    async def give_up(answer: Answer) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answer, 0.01)

    with Pipeline([gate], overflow="block") as p:
        answer = p.submit(5)
        asyncio.run(give_up(answer))
        gate.go.release()
        assert answer.result(SOON) == 5


def test_a_result_that_cannot_be_pickled_matters_only_to_who_waits_for_it() -> None:
    # A lambda does not pickle.
    with Pipeline([GivesLambda().options(on_error="skip")], overflow="block", multiprocess=True) as p:
        p.put(1)
        with pytest.raises(SampleFailed, match="cannot be sent"):
            p.submit(2).result(SOON)
    assert (p.report().stages[0].counts.used, p.report().stages[0].counts.failed) == (1, 1)


class GivesLambda(Stage):
    def stage_run(self, x: int) -> Any:
        return lambda: x


def test_errors_survive_pickle() -> None:
    with Pipeline([Whims().options(on_error="skip")], overflow="block") as p:
        for x in ("skip", "fail"):
            error = p.submit(x).exception(SOON)
            assert isinstance(error, NoAnswer)
            again = pickle.loads(pickle.dumps(error))
            assert type(again) is type(error) and str(again) == str(error) and again.stage == error.stage  # type: ignore[attr-defined]


@modes
def test_results_come_out_while_samples_are_put(multiprocess: bool) -> None:
    p = Pipeline([Square()], multiprocess=multiprocess)
    with p.results() as results:
        p.put(1)
        assert next(results) == 1
        p.put(5)
        assert results.next(timeout=SOON) == 25
        with pytest.raises(ResultTimeout, match=r"no result within 0.01 s"):
            results.next(timeout=0.01)
        with pytest.raises(TimeoutError):
            results.next(timeout=0)
        p.put(6)
        assert results.next() == 36


def test_a_stop_leaves_the_results_that_were_not_asked_for() -> None:
    p = Pipeline([Square()], overflow="block", buffer_size=4)
    results = p.results()
    for x in range(4):
        p.put(x)
    p.setstop()
    assert list(results) == [0, 1, 4, 9]


def test_results_with_their_samples_and_answers_beside_them() -> None:
    p = Pipeline([Square()], overflow="block")
    results = p.results(with_sample=True)
    answer = p.submit(3)
    sample, value = next(results)
    assert (sample.number, sample.part, value) == (1, 0, 9)
    assert answer.result(SOON) == 9
    p.setstop()


def test_results_refuse_a_source_and_what_is_no_flag() -> None:
    with pytest.raises(GraphError, match="use stream"):
        Pipeline([Square()], source=[1]).results()
    with pytest.raises(GraphError, match="with_sample is 1"):
        Pipeline([Square()]).results(with_sample=1)  # type: ignore[arg-type]


def test_next_of_a_stream_has_a_time_out() -> None:
    gate = Gate()
    with Pipeline([gate]).stream([1]) as stream:
        gate.has.acquire()
        with pytest.raises(TimeoutError):
            stream.next(timeout=0.01)
        gate.go.release()
        assert stream.next(timeout=SOON) == 1


def test_a_forked_child_waits_for_no_answer() -> None:
    gate = Gate()
    with Pipeline([gate], overflow="block") as p:
        answer = p.submit(1)
        gate.has.acquire()
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if isinstance(answer.exception(SOON), Discarded) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        gate.go.release()
        assert answer.result(SOON) == 1


class FailOnEach(Stage):
    def stage_run(self, xs: list[int]) -> list[Any]:
        return [Failed(ValueError(f"{x} is bad")) for x in xs]


@modes
def test_each_sample_of_a_batch_that_fails_has_its_own_error(multiprocess: bool) -> None:
    stage = FailOnEach().options(intake=Batch(8, max_wait=0.05), on_error="skip")
    with Pipeline([stage], buffer_size=8, overflow="block", multiprocess=multiprocess) as pipeline:
        answers = [pipeline.submit(x) for x in range(64)]
        errors = [answer.exception(SOON) for answer in answers]
    assert [str(error and error.__cause__) for error in errors] == [f"{x} is bad" for x in range(64)]
