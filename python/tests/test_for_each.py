"""Samples that are split, and whose parts go through stages of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from process_stages import FailAt, Pass, SkipOdd, Square
from support import WATCHDOG, Gate, wait_until

from DeepPipeline import (
    SKIP,
    All,
    Batch,
    Dropped,
    ForEach,
    GraphError,
    Many,
    Missing,
    Parallel,
    Pipeline,
    Route,
    SampleFailed,
    Skipped,
    StageError,
    UpdateError,
    Window,
    stage,
)

everywhere = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])


def below(x: int) -> Iterator[int]:
    yield from range(x)


def put_together(x: int, results: list[Any]) -> tuple[int, list[Any]]:
    return x, results


@everywhere
def test_each_sample_comes_back_with_the_results_of_its_parts_in_order(multiprocess: bool) -> None:
    stages: list[Any] = [Pass(), ForEach(below, [Square(), Pass()], put_together), Pass()]
    stream = Pipeline(stages, multiprocess=multiprocess).stream([2, 0, 3, 1] * 10)
    assert list(stream) == [(2, [0, 1]), (0, []), (3, [0, 1, 4]), (1, [0])] * 10
    report = stream.report()
    assert [row.name for row in report.stages[1:5]] == ["below", "Square", "Pass 2", "for each"]
    assert (report.joins[0].counts.entered, report.joins[0].counts.joined) == (60, 60)
    assert report.balances()


@everywhere
def test_without_a_join_the_stage_behind_gets_the_sample_and_the_results(multiprocess: bool) -> None:
    stream = Pipeline([ForEach(below, Square()), Pass()], multiprocess=multiprocess).stream([2, 0])
    assert list(stream) == [(2, [0, 1]), (0, [])]
    assert list(Pipeline([ForEach(below, Square())]).stream([2, 0])) == [(2, [0, 1]), (0, [])]


@everywhere
def test_a_part_without_a_result_is_missing_and_says_why(multiprocess: bool) -> None:
    inside = [SkipOdd(), FailAt(4).options(on_error="skip")]
    ((_, results),) = Pipeline([ForEach(below, inside)], multiprocess=multiprocess).stream([6])
    assert results[0::4] == [0, Missing(4, results[4].why)]
    assert [type(results[index].why) for index in (1, 3, 4, 5)] == [Skipped, Skipped, SampleFailed, Skipped]
    assert [result.index for result in results if isinstance(result, Missing)] == [1, 3, 4, 5]
    failed = results[4].why
    assert (failed.stage, failed.doing, failed.sample.number) == ("FailAt", "stage_run", 1)
    assert isinstance(failed.__cause__, ValueError)


def test_a_part_that_is_dropped_is_missing_and_its_sample_goes_on() -> None:
    got: list[Any] = []
    gate = Gate().options(overflow="drop_oldest", buffer_size=1)
    with Pipeline([ForEach(lambda x: [x], [gate], put_together), got.append], overflow="block") as pipeline:
        pipeline.put(1)
        assert gate.in_flight() == 1
        for x in (2, 3):
            pipeline.put(x)
        wait_until(lambda: pipeline.report().joins[0].counts.unjoined == 1)
        gate.let_go(2)
    assert [x for x, _ in got] == [1, 2, 3]
    (missing,) = got[1][1]
    assert isinstance(missing.why, Dropped)
    assert (missing.why.stage, missing.why.why) == ("Gate", "oldest")


@everywhere
def test_a_batch_fills_across_samples(multiprocess: bool) -> None:
    sizes = stage(_with_size, intake=Batch(4, max_wait=3600))
    stream = Pipeline([ForEach(lambda x: [x], [sizes])], buffer_size=4, multiprocess=multiprocess).stream(range(8))
    assert [size for _, ((size, _),) in stream] == [4] * 8


def _with_size(batch: list[int]) -> list[tuple[int, int]]:
    return [(len(batch), x) for x in batch]


def test_what_join_returns_goes_on_like_the_result_of_any_stage() -> None:
    def join(x: int, results: list[Any]) -> Any:
        return {0: SKIP, 1: Many(results * 2)}.get(x, sum(results))

    def bad(x: int, results: list[Any]) -> Any:
        return 1 // x

    assert list(Pipeline([ForEach(below, Square(), join)]).stream([0, 1, 4])) == [0, 0, 14]
    stream = Pipeline([ForEach(below, Square(), stage(bad, on_error="skip", name="put"))]).stream([0, 1])
    assert list(stream) == [1]
    assert stream.report().stage("put").counts.failed == 1


def test_a_split_that_fails_stops_the_pipeline_unless_it_says_otherwise() -> None:
    def bad(x: int) -> list[int]:
        return [1 // x]

    with pytest.raises(StageError, match='stage "bad" failed') as caught:
        list(Pipeline([ForEach(bad, Square())]).stream([1, 0]))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    stream = Pipeline([ForEach(stage(bad, on_error="skip"), Square())]).stream([1, 0, 1])
    assert list(stream) == [(1, [1]), (1, [1])]


def test_a_split_that_gives_no_iterable_is_told_what_it_gave() -> None:
    for wrong in (5, "crops", {"a": 1}):
        with pytest.raises(StageError, match=r"split gave .*, but must give an iterable of parts"):
            list(Pipeline([ForEach(lambda x, wrong=wrong: wrong, Square())]).stream([1]))  # type: ignore[misc]


@everywhere
def test_a_failure_inside_that_stops_lets_out_what_came_before_it(multiprocess: bool) -> None:
    got: list[Any] = []
    stages: list[Any] = [ForEach(lambda x: [x, x], FailAt(3)), stage(got.append, executor="thread")]
    with pytest.raises(StageError, match="FailAt"):
        Pipeline(source=range(6), stages=stages, multiprocess=multiprocess).run()
    assert got == [(x, [x, x]) for x in range(3)]


@everywhere
def test_blocks_nest_inside_and_it_stands_in_blocks(multiprocess: bool) -> None:
    inner = ForEach(below, Square())
    inside: Any = [Parallel([Pass(), Square()]), Route(lambda pair: pair[0] % 2, {0: Pass(), 1: Pass()})]
    stages: list[Any] = [Parallel([ForEach(below, inside), ForEach(below, [inner])]), Pass()]
    (((_, pairs), (_, nested)),) = Pipeline(stages, multiprocess=multiprocess).stream([3])
    assert pairs == [(0, 0), (1, 1), (2, 4)]
    assert nested == [(0, []), (1, [0]), (2, [0, 1])]


@everywhere
def test_an_answer_is_what_came_of_the_sample_whatever_became_of_its_parts(multiprocess: bool) -> None:
    def join(x: int, results: list[Any]) -> Any:
        return SKIP if x == 2 else len(results)

    stages: list[Any] = [ForEach(below, [SkipOdd()], join), Pass()]
    with Pipeline(stages, multiprocess=multiprocess, overflow="block") as pipeline:
        answers = [pipeline.submit(x) for x in range(5)]
        assert [answers[x].result(60) for x in (0, 1, 3, 4)] == [0, 1, 3, 4]
        with pytest.raises(Skipped):
            answers[2].result(60)


def test_the_sample_itself_stays_in_the_process_of_the_pipeline() -> None:
    frame = np.zeros((4, 4))
    stream = Pipeline([ForEach(list, Pass()), stage(lambda x: x, executor="thread")], multiprocess=True).stream([frame])
    ((same, rows),) = stream
    assert same is frame
    assert len(rows) == 4


def test_many_inside_is_an_error_of_the_stage() -> None:
    with pytest.raises(StageError, match="gave many values inside"):
        list(Pipeline([ForEach(below, lambda x: Many([x, x]))]).stream([2]))


def test_what_is_no_split_join_or_chain_is_refused_by_name() -> None:
    refused: list[tuple[Any, str]] = [
        (lambda: ForEach(5, Pass()), r"split is 5 .*, but must be a function"),  # type: ignore[arg-type]
        (lambda: ForEach(Pass(), Pass()), "split is .*Pass.*, but must be a function"),
        (lambda: ForEach(below, Pass(), Pass()), "join is .*Pass.*, but must be a function"),
        (lambda: Pipeline([ForEach(below, [])]), r"stages\[0\]\[0\] is an empty branch"),
        (lambda: Pipeline([ForEach]), "is the class ForEach, but must be an instance"),  # type: ignore[list-item]
        (lambda: Pipeline([ForEach(below, [Pass().options(intake=All())]), Pass()]), "waits for parts"),
    ]
    for make, told in refused:
        with pytest.raises(GraphError, match=told):
            make()


def test_a_generator_function_with_options_is_a_split_and_no_other_stage() -> None:
    def halves(x: int) -> Iterator[int]:
        yield 4 // x
        yield x

    stream = Pipeline([ForEach(stage(halves, on_error="skip"), Square())]).stream([2, 0, 1])
    assert list(stream) == [(2, [4, 4]), (1, [16, 1])]
    with pytest.raises(GraphError, match=r"stages\[0\] is the generator function halves, but must return its result"):
        Pipeline([stage(halves, on_error="skip")])


class Awaited:
    async def __call__(self, x: Any, results: Any = None) -> list[Any]:
        return [x]


async def values(x: int) -> AsyncIterator[int]:
    yield x


def test_a_split_or_join_that_is_async_is_refused_with_the_way_out() -> None:
    refused: list[Any] = [Awaited(), stage(Awaited()), Awaited().__call__, values, partial(values)]
    for awaited in refused:
        with pytest.raises(GraphError, match=r"split is .* async, .*: await in a stage before the ForEach"):
            ForEach(awaited, Square())
    with pytest.raises(
        GraphError, match=r"join is .* async, .*: leave it out, and await in a stage behind the ForEach"
    ):
        ForEach(below, Square(), stage(Awaited()))


@pytest.mark.parametrize("intake", [All(), Batch(2), Window(2)])
def test_a_split_or_join_that_takes_lists_is_refused_by_name(intake: Any) -> None:
    with pytest.raises(GraphError, match=r"split has intake=\w+\(.*, but gets one sample at a time: leave it out"):
        ForEach(stage(below, intake=intake), Square())
    with pytest.raises(GraphError, match=r"join has intake=\w+\(.*, but gets one sample at a time: leave it out"):
        ForEach(below, Square(), stage(put_together, intake=intake))


class Times:
    """A split and a join that has something to update, and counts its calls."""

    def __init__(self) -> None:
        self.n = 1
        self.calls = 0

    def __call__(self, x: int, results: list[Any] | None = None) -> Any:
        self.calls += 1
        return [x] * self.n if results is None else (self.n, self.calls, results)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_update_reaches_the_object_that_splits_or_joins(workers: int) -> None:
    got: list[Any] = []
    split, join = stage(Times(), name="split", workers=workers), stage(Times(), name="join")
    with Pipeline([ForEach(split, Pass(), join), got.append], overflow="block") as pipeline:
        pipeline.update("split", n=2)
        pipeline.update("join", n=3)
        pipeline.put(5)
        with pytest.raises(UpdateError, match="Times has no attribute 'm' to update: there are n, calls"):
            pipeline.update("join", m=2)
    assert got == [(3, 1, [5, 5])]


def test_each_worker_has_a_copy_of_the_object_that_splits() -> None:
    times = Times()
    list(Pipeline([ForEach(stage(times, workers=2), Pass())]).stream([1, 2]))
    assert times.calls == 0


def test_a_window_inside_works_on_parts() -> None:
    def last(window: list[int]) -> list[int]:
        return [*window]

    stream = Pipeline([ForEach(below, stage(last, intake=Window(2)))]).stream([3])
    ((_, results),) = stream
    assert results[1:] == [[0, 1], [1, 2]]
    assert isinstance(results[0].why, Skipped)


@everywhere
def test_what_comes_together_last_is_the_answer(multiprocess: bool) -> None:
    squares = ForEach(below, Square(), lambda _, results: sum(results))
    with Pipeline([squares], multiprocess=multiprocess, overflow="block") as pipeline:
        assert [pipeline.submit(x).result(WATCHDOG) for x in (3, 0, 4)] == [5, 0, 14]
    with Pipeline([ForEach(below, Square())], multiprocess=multiprocess, overflow="block") as pipeline:
        assert pipeline.submit(3).result(WATCHDOG) == (3, [0, 1, 4])
