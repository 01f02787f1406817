"""Pauses: a stage takes nothing until it is resumed, and the policies go on."""

import pytest
from process_stages import Pass as PassInProcess
from support import Collect, Gate, Pass, wait_until

from DeepPipeline import GraphError, Pipeline, PipelineError, StageError, StartError, every, stage


def used(p: Pipeline, at: int = 0) -> int:
    return p.report().stages[at].counts.used


def test_a_file_misses_nothing_while_the_first_stage_is_paused() -> None:
    gate, end = Gate(), Collect()
    with Pipeline([gate, end], source=range(6), overflow="block") as p:
        assert gate.in_flight() == 0
        p.pause()
        p.pause()
        gate.let_go()
        wait_until(lambda: used(p) == 1)
        first = p.report().stages[0]
        assert first.paused
        assert first.buffer.taken == 1, "the sample in work was finished, and no other begun"
        assert "Gate is paused" in str(p.report())
        p.resume()
        gate.let_go(5)
        report = p.join()
    assert end.got == list(range(6))
    assert not report.stages[0].paused
    assert report.balances()


@pytest.mark.parametrize("multiprocess", [False, True])
def test_a_live_stream_shows_the_newest_after_a_pause(multiprocess: bool) -> None:
    end = Collect()
    stages = [PassInProcess(), end.options(executor="thread")]
    with Pipeline(stages, buffer_size=2, overflow="drop_oldest", multiprocess=multiprocess) as p:
        p.put(0)
        wait_until(lambda: end.got == [0])
        p.pause()
        for x in range(1, 8):
            assert p.put(x)
        assert p.report().dropped == 5
        p.resume()
        wait_until(lambda: len(end.got) == 3)
    assert end.got == [0, 6, 7]


def test_a_stage_is_paused_by_its_name_and_what_is_behind_it_goes_on() -> None:
    end = Collect()
    with Pipeline(
        [stage(Pass(), name="first"), stage(Pass(), name="second"), end], overflow="block", buffer_size=4
    ) as p:
        p.pause("second")
        p.put(1)
        wait_until(lambda: used(p) == 1)
        assert [row.paused for row in p.report().stages] == [False, True, False]
        p.resume("second")
        wait_until(lambda: end.got == [1])


def test_setstop_ends_every_pause_and_loses_nothing() -> None:
    end = Collect()
    with Pipeline([Pass(), end], buffer_size=4, overflow="block") as p:
        p.pause()
        p.pause("Collect")
        for x in range(4):
            p.put(x)
        report = p.setstop()
        p.pause()
    assert end.got == [0, 1, 2, 3]
    assert not any(row.paused for row in report.stages)
    assert not any(row.paused for row in p.report().stages)


def test_abort_discards_what_a_paused_stage_has() -> None:
    p = Pipeline([Pass(), Collect()], buffer_size=4).start()
    p.pause()
    for x in range(3):
        p.put(x)
    report = p.abort()
    assert report.outcome == "aborted"
    assert report.stages[0].buffer.discarded == 3
    assert not report.left_behind


def test_a_failure_ends_the_pause_of_what_is_behind_it() -> None:
    def fails(x: int) -> int:
        if x == 2:
            raise ValueError("two")
        return x

    end = Collect()
    with pytest.raises(StageError, match="two"), Pipeline([fails, end]) as p:
        p.pause("Collect")
        p.put(1)
        p.put(2)
        p.join()
    assert end.got == [1]


def test_what_cannot_be_paused_is_refused() -> None:
    p = Pipeline([Pass(), Collect()])
    with pytest.raises(StartError, match="pause before start"):
        p.pause()
    with p:
        with pytest.raises(GraphError, match=r'no stage is named "Nobody"; there are \["Pass", "Collect"\]') as caught:
            p.pause("Nobody")
        assert isinstance(caught.value, PipelineError)
        with pytest.raises(GraphError, match="no stage is named"):
            p.resume("Nobody")
        with pytest.raises(GraphError, match=r"stage is 3 \(int\), but must be the name of a stage"):
            p.pause(3)  # type: ignore[arg-type]


def test_a_simulation_has_pauses() -> None:
    pipeline = Pipeline([stage(print, name="work"), stage(print, name="end")], buffer_size=2)
    arrivals = every(0.01, 8)
    report = pipeline.simulate({"work": 0.001}, arrivals, pauses=[(0.015, 0.065)])
    assert (report.stages[0].buffer.dropped_oldest, report.stages[1].counts.used) == (3, 5)
    assert pipeline.simulate({}, arrivals, pauses={"end": [(0.015, 0.065)]}).stages[1].buffer.dropped_oldest == 3
    with pytest.raises(GraphError, match=r"pauses\[0\] is \(2, 1\), but must be a list of pairs of times"):
        pipeline.simulate({}, [], pauses=[(2, 1)])
    with pytest.raises(GraphError, match="no stage is named"):
        pipeline.simulate({}, [], pauses={"nobody": [(1, 2)]})
