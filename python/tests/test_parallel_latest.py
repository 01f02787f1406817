"""Branches of which the first goes on at once, with the newest result of each of the others."""

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from process_stages import FailAt, Pass, Square, Tag, Tell, Wire
from support import WATCHDOG, Collect, Gate, wait_until

from DeepPipeline import GraphError, Many, Parallel, Pipeline, Stage, StageError
from DeepPipeline.vision import Draw, Frame, Scene, Track

everywhere = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])


def wait_until_renewed(pipeline: Pipeline, times: int) -> None:
    wait_until(lambda: pipeline.report().joins[0].counts.renewed >= times)


@everywhere
def test_the_first_branch_goes_on_with_the_newest_result_of_the_other(multiprocess: bool) -> None:
    said, slow = Wire(), Gate().options(executor="thread")
    stages: list[Any] = [Parallel([Tag("frame"), slow], join="latest"), Tell(said)]
    with Pipeline(stages, buffer_size=1, multiprocess=multiprocess) as pipeline:
        pipeline.put(1)
        assert slow.in_flight() == 1
        assert said.get() == (("frame", 1), None)
        for x in (2, 3):
            pipeline.put(x)
            assert said.get() == (("frame", x), None)
        slow.let_go()
        wait_until_renewed(pipeline, 1)
        pipeline.put(4)
        assert said.get() == (("frame", 4), 1)
        slow.let_go(3)
    report = pipeline.report()
    join = report.joins[0].counts
    assert (join.entered, join.joined, join.unjoined, join.waiting) == (4, 4, 0, 0)
    assert report.stage("Gate").buffer.dropped >= 1
    assert report.balances()


def test_nothing_of_the_first_branch_is_lost_also_where_the_pipeline_blocks() -> None:
    class Slow(Stage):
        def __init__(self) -> None:
            self.is_over = threading.Event()

        def stage_run(self, x: int) -> int:
            self.is_over.wait(WATCHDOG)
            return x

    slow = Slow()
    with Pipeline([Parallel([Pass(), slow], join="latest")]).stream(range(60)) as stream:
        got = [next(stream) for _ in range(59)]
        slow.is_over.set()
        got += stream
    assert [x for x, _ in got] == list(range(60))


@everywhere
def test_every_type_of_result_stands_beside_several(multiprocess: bool) -> None:
    said = Wire()
    for value in (np.arange(6).reshape(2, 3)[:, ::2], b"bytes", {"a": (1, None)}, None):
        side = Pass().options(overflow="block")
        stages: list[Any] = [Parallel([Pass(), [side, Parallel([Pass(), Pass()])]], join="latest"), Pass(), Tell(said)]
        with Pipeline(stages, multiprocess=multiprocess, overflow="block") as pipeline:
            pipeline.put(value)
            said.get()
            wait_until_renewed(pipeline, 1)
            for _ in range(3):
                pipeline.put(value)
                assert repr(said.get()) == repr((value, (value, value)))


@everywhere
def test_parts_and_several_workers_go_on_in_order(multiprocess: bool) -> None:
    stages = [Parallel([Square().options(workers=3), Pass()], join="latest")]
    got = list(Pipeline(stages, multiprocess=multiprocess).stream(range(50)))
    assert [x for x, _ in got] == [x * x for x in range(50)]
    newest = [beside for _, beside in got if beside is not None]
    assert newest == sorted(newest)

    def twice(x: int) -> Many:
        return Many([x, x])

    got = list(Pipeline([Parallel([twice, Pass()], join="latest")]).stream(range(5)))
    assert [x for x, _ in got] == [x for x in range(5) for _ in range(2)]


@everywhere
def test_a_failure_beside_the_first_branch_stops_the_pipeline(multiprocess: bool) -> None:
    stages: list[Any] = [Parallel([Pass(), FailAt(3).options(overflow="block")], join="latest"), Pass()]
    with pytest.raises(StageError, match="FailAt") as caught:
        Pipeline(stages, multiprocess=multiprocess, overflow="block").run(range(100_000))
    assert caught.value.report is not None and caught.value.report.balances()


def test_what_the_other_branch_has_no_time_for_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    slow = Gate()
    with Pipeline([Parallel([Pass(), slow], join="latest"), Pass()], overflow="block") as pipeline:
        pipeline.put(0)
        assert slow.in_flight() == 0
        for x in range(20):
            pipeline.put(x)
        wait_until(lambda: pipeline.report().stage("Gate").buffer.entered == 21)
        slow.let_go(3)
    assert pipeline.report().stage("Gate").buffer.dropped_oldest == 18
    assert not caplog.records


def test_the_newest_result_is_let_go_when_the_pipeline_has_ended() -> None:
    class Value:
        pass

    values = []

    def make(x: int) -> Value:
        value = Value()
        values.append(weakref.ref(value))
        return value

    def forget(pair: Any) -> None:
        del pair

    pipeline = Pipeline([Parallel([Pass(), make], join="latest"), forget], source=range(3), overflow="block")
    pipeline.run()
    gc.collect()
    assert [value() for value in values] == [None] * len(values)
    assert pipeline.report().outcome == "finished"


def test_native_stages_stand_in_either_branch() -> None:
    frames = [Frame(np.zeros((4, 6, 3), np.uint8), index=x) for x in range(3)]

    def indices(pair: Any) -> Any:
        scene, beside = pair
        return scene.frame.index, beside is None or (isinstance(beside, (Frame, Scene)) and beside is not scene)

    places: list[list[Any]] = [[[Track(), Draw()], Pass()], [Pass(), [Track(), Draw()]]]
    for branches in places:
        block = Parallel(branches, join="latest")
        got = list(Pipeline([scene_of, block, indices]).stream(frames))
        assert got == [(x, True) for x in range(3)]


def scene_of(frame: Frame) -> Scene:
    return Scene(frame, [])


def test_bad_joins_are_named() -> None:
    with pytest.raises(GraphError, match=r"join is 'newest', but must be one of 'all', 'latest'"):
        Parallel([Pass(), Pass()], join="newest")  # type: ignore[arg-type]
    assert repr(Parallel([1, 2], join="latest")) == "Parallel([1, 2], join='latest')"  # type: ignore[list-item]
    assert repr(Parallel([1, 2])) == "Parallel([1, 2])"  # type: ignore[list-item]


def test_a_block_at_the_end_gives_its_end_stages_everything() -> None:
    show, save = Collect(), Collect()
    with Pipeline([Parallel([show, save], join="latest")], overflow="block") as pipeline:
        for x in range(20):
            pipeline.put(x)
    assert show.got == save.got == list(range(20))
    assert pipeline.report().joins[0].counts.entered == 0
