"""Replacements: another stage takes the place of one while the pipeline runs, and no sample is lost."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from process_stages import DiesOn, Factor, Version, VersionLater
from support import Collect, Gate, wait_until

from DeepPipeline import (
    ForEach,
    GraphError,
    Latest,
    Parallel,
    Pipeline,
    Stage,
    StageError,
    StartError,
    UpdateError,
    UpdateTimeout,
    Window,
    WorkerDied,
    stage,
)

EXECUTORS = pytest.mark.parametrize("executor", ["thread", "process"])


@EXECUTORS
@pytest.mark.parametrize("workers", [1, 3])
def test_replacements_under_full_load_lose_nothing_and_keep_the_order(executor: Any, workers: int) -> None:
    end, stop = Collect(), threading.Event()
    place = Version(0).options(workers=workers, executor=executor)
    times = 1000 if workers == 1 else 300

    def samples() -> Iterator[int]:
        x = 0
        while not stop.is_set():
            x += 1
            yield x

    with Pipeline([place, end], source=samples(), overflow="block") as p:
        for number in range(1, times + 1):
            p.replace("Version", Version(number))
            if number % 10 == 0:
                with pytest.raises(UpdateError, match="failed in setup of its replacement") as refused:
                    p.replace("Version", Version(-1, fails="setup"))
                assert type(refused.value.__cause__) is ValueError
        stop.set()
        report = p.join()
    entered = report.stage("Version").buffer.entered
    assert [x for x, _ in end.got] == list(range(1, entered + 1))
    numbers = [number for _, number in end.got]
    assert min(numbers) >= 0, "one that was never up was seen"
    if workers == 1:
        assert numbers == sorted(numbers)
    assert report.balances() and report.dropped == 0
    assert report.stage("Version").counts.used == entered
    assert report.stage("Version").restarts == 0


@EXECUTORS
def test_the_old_stage_finishes_and_is_torn_down_once_the_new_one_is_up(executor: Any, tmp_path: Path) -> None:
    end, says = Collect(), tmp_path / "said"
    first = Version(1, holds=True, says=says).options(executor=executor)
    with Pipeline([first, end], overflow="block") as p:
        p.put(7)
        p.replace("Version", Version(2, holds=True, says=says))
        p.put(8)
    # What waited when it was replaced meets the new one.
    assert end.got in ([(7, 1), ("finish", 1), (8, 2), ("finish", 2)], [("finish", 1), (7, 2), (8, 2), ("finish", 2)])
    assert says.read_text().splitlines() == [
        "setup 1",
        "setup 2",
        "finish 1",
        "teardown 1",
        "finish 2",
        "teardown 2",
    ]


@EXECUTORS
def test_the_old_stage_goes_on_on_all_workers_where_one_cannot_set_the_new_one_up(executor: Any) -> None:
    end = Collect()
    with Pipeline([Version(1).options(workers=3, executor=executor), end], overflow="block") as p:
        with pytest.raises(UpdateError, match='worker 2 of stage "Version" failed in setup of its replacement') as told:
            p.replace("Version", Version(2, fails="last setup"))
        assert (told.value.stage, told.value.worker) == ("Version", 2)
        assert str(told.value.__cause__) == "no weights for 2"
        for x in range(6):
            p.put(x)
    assert end.got == [(x, 1) for x in range(6)]


def test_a_setup_that_kills_its_process_brings_the_old_stage_back_and_is_no_crash() -> None:
    end = Collect()
    place = Version(1).options(executor="process", max_restarts=0)
    with Pipeline([place, end], overflow="block") as p:
        for _ in range(3):
            with pytest.raises(UpdateError, match=r"failed in setup of its replacement: .*SIGKILL") as refused:
                p.replace("Version", Version(2, fails="killed"))
            assert type(refused.value.__cause__) is WorkerDied
        p.put(1)
    assert end.got == [(1, 1)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_is_started_again_has_the_new_stage_without_the_updates_of_the_old_one(workers: int) -> None:
    end = Collect()
    place = Version(1).options(executor="process", workers=workers, max_restarts=20)
    with Pipeline([place, end], overflow="block") as p:
        p.update("Version", number=2)
        p.replace("Version", Version(3))
        for _ in range(2 * workers):
            p.put("die")
        p.put(1)
        wait_until(lambda: len(end.got) == 1)
        p.update("Version", number=4)
        p.put("die")
        p.put(2)
        wait_until(lambda: len(end.got) == 2)
        p.replace("Version", Version(5))
        p.put("die")
        p.put(3)
        report = p.setstop()
    assert end.got == [(1, 3), (2, 4), (3, 5)]
    assert report.stage("Version").counts.lost == 2 * workers + 2


@EXECUTORS
def test_what_the_old_stage_raises_at_its_end_is_logged(executor: Any, caplog: pytest.LogCaptureFixture) -> None:
    end = Collect()
    with Pipeline([Version(1, fails="finish").options(executor=executor), end], overflow="block") as p:
        p.replace("Version", Version(2, fails="teardown"))
        p.replace("Version", Version(3))
        p.put(1)
    assert end.got == [(1, 3)]
    told = [record for record in caplog.records if "failed in finish or teardown, in a replacement" in record.message]
    assert len(told) == 2 and {record.levelno for record in told} == {logging.WARNING}


@EXECUTORS
def test_windows_go_on_with_the_new_stage(executor: Any) -> None:
    end = Collect()
    place = stage(Version(1), intake=Window(2, key=str), executor=executor)
    with Pipeline([place, end], overflow="block") as p:
        p.put(1)
        p.replace("Version", Version(2).options(intake=Window(2, key=int)))
        p.put(1)
        report = p.setstop()
    assert end.got == [([1, 1], 2)]
    assert report.balances()


def test_a_function_takes_the_place_of_a_stage_and_a_stage_that_of_a_function() -> None:
    end = Collect()
    with Pipeline([stage(lambda x: 2 * x, name="times"), end], overflow="block") as p:
        p.replace("times", Factor(3))
        p.put(1)
        p.replace("times", lambda x: 4 * x)
        p.put(1)
        p.replace("times", Factor(5).options(name="times"))
        p.put(1)
    assert end.got[-1] == 5 and len(end.got) == 3


@pytest.mark.parametrize("options", [{}, {"concurrency": 3}, {"workers": 2}])
def test_an_async_stage_is_replaced_by_another(options: Any) -> None:
    end = Collect()
    one, bad, two = VersionLater(1), VersionLater(2, fails=True), VersionLater(3)
    with Pipeline([one.options(**options), end], overflow="block") as p:
        with pytest.raises(UpdateError) as refused:
            p.replace("VersionLater", bad)
        assert str(refused.value.__cause__) == "no session"
        for _ in range(20):
            p.replace("VersionLater", VersionLater(4))
        assert len(p._loops._stages) < 10, "loops that have ended are kept"
        p.replace("VersionLater", two)
        for x in range(5):
            p.put(x)
    assert end.got == [(x, 3) for x in range(5)]
    # The copies of two workers share the list.
    assert sorted(two.said) == sorted(["setup", "teardown"] * options.get("workers", 1))


def test_a_stage_in_a_block_is_replaced() -> None:
    end = Collect()
    branches = Parallel([stage(Version(1), name="left"), stage(Version(2), name="right")])
    with Pipeline([branches, end], overflow="block") as p:
        p.replace("right", Version(3))
        p.put(0)
    assert end.got == [((0, 1), (0, 3))]


def test_what_is_not_decided_in_time_is_given_up() -> None:
    gate, end, new = Gate(), Collect(), Version(2)
    with Pipeline([stage(gate, name="gate"), end], overflow="block") as p:
        p.put(1)
        assert gate.in_flight() == 1
        with pytest.raises(UpdateTimeout, match=r"workers \[0\] have not set the new one up, and the old one goes on"):
            p.replace("gate", new, timeout=0.01)
        with pytest.raises(UpdateError, match="is being replaced already"):
            p.replace("gate", Version(3))
        p.put(2)
        gate.let_go(2)
        assert gate.in_flight() == 2
        p.replace("gate", new)
        p.put(3)
    assert end.got == [1, 2, (3, 2)]


def test_what_cannot_take_the_place_is_refused() -> None:
    gone, first = Collect(), Version(1)
    each = ForEach(lambda x: [x], [stage(Version(7), name="part")], lambda x, results: x)
    pipeline = Pipeline([first, stage(Factor(1), workers=2, name="two"), each, gone], overflow="block")
    with pytest.raises(StartError, match="replace before start"):
        pipeline.replace("Version", Version(2))
    with pipeline as p:
        with pytest.raises(GraphError, match=r'no stage is named "nobody"; there are \["Version", "two", '):
            p.replace("nobody", Version(2))
        with pytest.raises(GraphError, match="new is the class Version, but must be an instance"):
            p.replace("Version", Version)
        with pytest.raises(GraphError, match=r"new is 3 \(int\), but must be a stage"):
            p.replace("Version", 3)  # type: ignore[arg-type]
        with pytest.raises(GraphError, match="new is a Parallel, but must be one stage"):
            p.replace("Version", Parallel([Version(1), Version(2)]))  # type: ignore[arg-type]
        with pytest.raises(GraphError, match="the pipeline has already: make another"):
            p.replace("two", first)
        with pytest.raises(GraphError, match=r"new has workers=3, but the options of the place stay, .* workers=2"):
            p.replace("two", Factor(1).options(workers=3))
        with pytest.raises(GraphError, match=r"new has intake=Latest\(\), but the options of the place stay"):
            p.replace("two", Factor(1).options(intake=Latest()))
        with pytest.raises(GraphError, match="new has name='three', but the options of the place stay"):
            p.replace("two", Factor(1).options(name="three"))
        with pytest.raises(GraphError, match="new is a VersionLater that is async, unlike the stage 'two'"):
            p.replace("two", VersionLater(1))
        with pytest.raises(GraphError, match="is the split or the join of a ForEach"):
            p.replace("lambda", lambda x: [x])
        p.replace("two", Factor(2).options(workers=2, name="two"))


def test_what_gives_out_the_results_is_not_replaced() -> None:
    pipeline = Pipeline([Version(1)])
    results = pipeline.results()
    with pytest.raises(GraphError, match="'results' gives out the results, and cannot be replaced"):
        pipeline.replace(pipeline.report().stages[-1].name, Version(2))
    pipeline.replace("Version", Version(3))
    pipeline.put(1)
    assert next(results) == (1, 3)
    pipeline.setstop()


class HasLock(Version):
    def __init__(self) -> None:
        super().__init__(1)
        self.lock = threading.Lock()


def test_what_cannot_be_pickled_is_refused_before_anything_changes() -> None:
    end = Collect()
    with Pipeline([Version(1).options(executor="process"), end], overflow="block") as p:
        with pytest.raises(UpdateError, match=r"cannot be sent to its process: cannot pickle .*lock.*in setup\(\)"):
            p.replace("Version", HasLock())
        p.put(1)
    assert end.got == [(1, 1)]


def test_a_replacement_beside_a_crash_is_made_by_the_process_that_follows() -> None:
    end = Collect()
    place = DiesOn(13).options(executor="process", workers=2, max_restarts=100, name="place")
    with Pipeline([place, end], overflow="block") as p:
        for _ in range(5):
            p.put(13)
            p.replace("place", DiesOn(13))
        p.put(1)
        report = p.setstop()
    assert end.got == [1]
    assert report.balances() and report.stage("place").counts.lost == 5


class ReplacesItself(Stage):
    pipeline: Pipeline

    def stage_run(self, x: int) -> None:
        self.pipeline.replace("ReplacesItself", Version(1))


def test_a_stage_of_the_pipeline_cannot_wait_for_itself() -> None:
    itself = ReplacesItself()
    itself.pipeline = Pipeline([itself])
    with pytest.raises(StageError) as failed, itself.pipeline as p:
        p.put(1)
    assert "from one of the pipeline's own stages" in str(failed.value.__cause__)


class SetUpByGenerator(Version):
    def setup(self) -> Iterator[None]:  # type: ignore[override]
        yield


@EXECUTORS
def test_a_setup_that_is_a_generator_is_refused_as_at_the_start(executor: Any) -> None:
    end = Collect()
    with Pipeline([Version(1).options(executor=executor), end], overflow="block") as p:
        with pytest.raises(UpdateError, match="setup returned a generator: write it without `yield`"):
            p.replace("Version", SetUpByGenerator(2))
        p.put(1)
    assert end.got == [(1, 1)]


class NotCopied(Version):
    def __copy__(self) -> Stage:
        raise TypeError("there is only one")


def test_what_cannot_be_copied_for_its_workers_is_refused_before_anything_changes() -> None:
    end = Collect()
    with Pipeline([Version(1).options(workers=2), end], overflow="block") as p:
        with pytest.raises(UpdateError, match="cannot be copied for its 2 workers: there is only one"):
            p.replace("Version", NotCopied(2))
        p.put(1)
    assert end.got == [(1, 1)]


def test_an_abort_tears_both_down(tmp_path: Path) -> None:
    says, gate = tmp_path / "said", Gate()
    place = stage(Version(1, says=says), workers=2, name="place")
    with Pipeline([place, gate], buffer_size=1, overflow="block") as p:
        p.replace("place", Version(2, says=says))
        p.abort()
    said = says.read_text().splitlines()
    assert sorted(said) == sorted(
        [f"{what} {number}" for what in ("setup", "teardown") for number in (1, 1, 2, 2)] + ["finish 1"] * 2
    )
