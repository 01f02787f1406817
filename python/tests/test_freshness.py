"""Samples that are too old when they are to be taken are dropped."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
from process_stages import AtGate, Gates, Wire
from support import Collect, Gate, Pass, let_clock_pass

from DeepPipeline import Pipeline

everywhere = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])


@everywhere
def test_what_is_too_old_is_dropped_when_it_is_to_be_taken(multiprocess: bool, tmp_path: Path) -> None:
    gates, end = Gates(tmp_path, "setup"), Collect().options(executor="thread")
    stage = AtGate(Wire(), gates).options(max_age=0.001)
    p = Pipeline([stage, end], multiprocess=multiprocess, overflow="block", buffer_size=3).start(wait=False)
    for x in (1, 2, 3):
        assert p.put(x), "it is accepted: nobody knows yet how old it will be"
    let_clock_pass(time.monotonic() + 0.001)
    gates.open("setup")
    report = p.setstop()
    assert end.got == []
    first = report.stages[0]
    assert (first.buffer.entered, first.buffer.expired, first.buffer.dropped, first.buffer.taken) == (3, 3, 3, 0)
    assert [sample.number for sample in first.buffer.last_dropped] == [1, 2, 3]
    assert report.dropped == 3
    assert report.balances()


@everywhere
def test_what_is_young_enough_is_taken(multiprocess: bool) -> None:
    end = Collect().options(executor="thread")
    stages = [Pass().options(executor="process") if multiprocess else Pass(), end]
    report = Pipeline(stages, overflow="block", max_age=3600).run([1, 2, 3])
    assert end.got == [1, 2, 3]
    assert report.dropped == 0


def test_age_counts_from_birth_through_all_stages() -> None:
    gate, end = Gate(), Collect().options(max_age=0.001)
    p = Pipeline([gate, end], overflow="block").start()
    p.put(1)
    assert gate.in_flight() == 1
    let_clock_pass(time.monotonic() + 0.001)
    gate.let_go()
    report = p.setstop()
    assert end.got == []
    assert (report.stages[0].counts.used, report.stages[1].buffer.expired) == (1, 1)


@pytest.mark.parametrize("of_stage", [3600, math.inf, 10**400])
def test_a_stage_may_say_otherwise_than_the_pipeline(of_stage: Any) -> None:
    gate, end = Gate().options(max_age=of_stage), Collect()
    p = Pipeline([gate, end], overflow="block", max_age=0.001).start(wait=False)
    p.put(1)
    let_clock_pass(time.monotonic() + 0.001)
    assert gate.in_flight() == 1
    gate.let_go()
    report = p.setstop()
    assert end.got == []
    assert [stage.buffer.expired for stage in report.stages] == [0, 1]
