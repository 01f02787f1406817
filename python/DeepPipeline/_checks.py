"""Arguments that are refused, naming the argument, what it got and what it wants."""

from __future__ import annotations

import operator
import sys
from typing import SupportsIndex, TypeVar

from DeepPipeline.errors import GraphError

T = TypeVar("T")


def one_of(argument: str, got: object, wanted: tuple[T, ...]) -> T:
    """The value, if it is one of those."""
    for known in wanted:
        if isinstance(got, str) and got == known:
            return known
    raise GraphError(f"{argument} is {got!r}, but must be one of {', '.join(repr(known) for known in wanted)}")


def checked_count(argument: str, got: object, of: str = "samples") -> int:
    """The number, if it is a whole one that the machine can count to."""
    wanted = f"but must be a whole number of {of}, at least 1"
    if isinstance(got, bool) or not isinstance(got, SupportsIndex):
        raise GraphError(f"{argument} is {what(got)}, {wanted}")
    number = operator.index(got)
    if number < 1:
        raise GraphError(f"{argument} is {number}, {wanted}")
    if number > sys.maxsize:
        raise GraphError(f"{argument} is {number}, {wanted} and at most {sys.maxsize}")
    return number


def checked_seconds(argument: str, got: object, *, zero: bool = False) -> float:
    """The seconds, if it is a number of them: more than 0, or at least 0."""
    if not isinstance(got, bool) and isinstance(got, (int, float)) and (got > 0 or (zero and got == 0)):
        return float(min(got, sys.float_info.max))
    raise GraphError(f"{argument} is {got!r}, but must be a number of seconds, {'at least' if zero else 'more than'} 0")


def checked_flag(argument: str, got: object) -> bool:
    """The value, if it is True or False."""
    if not isinstance(got, bool):
        raise GraphError(f"{argument} is {what(got)}, but must be True or False")
    return got


def what(got: object) -> str:
    """What was got, for an error message: its value where that is short, and its type."""
    if got is None:
        return "None"
    try:
        shown = repr(got)
    except Exception:
        shown = ""
    if not 0 < len(shown) <= 60:
        return f"an object of type {type(got).__name__}"
    return f"{shown} ({type(got).__name__})"
