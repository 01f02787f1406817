"""Pictures of a pipeline: before it runs, with live numbers, and in a notebook."""

import gc
import xml.etree.ElementTree as ET

import pytest

from DeepPipeline import Parallel, Pipeline, stage


def test_a_pipeline_is_drawn_before_it_runs_and_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    named = [stage(lambda x: x, name=name) for name in ("look", "left", "right")]
    pipeline = Pipeline([named[0], Parallel([[named[1]], [named[2]]]), stage(print, name="end")], source=[1])
    mermaid = pipeline.to_mermaid()
    assert mermaid.startswith("flowchart LR\n")
    for line in ('s0(["source"]) --> b0', 'n0["look"]', 'n1{{"parallel"}}', "n1 --> b2", "n1 --> b3", "n3 --> b4"):
        assert f"    {line}\n" in mermaid
    gc.collect()
    assert caplog.text == ""
    assert pipeline.run().outcome == "finished"


def test_one_that_has_run_shows_its_numbers() -> None:
    with Pipeline([stage(lambda x: None, name="only")], overflow="block") as p:
        for x in range(3):
            p.put(x)
    assert 'n0["only<br>3 taken, busy ' in p.to_mermaid()
    assert p.report().to_mermaid() == p.to_mermaid()


def test_a_notebook_gets_a_picture_in_which_names_stay_text() -> None:
    pipeline = Pipeline([stage(print, name="<script>&")])
    picture = ET.fromstring(pipeline._repr_html_())
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<script>&" in [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert pipeline.to_svg() == pipeline._repr_html_()


def test_a_pipeline_with_processes_is_drawn_too() -> None:
    pipeline = Pipeline([len, stage(print, name="end")], multiprocess=True)
    assert "n0 --> b1" in pipeline.to_mermaid()
