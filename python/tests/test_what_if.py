"""What a pipeline would do with other settings, as its last samples tell."""

import time
from pathlib import Path
from typing import Any

import pytest
from support import Collect, Pass

from DeepPipeline import SKIP, GraphError, Pipeline, Prediction, Stage, Timeline


class Sleeps(Stage):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def stage_run(self, x: int) -> int:
        time.sleep(self.seconds)
        return x


class Even(Stage):
    """Lets every other sample through."""

    def stage_run(self, x: int) -> Any:
        return x if x % 2 == 0 else SKIP


@pytest.fixture(scope="module")
def timeline() -> Timeline:
    """Of a pipeline in which "slow" limits, five times slower than "quick"."""
    stages = [Sleeps(0.002).options(name="quick"), Sleeps(0.01).options(name="slow"), Pass().options(name="end")]
    with Pipeline(stages, buffer_size=2, overflow="block") as p:
        for x in range(50):
            p.put(x)
    return p.timeline()


def test_a_worker_more_where_it_limits_gives_more_and_elsewhere_nothing(timeline: Timeline) -> None:
    now = timeline.what_if()
    assert isinstance(now, Prediction)
    twice = timeline.what_if({"slow": {"workers": 2}})
    assert twice.rate == pytest.approx(2 * now.rate, rel=0.1)
    assert twice.busy_workers == pytest.approx(2 * now.busy_workers, rel=0.1)
    assert timeline.what_if({"quick": {"workers": 2}}).rate == pytest.approx(now.rate, rel=0.05)
    assert timeline.what_if({"slow": {"buffer_size": 1}}).age_p99 < now.age_p99
    assert str(twice).startswith(f"{twice.rate:.1f} samples a second, ")


def test_the_same_is_known_of_a_file(timeline: Timeline, tmp_path: Path) -> None:
    timeline.save(tmp_path / "run.json")
    settings = {"slow": {"workers": 2, "overflow": "drop_oldest", "max_age": 0.5, "buffer_size": 4}}
    assert Timeline.load(tmp_path / "run.json").what_if(settings) == timeline.what_if(settings)


def test_what_a_stage_skips_goes_no_further() -> None:
    with Pipeline([Even(), Sleeps(0.001)], Collect(), overflow="block") as p:
        for x in range(40):
            p.put(x)
    now = p.what_if()
    assert now.dropped == 0
    assert now.rate == pytest.approx(p.what_if({"Even": {"workers": 2}}).rate, rel=0.2)


def test_tune_gives_the_workers_to_what_limits(timeline: Timeline) -> None:
    tuned = timeline._tune("rate", 5)
    assert tuned.settings["slow"]["workers"] == 3
    assert tuned.after.rate > 2.5 * tuned.before.rate
    assert timeline.what_if(tuned.settings) == tuned.after
    assert str(tuned).startswith("slow.") or str(tuned).startswith("quick.")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slwo": {"workers": 2}}, r'no stage is named "slwo"; there are \["quick", "slow", "end"\]'),
        ({"slow": {"wokers": 2}}, '"wokers" cannot be set: what can be are workers, buffer_size'),
        ({"slow": {"workers": 0}}, 'workers is "0", but must be a whole number, at least 1'),
        ({"slow": {"workers": 1.5}}, 'workers is "1.5", but must be'),
        ({"slow": {"overflow": "drop"}}, "overflow"),
        ({"slow": {"max_age": -1}}, 'max_age is "-1", but must be a number of seconds'),
        ({"slow": {"workers": 10**6}}, "workers"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(timeline: Timeline, settings: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        timeline.what_if(settings)


def test_a_pipeline_refuses_what_is_no_setting_and_what_it_knows_nothing_of() -> None:
    with Pipeline([Pass()], Collect()) as p:
        with pytest.raises(GraphError, match='nothing is known of "Pass" yet'):
            p.what_if()
        for settings in [3, {"Pass": 3}]:
            with pytest.raises(GraphError, match="a dict of the names of stages"):
                p.what_if(settings)  # type: ignore[arg-type]
        with pytest.raises(GraphError, match="goal is 'speed', but must be one of 'rate', 'age'"):
            p.tune("speed")  # type: ignore[arg-type]
        with pytest.raises(GraphError, match="most_workers is 0"):
            p.tune(most_workers=0)
        p.put(1)
