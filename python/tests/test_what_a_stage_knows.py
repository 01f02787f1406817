"""What a stage may ask: its worker, its sample's age, and whether its process was started again."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from process_stages import TellsWorker
from support import WATCHDOG, Pass

from DeepPipeline import Pipeline, Stage


def test_each_worker_has_an_index() -> None:
    both = threading.Barrier(2)

    class Asks(Stage):
        def setup(self) -> None:
            self.index = self.worker

        def stage_run(self, x: Any) -> Any:
            both.wait(WATCHDOG)
            return self.index, self.worker

    got = list(Pipeline([Asks().options(workers=2)]).stream([1, 2]))
    assert sorted(got) == [(0, 0), (1, 1)]


def test_the_index_is_the_same_in_a_process_that_was_started_again(tmp_path: Path) -> None:
    stage = TellsWorker(tmp_path).options(workers=2, executor="process", on_crash="retry")
    report = Pipeline([stage, Pass()], overflow="block").run(range(8))
    assert (report.stages[0].restarts, report.stages[1].counts.used) == (1, 8)
    assert sorted(setup.name for setup in tmp_path.iterdir()) == ["0 False", "1 False", "1 True"]


def test_a_sample_tells_its_age() -> None:
    class Asks(Stage):
        def stage_run(self, x: Any) -> Any:
            assert self.sample is not None
            before = time.monotonic()
            age = self.sample.age()
            assert before - self.sample.birth <= age <= time.monotonic() - self.sample.birth
            return age

    [age] = list(Pipeline([Asks()]).stream([1]))
    assert age >= 0


@pytest.mark.parametrize("name", ["worker", "cancelled", "restarted", "sample"])
def test_outside_of_a_pipeline_there_is_nothing_to_know(name: str) -> None:
    assert not getattr(Pass(), name)


def test_a_stage_may_call_its_own_attribute_worker() -> None:
    class Owns(Stage):
        def __init__(self) -> None:
            self.worker = "a thread of mine"  # type: ignore[assignment]

        def stage_run(self, x: Any) -> Any:
            return self.worker

    assert list(Pipeline([Owns()]).stream([1])) == ["a thread of mine"]
