"""Every sample has exactly one fate."""

import json
import os
import random
import time
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import pytest
from support import Collect, Gate, Pass, let_clock_pass

from DeepPipeline import (
    SKIP,
    BufferCounts,
    Explanation,
    JoinCounts,
    JoinReport,
    Many,
    Mark,
    Parallel,
    Pipeline,
    Prediction,
    Recent,
    Report,
    SampleId,
    Shares,
    SourceReport,
    Spread,
    Stage,
    StageCounts,
    StageReport,
    Timeline,
    TimelineStage,
    Tuned,
    Visit,
    WorkerReport,
)

FIELDS: dict[type, str] = {
    Report: "outcome elapsed sources stages age recent_age joins left_behind fates_missed dropped balances stage "
    "source explain to_mermaid to_svg",
    StageReport: "name intake overflow buffer_size next buffer counts workers doing max_workers paused restarts age "
    "wait busy p50 p99 recent blocked age_of_information",
    WorkerReport: "index doing since sample",
    Recent: "age wait run rate shares",
    Shares: "busy starved blocked",
    BufferCounts: "reordering entered taken dropped_oldest dropped_newest superseded expired dropped discarded flushed "
    "waiting last_dropped",
    StageCounts: "used absorbed skipped failed lost flushed in_flight gave last_failed",
    SourceReport: "name state last_error restarts next_try counts wait longest_wait",
    JoinReport: "name branches counts",
    JoinCounts: "entered joined unjoined waiting renewed",
    Spread: "p50 p99 max mean count",
    TimelineStage: "name workers ordered intake buffer_size overflow max_age",
    Prediction: "rate age_p50 age_p99 dropped busy_workers",
    Tuned: "settings before after",
    Visit: "stage sample source came taken worker ended fate crashed",
    Mark: "at text",
    Timeline: "until stages visits marks last of_sample to_svg to_json from_json save load what_if",
    Explanation: "limit confidence rate with_another_worker then present alternatives text",
}


def balanced(report: Report) -> bool:
    for stage in report.stages:
        buffer, counts = stage.buffer, stage.counts
        assert buffer.dropped == buffer.dropped_oldest + buffer.dropped_newest + buffer.superseded + buffer.expired
        assert buffer.entered == buffer.taken + buffer.dropped + buffer.discarded + buffer.flushed + buffer.waiting
        settled = counts.used + counts.absorbed + counts.skipped + counts.failed + counts.lost + counts.flushed
        assert buffer.taken == settled + counts.in_flight
    for before, after in zip(report.stages, report.stages[1:], strict=False):
        assert before.counts.gave == after.buffer.entered
    return report.balances()


class Moody(Stage):
    """Skips, splits, fails and passes, as its dice say."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def stage_run(self, x: Any) -> Any:
        match self.dice.randrange(5):
            case 0:
                return SKIP
            case 1:
                return Many([x] * self.dice.randrange(4))
            case 2:
                raise ValueError(x)
        return x


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "block"])
@pytest.mark.parametrize("intake", ["set_get_single", "set_get_latest", "set_get_all"])
def test_after_every_kind_of_fate(
    intake: str, overflow: Literal["drop_oldest", "drop_newest", "block"], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR", "DeepPipeline")
    stages: list[Stage] = [getattr(Moody(seed), intake)().options(on_error="skip") for seed in range(3)]
    end = Collect()
    p = Pipeline(stages, end, buffer_size=[1, 2, 3, 4], overflow=overflow)
    p.start()
    accepted = sum(bool(p.put(x)) for x in range(500))
    report = p.setstop()
    assert balanced(report)
    assert all(
        (stage.buffer.waiting, stage.counts.in_flight, stage.buffer.discarded) == (0, 0, 0) for stage in report.stages
    )
    assert report.stages[-1].counts.used == len(end.got)
    assert accepted == 500 - report.stages[0].buffer.dropped_newest


def test_while_it_runs() -> None:
    gate = Gate()
    p = Pipeline([gate], buffer_size=2).start()
    for x in range(5):
        p.put(x)
        if x == 0:
            gate.in_flight()
    report = p.report()
    [stage] = report.stages
    counts = stage.counts
    assert (report.outcome, counts.in_flight, stage.buffer.waiting, stage.buffer.dropped_oldest) == ("running", 1, 2, 2)
    assert balanced(report)
    gate.let_go(3)
    assert balanced(p.setstop())
    assert p.report().outcome == "finished"


def test_after_an_abort() -> None:
    gate = Gate()
    p = Pipeline([Pass(), gate], buffer_size=4, overflow="block").start()
    for x in range(4):
        p.put(x)
    gate.in_flight()
    report = p.abort()
    assert report.outcome == "aborted"
    assert report.left_behind == [f"{type(gate).__name__}"]
    assert balanced(report)
    gate.let_go()
    while p.report().stages[1].counts.in_flight:
        pass
    report = p.setstop()
    assert balanced(report)
    assert (report.left_behind, report.stages[1].counts.used) == ([], 1)


def test_a_report_does_not_change() -> None:
    p = Pipeline([Pass()], overflow="block").start()
    before = p.report()
    p.put(1)
    p.setstop()
    assert (before.outcome, before.stages[0].buffer.entered) == ("running", 0)


@pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])
def test_last_failed_names_the_last_sixteen_on_which_the_stage_failed(multiprocess: bool) -> None:
    stages = [Inverse().options(on_error="skip")]
    report = Pipeline(stages, overflow="block", multiprocess=multiprocess).run([1, 0, 5, *[0] * 20])
    assert [sample.number for sample in report.stage("Inverse").counts.last_failed] == list(range(8, 24))


def test_last_dropped_remembers_sixteen() -> None:
    gate = Gate()
    p = Pipeline([gate], buffer_size=1).start()
    p.put(0)
    gate.in_flight()
    for x in range(1, 40):
        p.put(x)
    [stage] = p.report().stages
    assert [sample.number for sample in stage.buffer.last_dropped] == list(range(24, 40))
    assert stage.buffer.last_dropped[0] < stage.buffer.last_dropped[1] > stage.buffer.last_dropped[0]
    gate.let_go(2)
    p.setstop()


def test_a_stage_that_a_report_does_not_know_is_an_error_that_names_those_it_knows() -> None:
    report = Pipeline([Pass().options(name="first"), Collect()], overflow="block").run([1])
    for typo in ("First", "", "\udc80"):
        with pytest.raises(KeyError, match=r'no stage is called ".*": there are "first", "Collect"'):
            report.stage(typo)


def test_a_long_name_moves_only_its_own_row() -> None:
    stages = [Pass().options(name="x" * 70_000), Collect()]
    table = str(Pipeline(stages, overflow="block").run([1])).splitlines()
    assert table[1].startswith("x" * 70_000 + "  ")
    assert len(table[0]) == len(table[2]) < 200


def test_what_a_report_shows() -> None:
    report = Pipeline([Pass().options(name="first"), Collect()], overflow="block").run([1, 2])
    assert isinstance(report, Report)
    for stage in report.stages:
        assert isinstance(stage, StageReport)
        assert 0 <= stage.p50 <= stage.p99 <= report.elapsed
        assert 0 <= stage.busy <= report.elapsed
        assert stage.workers == 1
        assert 0 <= stage.age.p50 <= stage.age.p99 <= stage.age.max
    first = report.stage("first")
    assert first.counts.used == 2
    table = str(report)
    assert "first" in table
    assert "Collect" in table
    assert repr(report).startswith("<Report finished stages=[")
    assert repr(first).startswith('<StageReport "first" taken=2')


def test_stubs_tell_the_truth() -> None:
    """Every name that the stubs promise exists, and nothing else is public."""
    for kind, fields in FIELDS.items():
        public = {name for name in vars(kind) if not name.startswith("_")}
        assert public == {*fields.split(), "to_dict"}


class Inverse(Stage):
    def stage_run(self, x: int) -> float:
        return 1 / x


def a_report_of_everything() -> Report:
    """With a source, a join, drops, and a batch that waits as long as it takes."""
    stages: list[Stage | Parallel] = [
        Parallel([Pass(), Pass().set_get_latest()]),
        Pass().set_get_batch(2, float("inf")),
    ]
    return Pipeline(stages, Collect(), buffer_size=3).run(range(9))


def test_a_report_is_plain_data_with_the_same_names() -> None:
    def check(found: Any, part: Any) -> None:
        if isinstance(part, list):
            for each, of in zip(found, part, strict=True):
                check(each, of)
        elif type(part) in FIELDS:
            for name, value in found.items():
                check(value, getattr(part, name))
        elif not isinstance(part, SampleId) and not isinstance(found, dict):
            assert found == part

    report = a_report_of_everything()
    data = report.to_dict()
    check(data, report)
    assert {"outcome", "elapsed", "sources", "stages", "age", "joins", "left_behind"} <= {*data}
    batch = data["stages"][-2]
    assert (batch["overflow"], batch["intake"]["batch"]["max_size"]) == ("block", 2)
    assert batch["counts"] == report.stages[-2].counts.to_dict()
    assert json.loads(json.dumps(data)) == data


def test_a_notebook_shows_a_report_as_a_table() -> None:
    report = Pipeline([Pass().options(name="<b>&")], Collect(), overflow="block").run([1, 2])
    html: str = report._repr_html_()
    table = ElementTree.fromstring(f"<div>{html}</div>")
    rows = [[cell.text for cell in row] for row in table.iter("tr")]
    assert [row[0] for row in rows] == ["stage", "<b>&", "Collect"]
    assert [row[1] for row in rows] == ["samples", "2", "2"]
    shown = [line.split() for line in str(report).splitlines()]
    assert rows[1] == shown[1]
    assert table[-1].text == str(report).splitlines()[-1]


def test_ages_are_from_birth_to_take_and_from_birth_to_the_end() -> None:
    gate = Gate()
    p = Pipeline([gate, Collect()], overflow="block").start()
    p.put(1)
    gate.in_flight()
    p.put(2)
    let_clock_pass(time.monotonic() + 0.02)
    before = p.report()
    assert before.age == before.stages[1].age
    assert repr(before.age) == "Spread(p50=0.0, p99=0.0, max=0.0)"
    gate.let_go(2)
    report = p.setstop()
    first, end = report.stages
    assert first.age.max >= 0.02, "the second waited so long to be taken"
    assert end.age.p50 >= 0.02
    assert end.age.max <= report.age.max


def test_a_stage_tells_what_its_workers_did_and_how_fast_it_goes() -> None:
    stages = [Pass().options(name=name) for name in ("read", "detect", "show")]
    pipeline = Pipeline(stages, overflow="block", buffer_size=1)
    report = pipeline.simulate({"read": 0.01, "detect": 0.03, "show": 0.01}, [0.0] * 2000)
    shares = {stage.name: stage.recent.shares for stage in report.stages}
    assert shares["detect"].busy == pytest.approx(1, abs=0.01)
    assert shares["read"].blocked == pytest.approx(2 / 3, abs=0.01)
    assert shares["show"].starved == pytest.approx(2 / 3, abs=0.01)
    assert all(stage.recent.rate == pytest.approx(100 / 3, abs=1) for stage in report.stages)
    assert report.stages[0].blocked == pytest.approx(report.elapsed * 2 / 3, rel=0.01)
    assert [stage.age_of_information is None for stage in report.stages] == [True, True, False]
    assert report.stages[0].recent.run.mean == pytest.approx(0.01, rel=0.01)
    assert report.stages[0].recent.run.count <= 2000


class Hold(Stage):
    """Works on a sample until somebody writes into a named pipe."""

    def __init__(self, pipe: Path) -> None:
        self.pipe = pipe

    def stage_run(self, x: int) -> None:
        self.pipe.read_bytes()


@pytest.mark.parametrize("multiprocess", [False, True])
def test_what_a_worker_does_and_for_how_long_is_known(tmp_path: Path, multiprocess: bool) -> None:
    pipe = tmp_path / "go on"
    os.mkfifo(pipe)
    with Pipeline([Pass(), Hold(pipe)], multiprocess=multiprocess) as p:
        p.put(1)
        try:

            def held() -> WorkerReport:
                [worker] = p.report().stages[1].doing
                return worker

            while held().doing != "working":
                time.sleep(0.01)
            before = held().since
            assert before is not None
            while (held().since or 0) <= before:
                time.sleep(0.01)
            assert held().sample == (None if multiprocess else 1)
            while [worker.doing for worker in p.report().stages[0].doing] != ["waiting"]:
                time.sleep(0.01)
        finally:
            pipe.write_bytes(b"")
    assert all(stage.doing == [] for stage in p.report().stages)
