"""Batches whose samples keep their identity: a result for each, and a fate for each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Literal

import process_stages
import pytest
from support import Collect, Pass

from DeepPipeline import SKIP, Batch, Failed, Many, Parallel, Pipeline, Stage, StageError, StageReport, retry, stage

Executor = Literal["thread", "process"]
EXECUTORS: list[Executor] = ["thread", "process"]


class Each(Stage):
    """Gives back what `results` makes of a batch."""

    def __init__(self, results: Any) -> None:
        self.results = results
        self.got: list[list[Any]] = []

    def stage_run(self, batch: list[Any]) -> Any:
        self.got.append([*batch])
        return self.results(batch)


class Numbers(Stage):
    def __init__(self) -> None:
        self.numbers: list[tuple[int, int]] = []

    def stage_run(self, x: Any) -> None:
        assert self.sample is not None
        self.numbers.append((self.sample.number, self.sample.part))


def of_batch(results: Any, samples: range = range(4), **options: Any) -> tuple[list[Any], StageReport, Each]:
    """Returns what comes out of a stage that takes batches of four, and its report."""
    each = Each(results).options(intake=Batch(4, max_wait=3600), **options)
    with Pipeline([each], buffer_size=4).stream(samples) as stream:
        return list(stream), stream.report().stages[0], each


def failing(results: Any, **options: Any) -> StageError:
    with pytest.raises(StageError) as raised:
        of_batch(results, **options)
    return raised.value


def test_each_result_goes_on_as_its_own_samples() -> None:
    numbers = Numbers()
    each = Each(lambda batch: [10 * x for x in batch]).set_get_batch(4, 3600)
    report = Pipeline([each, numbers], buffer_size=4, overflow="block").run(range(8))
    assert numbers.numbers == [(number, 0) for number in range(1, 9)]
    assert (report.stages[0].counts.used, report.stages[0].counts.absorbed) == (8, 0)
    assert report.balances()


def test_a_batch_in_a_branch_is_joined_frame_by_frame() -> None:
    model = Each(lambda batch: [10 * x for x in batch]).set_get_batch(4, 0.01)
    with Pipeline([Parallel([Pass(), model])], buffer_size=4).stream(range(12)) as stream:
        assert list(stream) == [(x, 10 * x) for x in range(12)]
        assert stream.report().joins[0].counts.unjoined == 0


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_result_may_be_none_skip_many_or_failed(executor: Executor) -> None:
    mixed = process_stages.Mixed().options(
        intake=Batch(5, max_wait=3600), executor=executor, on_error="skip", name="mixed"
    )
    with Pipeline([mixed], buffer_size=5).stream(range(5)) as stream:
        assert list(stream) == [None, 20, 21, [4]]
        counts = stream.report().stages[0].counts
        assert (counts.used, counts.skipped, counts.failed, counts.gave) == (3, 1, 1, 4)


def test_skip_for_all_skips_every_sample() -> None:
    got, report, _ = of_batch(lambda _: SKIP)
    assert (got, report.counts.skipped) == ([], 4)


@pytest.mark.parametrize("rows", [tuple, lambda batch: dict.fromkeys(batch).keys(), lambda batch: range(len(batch))])
def test_results_are_anything_with_a_length_and_an_order(rows: Any) -> None:
    assert of_batch(rows)[0] == [0, 1, 2, 3]


def test_the_rows_of_an_array_are_results() -> None:
    np = pytest.importorskip("numpy")
    got, *_ = of_batch(lambda batch: np.array([[x, 2 * x] for x in batch]))
    assert [row.tolist() for row in got] == [[0, 0], [1, 2], [2, 4], [3, 6]]


@pytest.mark.parametrize(
    "result", ["abcd", b"abcd", {0: 1, 1: 2, 2: 3, 3: 4}, {1, 2, 3, 4}, 7, None, Many([1, 2, 3, 4])]
)
def test_what_is_no_list_of_results_is_refused(result: Any) -> None:
    error = failing(lambda _: result)
    assert isinstance(error.__cause__, TypeError)
    assert "a stage that takes batches gives back a list with a result for each sample" in str(error)
    assert type(result).__name__ in str(error)


def test_an_array_without_an_axis_is_refused() -> None:
    np = pytest.importorskip("numpy")
    assert "gives back a list with a result for each sample" in str(failing(lambda _: np.array(7)))


def test_a_generator_is_refused_with_the_way_out() -> None:
    assert "or into list(...) to give a list" in str(failing(lambda batch: (x for x in batch)))
    assert "a generator goes into Many(...)" in str(failing(lambda batch: [(x for x in batch), 1, 2, 3]))


@pytest.mark.parametrize("wrong", [0, 3, 5])
def test_another_number_of_results_is_an_error_that_says_both(wrong: int) -> None:
    error = failing(lambda _: [0] * wrong)
    assert f"it gave {wrong} results for a batch of 4" in str(error)


def test_a_failed_result_stops_the_pipeline_after_the_results_before_it() -> None:
    def results(batch: list[int]) -> list[Any]:
        return [x if x < 2 else Failed(ValueError(x)) for x in batch]

    end = Collect()
    with pytest.raises(StageError) as raised:
        Pipeline([Each(results).set_get_batch(4, 3600), end], buffer_size=4, overflow="block").run(range(4))
    assert end.got == [0, 1]
    assert isinstance(raised.value.__cause__, ValueError)
    assert raised.value.sample is not None
    assert raised.value.sample.number == 3
    counts = raised.value.report.stages[0].counts
    assert (counts.used, counts.failed) == (2, 2)


def test_a_batch_that_raises_is_run_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    def results(batch: list[int]) -> list[int]:
        batch_of = [*batch]
        batch.clear()  # the list is the stage's
        if 2 in batch_of:
            raise ValueError("a bad image")
        return batch_of

    with caplog.at_level(logging.WARNING, logger="DeepPipeline"):
        got, report, each = of_batch(results, on_error="skip")
    assert got == [0, 1, 3]
    assert each.got == [[0, 1, 2, 3], [0], [1], [2], [3]]
    assert (report.counts.used, report.counts.failed) == (3, 1)
    assert [record.message.split(" ", 2)[2] for record in caplog.records if record.exc_info] == [
        "tried again after an error",
        "skipped a sample after an error",
    ]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_one_by_one_in_either_executor(executor: Executor) -> None:
    bad = process_stages.BadBatch().options(intake=Batch(4, max_wait=3600), executor=executor, on_error="skip")
    with Pipeline([bad], buffer_size=4).stream(range(8)) as stream:
        assert list(stream) == [0, 1, 3, 4, 5, 6, 7]
        assert stream.report().stages[0].counts.failed == 1


def flaky(times: int) -> Any:
    """Results of which that of 2 fails so often."""
    left = iter(range(times))

    def results(batch: list[int]) -> list[Any]:
        return [Failed(ValueError(x)) if x == 2 and next(left, None) is not None else x for x in batch]

    return results


def test_a_failed_result_is_tried_again_alone_and_in_its_place() -> None:
    got, report, each = of_batch(flaky(2), on_error=retry(2))
    assert got == [0, 1, 2, 3]
    assert each.got == [[0, 1, 2, 3], [2], [2]]
    assert report.counts.used == 4


def test_one_that_fails_every_time_is_skipped_alone() -> None:
    got, report, each = of_batch(flaky(9), on_error=retry(1, then="skip"))
    assert got == [0, 1, 3]
    assert each.got == [[0, 1, 2, 3], [2]]
    assert (report.counts.used, report.counts.failed) == (3, 1)


def test_a_failed_batch_counts_as_one_try_of_each() -> None:
    def results(batch: list[int]) -> list[int]:
        if 2 in batch:
            raise ValueError(2)
        return batch

    *_, each = of_batch(results, on_error=retry(2, then="skip"))
    assert each.got == [[0, 1, 2, 3], [0], [1], [2], [2], [3]]
    *_, each = of_batch(results, on_error=retry(1, then="skip"))
    assert each.got == [[0, 1, 2, 3], [0], [1], [2], [3]], "at least one"


def test_parts_that_raise_fail_their_own_sample() -> None:
    def parts(x: int) -> Iterator[int]:
        yield x
        raise ValueError(x)

    got, report, _ = of_batch(lambda batch: [Many(parts(x)) if x == 1 else x for x in batch], on_error="skip")
    assert got == [0, 1, 2, 3]
    assert (report.counts.used, report.counts.failed, report.counts.gave) == (3, 1, 4)


def test_the_sample_is_the_present_one_while_its_parts_are_made() -> None:
    class Parts(Stage):
        def stage_run(self, batch: list[int]) -> list[Many]:
            return [Many(self.number() for _ in "ab") for _ in batch]

        def number(self) -> int:
            assert self.sample is not None
            return self.sample.number

    each = Parts().set_get_batch(3, 3600)
    assert list(Pipeline([each], buffer_size=3).stream(range(3))) == [1, 1, 2, 2, 3, 3]


def test_an_end_stage_is_asked_for_failed_results_only() -> None:
    def run(results: Any) -> Any:
        end = Each(results).options(intake=Batch(4, max_wait=3600), on_error="skip")
        counts = Pipeline([end], buffer_size=4, overflow="block").run(range(4)).stages[0].counts
        return counts.used, counts.failed

    assert run(lambda _: None) == (4, 0)
    assert run(lambda _: [1]) == (4, 0)
    assert run(lambda batch: [Failed(ValueError(x)) if x == 1 else None for x in batch]) == (3, 1)


def test_failed_is_the_same_as_raising_for_a_stage_that_takes_one() -> None:
    error = ValueError("no")

    @stage
    def fails(x: int) -> Any:
        return Failed(error) if x == 1 else x

    with pytest.raises(StageError) as raised:
        list(Pipeline([fails]).stream(range(3)))
    assert raised.value.__cause__ is error
    skipping = fails.options(on_error="skip")
    assert list(Pipeline([skipping]).stream(range(3))) == [0, 2]


def test_failed_wants_an_exception() -> None:
    with pytest.raises(TypeError, match="Failed wants an exception, but got str"):
        Failed("no")  # type: ignore[arg-type]
    assert repr(Failed(ValueError(1))) == "Failed(ValueError(1))"


def test_with_fold_a_batch_gives_one_result_under_the_newest() -> None:
    numbers = Numbers()
    each = Each(sum).set_get_batch(4, 3600, fold=True)
    report = Pipeline([each, numbers], buffer_size=4, overflow="block").run(range(8))
    assert numbers.numbers == [(4, 0), (8, 0)]
    assert (report.stages[0].counts.used, report.stages[0].counts.absorbed) == (2, 6)


def test_several_workers_give_batches_in_order() -> None:
    each = Each(lambda batch: [10 * x for x in batch]).options(intake=Batch(3), workers=3, on_error="skip")
    assert list(Pipeline([each], buffer_size=3).stream(range(50))) == [10 * x for x in range(50)]


def test_what_finish_gives_goes_on_as_from_any_stage() -> None:
    class Last(Each):
        def finish(self) -> list[str]:
            return ["the", "end"]

    last = Last(lambda batch: batch).set_get_batch(2, 0)
    assert list(Pipeline([last]).stream([1, 2])) == [1, 2, ["the", "end"]]


def test_what_of_a_batch_went_on_before_a_crash_is_used_and_the_rest_lost_or_tried_again() -> None:
    for on_crash, got, lost in [("skip", [0, 1, 4, 5, 6, 7], 2), ("retry", [*range(8)], 0)]:
        dies = process_stages.DiesInBatch().options(
            intake=Batch(4, max_wait=3600),
            executor="process",
            on_crash=on_crash,  # type: ignore[arg-type]
        )
        with Pipeline([dies], buffer_size=4).stream(range(8)) as stream:
            assert list(stream) == got
            counts = stream.report().stages[0].counts
            assert (counts.used, counts.lost, stream.report().stages[0].restarts) == (len(got), lost, 1)
