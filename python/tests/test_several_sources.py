"""Several sources and entrances: fair, each in order and counted apart, however they come and go."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from DeepPipeline import Entrance, GraphError, Pipeline, PutError, Stage, StageError

NEVER: Any = "never"
modes = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])


class Pass(Stage):
    def stage_run(self, x: int) -> int:
        return x


class Keep(Stage):
    """Keeps what it gets with the name of its source."""

    def __init__(self) -> None:
        self.got: list[tuple[str | None, int]] = []

    def stage_run(self, x: int) -> None:
        assert self.sample is not None
        self.got.append((self.sample.source, x))

    def of(self, name: str) -> list[int]:
        return [x for source, x in self.got if source == name]


class Handed:
    """A source that gives what it is handed, until a None."""

    def __init__(self) -> None:
        self.items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        while (item := self.items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        self.closed.set()
        self.items.put(None)


@modes
def test_each_source_comes_in_order_with_its_name(multiprocess: bool) -> None:
    keep = Keep().options(executor="thread")
    stages = [Pass().options(workers=2), keep]
    report = Pipeline(stages, sources={"north": range(60), "south": range(100, 130)}, multiprocess=multiprocess).run()
    assert keep.of("north") == list(range(60))
    assert keep.of("south") == list(range(100, 130))
    assert [(row.name, row.state, row.counts.taken) for row in report.sources] == [
        ("north", "ended", 60),
        ("south", "ended", 30),
    ]
    assert report.balances()


@modes
def test_samples_are_put_by_the_name_of_an_entrance(multiprocess: bool) -> None:
    keep = Keep().options(executor="thread")
    pipeline = Pipeline([Pass(), keep], entrances=["a", "b"], overflow="block", multiprocess=multiprocess)
    with pipeline as p:
        for x in range(20):
            assert p.put(x, entrance="a" if x % 2 else "b")
    assert (keep.of("a"), keep.of("b")) == (list(range(1, 20, 2)), list(range(0, 20, 2)))
    assert p.report().source("a").counts.entered == 10


@modes
def test_sources_come_and_go_while_it_runs(multiprocess: bool) -> None:
    keep = Keep().options(executor="thread")
    always = Handed()
    with Pipeline([Pass(), keep], sources={"always": always}, multiprocess=multiprocess) as p:
        always.items.put(1)
        for round in range(20):
            p.add_source(f"guest {round}", [round])
        endless = Handed()
        p.add_source("endless", endless)
        while p.report().source("endless").wait is None:
            pass
        assert p.remove_source("endless")
        assert endless.closed.is_set()
        always.items.put(2)
        always.items.put(None)
        report = p.join()
    assert keep.of("always") == [1, 2]
    assert [keep.of(f"guest {round}") for round in range(20)] == [[round] for round in range(20)]
    assert report.source("endless").state == "ended"
    assert report.balances()


def test_a_source_that_fails_ends_alone_and_join_raises() -> None:
    keep = Keep()
    broken, fine = Handed(), Handed()
    p = Pipeline([keep], sources={"broken": broken, "fine": fine}).start()
    broken.items.put(1)
    broken.items.put(ConnectionError("the lens is gone"))
    while p.report().source("broken").state != "failed":
        pass
    fine.items.put(7)
    fine.items.put(None)
    with pytest.raises(StageError, match="the lens is gone") as raised:
        p.join()
    assert isinstance(raised.value.__cause__, ConnectionError)
    assert raised.value.stage == "broken"
    report = raised.value.report
    assert report is not None
    assert "the lens is gone" in str(report.source("broken").last_error)
    assert keep.of("fine") == [7]
    assert report.balances()


def test_an_entrance_has_options_of_its_own() -> None:
    entrances = {"keeps": Entrance(overflow="drop_newest"), "young": Entrance(max_age=0.005)}
    p = Pipeline([Keep().options(name="keep")], entrances=entrances, buffer_size=1)
    report = p.simulate({"keep": 1.0}, {"keeps": [0.0, 0.1, 0.2], "young": [0.3]})
    assert report.source("keeps").counts.dropped_newest == 1
    assert report.source("young").counts.expired == 1


def test_several_sources_stream_in_turn() -> None:
    got = list(Pipeline([Pass()], sources={"a": [1, 2], "b": [3]}).stream())
    assert sorted(got) == [1, 2, 3]
    assert [x for x in got if x < 3] == [1, 2]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"sources": {}}, "sources is empty"),
        ({"entrances": []}, "entrances is empty"),
        ({"entrances": "ab"}, "must be a list of names"),
        ({"entrances": ["a", "a"]}, 'two entrances are named "a"'),
        ({"entrances": [""]}, "the name of an entrance is empty"),
        ({"entrances": [1]}, "must be a str"),
        ({"entrances": ["a"], "sources": {"a": [1]}}, 'two entrances are named "a"'),
        ({"sources": [1]}, "must be a dict of names and sources"),
        ({"sources": {"a": 5}}, r"sources\['a'\] is 5 \(int\), but must be iterable"),
        ({"sources": {"a": Entrance()}}, "has no source"),
        ({"entrances": {"a": Entrance([1])}}, "has a source"),
        ({"source": [1], "sources": {"a": [1]}}, "source stands beside sources"),
        ({"sources": {"a": Entrance([1], overflow=NEVER)}}, "overflow of sources"),
        ({"sources": {"a": Entrance([1], max_age=0)}}, "max_age of sources"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        Pipeline([Keep()], **wrong)


def test_one_iterator_is_not_two_sources() -> None:
    numbers = iter(range(3))
    with pytest.raises(GraphError, match="are the same"):
        Pipeline([Keep()], sources={"a": numbers, "b": numbers})


def test_unknown_names_are_told_the_known_ones() -> None:
    with Pipeline([Keep()], entrances=["a", "b"]) as p:
        with pytest.raises(PutError, match=r'wants one of \["a", "b"\]'):
            p.put(1)
        with pytest.raises(PutError, match=r'"c"; there are \["a", "b"\]'):
            p.put(1, entrance="c")
        with pytest.raises(PutError, match="must be the name of one"):
            p.put(1, entrance=3)  # type: ignore[arg-type]
        with pytest.raises(GraphError, match='no source is named "a"'):
            p.remove_source("a")
        with pytest.raises(GraphError, match='an entrance is named "a" already'):
            p.add_source("a", [1])
        p.setstop()
        with pytest.raises(GraphError, match="after setstop"):
            p.add_source("late", [1])
    with Pipeline([Keep()]) as plain:
        with pytest.raises(GraphError, match="one entrance, without a name"):
            plain.add_source("a", [1])
        with pytest.raises(PutError, match="no entrance to put into"):
            plain.put(1, entrance="a")


def test_two_pipelines_flow_into_a_third() -> None:
    keep = Keep()
    with Pipeline([keep], entrances=["one", "two"], overflow="block") as merged:

        def double(x: int) -> None:
            merged.put(2 * x, entrance="one")

        def add(x: int) -> None:
            merged.put(x + 10, entrance="two")

        pipelines = [Pipeline([double], source=[1, 2, 3]), Pipeline([add], source=[4, 5, 6])]
        for pipeline in pipelines:
            pipeline.start()
        for pipeline in pipelines:
            pipeline.join()
    assert keep.of("one") == [2, 4, 6]
    assert keep.of("two") == [14, 15, 16]


class Dies(Stage):
    """Kills its process on one sample, the first time."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def stage_run(self, x: int) -> int:
        if x == 105 and not os.path.exists(self.mark):
            open(self.mark, "w").close()
            os._exit(1)
        return x


@pytest.mark.parametrize("workers", [1, 3])
def test_a_crash_behind_several_sources_loses_nothing_that_is_tried_again(tmp_path: Any, workers: int) -> None:
    keep = Keep()
    dies = Dies(str(tmp_path / "mark")).options(executor="process", on_crash="retry", workers=workers)
    report = Pipeline([dies, keep], sources={"a": range(30), "b": range(100, 130)}).run()
    assert (keep.of("a"), keep.of("b")) == (list(range(30)), list(range(100, 130)))
    assert [row.counts.taken for row in report.sources] == [30, 30]
    assert report.stages[0].restarts == 1
    assert report.balances()
