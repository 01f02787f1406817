"""Stages that are async: awaited on a loop of their own, several at a time, and in order."""

import asyncio
import gc
import logging
import threading
import weakref
from typing import Any

import pytest
from support import WATCHDOG, Collect, Pass

from DeepPipeline import (
    SKIP,
    Failed,
    GraphError,
    Many,
    Pipeline,
    Sample,
    Stage,
    StageError,
    StartTimeout,
    UpdateError,
    retry,
    stage,
)
from DeepPipeline._async_stage import Loops, LoopStage
from DeepPipeline._stage import options_of
from DeepPipeline.testing import run_stage


async def double(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


async def whims(x: Any) -> Any:
    await asyncio.sleep(0)
    if x == "skip":
        return SKIP
    if x == "many":
        return Many([1, 2])
    if x == "fail":
        raise ValueError("failed")
    return x


async def for_ever(x: Any) -> None:
    await asyncio.Event().wait()


def test_an_async_function_is_a_stage() -> None:
    assert list(Pipeline([double]).stream(range(100))) == list(range(0, 200, 2))


class Meeting(Stage):
    """Gives on what it got once so many of them are there at the same time, the last one first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.most = 0

    async def setup(self) -> None:
        self.thread = threading.current_thread()
        self.there: list[asyncio.Event] = []

    async def stage_run(self, x: Any) -> Any:
        assert threading.current_thread() is self.thread
        go = asyncio.Event()
        self.there.append(go)
        self.most = max(self.most, len(self.there))
        if len(self.there) == self.size:
            self.there.pop().set()
        await go.wait()
        if self.there:
            self.there.pop().set()
        return x


@pytest.mark.parametrize("size", [1, 16, 300])
def test_as_many_as_were_said_are_awaited_at_a_time_on_one_thread_and_results_are_in_order(size: int) -> None:
    meeting = Meeting(size)
    pipeline = Pipeline([meeting.options(concurrency=size)], buffer_size=size)
    assert list(pipeline.stream(range(size))) == list(range(size))
    assert meeting.most == size


@pytest.mark.parametrize("concurrency", [1, 4])
def test_no_more_are_awaited_at_a_time_than_were_said(concurrency: int) -> None:
    now = most = 0

    async def count(x: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(10):
            await asyncio.sleep(0)
        now -= 1
        return x

    pipeline = Pipeline([stage(count, concurrency=concurrency)], buffer_size=16)
    assert list(pipeline.stream(range(100))) == list(range(100))
    assert most <= concurrency


def test_results_go_on_as_they_come_where_order_does_not_matter() -> None:
    meeting, end = Meeting(4), Collect()
    Pipeline([meeting.options(concurrency=4, ordered=False), end], buffer_size=4).run(range(4))
    assert sorted(end.got) == list(range(4))


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_a_result_may_be(executor: Any) -> None:
    end = Collect()
    report = Pipeline(
        [stage(whims, on_error="skip", executor=executor), end.options(executor="thread")], overflow="block"
    ).run(["a", "skip", "many", "fail", "b"])
    assert end.got == ["a", 1, 2, "b"]
    counts = report.stages[0].counts
    assert (counts.used, counts.skipped, counts.failed) == (3, 1, 1)


def test_an_async_stage_of_a_pipeline_in_processes_is_awaited_on_a_thread_unless_it_says_otherwise() -> None:
    report = Pipeline([double], multiprocess=True, overflow="block").run(range(10))
    assert report.stages[0].counts.used == 10
    with pytest.raises(GraphError, match="leave out executor='process'"):
        Pipeline([stage(double, executor="process", concurrency=2)])


def test_an_error_stops_the_pipeline_and_cancels_what_is_awaited_beside() -> None:
    async def fails_at_three(x: int) -> int:
        if x == 3:
            raise ValueError("three")
        await asyncio.Event().wait()
        return x

    with pytest.raises(StageError, match="three"):
        Pipeline([stage(fails_at_three, concurrency=4)], buffer_size=4).run(range(4))


def test_a_stage_is_tried_again() -> None:
    tries: list[int] = []

    async def third_time(x: int) -> int:
        tries.append(x)
        if len(tries) < 3:
            raise ValueError("again")
        return x

    assert list(Pipeline([stage(third_time, on_error=retry(3))]).stream([7])) == [7]
    assert tries == [7, 7, 7]


def test_what_takes_longer_than_the_time_limit_is_cancelled_and_fails() -> None:
    with pytest.raises(StageError, match=r"longer than its time_limit of 0\.01 s, and was cancelled"):
        Pipeline([stage(for_ever, time_limit=0.01)]).run([1])


def test_a_call_that_blocks_its_loop_beyond_the_time_limit_is_told_once_while_it_does() -> None:
    released, told = threading.Event(), list[str]()

    class Releases(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "hangs" in record.getMessage():
                told.append(record.getMessage())
                released.set()

    async def blocks(x: int) -> int:
        released.wait(WATCHDOG)  # as time.sleep would: nothing else runs on the loop
        return x

    logger, handler = logging.getLogger("DeepPipeline"), Releases()
    logger.addHandler(handler)
    try:
        stages = [stage(blocks, time_limit=0.01, concurrency=4), (end := Collect())]
        Pipeline(stages, buffer_size=4, overflow="block").run(range(4))
    finally:
        logger.removeHandler(handler)
    assert end.got == [0, 1, 2, 3]
    [message] = told
    assert "stage 'blocks' hangs: sample " in message and "longer than its time_limit of 0.01 s" in message
    assert "released.wait(WATCHDOG)" in message


def test_an_abort_cancels_what_is_awaited() -> None:
    entered, torn = threading.Event(), threading.Event()

    class Waits(Stage):
        async def stage_run(self, x: Any) -> None:
            entered.set()
            await asyncio.Event().wait()

        async def teardown(self) -> None:
            await asyncio.sleep(0)
            torn.set()

    p = Pipeline([Waits().options(concurrency=2)]).start()
    p.put(1)
    assert entered.wait(WATCHDOG)
    report = p.abort()
    assert (report.outcome, report.left_behind) == ("aborted", [])
    assert torn.is_set()


class Held(Stage):
    """Waits in one of its methods until it is cancelled, and says what is torn down."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.entered, self.cancelled_in, self.torn = threading.Event(), list[str](), threading.Event()

    async def hold(self, method: str) -> None:
        if method == self.method:
            self.entered.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled_in.append(method)
                raise

    async def setup(self) -> None:
        await self.hold("setup")

    async def stage_run(self, x: Any) -> Any:
        return x

    async def update(self, **values: Any) -> None:
        await self.hold("update")

    async def teardown(self) -> None:
        self.torn.set()


@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_abort_cancels_a_setup_and_what_it_has_opened_is_torn_down(concurrency: int) -> None:
    held = Held("setup")
    p = Pipeline([held.options(concurrency=concurrency), Collect()]).start(wait=False)
    assert held.entered.wait(WATCHDOG)
    report = p.abort()
    assert (report.outcome, report.left_behind) == ("aborted", [])
    assert (held.cancelled_in, held.torn.is_set()) == (["setup"], True)


def test_a_start_that_is_out_of_time_cancels_the_setup() -> None:
    held = Held("setup")
    with pytest.raises(StartTimeout):
        Pipeline([held]).start(timeout=0.01)
    assert (held.cancelled_in, held.torn.is_set()) == (["setup"], True)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_abort_cancels_an_update_and_its_caller_is_told(concurrency: int) -> None:
    held, told = Held("update"), list[BaseException]()

    def update() -> None:
        try:
            p.update("Held", value=1)
        except UpdateError as error:
            told.append(error)

    p = Pipeline([held.options(concurrency=concurrency), Collect()]).start()
    updates = threading.Thread(target=update)
    updates.start()
    assert held.entered.wait(WATCHDOG)
    report = p.abort()
    updates.join()
    assert (report.outcome, report.left_behind, len(told)) == ("aborted", [], 1)
    assert (held.cancelled_in, held.torn.is_set()) == (["update"], True)


def test_a_setup_that_an_abort_came_before_is_not_run_nor_torn_down() -> None:
    held = Held("setup")
    loops = Loops()
    (shared,) = loops.workers(held, options_of(held))
    loops.cancel()
    shared.setup()
    shared.teardown()
    assert not held.entered.is_set() and not held.torn.is_set()


def test_each_call_knows_its_own_sample() -> None:
    class Knows(Meeting):
        async def stage_run(self, x: int) -> Any:
            before = self.sample
            await super().stage_run(x)
            assert isinstance(before, Sample) and self.sample == before
            return before.number, self.worker, self.cancelled

    got = list(Pipeline([Knows(4).options(concurrency=4)], buffer_size=4).stream(range(4)))
    assert got == [(number, 0, False) for number in range(1, 5)]


def test_setup_finish_and_teardown_run_once_on_the_loop() -> None:
    calls: list[str] = []

    class All(Stage):
        def setup(self) -> None:
            asyncio.get_running_loop()
            calls.append("setup")

        async def stage_run(self, x: int) -> int:
            return x

        async def finish(self) -> str:
            calls.append("finish")
            return "last"

        def teardown(self) -> None:
            asyncio.get_running_loop()
            calls.append("teardown")

    assert list(Pipeline([All().options(concurrency=3)]).stream([1, 2])) == [1, 2, "last"]
    assert calls == ["setup", "finish", "teardown"]


def test_a_setup_that_fails_ends_the_start_without_a_teardown() -> None:
    class Broken(Stage):
        async def setup(self) -> None:
            raise ValueError("no session")

        async def stage_run(self, x: Any) -> Any:
            return x

        async def teardown(self) -> None:
            pytest.fail("it was never set up")

    with pytest.raises(StageError, match="no session"):
        Pipeline([Broken().options(concurrency=3)]).start()


class HasTask(Stage):
    def __init__(self) -> None:
        self.did: list[str] = []

    async def setup(self) -> None:
        self.begun = asyncio.Event()
        self.task = asyncio.create_task(self.save_at_the_end())
        await self.begun.wait()

    async def save_at_the_end(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            self.did.append("saved")

    async def stage_run(self, x: int) -> int:
        return x


def test_tasks_of_the_stage_have_ended_once_the_pipeline_has() -> None:
    has_task = HasTask()
    with Pipeline([has_task]) as pipeline:
        pipeline.put(1)
    assert has_task.did == ["saved"]


def test_a_worker_that_comes_once_all_others_have_torn_the_stage_down_finds_it_so() -> None:
    told: list[str] = []

    class Tells(Stage):
        async def setup(self) -> None:
            told.append("setup")

        async def stage_run(self, x: int) -> int:
            return x

        async def teardown(self) -> None:
            told.append("teardown")

    shared = LoopStage(Tells(), 2, None)
    for _ in range(2):  # as two workers do that give a replacement up, one after the other
        shared.setup()
        shared.teardown()
    assert told == ["setup", "teardown"]


def test_what_another_stage_has_replaced_is_gone_with_what_it_has_loaded() -> None:
    with Pipeline([stage(double, name="S"), Pass()]) as pipeline:
        second = HasTask()
        is_there = weakref.ref(second)
        pipeline.replace("S", second)
        del second
        pipeline.replace("S", double)
        pipeline.put(1)  # the worker has the third one by then
        pipeline.setstop()
        gc.collect()
        assert is_there() is None


def test_a_batch_is_awaited() -> None:
    class Batched(Stage):
        async def stage_run(self, xs: list[int]) -> list[Any]:
            await asyncio.sleep(0)
            return [Failed(ValueError("odd")) if x % 2 else x for x in xs]

    batched = Batched().set_get_batch(4, timeout=0.0).options(on_error="skip")
    assert list(Pipeline([batched], buffer_size=4).stream(range(10))) == [0, 2, 4, 6, 8]


def test_the_pipeline_is_stopped_from_an_async_stage() -> None:
    pipelines: list[Pipeline] = []

    async def stops(x: int) -> int:
        pipelines[0].setstop()
        return x

    with Pipeline([stops]) as p:
        pipelines.append(p)
        p.put(1)
    assert p.report().stages[0].counts.used == 1


def test_an_async_stage_alone() -> None:
    assert run_stage(double, [1, 2]).gave == [2, 4]


def test_a_simulation_takes_concurrency_for_workers() -> None:
    p = Pipeline([stage(double, concurrency=4)], overflow="drop_newest", buffer_size=1)
    report = p.simulate({"double": 1.0}, [0.0, 0.1, 0.2, 0.3])
    assert (report.stages[0].workers, report.stages[0].counts.used) == (4, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 2, "workers": 2}, "leave one of the two out"),
        ({"concurrency": 0}, "concurrency is 0, but must be a whole number, 1 to 1024"),
    ],
)
def test_a_concurrency_that_cannot_be_is_refused(options: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        Pipeline([stage(double, **options)])


def test_concurrency_of_what_is_not_async_is_refused() -> None:
    with pytest.raises(GraphError, match="but is not async: write `async def stage_run`, or give it workers"):
        Pipeline([stage(lambda x: x, concurrency=2)])


class Threshold(Stage):
    """Keeps what is at least its threshold, which may be told while it runs."""

    def __init__(self) -> None:
        self.threshold = 0
        self.told = 0

    async def update(self, threshold: int) -> None:
        await asyncio.sleep(0)
        self.threshold = threshold
        self.told += 1

    async def stage_run(self, x: int) -> Any:
        await asyncio.sleep(0)
        return x if x >= self.threshold else SKIP


def test_concurrent_calls_are_one_stage_that_is_told_new_values_once() -> None:
    threshold, end = Threshold(), Collect()
    with Pipeline([threshold.options(concurrency=3), end], overflow="block") as pipeline:
        pipeline.put(1)
        pipeline.update("Threshold", threshold=2)
        for x in (1, 2, 3):
            pipeline.put(x)
    assert threshold.told == 1
    assert end.got[-2:] == [2, 3] and len(end.got) in (2, 3)  # the first may be taken after the update


def test_a_paused_async_stage_takes_nothing() -> None:
    end = Collect()
    with Pipeline([stage(double, name="double", concurrency=2), end], overflow="block", buffer_size=4) as pipeline:
        pipeline.pause("double")
        for x in range(4):
            pipeline.put(x)
        assert pipeline.report().stage("double").buffer.waiting == 4
        pipeline.resume("double")
    assert end.got == [0, 2, 4, 6]


class Slow(Stage):
    """Takes until it is flushed."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    async def stage_run(self, x: int) -> int:
        if x > 1:
            return x
        self.begun.set()
        while not self.cancelled:
            await asyncio.sleep(0.001)
        return x


def test_an_awaited_call_may_ask_whether_its_sample_was_flushed() -> None:
    slow, end = Slow(), Collect()
    with Pipeline([slow.options(concurrency=2), end], overflow="block") as pipeline:
        pipeline.put(1)
        assert slow.begun.wait(WATCHDOG)
        pipeline.flush()
        pipeline.put(2)
    assert end.got == [2]
    assert pipeline.report().stage("Collect").buffer.flushed == 1
