"""What limits a pipeline: the rules are tested in Rust; here is how it is asked for."""

import time

import pytest
from support import Collect

from DeepPipeline import Explanation, Pipeline, Stage, StartError, every, stage


def explained(workers: int) -> Explanation:
    slow = stage(lambda x: x, name="slow", workers=workers)
    pipeline = Pipeline([slow, stage(print, name="show")])
    return pipeline.simulate({"slow": 0.04, "show": 0.01}, every(0.025, 400)).explain()


def test_the_stage_that_limits_is_named_and_what_another_worker_would_give() -> None:
    limited = explained(1)
    assert (limited.limit, limited.then, limited.confidence) == ("slow", None, 1.0)
    assert (round(limited.rate), round(limited.with_another_worker or 0)) == (25, 40)
    assert str(limited) == limited.text
    assert limited.text.startswith("slow limits: its worker is busy for 100 % of the time")
    assert repr(limited) == '<Explanation limit="slow" confidence=1.00>'
    assert limited.to_dict()["limit"] == "slow"

    free = explained(2)
    assert (free.limit, free.with_another_worker) == (None, None)
    assert free.text.startswith("What comes in limits: ")


def test_a_pipeline_that_runs_explains_itself() -> None:
    pipeline = Pipeline([print])
    with pytest.raises(StartError, match="explain before start"):
        pipeline.explain()
    with pipeline as p:
        assert p.explain().text == "Nothing has come in for ten seconds."


class Slow(Stage):
    def stage_run(self, x: int) -> int:
        time.sleep(0.01)
        return x


def test_it_says_what_other_settings_of_the_stage_that_limits_would_give() -> None:
    with Pipeline([Slow()], Collect(), overflow="block") as p:
        for x in range(100):
            p.put(x)
        explanation = p.explain()
    assert explanation.limit == "Slow"
    assert explanation.present is not None
    twice = explanation.alternatives["Slow.workers=2"]
    assert twice.rate == pytest.approx(2 * explanation.present.rate, rel=0.1)
    assert f"\nWith Slow.workers=2: {twice}" in explanation.text
    assert p.report().explain().alternatives == {}, "a report has no samples"
