"""Pipelines in an event loop: `async with`, `aput`, `asubmit`, `async for`."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from support import WATCHDOG, Collect, Gate, Pass

from DeepPipeline import (
    Dropped,
    Pipeline,
    PutAfterFailure,
    PutError,
    PutTimeout,
    Stage,
    StageError,
    StartError,
)

modes = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])


def run(program: Coroutine[Any, Any, Any]) -> Any:
    async def in_time() -> Any:
        async with asyncio.timeout(WATCHDOG):
            return await program

    return asyncio.run(in_time())


async def in_flight(gate: Gate) -> Any:
    """Waits until the gate has taken a sample."""
    return await asyncio.to_thread(gate.in_flight)


async def waiting(p: Pipeline, x: Any) -> "asyncio.Task[Any]":
    """A task that waits for room: it has tried, and the loop has come back."""
    task = asyncio.ensure_future(p.aput(x))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def full(p: Pipeline, gate: Gate) -> None:
    """Fills the gate and the one place in front of it."""
    await p.aput("in the gate")
    await in_flight(gate)
    await p.aput("before it")


@modes
def test_what_is_put_from_a_loop_comes_out_in_order(multiprocess: bool) -> None:
    end = Collect()

    async def program() -> None:
        async with Pipeline([Pass(), end.options(executor="thread")], overflow="block", multiprocess=multiprocess) as p:
            tickets = [await p.aput(x) for x in range(200)]
            assert [ticket.number for ticket in tickets] == list(range(1, 201))

    run(program())
    assert end.got == list(range(200))


@modes
def test_a_thousand_coroutines_wait_for_room_without_a_thread_each(multiprocess: bool) -> None:
    end = Collect()

    async def program() -> None:
        stages = [Pass(), end.options(executor="thread")]
        async with Pipeline(stages, buffer_size=2, overflow="block", multiprocess=multiprocess) as p:
            before = threading.active_count()
            tasks = [asyncio.ensure_future(p.aput(x)) for x in range(1000)]
            await asyncio.sleep(0)
            # One tells of room, and in a process one more waits for it.
            assert threading.active_count() <= before + 2
            await asyncio.gather(*tasks)

    run(program())
    assert sorted(end.got) == list(range(1000))


def test_coroutines_get_room_in_the_order_in_which_they_came() -> None:
    gate, end = Gate(), Collect()

    async def program() -> None:
        async with Pipeline([gate, end], buffer_size=1, overflow="block") as p:
            await full(p, gate)
            tasks = [await waiting(p, x) for x in range(20)]
            gate.let_go(22)
            await asyncio.gather(*tasks)

    run(program())
    assert end.got[2:] == list(range(20))


def test_a_coroutine_that_is_cancelled_while_it_waits_has_not_put_its_sample_in() -> None:
    gate, end = Gate(), Collect()

    async def program() -> None:
        async with Pipeline([gate, end], buffer_size=1, overflow="block") as p:
            await full(p, gate)
            tasks = [await waiting(p, x) for x in range(10)]
            for task in tasks[::2]:
                task.cancel()
            gate.let_go(7)
            came = await asyncio.gather(*tasks, return_exceptions=True)
            assert [isinstance(ticket, asyncio.CancelledError) for ticket in came] == [True, False] * 5
        assert p.report().stages[0].buffer.entered == 7

    run(program())
    assert end.got[2:] == [1, 3, 5, 7, 9]


def test_room_that_a_cancelled_coroutine_was_told_of_goes_to_the_next() -> None:
    gate, end = Gate(), Collect()

    async def program() -> None:
        async with Pipeline([gate, end], buffer_size=1, overflow="block") as p:
            await full(p, gate)
            first, second = await waiting(p, "first"), await waiting(p, "second")
            gate.let_go()
            # The loop stands still meanwhile: the first may be told, but does not look.
            gate.in_flight()
            first.cancel()
            await second
            assert first.cancelled()
            gate.let_go(2)

    run(program())
    assert end.got == ["in the gate", "before it", "second"]


def test_a_wait_for_room_ends_with_its_timeout() -> None:
    gate = Gate()

    async def program() -> None:
        async with Pipeline([gate], buffer_size=1, overflow="block") as p:
            await full(p, gate)
            with pytest.raises(PutTimeout, match=r"aput timed out after 0\.01 s") as found:
                await p.aput("late", timeout=0.01)
            assert found.value.value == "late"
            with pytest.raises(PutTimeout, match=r"asubmit timed out after 0\.0 s"):
                await p.asubmit("late", timeout=0)
            gate.let_go(2)
        assert p.report().stages[0].buffer.entered == 2

    run(program())


@pytest.mark.parametrize("stop", ["setstop", "abort"])
def test_who_waits_for_room_hears_of_the_end(stop: str) -> None:
    gate = Gate()

    async def program() -> None:
        async with Pipeline([gate], buffer_size=1, overflow="block") as p:
            await full(p, gate)
            tasks = [await waiting(p, x) for x in range(3)]
            stopping = asyncio.ensure_future(asyncio.to_thread(getattr(p, stop)))
            errors = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(error) for error in errors] == [PutError] * 3
            assert "aput after setstop" in str(errors[0])
            gate.let_go(2)
            await stopping

    run(program())


def test_who_waits_for_room_hears_of_a_failure() -> None:
    gate = Gate()

    def fail(x: Any) -> None:
        raise ValueError("broken")

    async def program() -> None:
        async with Pipeline([gate, fail], buffer_size=1, overflow="block") as p:
            await full(p, gate)
            task = await waiting(p, 1)
            gate.let_go(3)
            with pytest.raises(PutAfterFailure, match="broken"):
                while True:
                    await task
                    task = asyncio.ensure_future(p.aput(1))
            gate.let_go(100)

    with pytest.raises(StageError, match="broken"):
        run(program())


@modes
def test_answers_of_a_loop(multiprocess: bool) -> None:
    async def program() -> None:
        async with Pipeline([Pass()], overflow="block", multiprocess=multiprocess) as p:
            answers = await asyncio.gather(*(p.asubmit(x) for x in range(300)))
            assert await asyncio.gather(*answers) == list(range(300))

    run(program())


def test_a_submission_that_is_dropped_on_arrival_has_its_fate_as_its_answer() -> None:
    gate = Gate()

    async def program() -> None:
        async with Pipeline([gate], buffer_size=1, overflow="drop_newest") as p:
            await full(p, gate)
            with pytest.raises(Dropped):
                await (await p.asubmit(3))
            assert not await p.aput(4)
            gate.let_go(2)

    run(program())


def test_entrances_by_name() -> None:
    end = Collect()

    async def program() -> None:
        async with Pipeline([end], entrances=["a", "b"], overflow="block") as p:
            await asyncio.gather(*(p.aput(x, entrance="ab"[x % 2]) for x in range(100)))
            with pytest.raises(PutError, match="nowhere"):
                await p.aput(1, entrance="nowhere")

    run(program())
    assert sorted(end.got) == list(range(100))


def test_several_loops_put_into_one_pipeline() -> None:
    end = Collect()

    async def put(p: Pipeline, first: int) -> None:
        await asyncio.gather(*(p.aput(x) for x in range(first, first + 100)))

    with Pipeline([end], buffer_size=1, overflow="block") as p:
        loops = [threading.Thread(target=run, args=(put(p, 100 * loop),)) for loop in range(4)]
        for loop in loops:
            loop.start()
        for loop in loops:
            loop.join(WATCHDOG)
    assert sorted(end.got) == list(range(400))


def test_a_loop_that_is_gone_leaves_its_room_to_others() -> None:
    gate, end = Gate(), Collect()

    async def leave(p: Pipeline) -> None:
        await full(p, gate)
        await waiting(p, "nobody's")

    with Pipeline([gate, end], buffer_size=1, overflow="block") as p:
        run(leave(p))  # the end of a loop cancels what still waits there
        gate.let_go(3)
        run(p.aput("other"))
    assert end.got[2:] == ["other"]


class SlowSetup(Stage):
    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()

    def setup(self) -> None:
        self.entered.set()
        assert self.go.wait(WATCHDOG)

    def stage_run(self, x: Any) -> Any:
        return x


def test_the_loop_goes_on_while_a_pipeline_starts_and_while_it_drains() -> None:
    stage, gate = SlowSetup(), Gate()

    async def program() -> None:
        async def help_along() -> None:
            await asyncio.to_thread(stage.entered.wait)
            stage.go.set()

        helping = asyncio.ensure_future(help_along())
        async with Pipeline([stage, gate]) as p:
            await helping
            await p.aput(1)
            await in_flight(gate)
            asyncio.get_running_loop().call_later(0.01, gate.let_go)

    run(program())


def test_a_start_that_is_cancelled_leaves_nothing_running() -> None:
    stage = SlowSetup()

    async def program() -> None:
        p = Pipeline([stage])
        starting = asyncio.ensure_future(p.__aenter__())
        await asyncio.to_thread(stage.entered.wait)
        starting.cancel()
        asyncio.get_running_loop().call_soon(stage.go.set)
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert p.report().outcome == "aborted"

    run(program())


def test_a_setup_that_fails_ends_the_async_with() -> None:
    class Broken(Stage):
        def setup(self) -> None:
            raise ValueError("no model")

        def stage_run(self, x: Any) -> Any:
            return x

    async def program() -> None:
        async with Pipeline([Broken()]):
            pytest.fail("it has started")

    with pytest.raises(StageError, match="no model"):
        run(program())


def test_an_exception_inside_drains_as_in_with() -> None:
    end = Collect()

    async def program() -> None:
        async with Pipeline([Pass(), end], overflow="block") as p:
            for x in range(50):
                await p.aput(x)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(program())
    assert end.got == list(range(50))


def test_being_cancelled_drains_and_being_cancelled_again_aborts() -> None:
    gate = Gate()
    p = Pipeline([gate], buffer_size=4)

    async def program() -> None:
        inside, left = asyncio.Event(), asyncio.Event()

        async def use() -> None:
            async with p:
                await full(p, gate)
                inside.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    left.set()

        using = asyncio.ensure_future(use())
        await inside.wait()
        using.cancel()
        await left.wait()
        await asyncio.sleep(0)
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        assert (p.report().outcome, p.report().stages[0].buffer.discarded) == ("aborted", 1)
        gate.let_go()

    run(program())


@modes
def test_a_stream_in_a_loop(multiprocess: bool) -> None:
    async def program() -> list[int]:
        return [x async for x in Pipeline([Pass()], multiprocess=multiprocess).stream(range(100))]

    assert run(program()) == list(range(100))


def test_the_loop_goes_on_while_a_value_is_awaited() -> None:
    gate = Gate()

    async def program() -> None:
        stream = Pipeline([gate]).stream([1, 2])
        first = asyncio.ensure_future(anext(stream))
        assert await in_flight(gate) == 1
        assert not first.done()
        gate.let_go(2)
        assert await first == 1
        assert [x async for x in stream] == [2]

    run(program())


def test_results_while_others_put() -> None:
    async def program() -> list[int]:
        p = Pipeline([Pass()], buffer_size=1, overflow="block")
        results = p.results()

        async def put() -> None:
            for x in range(100):
                await p.aput(x)
            await asyncio.to_thread(p.setstop)

        putting = asyncio.ensure_future(put())
        got = [x async for x in results]
        await putting
        return got

    assert run(program()) == list(range(100))


def test_who_is_cancelled_while_a_value_is_awaited_loses_none() -> None:
    async def program() -> list[int]:
        got: list[int] = []
        async with Pipeline([Pass()], buffer_size=1).stream(range(200)) as stream:
            while True:
                one = asyncio.ensure_future(anext(stream, None))
                await asyncio.sleep(0)
                one.cancel()
                try:
                    value = await one
                except asyncio.CancelledError:
                    continue
                if value is None:
                    return got
                got.append(value)

    assert run(program()) == list(range(200))


def test_a_failure_comes_after_what_came_out_before() -> None:
    def fails_at_three(x: int) -> int:
        if x == 3:
            raise ValueError("three")
        return x

    async def program() -> None:
        got = []
        with pytest.raises(StageError, match="three"):
            async for x in Pipeline([fails_at_three]).stream(range(10)):
                got.append(x)
        assert got == [0, 1, 2]

    run(program())


def test_leaving_a_stream_early_ends_its_pipeline() -> None:
    class Torn(Stage):
        torn = False

        def stage_run(self, x: Any) -> Any:
            return x

        def teardown(self) -> None:
            self.torn = True

    stage = Torn()

    async def program() -> None:
        async with Pipeline([stage]).stream(range(1000)) as stream:
            async for x in stream:
                if x == 3:
                    break
        assert [x async for x in stream] == []

    run(program())
    assert stage.torn


def test_async_with_before_and_after() -> None:
    async def program() -> None:
        p = Pipeline([Pass()])
        with pytest.raises(PutError, match="aput before start"):
            await p.aput(1)
        async with p:
            pass
        with pytest.raises(PutError, match="asubmit after setstop"):
            await p.asubmit(1)
        with pytest.raises(StartError, match="twice"):
            async with p:
                pass

    run(program())
