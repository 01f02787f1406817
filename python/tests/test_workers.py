"""Several workers for one stage: each has a copy of its own, and order is kept unless the stage says otherwise."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from process_stages import AtGate, FailAt, Gates, Moody, SkipsFrom, Wire
from support import WATCHDOG, Collect, Gate, Pass, workers

from DeepPipeline import Pipeline, Stage, StageError, StartError

everywhere = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])


class Bench:
    """Some workers that stop at gates, between a test that puts and an end stage that says what it gets."""

    def __init__(self, folder: Path, *gates: Any, multiprocess: bool, workers: int = 2, **options: Any) -> None:
        self.said, self.results = Wire(), Wire()
        self.gates = Gates(folder, *gates)
        self.stage = AtGate(self.said, self.gates).options(name="crew", workers=workers, **options)
        self.p = Pipeline([self.stage, End(self.results)], multiprocess=multiprocess, overflow="block", buffer_size=8)
        self.p.start()
        self.setups = [self.said.get() for _ in range(workers)]

    def next(self, *wanted: Any) -> dict[Any, int]:
        """Waits until these samples are in flight, in whatever order, and tells in which process each is."""
        found = [self.said.get() for _ in wanted]
        assert {x for x, *_ in found} == {*wanted}
        return {x: pid for x, pid, _ in found}


class End(Stage):
    """Says what it gets, in the test's own process."""

    def __init__(self, results: Wire) -> None:
        self.results = results
        self.options(executor="thread")

    def stage_run(self, x: Any) -> None:
        self.results.put(x)


@everywhere
def test_order_is_kept_though_one_sample_is_slow(multiprocess: bool, tmp_path: Path) -> None:
    bench = Bench(tmp_path, 1, multiprocess=multiprocess)
    for x in (1, 2, 3):
        bench.p.put(x)
    bench.next(1, 2, 3)  # who takes 3 has given 2
    assert bench.results.empty()
    bench.gates.open(1)
    assert [bench.results.get() for _ in range(3)] == [1, 2, 3]
    report = bench.p.setstop()
    assert (report.stages[0].workers, report.stages[0].counts.used) == (2, 3)
    assert report.balances()


@everywhere
def test_a_slow_sample_is_overtaken_where_order_does_not_matter(multiprocess: bool, tmp_path: Path) -> None:
    bench = Bench(tmp_path, 1, multiprocess=multiprocess, ordered=False)
    bench.p.put(1)
    bench.next(1)
    bench.p.put(2)
    bench.p.put(3)
    assert [bench.results.get() for _ in range(2)] == [2, 3]
    bench.gates.open(1)
    assert bench.results.get() == 1
    assert bench.p.setstop().balances()


@everywhere
def test_so_many_samples_are_in_flight_at_the_same_time(multiprocess: bool, tmp_path: Path) -> None:
    bench = Bench(tmp_path, 1, 2, 3, multiprocess=multiprocess, workers=3)
    for x in (1, 2, 3):
        bench.p.put(x)
    bench.next(1, 2, 3)
    assert bench.p.report().stages[0].counts.in_flight == 3
    for x in (3, 2, 1):
        bench.gates.open(x)
    assert [bench.results.get() for _ in range(3)] == [1, 2, 3]
    assert bench.p.setstop().balances()


def test_each_worker_on_a_thread_has_a_copy_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, multiprocess=False, workers=3)
    crew = [thread.name for thread in threading.enumerate()].count("crew")
    bench.p.setstop()
    bodies = {body for _, _, body in bench.setups}
    assert crew == 3
    assert len(bodies) == 3
    assert id(bench.stage) not in bodies, "the user's own object stays as it was given"
    teardowns = [bench.said.get() for _ in range(3)]
    assert {(what, body) for what, _, body in teardowns} == {("teardown", body) for body in bodies}


def test_a_copy_shares_what_the_stage_was_made_with_and_owns_what_its_setup_makes() -> None:
    class Own(Stage):
        def __init__(self) -> None:
            self.bodies: list[Any] = []

        def setup(self) -> None:
            self.model = object()
            self.bodies.append(self)

        def stage_run(self, x: Any) -> Any:
            return x

    stage = Own().options(workers=2)
    Pipeline([stage, Collect()], overflow="block").run([1, 2])
    one, other = stage.bodies
    assert one.model is not other.model
    assert not hasattr(stage, "model")


def test_a_single_worker_on_a_thread_has_the_stage_itself() -> None:
    class Remember(Stage):
        def stage_run(self, x: Any) -> None:
            self.seen = x

    stage = Remember().options(workers=1)
    Pipeline([stage], overflow="block").run([42])
    assert stage.seen == 42


def test_each_worker_in_a_process_has_a_process_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, multiprocess=True, workers=3)
    bench.p.setstop()
    pids = {pid for _, pid, _ in bench.setups}
    assert len(pids) == 3
    assert os.getpid() not in pids
    assert workers() == []


@pytest.mark.parametrize("start_method", ["forkserver", "fork"])
def test_workers_start_by_every_method(start_method: Any) -> None:
    end = Collect().options(executor="thread")
    stages = [Pass().options(workers=2), Pass().options(workers=3), end]
    report = Pipeline(stages, multiprocess=True, start_method=start_method, overflow="block").run(range(50))
    assert end.got == [*range(50)]
    assert [stage.workers for stage in report.stages] == [2, 3, 1]


@everywhere
def test_what_is_skipped_split_or_failed_leaves_no_gap(multiprocess: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", "DeepPipeline")
    end = Collect().options(executor="thread")
    stage = Moody().options(workers=3, on_error="skip")
    report = Pipeline([stage, end], multiprocess=multiprocess, overflow="block").run(range(80))
    wanted = [y for x in range(0, 80, 4) for y in (x + 2, -x - 2, x + 3)]
    assert end.got == wanted
    first = report.stages[0]
    assert (first.counts.failed, first.counts.skipped, first.counts.used, first.counts.gave) == (20, 20, 40, 60)
    assert report.balances()


@everywhere
def test_a_result_that_waits_for_room_stays_in_its_place_however_much_is_skipped_behind_it(
    multiprocess: bool, tmp_path: Path
) -> None:
    said, end = Wire(), Gate().options(executor="thread")
    gates = Gates(tmp_path, 2)
    stage = SkipsFrom(said, gates, 5).options(workers=2)
    p = Pipeline([stage, end], multiprocess=multiprocess, overflow="block", buffer_size=[50, 1]).start()
    assert [said.get()[0] for _ in range(2)] == ["setup", "setup"]
    p.put(1)
    assert said.get()[0] == end.in_flight() == 1
    for x in (2, 3, 4, 5):
        p.put(x)
    assert {said.get()[0] for _ in range(4)} == {2, 3, 4, 5}
    gates.open(2)  # it fills the buffer of the end stage, where 3 and 4 wait for room
    for x in range(6, 46):
        p.put(x)
    first = said.get()[0]
    assert first in (6, 7)  # the workers go on, as far ahead as they may
    end.let_go(4)
    assert {first} | {said.get()[0] for _ in range(7, 46)} == {*range(6, 46)}
    report = p.setstop(abort_after=WATCHDOG)
    assert [stage.counts.used for stage in report.stages] == [4, 4]
    assert [end.in_flight() for _ in range(3)] == [2, 3, 4]
    assert report.stages[0].counts.skipped == 41
    assert report.balances()


@everywhere
def test_a_failure_lets_what_came_before_it_flow_out(multiprocess: bool) -> None:
    end = Collect().options(executor="thread")
    p = Pipeline([FailAt(7).options(workers=3), end], multiprocess=multiprocess, overflow="block", source=range(100))
    with pytest.raises(StageError, match=r'"FailAt" failed in stage_run on sample 8: ValueError: 7') as caught:
        p.run()
    assert end.got == [*range(7)]
    assert caught.value.report.balances()


@everywhere
def test_the_end_stage_may_have_several_workers(multiprocess: bool, tmp_path: Path) -> None:
    said = Wire()
    end = AtGate(said, Gates(tmp_path, 1)).options(workers=2)
    p = Pipeline([Pass().options(executor="thread"), end], multiprocess=multiprocess, overflow="block").start()
    assert [said.get()[0] for _ in range(2)] == ["setup", "setup"]
    p.put(1)
    p.put(2)
    assert {said.get()[0] for _ in range(2)} == {1, 2}
    end.gates.open(1)
    report = p.setstop()
    assert report.stages[1].counts.used == 2
    assert report.balances()


def test_a_worker_that_is_killed_loses_one_sample_and_order_holds(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 1, multiprocess=True)
    for x in (1, 2, 3):
        bench.p.put(x)
    where = bench.next(1, 2, 3)
    assert where[2] == where[3] != where[1], "the other worker goes on meanwhile"
    os.kill(where[1], signal.SIGKILL)
    assert [bench.results.get() for _ in range(2)] == [2, 3]
    assert bench.next("setup")["setup"] not in where.values()
    for x in (4, 5, 6):
        bench.p.put(x)
    assert [bench.results.get() for _ in range(3)] == [4, 5, 6]
    report = bench.p.setstop(abort_after=WATCHDOG)
    first = report.stages[0]
    assert (first.counts.lost, first.restarts, first.counts.used) == (1, 1, 5)
    assert report.balances()


def test_a_sample_of_a_killed_worker_may_be_tried_again_in_its_place(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 1, multiprocess=True, on_crash="retry")
    for x in (1, 2, 3):
        bench.p.put(x)
    where = bench.next(1, 2, 3)
    os.kill(where[1], signal.SIGKILL)
    bench.next("setup", 1)
    bench.gates.open(1)
    assert [bench.results.get() for _ in range(3)] == [1, 2, 3]
    report = bench.p.setstop(abort_after=WATCHDOG)
    assert (report.stages[0].counts.lost, report.stages[0].counts.used) == (0, 3)
    assert report.balances()


def test_one_setup_of_many_that_fails_makes_the_start_fail() -> None:
    class SecondFails(Stage):
        def __init__(self) -> None:
            self.turns = iter([True, False])

        def setup(self) -> None:
            if not next(self.turns):
                raise ValueError("no second device")

        def stage_run(self, x: Any) -> Any:
            return x

    with pytest.raises(StageError, match=r'"SecondFails" failed in setup: ValueError: no second device'):
        Pipeline([SecondFails().options(workers=2)]).start()


def test_a_stage_that_cannot_be_copied_is_refused_before_anything_starts() -> None:
    class Unique(Stage):
        def __copy__(self) -> Any:
            raise TypeError("there is only one")

        def stage_run(self, x: Any) -> Any:
            return x

    threads = threading.enumerate()
    with pytest.raises(StartError, match=r"'Unique' cannot be copied for its 2 workers: there is only one.*setup\(\)"):
        Pipeline([Unique().options(workers=2)]).start()
    assert threading.enumerate() == threads
    Pipeline([Unique()], overflow="block").run([1])
