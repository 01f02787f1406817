"""Branches that work on the same samples at the same time, and the join of their results."""

import queue
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from process_stages import FailAt, GiveLock, ManyOf, Pass, SkipOdd, Square, Tag, Tell, Wire
from support import WATCHDOG, Collect, Gate

from DeepPipeline import GraphError, Many, Parallel, Pipeline, SendError, Stage, StageError
from DeepPipeline.vision import Draw, Frame, Scene, Track, WriteVideo

everywhere = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])


def run(stages: list[Any], samples: Any, *, multiprocess: bool, **more: Any) -> tuple[list[Any], Any]:
    """What comes out, and the report."""
    with Pipeline(stages, multiprocess=multiprocess, **more).stream(samples) as stream:
        return list(stream), stream.report()


@everywhere
def test_the_next_stage_gets_a_tuple_in_the_order_of_the_branches(multiprocess: bool) -> None:
    got, report = run([Parallel([Tag("a"), [Square(), Tag("b")]]), Pass()], range(20), multiprocess=multiprocess)
    assert got == [(("a", x), ("b", x * x)) for x in range(20)]
    assert all(type(x) is tuple for x in got)
    (join,) = report.joins
    assert (join.name, join.branches) == ("parallel", 2)
    assert (join.counts.entered, join.counts.joined, join.counts.unjoined, join.counts.waiting) == (20, 20, 0, 0)
    assert report.outcome == "finished" and report.balances()


@everywhere
def test_all_branches_work_on_a_sample_at_the_same_time(multiprocess: bool) -> None:
    gates = [Gate(), Gate()]
    for gate in gates:
        gate.options(executor="thread")
    said = Wire()
    with Pipeline([Pass(), Parallel(gates), Tell(said)], multiprocess=multiprocess, overflow="block") as p:
        p.put("x")
        assert [gate.in_flight() for gate in gates] == ["x", "x"]
        for gate in gates:
            gate.let_go()
    assert said.get() == ("x", "x")


def test_branches_on_threads_get_the_same_object() -> None:
    sample = object()
    got, _ = run([Parallel([Pass(), Pass(), Pass()])], [sample], multiprocess=False)
    assert [x is sample for x in got[0]] == [True] * 3


@everywhere
def test_arrays_and_other_values_cross(multiprocess: bool) -> None:
    samples = [np.arange(10), b"bytes", {"a": [1, None]}, np.zeros((3, 4))[:, ::2]]
    got, _ = run([Pass(), Parallel([Pass(), Pass()]), Pass()], samples, multiprocess=multiprocess)
    assert [repr(pair) for pair in got] == [repr((x, x)) for x in samples]


@pytest.mark.parametrize("where", ["tpt", "ptp", "tpp", "ppt"])
def test_executors_mix(where: str) -> None:
    executors = [{"t": "thread", "p": "process"}[letter] for letter in where]
    one, other, after = (Pass().options(executor=executor) for executor in executors)  # type: ignore[arg-type]
    got, report = run([Parallel([one, other]), after], range(30), multiprocess=False)
    assert got == [(x, x) for x in range(30)]
    assert report.balances()


@everywhere
def test_blocks_nest_and_follow_each_other(multiprocess: bool) -> None:
    inner = Parallel([Tag("b"), Tag("c")])
    stages = [Parallel([Tag("a"), [inner, Tag("d")], inner_of("e")]), Parallel([Pass(), Tag("f")])]
    got, report = run(stages, [1, 2], multiprocess=multiprocess)

    def first(x: int) -> Any:
        return ("a", x), ("d", (("b", x), ("c", x))), (("e", x), x)

    assert got == [(first(x), ("f", first(x))) for x in (1, 2)]
    assert [join.counts.joined for join in report.joins] == [2] * 4
    assert report.balances()


def inner_of(tag: str) -> Parallel:
    return Parallel([Tag(tag), Pass()])


@everywhere
def test_what_a_branch_ends_is_unjoined_and_holds_up_nothing(multiprocess: bool) -> None:
    stages = [Parallel([Pass(), SkipOdd(), FailAt(4).options(on_error="skip")])]
    got, report = run(stages, range(100), multiprocess=multiprocess)
    assert got == [(x, x, x) for x in range(0, 100, 2) if x != 4]
    (join,) = report.joins
    assert (join.counts.entered, join.counts.joined, join.counts.unjoined, join.counts.waiting) == (100, 49, 51, 0)
    assert report.balances()


def test_what_a_branch_drops_is_unjoined() -> None:
    gate, end = Gate(), Collect()
    slow = gate.set_get_latest()
    with Pipeline([Parallel([Pass(), slow]), end], buffer_size=8, overflow="block") as p:
        p.put(1)
        assert gate.in_flight() == 1
        for x in (2, 3, 4):
            p.put(x)
        while p.report().stages[2].buffer.entered < 4:
            threading.Event().wait(0.001)
        gate.let_go(2)
    assert end.got == [(1, 1), (4, 4)]
    assert p.report().joins[0].counts.unjoined == 2 and p.report().balances()


@everywhere
def test_a_failure_in_a_branch_stops_the_pipeline(multiprocess: bool) -> None:
    with pytest.raises(StageError) as caught:
        run([Pass(), Parallel([FailAt(5), Pass()]), Pass()], range(1000), multiprocess=multiprocess)
    assert caught.value.stage == "FailAt"
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.report.balances()


@everywhere
def test_many_values_have_nothing_to_be_joined_with(multiprocess: bool) -> None:
    with pytest.raises(StageError, match="many values inside a parallel block") as caught:
        run([Parallel([ManyOf(), Pass()])], [1], multiprocess=multiprocess)
    assert isinstance(caught.value.__cause__, TypeError)


@everywhere
def test_many_before_a_block_are_samples_of_their_own(multiprocess: bool) -> None:
    got, report = run([ManyOf(), Parallel([Pass(), Square()])], [2, 3], multiprocess=multiprocess)
    assert got == [(2, 4), (2, 4), (3, 9), (3, 9)]
    assert report.balances()


@everywhere
def test_end_stages_stand_in_parallel(multiprocess: bool) -> None:
    one, other, third = Wire(), Wire(), Wire()
    stages: list[Any] = [Square(), Parallel([Tell(one), [Tag("b"), Parallel([Tell(other), Tell(third)])]])]
    report = Pipeline(stages, source=[1, 2], multiprocess=multiprocess, overflow="block").run()
    assert [one.get(), one.get()] == [1, 4]
    assert [other.get(), other.get()] == [third.get(), third.get()] == [("b", 1), ("b", 4)]
    assert report.outcome == "finished" and report.balances()
    assert [stage.counts.used for stage in report.stages] == [2] * len(report.stages)


@everywhere
def test_a_block_may_be_the_end_stage(multiprocess: bool) -> None:
    one, other = Wire(), Wire()
    p = Pipeline([Square()], Parallel([Tell(one), Tell(other)]), source=[3], multiprocess=multiprocess)
    assert p.run().balances()
    assert (one.get(), other.get()) == (9, 9)


@everywhere
def test_put_and_setstop_work_with_a_block_in_front(multiprocess: bool) -> None:
    said = Wire()
    with Pipeline([Parallel([Pass(), Square()]), Tell(said)], multiprocess=multiprocess, overflow="block") as p:
        for x in (1, 2, 3):
            assert p.put(x)
    assert [said.get() for _ in range(3)] == [(1, 1), (2, 4), (3, 9)]
    assert p.report().balances()


def test_a_slow_stage_behind_a_block_holds_up_the_source() -> None:
    gate = Gate()
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()

    def source() -> Any:
        for x in range(1, 101):
            asked.put(x)
            yield x

    p = Pipeline([Parallel([Pass(), Pass()]), gate], source=source(), buffer_size=1, overflow="block").start()
    assert gate.in_flight() == (1, 1)
    # There is room for no more than a handful between the source and the gate.
    last = asked.get(timeout=WATCHDOG)
    try:
        while last < 50:
            last = asked.get(timeout=0.3)
    except queue.Empty:
        pass
    assert last < 25
    gate.let_go(100)
    report = p.join()
    assert report.joins[0].counts.joined == 100 and report.balances()


@everywhere
def test_abort_ends_all_branches(multiprocess: bool) -> None:
    gates = [Gate(), Gate()]
    for gate in gates:
        gate.options(executor="thread")
    p = Pipeline([Pass(), Parallel(gates), Pass()], multiprocess=multiprocess, overflow="block").start()
    for x in range(3):
        p.put(x)
    for gate in gates:
        gate.in_flight()
        gate.let_go(9)
    report = p.abort()
    assert report.outcome == "aborted" and not report.left_behind
    assert report.balances()


@everywhere
def test_workers_in_a_branch(multiprocess: bool) -> None:
    stages = [Parallel([Square().options(workers=2), Pass()]), Pass()]
    got, report = run(stages, range(50), multiprocess=multiprocess)
    assert got == [(x * x, x) for x in range(50)]
    assert report.balances()


class SplitTogether(Stage):
    """Gives two parts of a sample when each of two workers has one in flight."""

    def __init__(self) -> None:
        self._both = threading.Barrier(2)

    def stage_run(self, x: Any) -> Many:
        self._both.wait(WATCHDOG)
        return Many([(x, 0), (x, 1)])


class Identify(Stage):
    def stage_run(self, x: Any) -> Any:
        assert self.sample is not None
        return (self.sample.number, self.sample.part), x


@pytest.mark.parametrize("ordered", [True, False])
def test_parts_that_several_workers_give_are_told_apart_and_joined_with_themselves(ordered: bool) -> None:
    stages: list[Any] = [ManyOf(), SplitTogether().options(workers=2, ordered=ordered), Parallel([Identify(), Pass()])]
    got, report = run(stages, range(5), multiprocess=False)
    identities = {identity for (identity, _), _ in got}
    assert len(identities) == len(got) == 20
    assert all(left == right for (_, left), right in got)
    assert report.joins[0].counts.joined == 20


def test_buffer_sizes_are_in_reading_order() -> None:
    stages: list[Any] = [Pass(), Parallel([[Pass(), Pass()], Pass()]), Pass()]
    with Pipeline(stages, buffer_size=[3, 4, 5, 6, 7]) as p:
        report = p.report()
    assert [stage.buffer_size for stage in report.stages if stage.name.startswith("Pass")] == [3, 4, 5, 6, 7]
    with pytest.raises(GraphError, match="buffer_size has 6 sizes, but the pipeline has 5 stages"):
        Pipeline(stages, buffer_size=[1] * 6)


def test_a_tuple_that_cannot_cross_is_an_error() -> None:
    stages = [Parallel([GiveLock(), Pass()]), Pass().options(name="there", executor="process")]
    with pytest.raises(StageError) as caught:
        run(stages, [1], multiprocess=False)
    assert caught.value.stage == "there"
    assert isinstance(caught.value.__cause__, SendError)
    assert 'cannot be sent to the process of stage "there"' in str(caught.value.__cause__)


def test_what_cannot_be_sent_to_the_process_of_a_branch_is_an_error_of_the_stage_in_front() -> None:
    there = Pass().options(name="there", executor="process")
    with pytest.raises(StageError) as caught:
        run([GiveLock(), Parallel([Pass(), there])], [1], multiprocess=False)
    assert caught.value.stage == "GiveLock"
    assert isinstance(caught.value.__cause__, SendError)
    assert 'cannot be sent to the process of stage "there"' in str(caught.value.__cause__)
    assert caught.value.report.joins[0].counts.entered == 0 and caught.value.report.balances()


def test_a_native_stage_hands_what_it_gives_to_native_stages_and_others() -> None:
    frame = Frame(np.zeros((4, 6, 3), np.uint8), index=7)
    stages: list[Any] = [Track(), Parallel([Draw(), Pass()])]
    got, report = run(stages, [Scene(frame, [])], multiprocess=False)
    drawn, scene = got[0]
    assert (drawn.frame.index, scene.frame.index) == (7, 7)
    assert report.balances()


def test_native_stages_in_branches() -> None:
    frame = Frame(np.zeros((4, 6, 3), np.uint8), index=7)
    got, report = run([Parallel([[Track(), Draw()], Pass()])], [Scene(frame, [])], multiprocess=False)
    drawn, scene = got[0]
    assert (drawn.frame.index, scene.frame.index) == (7, 7)
    assert report.balances()


def test_a_native_stage_cannot_take_a_tuple() -> None:
    with pytest.raises(GraphError, match="Track takes a Scene, but the parallel block before it gives a tuple"):
        Pipeline([Parallel([Pass(), Pass()]), Track()])


def test_native_neighbours_are_checked_within_branches(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="Draw takes a Scene, but WriteVideo before it gives nothing"):
        Pipeline([Parallel([Pass(), [WriteVideo(tmp_path / "video.mp4"), Draw()]])])


def block(branches: Any) -> Any:
    return Parallel(branches)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([Pass(), block([Pass()]), Pass()], "stages[1] is a Parallel of 1 branches, but must have at least 2"),
        ([block([])], "stages[0] is a Parallel of 0 branches, but must have at least 2"),
        ([block([Pass(), []])], "stages[0][1] is an empty branch: add a stage to it"),
        ([Pass(), block([[Pass(), Pass(), 3], Pass()])], "stages[1][0][2] is 3 (int), but must be a stage"),
        ([block([Pass(), "no"])], "stages[0][1] is 'no' (str), but must be a stage"),
        ([block([Pass(), [block([Pass(), None])]])], "stages[0][1][0][1] is None, but must be a stage"),
        ([block([Pass(), Pass])], "stages[0][1] is the class Pass, but must be an instance: write Pass()"),
        ([block([Pass(), [Stage()]])], "stages[0][1][0], of class Stage, has no stage_run"),
        ([[Pass(), Pass()]], "but must be a stage"),
        (block([Pass(), Pass()]), "stages is a single Parallel, but must be a list of stages: [Parallel(...)]"),
    ],
)
def test_bad_blocks_are_refused_naming_the_place(stages: Any, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        Pipeline(stages)
    assert message in str(caught.value)


def test_one_object_cannot_be_two_stages() -> None:
    one = Pass()
    with pytest.raises(GraphError) as caught:
        Pipeline([Pass(), Parallel([one, [Pass(), one]])])
    assert "stages[1][1][1] is the same object as stages[1][0] (Pass)" in str(caught.value)


def test_branches_must_be_a_list() -> None:
    with pytest.raises(GraphError, match="but wants a list of branches"):
        Parallel(Pass())  # type: ignore[arg-type]
