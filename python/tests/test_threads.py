"""Threads: many that put, daemons that work, and an interpreter that is free in every wait."""

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import WATCHDOG, Collect, Gate, Pass

from DeepPipeline import Pipeline, PutError, Stage


def meanwhile(wait: Callable[[], object], wake: Callable[[], object]) -> None:
    """Runs `wait` in a thread of its own; the caller can wake it only while the interpreter is free."""
    thread = threading.Thread(target=wait)
    thread.start()
    wake()
    thread.join(WATCHDOG)
    assert not thread.is_alive()


def test_workers_are_daemons_named_after_their_stage() -> None:
    seen: list[tuple[str, bool]] = []

    class Who(Stage):
        def _note(self) -> None:
            thread = threading.current_thread()
            seen.append((thread.name, thread.daemon))

        def setup(self) -> None:
            self._note()

        def stage_run(self, x: Any) -> Any:
            self._note()

        def finish(self) -> None:
            self._note()

        def teardown(self) -> None:
            self._note()

    Pipeline([Who().options(name="who"), Who()], overflow="block").run([1])
    assert sorted(seen) == [("Who", True)] * 4 + [("who", True)] * 4


def test_put_from_many_threads() -> None:
    end = Collect()
    p = Pipeline([Pass(), end], overflow="block", buffer_size=3).start()

    def feed(name: int) -> None:
        for x in range(200):
            p.put((name, x))

    threads = [threading.Thread(target=feed, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert p.setstop().stages[0].buffer.entered == 1600
    assert len(end.got) == 1600
    for name in range(8):
        assert [x for who, x in end.got if who == name] == list(range(200)), "each in its own order"


def test_a_blocked_put_raises_when_the_pipeline_stops() -> None:
    for stop in ("setstop", "abort"):
        gate = Gate()
        p = Pipeline([gate], buffer_size=1, overflow="block").start()
        p.put(1)
        gate.in_flight()
        p.put(2)
        refused: list[PutError] = []

        def put(p: Pipeline = p, refused: list[PutError] = refused) -> None:
            with pytest.raises(PutError) as caught:
                p.put("kept")
            refused.append(caught.value)

        putter = threading.Thread(target=put)
        putter.start()
        stopper = threading.Thread(target=getattr(p, stop))
        stopper.start()
        putter.join(WATCHDOG)
        gate.let_go(2)
        stopper.join(WATCHDOG)
        assert [error.value for error in refused] == ["kept"]


def test_the_interpreter_is_free_while_start_waits() -> None:
    go = threading.Event()

    class Slow(Pass):
        def setup(self) -> None:
            go.wait()

    p = Pipeline([Slow()])
    meanwhile(p.start, go.set)
    p.setstop()


@pytest.mark.parametrize("wait", ["setstop", "join"])
def test_the_interpreter_is_free_while_it_drains(wait: str) -> None:
    gate = Gate()
    p = Pipeline([gate]).start()
    p.put(1)
    gate.in_flight()
    meanwhile(getattr(p, wait), gate.let_go)


def test_the_interpreter_is_free_while_put_waits() -> None:
    gate = Gate()
    p = Pipeline([gate], buffer_size=1, overflow="block").start()
    p.put(1)
    gate.in_flight()
    p.put(2)
    meanwhile(lambda: p.put(3), lambda: gate.let_go(3))
    p.setstop()


def test_the_interpreter_is_free_while_a_stage_waits_for_room() -> None:
    gate = Gate()
    p = Pipeline([Pass(), gate], buffer_size=1, overflow="block").start()
    for x in range(3):
        p.put(x)
    gate.in_flight()
    gate.let_go(3)
    assert p.setstop().stages[1].counts.used == 3


def test_garbage_collection_in_a_worker() -> None:
    class Sweep(Stage):
        def stage_run(self, x: Any) -> Any:
            gc.collect()
            return x

    end = Collect()
    Pipeline([Sweep(), Sweep(), end], overflow="block").run(range(20))
    assert end.got == list(range(20))


def test_many_pipelines_at_once() -> None:
    ends = [Collect() for _ in range(10)]
    pipelines = [Pipeline([Pass(), end], overflow="block").start() for end in ends]
    for x in range(20):
        for p in pipelines:
            p.put(x)
    for p in pipelines:
        p.setstop()
    assert all(end.got == list(range(20)) for end in ends)


def test_a_stage_of_one_pipeline_puts_into_another() -> None:
    end = Collect()
    second = Pipeline([end], overflow="block").start()

    class Bridge(Stage):
        def stage_run(self, x: Any) -> None:
            second.put(x)

        def teardown(self) -> None:
            second.setstop()

    Pipeline([Bridge()], overflow="block").run([1, 2, 3])
    assert end.got == [1, 2, 3]
    assert second.report().outcome == "finished"
