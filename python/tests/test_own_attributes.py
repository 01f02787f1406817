"""A stage calls its own attributes as it likes."""

from typing import Any

import pytest
from process_stages import Owns
from support import Collect, Pass

from DeepPipeline import GraphError, Pipeline, Sample, Stage

NAMES = [name for name in vars(Stage) if not name.startswith(("__", "_deeppipeline"))]
"""What a stage inherits."""

MORE = ["name", "time_limit", "source", "workers", "batch", "ordered", "_native", "_options", "_with", "_takes"]
"""What a stage might seem to inherit."""

WHERE: dict[str, dict[str, Any]] = {
    "thread": {},
    "two workers": {"workers": 2},
    "process": {"executor": "process"},
}
where = pytest.mark.parametrize("options", WHERE.values(), ids=WHERE)


def given(stage: Stage, **options: Any) -> list[Any]:
    return list(Pipeline([Stage.options(stage, **options)]).stream([1, 2]))


def test_stage_has_the_names_that_are_tried() -> None:
    assert {"setup", "stage_run", "finish", "teardown", "sample", "options", "set_get_single"} <= {*NAMES}


@pytest.mark.parametrize("name", [*NAMES, *MORE])
def test_any_name_is_free(name: str) -> None:
    assert given(Owns([name])) == [[name], [name]]


@where
def test_all_names_are_free_together(options: dict[str, Any]) -> None:
    assert given(Owns([*NAMES, *MORE]), **options) == [[*NAMES, *MORE]] * 2


@where
def test_names_are_free_while_the_stage_runs(options: dict[str, Any]) -> None:
    assert given(Owns([*NAMES, *MORE], later=True), **options) == [[*NAMES, *MORE]] * 2


def test_they_are_free_where_windows_are_taken() -> None:
    stage = Stage.set_get_window(Owns(NAMES), 1)
    assert given(stage) == [NAMES, NAMES]


class Flagged(Stage):
    """Its own methods, and attributes of their names."""

    def __init__(self, log: list[str]) -> None:
        self.log, self.setup, self.finish = log, False, False  # type: ignore[method-assign,assignment]

    def setup(self) -> None:
        self.log.append(f"setup {self.setup}")

    def stage_run(self, x: Any) -> None:
        self.finish = True  # type: ignore[method-assign,assignment]

    def finish(self) -> None:
        self.log.append(f"finish {self.finish}")


def test_methods_are_called_though_data_has_their_names() -> None:
    log: list[str] = []
    Pipeline([Flagged(log)], overflow="block").run([1])
    assert log == ["setup False", "finish True"]


def test_a_function_in_an_attribute_is_the_method() -> None:
    end = Collect()
    end.stage_run = end.got.append  # type: ignore[method-assign,assignment]
    Pipeline([end], overflow="block").run([1, 2])
    assert end.got == [1, 2]


def test_a_class_may_have_other_values_too() -> None:
    stage = type("Odd", (Pass,), {"sample": 3, "options": {}, "set_get_all": None})()
    assert list(Pipeline([stage]).stream([1])) == [1]
    assert (stage.sample, stage.options) == (3, {})


@pytest.mark.parametrize("method", ["setup", "stage_run", "finish", "teardown"])
def test_a_class_whose_method_is_none_is_refused_by_name(method: str) -> None:
    stage = type("Odd", (Pass,), {method: 5})()
    message = rf"stages\[1\] has a {method} that cannot be called: 5 \(int\)\. .*attribute of Odd another name"
    with pytest.raises(GraphError, match=message):
        Pipeline([Pass(), stage])


def test_data_is_no_stage_run() -> None:
    stage = Stage()
    stage.stage_run = {"a": 1}  # type: ignore[method-assign,assignment]
    with pytest.raises(GraphError, match="has no stage_run"):
        Pipeline([stage])


def test_the_sample_is_read_only_no_more_and_is_still_told() -> None:
    class Looks(Stage):
        def stage_run(self, x: Any) -> Any:
            seen = self.sample
            self.sample = x
            return seen, self.sample

    [(seen, mine)] = list(Pipeline([Looks()]).stream(["mine"]))
    assert isinstance(seen, Sample)
    assert mine == "mine"
