"""What a stage may give back."""

import asyncio
import copy
import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import process_stages
import pytest
from process_stages import Endless, Wire
from support import Collect, Pass

from DeepPipeline import SKIP, Many, Pipeline, Report, Stage, StageError


class Gives(Stage):
    """Gives back what it got, called where it is a function."""

    def stage_run(self, x: Any) -> Any:
        return x() if callable(x) else x


def run(*samples: Any) -> tuple[list[Any], Report]:
    end = Collect()
    p = Pipeline([Gives(), end], overflow="block").start()
    for x in samples:
        p.put(x)
    return end.got, p.setstop()


def test_values_of_all_kinds_go_on() -> None:
    kinds: list[Any] = [
        None,
        [],
        [1, 2],
        (),
        {},
        False,
        0,
        "",
        b"",
        ...,
        NotImplemented,
        Exception("x"),
        range(3),
        iter([1]),
    ]
    got, _ = run(*kinds)
    assert all(a is b for a, b in zip(got, kinds, strict=True))


def test_skip() -> None:
    got, report = run(1, SKIP, 2)
    assert got == [1, 2]
    assert (report.stages[0].counts.skipped, report.stages[0].counts.used) == (1, 2)


def test_skip_stays_itself() -> None:
    assert copy.copy(SKIP) is copy.deepcopy(SKIP) is pickle.loads(pickle.dumps(SKIP)) is SKIP
    assert repr(SKIP) == "SKIP"


def test_many() -> None:
    got, report = run(Many([1, None, [2]]), Many(()), Many(x * x for x in range(3)), Many("ab"))
    assert got == [1, None, [2], 0, 1, 4, "a", "b"]
    assert (report.stages[0].counts.used, report.stages[0].counts.skipped, report.stages[0].counts.gave) == (3, 1, 8)
    assert repr(Many([1])) == "Many([1])"


def test_many_is_asked_for_one_value_at_a_time() -> None:
    asked: list[int] = []
    end = Collect()

    def values() -> Iterator[int]:
        for x in range(3):
            asked.append(x)
            yield x

    class Split(Stage):
        def stage_run(self, x: Any) -> Many:
            return Many(values())

    class Watch(Stage):
        def stage_run(self, x: int) -> Any:
            return x, len(asked)

    Pipeline([Split(), Watch(), end], buffer_size=1, overflow="block").run([0])
    assert [x for x, _ in end.got] == [0, 1, 2]
    assert asked == [0, 1, 2]


@pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])
def test_a_many_without_an_end_ends_with_an_abort(multiprocess: bool) -> None:
    said = Wire()
    p = Pipeline([Endless(said), process_stages.Pass()], multiprocess=multiprocess).start()
    p.put(1)
    assert said.get() == "goes on"
    report = p.abort()
    assert said.get() == "closed"
    assert (report.outcome, report.left_behind) == ("aborted", [])
    assert (report.stages[0].counts.used, report.stages[0].counts.lost) == (1, 0), "it has ended by itself"


@pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])
def test_a_many_without_an_end_ends_with_its_stream(multiprocess: bool) -> None:
    said = Wire()
    with Pipeline([Endless(said)], multiprocess=multiprocess).stream([7]) as stream:
        assert [next(stream) for _ in range(20)] == [*range(7, 27)]
    assert [said.get(), said.get()] == ["goes on", "closed"]
    assert stream.report().stages[0].counts.lost == 0


def test_many_from_the_end_stage_is_ignored() -> None:
    p = Pipeline([Gives()], overflow="block").start()
    for x in (Many([1, 2]), SKIP, 3):
        p.put(x)
    report = p.setstop()
    assert (report.stages[0].counts.used, report.stages[0].counts.skipped, report.stages[0].counts.gave) == (2, 1, 0)


async def coroutine() -> int:
    return 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


def generator() -> Iterator[int]:
    yield 1


ADVICE = {
    generator: "a generator goes into Many(...) to give its values one by one, or into list(...) to give a list",
    coroutine: "an async stage is written `async def stage_run`, or is the async function itself",
    async_generator: "an async stage returns its result, for example Many([value async for value in ...])",
}


@pytest.mark.parametrize("function", ADVICE, ids=lambda function: function.__name__)
@pytest.mark.parametrize("as_end_stage", [False, True])
def test_what_has_not_run_yet_is_refused(function: Any, as_end_stage: bool) -> None:
    stages = [Gives()] if as_end_stage else [Gives(), Pass()]
    with pytest.raises(StageError) as caught:
        Pipeline(stages, overflow="block").run([function])
    assert isinstance(caught.value.__cause__, TypeError)
    assert str(caught.value.__cause__) == f"stage_run returned a {function.__name__}: {ADVICE[function]}"


@pytest.mark.parametrize(
    ("method", "advice"),
    [
        ("setup", "write it without `yield`"),
        ("finish", "a generator goes into Many(...)"),
        ("teardown", "write it without `yield`"),
    ],
)
def test_a_generator_elsewhere_is_refused_by_name(method: str, advice: str) -> None:
    stage = Pass()
    setattr(stage, method, generator)
    with pytest.raises(StageError, match=f"failed in {method}: TypeError: {method} returned a generator") as caught:
        Pipeline([stage, Collect()], overflow="block").run([1])
    assert advice in str(caught.value)


def test_async_code_run_inside() -> None:
    got, _ = run(lambda: asyncio.run(coroutine()))
    assert got == [1]


def test_finish() -> None:
    class Hold(Stage):
        def __init__(self, last: Any) -> None:
            self.last = last

        def stage_run(self, x: Any) -> Any:
            return SKIP

        def finish(self) -> Any:
            return self.last

    for last, expected in [(None, []), (SKIP, []), (Many([1, 2]), [1, 2]), (Many([]), []), ([3], [[3]]), (0, [0])]:
        end = Collect()
        Pipeline([Hold(last), end], overflow="block").run(["x"])
        assert end.got == expected


def test_what_setup_and_teardown_return_is_ignored() -> None:
    stage, end = Pass(), Collect()
    stage.setup = stage.teardown = lambda: [1]  # type: ignore[method-assign,assignment,return-value]
    Pipeline([stage, end], overflow="block").run([1])
    assert end.got == [1]


def test_a_stage_run_made_in_setup() -> None:
    class Model(Pass):
        def setup(self) -> None:
            self.stage_run = lambda x: x + 1  # type: ignore[method-assign]

    end = Collect()
    Pipeline([Model(), end], overflow="block").run([1])
    assert end.got == [2]


def test_put_none() -> None:
    end = Collect()
    with Pipeline([end], overflow="block") as p:
        assert p.put(None)
        assert p.put(SKIP)
    assert end.got == [None, SKIP]
