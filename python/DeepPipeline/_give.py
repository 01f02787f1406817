"""The results that a stage may give back besides a plain value."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterable, Mapping, Sized
from typing import Final, final


@final
class Skip:
    """The type of SKIP."""

    def __repr__(self) -> str:
        return "SKIP"

    def __reduce__(self) -> str:
        return "SKIP"


SKIP: Final = Skip()
"""A value that ends the sample when given back from `stage_run`: nothing goes on."""


@final
class Many:
    """Many values given back from `stage_run`, in order, each a part of the sample.

    `values` is any iterable; a generator is asked for one value at a time. `Many([])` is a skip.
    """

    __slots__ = ("values",)

    def __init__(self, values: Iterable[object]) -> None:
        if not isinstance(values, Iterable):
            raise TypeError(f"Many wants an iterable of values, but got {type(values).__name__}")
        self.values = values

    def __repr__(self) -> str:
        return f"Many({self.values!r})"


@final
class Failed:
    """An error given back from `stage_run`: the sample fails, as if the stage had raised it.

    It is for a stage that takes batches, which gives back a result for each sample: the others go on.
    """

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        if not isinstance(error, BaseException):
            raise TypeError(f"Failed wants an exception, but got {type(error).__name__}")
        self.error = error

    def __repr__(self) -> str:
        return f"Failed({self.error!r})"


def results_of(result: object, arguments: tuple[object, ...]) -> list[object]:
    """Returns what a stage gave for each sample of a batch, if it is something that has an order and an end."""
    results = None
    if isinstance(result, Sized) and isinstance(result, Iterable) and not isinstance(result, NO_RESULTS):
        with contextlib.suppress(TypeError):  # an array without a first axis
            results = [*result] if len(result) >= 0 else None
    if results is None:
        raise TypeError(
            f"stage_run returned a {type(result).__name__}, but a stage that takes batches gives back a list with a "
            "result for each sample (which may be SKIP, Many or Failed), or with fold=True one result for all"
        )
    for one in results:
        if type(one) in UNFINISHED and not was_given(one, arguments):
            raise TypeError(unfinished("stage_run", one))
    return results


NO_RESULTS: Final = (str, bytes, bytearray, memoryview, Mapping, set, frozenset)
"""The types that have a length and can be iterated, and are no list of results."""


UNFINISHED: Final = frozenset({types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType})
"""The types of what a function with `yield` or `async` returns: nothing of it has run yet."""


def unfinished(method: str, result: object) -> str:
    """Returns the reason why such a result is refused, and what to write instead."""
    if isinstance(result, types.CoroutineType):
        result.close()  # otherwise Python warns that it was never awaited, which is said here already
    if isinstance(result, types.CoroutineType):
        advice = f"an async stage is written `async def {method}`, or is the async function itself"
    elif isinstance(result, types.AsyncGeneratorType):
        advice = "an async stage returns its result, for example Many([value async for value in ...])"
    elif method in ("setup", "teardown"):
        advice = "write it without `yield`"
    else:
        advice = "a generator goes into Many(...) to give its values one by one, or into list(...) to give a list"
    return f"{method} returned a {type(result).__name__}: {advice}"


def check_finished(method: str, result: object) -> None:
    """Refuses what a method with `yield` returns, of which nothing has run."""
    if type(result) in UNFINISHED:
        raise TypeError(unfinished(method, result))


def was_given(result: object, arguments: tuple[object, ...]) -> bool:
    """Returns true if the result is what its stage got, or one item of that: it may hand on what it did not make."""
    items = [item for argument in arguments if isinstance(argument, (list, tuple)) for item in argument]
    return any(result is given for given in (*arguments, *items))
