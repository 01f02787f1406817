"""Whatever `for` goes through is a source, whatever comes out of it a sample, the rest is refused with a way out."""

import itertools
import multiprocessing
import pathlib
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from support import Collect, Pass

from DeepPipeline import GraphError, Many, Parallel, Pipeline, Stage, StageError


class DataSet:
    """Items by index, as PyTorch has them."""

    def __init__(self, length: int, items: int) -> None:
        self.length, self.items = length, items

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        if index >= self.items:
            raise IndexError(index)
        return index * index


class Counted:
    """Items by index, and an end that only an IndexError tells."""

    def __getitem__(self, index: int) -> int:
        return [0, 1, 4][index]


class Flat(Stage):
    """Gives the elements of what it gets."""

    def stage_run(self, xs: Any) -> Many:
        return Many(xs)


def run(source: Any) -> list[Any]:
    end = Collect()
    Pipeline([end], overflow="block").run(source)
    return end.got


WAYS: list[Callable[[Any], list[Any]]] = [
    run,
    lambda source: list(Pipeline([Pass()]).stream(source)),
    lambda source: list(Pipeline([Pass()], source=source).stream()),
]
ways = pytest.mark.parametrize("way", WAYS, ids=["run", "stream", "source="])


@ways
@pytest.mark.parametrize(
    "source", [DataSet(3, items=3), Counted(), np.array([0, 1, 4])], ids=lambda s: type(s).__name__
)
def test_items_by_index_are_samples(way: Callable[[Any], list[Any]], source: Any) -> None:
    assert way(source) == [0, 1, 4]


def test_what_has_any_attribute_is_no_table() -> None:
    source = MagicMock(is_live=False)
    source.__iter__.return_value = iter([1, 2])
    assert run(source) == [1, 2]


def test_a_data_set_that_is_longer_than_its_items_is_not_cut_in_silence() -> None:
    with pytest.raises(StageError, match="the source failed to give its next sample: IndexError: 2") as caught:
        run(DataSet(3, items=2))
    assert caught.value.report.stages[0].counts.used == 2


def test_an_endless_data_set_ends_with_its_length() -> None:
    assert run(DataSet(3, items=10**9)) == [0, 1, 4]


def rows() -> Iterator[Iterator[int]]:
    yield (x for x in range(3))
    yield (x for x in range(3, 5))


@ways
def test_generators_are_samples(way: Callable[[Any], list[Any]]) -> None:
    assert [list(row) for row in way(rows())] == [[0, 1, 2], [3, 4]]


HANDING_ON: list[list[Stage | Parallel]] = [
    [Pass(), Flat()],
    [Pass().set_get_all(), Flat(), Flat()],
    [Parallel([Pass(), Pass()]), Flat(), Flat()],
]


@pytest.mark.parametrize("stages", HANDING_ON, ids=["single", "list", "parallel"])
def test_a_stage_hands_on_generators_that_it_was_given(stages: list[Stage | Parallel]) -> None:
    assert list(Pipeline(stages, buffer_size=1).stream(rows())) == [0, 1, 2, 3, 4]


def test_a_stage_gives_one_of_the_generators_it_was_given() -> None:
    class First(Stage):
        def stage_run(self, xs: Any) -> Any:
            return xs[0]

    stages = [First().set_get_all(), Flat()]
    assert list(Pipeline(stages, buffer_size=[2, 1]).stream(rows())) == [0, 1, 2]


def test_a_generator_that_a_stage_has_made_is_refused() -> None:
    class Lazy(Stage):
        def stage_run(self, x: Any) -> Any:
            return (y for y in x)

    with pytest.raises(StageError, match="stage_run returned a generator: a generator goes into Many"):
        list(Pipeline([Lazy(), Flat()]).stream(rows()))


class FrameReader:
    def read(self) -> tuple[bool, None]:
        return False, None


class Table:
    """As pandas has them."""

    def __iter__(self) -> Iterator[str]:
        return iter(["a", "b"])

    def itertuples(self) -> Iterator[tuple[int, int]]:
        return iter([(1, 2)])


async def coroutine() -> None:
    raise AssertionError("never runs")


async def frames() -> AsyncIterator[int]:
    yield 1


REFUSED: list[tuple[str, Callable[[], object], str]] = [
    ("a path", lambda: "clip.mp4", "vision.Capture('clip.mp4') for the frames of a video"),
    ("a path as bytes", lambda: b"clip.mp4", "every byte would be a sample, a number: give vision.Capture("),
    ("a Path", lambda: pathlib.Path("clip.mp4"), "vision.Capture('clip.mp4') gives the frames of a video"),
    ("a long text", lambda: "x" * 1000, "give vision.Capture(...) for the frames of a video"),
    ("a number", lambda: 0, "A camera is vision.Capture('/dev/video0'), and range(0) counts"),
    ("a flag", lambda: True, "source is True (bool), but must be iterable"),
    ("numpy's number", lambda: np.int64(2), "A camera is vision.Capture('/dev/video2'), and range(2) counts"),
    ("an array without a dimension", lambda: np.array(3.0), "but must be iterable"),
    ("a dict", lambda: {"a": 1}, "only the keys would be samples: give its .values() or its .items()"),
    ("a table", Table, "the names of its columns would be samples: give its .itertuples()"),
    ("a queue", queue.Queue, "iter(queue.get, None) gives what is in a queue"),
    ("a queue of processes", multiprocessing.Queue, "iter(queue.get, None) gives what is in a queue"),
    ("a generator function", lambda: rows, "It must be called first: rows()"),
    ("a class", lambda: itertools.count, "It must be called first: count()"),
    ("a reader", FrameReader, "Write a generator that yields what its read() gives; vision.Capture"),
    ("a coroutine", coroutine, "Await it before"),
    ("an async generator", frames, "puts what it gets: await pipeline.aput(x)"),
    ("anything else", object, "but must be iterable: a list, a generator, an object with __iter__, or a data set"),
]


@ways
@pytest.mark.parametrize(("make", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_no_source_is_refused_with_a_way_out(
    way: Callable[[Any], list[Any]], make: Callable[[], object], message: str
) -> None:
    with pytest.raises(GraphError, match=r"^source is ") as caught:
        way(make())
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400
