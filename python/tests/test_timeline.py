"""The timeline: when each of the last samples came to a stage, was taken there, and ended."""

import json
import pickle
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support import Collect, Pass

from DeepPipeline import GraphError, Pipeline, Timeline


def a_timeline(multiprocess: bool = False, **options: Any) -> Timeline:
    with Pipeline([Pass(), Pass()], Collect(), multiprocess=multiprocess, overflow="block", **options) as p:
        for x in range(5):
            p.put(x)
    return p.timeline()


@pytest.mark.parametrize("multiprocess", [False, True])
def test_it_has_every_stage_and_every_sample_in_order(multiprocess: bool) -> None:
    timeline = a_timeline(multiprocess)
    assert [stage.name for stage in timeline.stages] == ["Pass", "Pass 2", "Collect"]
    for stage in range(3):
        visits = [visit for visit in timeline.visits if visit.stage == stage]
        assert [visit.sample.number for visit in visits] == [1, 2, 3, 4, 5]
        for visit in visits:
            assert visit.taken is not None and visit.ended is not None
            assert visit.came <= visit.taken <= visit.ended <= timeline.until
            assert (visit.worker, visit.fate, visit.crashed, visit.source) == (0, None, False, None)
    for before, after in zip(timeline.of_sample(3), timeline.of_sample(3)[1:], strict=False):
        assert before.ended is not None and before.ended <= after.came, "what it gave came to the next stage"


def test_only_as_many_are_kept_as_record_says() -> None:
    assert [visit.sample.number for visit in a_timeline(record=2).visits if visit.stage == 2] == [4, 5]
    assert a_timeline(record=0).visits == []
    for record, said in [(-1, "-1"), (1.5, "1.5"), (10**7, "10000000"), (True, "True")]:
        with pytest.raises(GraphError, match=f"record is {said}, but must be a whole number, 0 to 1000000"):
            Pipeline([Pass()], Collect(), record=record)  # type: ignore[arg-type]


def test_it_is_saved_as_a_trace_and_read_again(tmp_path: Path) -> None:
    timeline = a_timeline()
    timeline.save(tmp_path / "run.json")
    assert Timeline.load(tmp_path / "run.json") == timeline == pickle.loads(pickle.dumps(timeline))
    trace = json.loads((tmp_path / "run.json").read_text())
    named = {event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "process_name"}
    assert named == {"pipeline", "Pass", "Pass 2", "Collect"}
    worked = [event for event in trace["traceEvents"] if event.get("cat") == "work"]
    assert sorted((event["pid"], event["args"]["sample"]) for event in worked) == [
        (stage, sample) for stage in (2, 3, 4) for sample in range(1, 6)
    ]


def test_what_is_no_timeline_is_refused_by_name(tmp_path: Path) -> None:
    for text in ["", "{}", '{"traceEvents": []}', "\x00", '{"deeppipeline": {"until": 1, "stages": [], "visits": 3}}']:
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(ValueError, match=r"other.json: this is no timeline that DeepPipeline has written"):
            Timeline.load(tmp_path / "other.json")
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        Timeline.load(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match=r"none.svg"):
        a_timeline().save(tmp_path / "none" / "none.svg")


def test_the_picture_has_a_bar_for_every_sample(tmp_path: Path) -> None:
    timeline = a_timeline()
    timeline.save(tmp_path / "run.svg", follow=3)
    text = (tmp_path / "run.svg").read_text()
    assert text == timeline.to_svg(3) != timeline.to_svg() == timeline._repr_html_()  # type: ignore[attr-defined]
    picture = ElementTree.fromstring(text)
    titles = [title.text or "" for title in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert sum("worked on" in title for title in titles) == 15
    assert sum("waited" in title for title in titles) == 15


def test_the_last_seconds_leave_out_what_ended_before() -> None:
    pipeline = Pipeline([Pass()], Collect())
    with pytest.raises(ValueError, match=r"seconds is -1, but must be 0 or more"):
        a_timeline().last(-1.0)
    assert a_timeline().last(0).visits == []
    with pytest.raises(Exception, match="timeline"):
        pipeline.timeline()
