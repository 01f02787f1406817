"""What a pipeline would do, on a virtual clock."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from process_stages import Pass as PassInProcess
from support import Pass

from DeepPipeline import Batch, GraphError, Latest, Parallel, Pipeline, Stage, StageReport, Window, every, stage


class Detect(Stage):
    """Must not run."""

    def setup(self) -> None:
        raise AssertionError("no stage runs in a simulation")

    def stage_run(self, x: Any) -> Any:
        raise AssertionError("no stage runs in a simulation")


def dropped(report: StageReport) -> list[int]:
    return [sample.number for sample in report.buffer.last_dropped]


def test_a_camera_before_a_detector_that_is_too_slow() -> None:
    pipeline = Pipeline([Detect(), Detect().options(name="show")])
    report = pipeline.simulate({"Detect": 0.02}, every(0.01, 100))
    detect, show = report.stages
    assert (report.outcome, report.dropped, report.balances()) == ("finished", 48, True)
    assert (detect.counts.used, show.counts.used) == (52, 52)
    assert dropped(detect)[:3] == [4, 6, 8], "the report names all of them"
    assert len(dropped(detect)) == 48
    assert (detect.busy, detect.p50, detect.age.max) == (1.04, 0.02, 0.03)
    assert report.elapsed == 1.04


def test_the_seed_program() -> None:
    stages = [Pass(), Pass(), Pass()]
    durations = {"Pass": 0.5, "Pass 2": 0.5, "Pass 3": 0.5}
    report = Pipeline(stages, buffer_size=2).simulate(durations, every(0.3, 10))
    assert dropped(report.stages[0]) == [5, 7]
    assert report.stages[-1].counts.used == 8


def test_a_duration_may_depend_on_the_sample() -> None:
    asked: list[int] = []

    def duration(number: int) -> float:
        asked.append(number)
        return 1.0 if number == 2 else 0.1

    report = Pipeline([Pass()], overflow="block").simulate({"Pass": duration}, [0, 1, 2, 3])
    assert asked == [1, 2, 3, 4]
    assert report.stages[0].busy == pytest.approx(1.3)
    assert report.elapsed == pytest.approx(3.1)


def test_it_may_be_asked_again_and_the_pipeline_be_started() -> None:
    pipeline = Pipeline([Pass()], overflow="block")
    reports = [pipeline.simulate({"Pass": 0.5}, every(0.1, 5)) for _ in range(2)]
    assert reports[0] == reports[1]
    with pipeline:
        pipeline.put(1)
        assert pipeline.simulate({"Pass": 0.5}, every(0.1, 5)) == reports[0]
    assert pipeline.report().stages[0].counts.used == 1


def test_a_source_that_waits_loses_nothing_and_a_live_one_does() -> None:
    class Camera:
        is_live = True

        def __iter__(self) -> Iterator[int]:
            return iter([])

    for source, wanted in ((range(0), 0), (Camera(), 7)):
        report = Pipeline([Pass()], source=source).simulate({"Pass": 1.0}, every(0.1, 10))
        assert report.dropped == wanted


INTAKES: dict[str, tuple[Stage, list[int]]] = {
    "latest": (Pass().options(intake=Latest()), [2, 0, 0]),
    "batch": (Pass().options(intake=Batch(2, max_wait=1)), [4, 0, 0]),
    "folded batch": (Pass().options(intake=Batch(2, max_wait=1, fold=True)), [2, 2, 0]),
    "window": (Pass().options(intake=Window(2, 2)), [2, 2, 0]),
    "window between which samples lie": (Pass().options(intake=Window(1, 3)), [2, 0, 2]),
}


@pytest.mark.parametrize("which", INTAKES)
def test_intakes_take_as_they_do(which: str) -> None:
    taken, wanted = INTAKES[which]
    report = Pipeline([taken], buffer_size=4).simulate({"Pass": 0.5}, every(0.1, 4))
    counts = report.stages[0].counts
    assert [counts.used, counts.absorbed, counts.skipped] == wanted
    assert report.balances()


def test_workers_and_branches_and_processes() -> None:
    stages: list[Stage | Parallel] = [
        PassInProcess().options(workers=2, executor="process", on_crash="retry"),
        Parallel([Pass().options(name="fast"), [Pass().options(name="slow", overflow="drop_newest")]]),
        Pass().options(name="end"),
    ]
    report = Pipeline(stages, overflow="block").simulate({"Pass": 0.2, "slow": 0.4}, every(0.1, 10))
    assert report.stage("Pass").counts.used == 10
    slow = report.stage("slow").counts.used
    assert (report.joins[0].counts.joined, report.stage("end").counts.used) == (slow, slow)
    assert 0 < slow < 10
    assert report.balances()


def test_any_callable_is_described_by_its_name() -> None:
    report = Pipeline([stage(abs, name="magnitude"), print]).simulate({"magnitude": 1, "print": 2}, [0])
    assert report.elapsed == 3


def test_every() -> None:
    assert every(0.5, 3) == [0.0, 0.5, 1.0]
    assert every(0, 2) == [0.0, 0.0]


REFUSED: dict[str, tuple[Callable[[Pipeline], object], str]] = {
    "an unknown stage": (
        lambda p: p.simulate({"Detcet": 1}, [0]),
        r'no stage is named "Detcet"; there are \["Detect", "Pass", "Pass 2"\]',
    ),
    "durations by place": (
        lambda p: p.simulate([1, 2], [0]),  # type: ignore[arg-type]
        r"durations is \[1, 2\] \(list\), but must be a dict of the names of stages and seconds",
    ),
    "a duration below nothing": (
        lambda p: p.simulate({"Detect": -1}, [0]),
        r"durations\['Detect'\] is -1, but must be a number of seconds, at least 0",
    ),
    "a duration that no clock tells": (
        lambda p: p.simulate({"Detect": float("inf")}, [0]),
        r"durations\['Detect'\] is inf, but must be a number of seconds, at most 1e\+08",
    ),
    "what a function gives": (
        lambda p: p.simulate({"Detect": lambda number: "long"}, [0]),  # type: ignore[dict-item,return-value]
        r"durations\['Detect'\]\(1\) is 'long', but must be a number of seconds, at least 0",
    ),
    "one arrival": (
        lambda p: p.simulate({}, 3),  # type: ignore[arg-type]
        r"arrivals is 3 \(int\), but must be a list of times, in seconds",
    ),
    "an arrival in words": (
        lambda p: p.simulate({}, ["now"]),  # type: ignore[list-item]
        r"arrivals\[0\] is 'now', but must be a number of seconds, at least 0",
    ),
    "no samples": (lambda p: every(1, 0), r"samples is 0, but must be a whole number of samples, at least 1"),
    "time that runs back": (lambda p: every(-1, 2), r"interval is -1, but must be a number of seconds, at least 0"),
}


@pytest.mark.parametrize("which", REFUSED)
def test_refused(which: str) -> None:
    simulate, message = REFUSED[which]
    with pytest.raises(GraphError, match=message):
        simulate(Pipeline([Detect(), Parallel([Pass(), Pass()])]))


def test_what_a_duration_raises_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        Pipeline([Pass()]).simulate({"Pass": lambda number: 1 / 0}, [0])


def test_a_flush_of_one_source_leaves_what_others_gave() -> None:
    pipeline = Pipeline([stage(print, name="work")], entrances=["a", "b"], buffer_size=8)
    arrivals = {"a": [0.0, 0.0, 0.0], "b": [0.0, 0.0]}
    report = pipeline.simulate({"work": 0.01}, arrivals, flushes={"a": [0.005]})
    assert [(source.name, source.counts.flushed) for source in report.sources] == [("a", 2), ("b", 0)]
    with pytest.raises(GraphError, match=r"there is no .*'c'|\"c\""):
        pipeline.simulate({}, arrivals, flushes={"c": [1.0]})


def test_more_workers_work_from_the_time_of_a_scaling_on() -> None:
    work = stage(print, name="work", workers=1, max_workers=3)
    pipeline = Pipeline([work, stage(print, name="end")], buffer_size=8, overflow="drop_newest")
    arrivals = every(0.01, 100)
    report = pipeline.simulate({"work": 0.03}, arrivals, scalings={"work": [(0.5, 3)]})
    assert report.stage("work").workers == 3
    late = [sample.number for sample in report.stage("work").buffer.last_dropped]
    assert late and max(late) <= 60, "three workers keep up"


@pytest.mark.parametrize(
    ("scalings", "message"),
    [
        ([(0.5, 3)], r"scalings is .*must be a dict of the names of stages and lists of pairs"),
        ({"work": 3}, r"scalings\['work'\] is 3 \(int\), but must be a list of pairs"),
        ({"work": [3]}, r"scalings\['work'\]\[0\] is 3 \(int\)"),
        ({"work": [(0.5, 0)]}, r"scalings\['work'\]\[0\]\[1\] is 0, but must be a whole number of workers"),
        ({"work": [(-1, 2)]}, r"scalings\['work'\]\[0\]\[0\] is -1"),
        ({"work": [(0.5, 4)]}, r'workers for stage "work" is 4, but must be 1 to 3'),
        ({"nobody": [(0.5, 2)]}, "nobody"),
    ],
)
def test_scalings_that_cannot_be_are_refused(scalings: Any, message: str) -> None:
    pipeline = Pipeline([stage(print, name="work", max_workers=3)])
    with pytest.raises(GraphError, match=message):
        pipeline.simulate({}, [], scalings=scalings)


def test_a_flush_drops_what_has_entered_and_nothing_else() -> None:
    pipeline = Pipeline([stage(print, name="work"), stage(print, name="end")], buffer_size=4)
    report = pipeline.simulate({"work": 0.01, "end": 0.03}, every(0.005, 8), flushes=[0.022])
    work, end = report.stages
    assert (work.buffer.entered, work.buffer.flushed, end.buffer.flushed, end.counts.used) == (8, 2, 2, 4)
    assert "4 flushed" in str(report)
    with pytest.raises(GraphError, match=r"flushes\[0\] is -1"):
        pipeline.simulate({}, [], flushes=[-1])
