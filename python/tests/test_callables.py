"""Whatever is called with a sample is a stage."""

import copy
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from process_stages import Scale, doubled
from support import Collect

from DeepPipeline import SKIP, GraphError, Many, Parallel, Pipeline, StartError, stage


def half(x: int) -> float:
    return x / 2


def generator(x: int) -> Iterator[int]:
    yield x


async def coroutine(x: int) -> int:
    return x


async def asynchronous_generator(x: int) -> AsyncIterator[int]:
    yield x


class Adder:
    """Adds up what it is called with."""

    def __init__(self) -> None:
        self.sum = 0

    def __call__(self, x: int) -> int:
        self.sum += x
        return self.sum

    def minus(self, x: int) -> int:
        return -x


class Late:
    """Its call is async."""

    async def __call__(self, x: int) -> int:
        return x


class Layers(list[Callable[[int], int]]):
    """Can be called, and iterated over as well, as some models can."""

    def __call__(self, x: int) -> int:
        return functools.reduce(lambda y, layer: layer(y), self, x)


def given(*stages: Any, **options: Any) -> list[Any]:
    """What comes out of the stages for 1, 2 and 3."""
    return list(Pipeline(stages, **options).stream([1, 2, 3]))


CALLABLES: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "half": (half, [0.5, 1.0, 1.5]),
    "lambda": (lambda x: x + 1, [2, 3, 4]),
    "abs": (abs, [1, 2, 3]),
    "minus": (Adder().minus, [-1, -2, -3]),
    "Adder": (Adder(), [1, 3, 6]),
    "pow": (functools.partial(pow, 2), [2, 4, 8]),
    "Layers": (Layers([abs, abs]), [1, 2, 3]),
}


@pytest.mark.parametrize("name", CALLABLES)
def test_it_is_a_stage_and_has_a_name_to_read(name: str) -> None:
    function, results = CALLABLES[name]
    stream = Pipeline([copy.copy(function)]).stream([1, 2, 3])
    assert list(stream) == results
    assert stream.report().stages[0].name == name


def test_it_is_an_end_stage() -> None:
    got: list[int] = []
    report = Pipeline([half], end_stage=got.append, overflow="block").run([2, 4])
    assert got == [1, 2]
    assert [each.name for each in report.stages] == ["half", "append"]


def test_it_is_a_branch() -> None:
    assert given(Parallel([half, [abs, Layers([abs]), half]])) == [(0.5, 0.5), (1.0, 1.0), (1.5, 1.5)]


def test_it_skips_and_gives_many() -> None:
    assert given(lambda x: SKIP if x == 2 else Many([x, x])) == [1, 1, 3, 3]


def test_a_function_may_be_several_stages_which_are_told_apart() -> None:
    stream = Pipeline([half, half, lambda x: x, lambda x: x]).stream([4])
    assert list(stream) == [1]
    assert [each.name for each in stream.report().stages] == ["half", "half 2", "lambda", "lambda 2", "stream"]


def test_it_has_the_options_of_a_stage() -> None:
    got = Collect()
    stages = [stage(half, name="first", workers=2, overflow="block"), stage(got, name="last")]
    with Pipeline(stages, overflow="block") as p:
        first, last = p.report().stages
    assert (first.name, first.workers, first.overflow, last.name) == ("first", 2, "block", "last")


def test_each_worker_has_a_copy_of_an_object_and_a_single_one_has_the_object_itself() -> None:
    seen: list[Adder] = []
    met = threading.Barrier(2)

    class Both(Adder):
        def __call__(self, x: int) -> int:
            seen.append(self)
            met.wait(60)
            return x

    one = Both()
    Pipeline([stage(one, workers=2)], overflow="block").run([1, 2])
    assert len({id(each) for each in seen}) == 2
    assert one not in seen
    single = Adder()
    Pipeline([single], overflow="block").run([1, 2])
    assert single.sum == 3


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_it_runs_in_a_process(start_method: Any) -> None:
    stages = [doubled, Scale(3), Scale(2).times, functools.partial(pow, 2)]
    assert given(*stages, multiprocess=True, start_method=start_method) == [2**12, 2**24, 2**36]


def test_a_lambda_runs_in_a_process_that_is_forked() -> None:
    assert given(lambda x: x + 1, multiprocess=True, start_method="fork") == [2, 3, 4]


def local() -> Callable[[int], int]:
    def inner(x: int) -> int:
        return x

    return inner


class Unsendable(Adder):
    """Has something that stays in its process."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


UNREACHABLE: dict[str, tuple[Callable[[int], Any], str]] = {
    "a lambda": (
        lambda x: x,
        r"stage 'lambda': its function, <lambda>, is a lambda, .* Write it with def in a module; or give the pipeline "
        'start_method="fork"; or leave multiprocess out',
    ),
    "a lambda in a partial": (functools.partial(lambda x: x), "its function, <lambda>, is a lambda"),
    "a local function": (
        local(),
        r"stage 'inner': its function, local.<locals>.inner, is defined inside a function, .* Move it out",
    ),
    "an object": (
        Unsendable(),
        r"cannot pickle .*lock.* Make it in the setup\(\) of a Stage, which runs in the process",
    ),
}


@pytest.mark.parametrize("which", UNREACHABLE)
def test_one_that_cannot_reach_its_process_is_refused(which: str) -> None:
    function, message = UNREACHABLE[which]
    with pytest.raises(StartError, match=message):
        Pipeline([function], multiprocess=True).start()


@pytest.mark.parametrize("function", [coroutine, functools.partial(coroutine), Late()], ids=["def", "partial", "call"])
def test_one_that_is_async_is_awaited(function: Any) -> None:
    assert list(Pipeline([function]).stream([1, 2])) == [1, 2]


REFUSED: dict[str, tuple[Any, str]] = {
    "a class": (Adder, r"stages\[0\] is the class Adder, but must be an instance: write Adder\(\)"),
    "a type": (int, r"is the class int, but must be a stage: lambda x: int\(x\) makes one object of every sample"),
    "a generator function": (
        generator,
        r"is the generator function generator, but must return its result: lambda x: Many\(generator\(x\)\) gives",
    ),
    "an async generator function": (
        asynchronous_generator,
        r"is the async generator function asynchronous_generator, but must return its result: an async function that "
        r"returns Many\(\[value async for value in asynchronous_generator\(x\)\]\)",
    ),
}


@pytest.mark.parametrize("which", REFUSED)
def test_one_that_is_no_stage_is_refused_with_the_way_out(which: str) -> None:
    function, message = REFUSED[which]
    with pytest.raises(GraphError, match=message):
        Pipeline([function])


def test_an_object_is_one_stage_only() -> None:
    adder = Adder()
    with pytest.raises(GraphError, match=r"stages\[1\] is the same object as stages\[0\] \(Adder\)"):
        Pipeline([adder, stage(adder, name="again")])
