"""A stage alone, as its own test would run it."""

from typing import Any

import pytest

from DeepPipeline import SKIP, GraphError, Many, Pipeline, Stage, StageError, Window, every, retry, stage
from DeepPipeline.testing import run_stage


class Pairs(Stage):
    """Gives pairs, skips 0, fails on 13, and gives what is left at the end."""

    def setup(self) -> None:
        self.left: list[int] = []
        self.torn_down = False

    def stage_run(self, x: int) -> Any:
        if x == 13:
            raise ValueError("13 is bad")
        if x == 0:
            return SKIP
        self.left.append(x)
        if len(self.left) < 2:
            return Many([])
        pair, self.left = self.left, []
        return pair

    def finish(self) -> Any:
        return self.left or None

    def teardown(self) -> None:
        self.torn_down = True


def test_a_stage_is_run_to_its_teardown() -> None:
    pairs = Pairs()
    run = run_stage(pairs, [1, 0, 2, 13, 3])
    assert run.gave == [[1, 2], [3]]
    assert run.skipped == [0]
    [(x, error)] = run.failed
    assert (x, str(error), type(error)) == (13, "13 is bad", ValueError)
    assert pairs.torn_down, "the stage itself has run"


def test_it_takes_as_it_does_in_a_pipeline() -> None:
    assert run_stage(stage(sum, intake=Window(2)), [1, 2, 3]).gave == [3, 5]


def test_it_is_tried_again_as_it_says() -> None:
    run = run_stage(Pairs().options(on_error=retry(2), workers=4, executor="process"), [13, 5])
    assert [x for x, _ in run.failed] == [13, 13, 13]
    assert run.gave == [[5]]


def test_a_setup_that_fails_is_raised() -> None:
    class Fails(Stage):
        def setup(self) -> None:
            raise OSError("no camera")

    with pytest.raises(StageError, match="no camera"):
        run_stage(Fails(), [1])


def test_what_is_no_stage_is_refused() -> None:
    with pytest.raises(GraphError, match="stage is 5"):
        run_stage(5, [])  # type: ignore[arg-type]


def test_a_pipeline_is_tested_on_a_virtual_clock() -> None:
    pipeline = Pipeline([stage(print, name="detect"), stage(print, name="show")], buffer_size=2)
    report = pipeline.simulate({"detect": 0.03}, every(0.01, 8))
    assert [sample.number for sample in report.stages[0].buffer.last_dropped] == [3, 4, 6]
