"""Exceptions and reports survive pickle and copy, with what they carry."""

import concurrent.futures
import copy
import inspect
import multiprocessing
import pickle
import threading
import traceback
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import Pass

import DeepPipeline
from DeepPipeline import (
    SKIP,
    GraphError,
    Many,
    Parallel,
    Pipeline,
    PipelineError,
    PutError,
    PutTimeout,
    RemoteError,
    Report,
    Sample,
    SampleId,
    Stage,
    StageError,
    Windows,
    errors,
    retry,
    vision,
)
from DeepPipeline._pickled import SurvivesPickle


class Broken(Stage):
    def stage_run(self, x: Any) -> Any:
        raise ValueError("frame is broken")


def a_failure() -> StageError:
    with pytest.raises(StageError) as caught:
        Pipeline([Broken()]).run([1])
    return caught.value


def a_report() -> Report:
    """Of a pipeline with a join, drops and ages."""
    stages: list[Stage | Parallel] = [Parallel([Pass(), Pass().options(max_age=1e-9)]), Pass()]
    return Pipeline(stages, overflow="drop_newest", buffer_size=1).run(range(5))


def kinds_below(kind: type[PipelineError]) -> list[type[PipelineError]]:
    below = [kind, *(found for sub in kind.__subclasses__() for found in kinds_below(sub))]
    return [found for found in dict.fromkeys(below) if found.__module__.partition(".")[0] == "DeepPipeline"]


KINDS = kinds_below(PipelineError)

VALUES: dict[Any, Callable[[], object]] = {
    str: lambda: "text",
    int: lambda: -9,
    int | None: lambda: -9,
    bool: lambda: True,
    list[str]: lambda: ["a line"],
    Any: lambda: {"frame": 7},
    Report: a_report,
    tuple[Path, ...]: lambda: (Path("a.letter"), Path("b.letter")),
    SampleId | None: lambda: SampleId(3, 1),
}
"""Something of every type that an exception carries."""


def made(kind: type[PipelineError]) -> PipelineError:
    """One of that kind, with everything that it says it carries."""
    arguments: dict[str, object] = {}
    if inspect.isfunction(kind.__init__):
        hints = typing.get_type_hints(kind.__init__)
        arguments = {name: VALUES[hint]() for name, hint in hints.items() if name not in ("message", "return")}
    error = kind("text", **arguments)
    for name, hint in typing.get_type_hints(kind).items():
        if name not in vars(error):
            setattr(error, name, VALUES[hint]())
    return error


def shown(error: BaseException) -> object:
    return type(error), str(error), error.args, {name: str(value) for name, value in vars(error).items()}


def copies(original: Any) -> list[Any]:
    pickles = [pickle.loads(pickle.dumps(original, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    return [*pickles, copy.copy(original), copy.deepcopy(original)]


def test_all_exceptions_are_looked_at() -> None:
    exported = [value for module in (DeepPipeline, errors, vision) for value in vars(module).values()]
    found = {value for value in exported if isinstance(value, type) and issubclass(value, BaseException)}
    assert found - {*KINDS} == {SurvivesPickle}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_exception_survives_with_what_it_carries(kind: type[PipelineError]) -> None:
    error = made(kind)
    error.add_note("a note")
    error.__cause__ = KeyError("why")
    for again in copies(error):
        assert shown(again) == shown(error)
        assert again.__notes__ == ["a note"]
        assert (type(again.__cause__), str(again.__cause__)) == (KeyError, "'why'")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_cannot_be_pickled_is_replaced_by_its_repr(kind: type[PipelineError]) -> None:
    error = made(kind)
    carried = {name: threading.Lock() for name in [*vars(error), "more"]}
    vars(error).update(carried)
    again = pickle.loads(pickle.dumps(error))
    assert vars(again) == {name: repr(lock) for name, lock in carried.items()}
    for copied in (copy.copy(error), copy.deepcopy(error)):
        assert vars(copied) == carried


class TwoArguments(Exception):
    """Pickles, and cannot be made again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def test_what_cannot_be_made_again_is_replaced_too() -> None:
    again = pickle.loads(pickle.dumps(PutError("refused", TwoArguments(1, 2))))
    assert again.value == "TwoArguments('1 and 2')"


def test_the_cause_keeps_the_text_of_its_traceback() -> None:
    again = pickle.loads(pickle.dumps(a_failure()))
    assert repr(again.__cause__) == "ValueError('frame is broken')"
    assert 'raise ValueError("frame is broken")' in "".join(traceback.format_exception(again))


def test_a_cause_that_cannot_be_made_again_is_told_by_its_text() -> None:
    error = GraphError("outer")
    error.__cause__ = TwoArguments(1, 2)
    cause = pickle.loads(pickle.dumps(error)).__cause__
    assert isinstance(cause, RemoteError)
    assert "TwoArguments: 1 and 2" in str(cause)


class Unshowable(Exception):
    """Raises whatever it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError


def test_what_cannot_even_be_shown_survives() -> None:
    error = PutError("refused", Unshowable())
    error.__cause__ = Unshowable()
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), type(again.__cause__)) == ("refused", RemoteError)


def test_causes_of_causes_survive() -> None:
    outer = GraphError("outer")
    outer.__cause__ = a_failure()
    cause = pickle.loads(pickle.dumps(outer)).__cause__
    assert isinstance(cause, StageError)
    assert (cause.stage, repr(cause.__cause__)) == ("Broken", "ValueError('frame is broken')")


def test_a_cause_of_itself_survives() -> None:
    error = GraphError("round and round")
    error.__cause__ = error
    assert str(pickle.loads(pickle.dumps(error))) == "round and round"


def test_reports_survive() -> None:
    report = a_report()
    for again in copies(report):
        assert (str(again), repr(again), again.balances()) == (str(report), repr(report), True)
        assert (again.age, again.elapsed) == (report.age, report.elapsed)
        parts = ([*of.stages, *of.joins, *of.sources] for of in (again, report))
        for part, original in zip(*parts, strict=True):
            assert part == original
            assert part.to_dict() == original.to_dict()
    within = [part for stage in report.stages for part in (stage.buffer, stage.counts, stage.age)]
    for part in (*report.stages, *within, *report.joins, report.joins[0].counts, *report.sources):
        assert {repr(again) for again in copies(part)} == {repr(part)}


def test_a_report_of_another_version_says_so() -> None:
    kind: Any = Report
    with pytest.raises(ValueError, match=r"of another version of DeepPipeline: missing field `\w+`"):
        kind._from_json("{}")


VALUES_OF_THE_PACKAGE = [
    SampleId(3, 1),
    SampleId(3),
    Sample(1, 2, 0.5),
    retry(3, then="skip"),
    Windows({"a": [1]}, 7),
    SKIP,
]


@pytest.mark.parametrize("value", VALUES_OF_THE_PACKAGE, ids=lambda value: type(value).__name__)
def test_values_survive(value: object) -> None:
    for again in [pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)]:
        assert (type(again), again, vars(again) if hasattr(again, "__dict__") else None) == (
            type(value),
            value,
            vars(value) if hasattr(value, "__dict__") else None,
        )
    assert (SampleId(3), SampleId(3, 1)) == (SampleId(number=3, part=0), SampleId(number=3, part=1))


def test_a_many_survives() -> None:
    assert pickle.loads(pickle.dumps(Many([1, 2]))).values == [1, 2]


def fail_in_a_pool(how: str) -> object:
    """Runs in the process of a pool."""
    if how == "put":
        raise PutTimeout("put timed out", threading.Lock())
    if how == "stage":
        Pipeline([Broken()]).run([1])
    return Pipeline([Pass()]).run([1])


def test_a_pool_of_processes_hands_them_over_and_goes_on() -> None:
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as executor, spawn.Pool(1) as pool:
        for how, kind in (("put", PutTimeout), ("stage", StageError)):
            with pytest.raises(kind):
                executor.submit(fail_in_a_pool, how).result(timeout=60)
            with pytest.raises(kind):
                pool.apply_async(fail_in_a_pool, (how,)).get(timeout=60)
        for report in (executor.submit(fail_in_a_pool, "").result(60), pool.apply_async(fail_in_a_pool, ("",)).get(60)):
            assert isinstance(report, Report)
            assert report.balances()
