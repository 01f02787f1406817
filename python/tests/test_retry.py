"""What a stage fails on is tried again."""

import gc
import logging
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from process_stages import (
    FailAt,
    FailBetweenParts,
    FailFirst,
    Pass,
    Spoil,
    TellItems,
    Wire,
    by_track,
    first_letter,
)
from support import Collect

from DeepPipeline import GraphError, Pipeline, Stage, StageError, retry
from DeepPipeline.vision import Track

everywhere = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])


def run(stage: Stage, samples: list[Any], *, multiprocess: bool) -> tuple[list[Any], Any]:
    """What comes out, and the report."""
    with Pipeline([stage], multiprocess=multiprocess).stream(samples) as stream:
        return list(stream), stream.report()


@everywhere
def test_a_stage_is_run_again_on_what_it_got(multiprocess: bool) -> None:
    said = Wire()
    got, report = run(FailFirst(said, 2).options(on_error=retry(2)), ["a", "b"], multiprocess=multiprocess)
    assert got == ["a", "b"]
    assert [said.get() for _ in range(6)] == ["a"] * 3 + ["b"] * 3
    assert (report.stages[0].counts.used, report.stages[0].counts.failed) == (2, 0)
    assert report.outcome == "finished" and report.balances()


@everywhere
def test_after_the_last_try_the_pipeline_stops(multiprocess: bool) -> None:
    stage = FailFirst(Wire(), 9).options(on_error=retry(2))
    with pytest.raises(StageError, match="try 3") as caught:
        run(stage, ["a", "b"], multiprocess=multiprocess)
    assert caught.value.stage == "FailFirst"
    assert caught.value.sample is not None and caught.value.sample.number == 1
    assert caught.value.report.stages[0].counts.failed == 1 and caught.value.report.balances()


@everywhere
def test_after_the_last_try_the_sample_is_skipped_if_so_wished(multiprocess: bool) -> None:
    got, report = run(FailAt(2).options(on_error=retry(3, then="skip")), [1, 2, 3], multiprocess=multiprocess)
    assert got == [1, 3]
    assert (report.stages[0].counts.used, report.stages[0].counts.failed) == (2, 1)
    assert report.balances()


@everywhere
def test_parts_that_went_on_are_left_out(multiprocess: bool) -> None:
    got, report = run(FailBetweenParts().options(on_error=retry(1)), [10, 20], multiprocess=multiprocess)
    assert got == [10, 11, 12, 20, 21, 22]
    assert report.balances()


@everywhere
def test_every_failure_is_logged(multiprocess: bool, caplog: pytest.LogCaptureFixture) -> None:
    stage = FailFirst(Wire(), 1).options(name="flaky", on_error=retry(1))
    with caplog.at_level(logging.WARNING, "DeepPipeline"):
        run(stage, ["a"], multiprocess=multiprocess)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["stage 'flaky' tried again after an error"]


def test_on_a_thread_it_gets_the_same_object() -> None:
    sample = [1]
    got, _ = run(Spoil().options(on_error=retry(1)), [sample], multiprocess=False)
    assert got[0] is sample and sample == [1, -1]


def test_in_a_process_it_gets_a_fresh_copy() -> None:
    got, _ = run(Spoil().options(on_error=retry(1)), [[1]], multiprocess=True)
    assert got == [[1]]


def test_behind_a_process_a_thread_gets_a_fresh_copy() -> None:
    stages = [Pass().options(executor="process"), Spoil().options(on_error=retry(1))]
    assert list(Pipeline(stages).stream([[1]])) == [[1]]


def test_behind_a_process_arrays_cannot_be_spoiled_for_the_next_try() -> None:
    class Write(Stage):
        def stage_run(self, x: Any) -> float:
            total = float(x.sum())
            if x.flags.writeable:
                x[:] = 0
            if total == 4 and not hasattr(self, "has_failed"):
                self.has_failed = True
                x[0] = 1  # fails: the first look is at what crossed itself
            return total

    stages = [Pass().options(executor="process"), Write().options(on_error=retry(1))]
    assert list(Pipeline(stages).stream([np.ones(4)])) == [4]


@everywhere
def test_lists_come_again(multiprocess: bool) -> None:
    said = Wire()
    stage = FailFirst(said, 1).set_get_all().options(on_error=retry(1))
    got, report = run(stage, [1, 2, 3, 4], multiprocess=multiprocess)
    assert got == [[1, 2], [3, 4]]
    assert [said.get() for _ in range(4)] == [[1, 2], [1, 2], [3, 4], [3, 4]]
    assert (report.stages[0].counts.used, report.stages[0].counts.absorbed) == (2, 2) and report.balances()


@everywhere
def test_a_window_is_tried_again_as_it_was(multiprocess: bool) -> None:
    said = Wire()
    stage = FailFirst(said, 1).set_get_window(2).options(on_error=retry(1))
    got, report = run(stage, [1, 2, 3], multiprocess=multiprocess)
    assert got == [[1, 2], [2, 3]]
    assert [said.get() for _ in range(4)] == [[1, 2], [1, 2], [2, 3], [2, 3]]
    assert report.balances()


@everywhere
def test_a_window_of_a_key_is_tried_again_as_it_was(multiprocess: bool) -> None:
    stage = FailFirst(Wire(), 1).set_get_window(2, key=first_letter).options(on_error=retry(1))
    got, report = run(stage, ["a1", "b1", "a2", "b2", "a3"], multiprocess=multiprocess)
    assert got == [["a1", "a2"], ["b1", "b2"], ["a2", "a3"]]
    assert report.balances()


@everywhere
def test_windows_of_many_keys_are_tried_again_as_they_were(multiprocess: bool) -> None:
    said = Wire()
    stage = TellItems(said, 1).set_get_window(2, key=by_track).options(on_error=retry(1))
    got, report = run(stage, [{"x": 1}, {"x": 2, "y": 5}, {"y": 6}], multiprocess=multiprocess)
    assert got == [[], [("x", [1, 2])], [("y", [5, 6])]]
    assert report.stages[0].counts.used == 3 and report.balances()


def test_a_key_that_fails_is_asked_again() -> None:
    asked = []

    def key(x: int) -> int:
        asked.append(x)
        if len(asked) == 1:
            raise ValueError("not yet")
        return 0

    got, report = run(Pass().set_get_window(2, key=key).options(on_error=retry(1)), [1, 2, 3], multiprocess=False)
    assert got == [[1, 2], [2, 3]]
    assert asked == [1, 1, 2, 3] and report.balances()


@everywhere
def test_order_is_kept_by_several_workers(multiprocess: bool) -> None:
    stage = FailFirst(Wire(), 1).options(on_error=retry(1), workers=2)
    got, report = run(stage, [*range(20)], multiprocess=multiprocess)
    assert got == [*range(20)]
    assert report.balances()


def test_what_it_got_is_not_kept_after_it_has_succeeded() -> None:
    class Sample:
        pass

    alive: list[weakref.ref[Sample]] = []

    def source() -> Iterator[Any]:
        sample = Sample()
        alive.append(weakref.ref(sample))
        yield sample
        del sample
        yield None
        yield None

    class Drop(Stage):
        def stage_run(self, x: Any) -> int:
            return 0 if x is not None else 1

    with Pipeline([Drop().options(on_error=retry(1))]).stream(source()) as stream:
        assert (next(stream), next(stream)) == (0, 1)
        next(stream)
        gc.collect()
        assert alive[0]() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "times is 0, but must be a whole number of tries, at least 1"),
        (("3",), "times is '3' (str), but must be a whole number of tries"),
        ((1 << 32,), "times is 4294967296, but must be"),
        ((1, "retry"), "then is 'retry', but must be one of 'stop', 'skip'"),
    ],
)
def test_bad_arguments(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(GraphError) as caught:
        retry(*arguments)
    assert message in str(caught.value)


def test_a_native_stage_cannot_be_tried_again() -> None:
    with pytest.raises(GraphError, match="native and cannot be run again"):
        Pipeline([Track().options(on_error=retry(1)), Collect()])
