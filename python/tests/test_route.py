"""Ways of which each sample goes one, and the order in which they come out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from process_stages import FailAt, Pass, SkipOdd, Square, Tag, Tell, Wire
from support import Collect, Gate, wait_until

from DeepPipeline import GraphError, Many, Parallel, Pipeline, Route, StageError
from DeepPipeline.vision import Draw, Frame, Scene, Track, WriteVideo

everywhere = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])


def parity(x: int) -> str:
    return "odd" if x % 2 else "even"


@everywhere
def test_each_sample_goes_one_way_and_all_come_out_in_order(multiprocess: bool) -> None:
    ways = Route(parity, {"odd": Square(), "even": [Tag("a"), Tag("b")]})
    stream = Pipeline([Pass(), ways, Pass()], multiprocess=multiprocess).stream(range(60))
    assert list(stream) == [x * x if x % 2 else ("b", ("a", x)) for x in range(60)]
    report = stream.report()
    join = report.joins[0]
    assert join.name == "route"
    assert (join.counts.entered, join.counts.joined, join.counts.unjoined) == (60, 60, 0)
    assert report.balances()


@everywhere
def test_a_slow_way_holds_up_what_comes_behind_it_and_no_work(multiprocess: bool) -> None:
    said, slow = Wire(), Gate().options(executor="thread")
    stages: list[Any] = [Route(parity, {"odd": slow, "even": Pass()}), Tell(said)]
    with Pipeline(stages, multiprocess=multiprocess, overflow="block") as pipeline:
        pipeline.put(1)
        assert slow.in_flight() == 1
        for x in (2, 4):
            pipeline.put(x)
        wait_until(lambda: pipeline.report().stage("Pass").counts.used >= 1)
        assert said.empty()
        slow.let_go()
        assert [said.get() for _ in range(3)] == [1, 2, 4]


@everywhere
def test_what_ends_on_its_way_holds_up_nothing(multiprocess: bool) -> None:
    ways = Route(lambda x: x % 3, {0: SkipOdd(), 1: FailAt(7).options(on_error="skip")}, otherwise=Pass())
    stream = Pipeline([ways], multiprocess=multiprocess).stream(range(30))
    left_out = {x for x in range(30) if x % 3 == 0 and x % 2} | {7}
    assert list(stream) == [x for x in range(30) if x not in left_out]
    assert stream.report().joins[0].counts.unjoined == len(left_out)


@everywhere
def test_other_keys_go_the_way_otherwise_and_without_one_stop_the_pipeline(multiprocess: bool) -> None:
    known = {"a": Tag("known")}
    got = Pipeline([Route(lambda x: x, known, otherwise=Tag("other"))], multiprocess=multiprocess).stream([*"abca"])
    assert list(got) == [("known", "a"), ("other", "b"), ("other", "c"), ("known", "a")]

    with pytest.raises(StageError, match=r"no way is for the key 'b': there are \['a'\], and no otherwise") as caught:
        list(Pipeline([Route(lambda x: x, {"a": Tag("known")})], multiprocess=multiprocess).stream(["a", "b"]))
    assert (caught.value.stage, caught.value.sample and caught.value.sample.number) == ("route", 2)
    with pytest.raises(StageError, match="unhashable"):
        list(Pipeline([Route(unhashable, {"a": Tag("known")})], multiprocess=multiprocess).stream(["a"]))


@everywhere
def test_several_workers_on_a_way_and_blocks_on_another(multiprocess: bool) -> None:
    blocks: list[Any] = [Parallel([Pass(), Square()]), Route(half, {0: Pass(), 1: Tag("t")})]
    ways = Route(parity, {"odd": Square().options(workers=3), "even": blocks})
    got = list(Pipeline([ways, Pass()], multiprocess=multiprocess).stream(range(40)))

    def of_even(x: int) -> Any:
        return ("t", (x, x * x)) if x // 2 % 2 else (x, x * x)

    assert got == [x * x if x % 2 else of_even(x) for x in range(40)]


def unhashable(x: Any) -> Any:
    return [x]


def half(pair: tuple[int, int]) -> int:
    return pair[0] // 2 % 2


@everywhere
def test_arrays_cross_on_every_way(multiprocess: bool) -> None:
    samples = [np.arange(5), b"bytes", np.zeros((3, 4))[:, ::2], {"a": 1}]
    places: list[Any] = ["thread", "process"]
    for behind in places:
        ways = Route(lambda x: isinstance(x, np.ndarray), {True: Pass(), False: Pass()})
        stages: list[Any] = [ways, Pass().options(executor=behind)]
        got = list(Pipeline(stages, multiprocess=multiprocess).stream(samples))
        assert [repr(x) for x in got] == [repr(x) for x in samples]


def test_native_stages_stand_on_a_way_and_behind_it() -> None:
    frames = [Frame(np.zeros((4, 6, 3), np.uint8), index=x) for x in range(6)]
    ways = Route(lambda scene: scene.frame.index % 2, {0: [Track(), Draw()], 1: Pass()})
    got = list(Pipeline([lambda frame: Scene(frame, []), ways, Draw()]).stream(frames))
    assert [scene.frame.index for scene in got] == list(range(6))


def test_native_neighbours_are_checked_on_every_way(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="Draw takes a Scene, but WriteVideo before it gives nothing"):
        Pipeline([Route(parity, {"odd": Pass(), "even": WriteVideo(tmp_path / "video.mp4")}), Draw()])


def test_end_stages_stand_on_every_way() -> None:
    odd, even = Collect(), Collect()
    with Pipeline([Route(parity, {"odd": odd, "even": even})], overflow="block") as pipeline:
        for x in range(20):
            pipeline.put(x)
    assert (odd.got, even.got) == (list(range(1, 20, 2)), list(range(0, 20, 2)))


def test_a_way_gives_one_result_for_each_sample() -> None:
    with pytest.raises(StageError, match="gave many values inside a parallel block"):
        list(Pipeline([Route(parity, {"odd": lambda x: Many([x, x]), "even": Pass()})]).stream([1]))


def test_bad_routes_are_named() -> None:
    kind: Any = "kind"
    for bad, text in (
        (
            lambda: Route(kind, {"a": Pass()}),
            "by is 'kind' \\(str\\), but must be a function from a sample to its key",
        ),
        (lambda: Route(parity, [Pass()]), "but must be a dict from keys to stages"),  # type: ignore[arg-type]
        (lambda: Route(parity, {}), "ways is empty: give a stage for a key, or an otherwise"),
        (lambda: Pipeline([Route(parity, {"odd": []})]), r"stages\[0\]\['odd'\] is an empty branch"),
        (lambda: Pipeline([Route(parity, {"odd": 3})]), r"stages\[0\]\['odd'\]"),  # type: ignore[dict-item]
        (lambda: Pipeline([Route]), "is the class Route, but must be an instance"),  # type: ignore[list-item]
        (lambda: Pipeline(Route(parity, {"odd": Pass()})), "stages is a single Route"),  # type: ignore[arg-type]
    ):
        with pytest.raises(GraphError, match=text):
            bad()
    assert repr(Route(parity, {1: 2}, otherwise=3)).endswith("{1: 2}, otherwise=3)")  # type: ignore[dict-item, arg-type]
