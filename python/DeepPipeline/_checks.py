"""Arguments that are refused, naming the argument, what it got and what it wants."""

from __future__ import annotations

import math
import numbers
import operator
import os
import sys
import threading
from pathlib import Path
from typing import SupportsIndex, TypeVar

from DeepPipeline.errors import GraphError

T = TypeVar("T")


def one_of(argument: str, got: object, wanted: tuple[T, ...], more: str = "") -> T:
    """The value, if it is one of those; `more` is what else there is."""
    for known in wanted:
        if isinstance(got, str) and got == known:
            return known
    raise GraphError(f"{argument} is {got!r}, but must be one of {', '.join(repr(known) for known in wanted)}{more}")


def checked_count(argument: str, got: object, of: str = "samples") -> int:
    """The number, if it is a whole one that the machine can count to."""
    wanted = f"but must be a whole number of {of}, at least 1"
    number = _whole(got)
    if number is None:
        raise GraphError(f"{argument} is {what(got)}, {wanted}")
    if number < 1:
        raise GraphError(f"{argument} is {number}, {wanted}")
    if number > sys.maxsize:
        raise GraphError(f"{argument} is {number}, {wanted} and at most {sys.maxsize}")
    return number


def checked_number(argument: str, got: object, least: int, most: int, wanted: str) -> int:
    """The number, if it is a whole one, not less and not more; `wanted` says so."""
    number = _whole(got)
    if number is None or not least <= number <= most:
        raise GraphError(f"{argument} is {got!r}, but must be a whole number, {wanted}")
    return number


def _whole(got: object) -> int | None:
    """The number, if it is a whole one, numpy's included. True is none, here."""
    if isinstance(got, bool) or not isinstance(got, SupportsIndex):
        return None
    try:
        return operator.index(got)
    except TypeError:  # an array, say
        return None


def checked_seconds(argument: str, got: object, *, zero: bool = False, of: str = "seconds") -> float:
    """The seconds (or what else it is a number of), if it is a number, numpy's included: more than 0, or at least 0."""
    if not isinstance(got, bool) and isinstance(got, numbers.Real):
        try:
            seconds = float(got)
        except OverflowError:
            seconds = math.inf if got == abs(got) else -math.inf
        if seconds > 0 or (zero and seconds == 0):
            return min(seconds, sys.float_info.max)
    raise GraphError(f"{argument} is {got!r}, but must be a number of {of}, {'at least' if zero else 'more than'} 0")


def checked_wait(argument: str, seconds: float | None) -> float | None:
    """The seconds, or None, if it is a time that a caller may wait."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, numbers.Real) or not seconds >= 0:
        raise GraphError(f"{argument} is {what(seconds)}, but must be None or a number of seconds, at least 0")
    return float(min(seconds, threading.TIMEOUT_MAX))


def checked_flag(argument: str, got: object) -> bool:
    """The value, if it is True or False, numpy's included."""
    if not isinstance(got, (bool, getattr(sys.modules.get("numpy"), "bool_", bool))):
        raise GraphError(f"{argument} is {what(got)}, but must be True or False")
    return bool(got)


def checked_name(got: object) -> str:
    """The name, if it is text that the engine can hold."""
    if not isinstance(got, str) or not got:
        raise GraphError(f"name is {got!r}, but must be a string that is not empty")
    try:
        got.encode()
    except UnicodeEncodeError:
        raise GraphError(
            f"name is {got!r}, but must be text that UTF-8 can write, and that has half of a surrogate pair in it, as "
            "from os.fsdecode: give name.encode(errors='replace').decode()"
        ) from None
    return got


def what(got: object) -> str:
    """Describes what was got, for an error message: its value where that is short, and its type."""
    if got is None:
        return "None"
    try:
        shown = repr(got)
    except Exception:
        shown = ""
    if not 0 < len(shown) <= 60 or "\n" in shown:
        return f"an object of type {type(got).__name__}"
    return f"{shown} ({type(got).__name__})"


def checked_folder(argument: str, got: object, error: type[Exception] = GraphError, more: str = "") -> Path:
    """Returns the path of a folder; `more` is what else there is. An empty one would be the current folder."""
    path = os.fspath(got) if isinstance(got, (str, os.PathLike)) else None
    if not isinstance(path, str) or "\0" in path:
        raise error(f"{argument} is {what(got)}, but must be the path of a folder{more}")
    if path == "":
        raise error(f"{argument} is '', but must be the path of a folder; '.' is the current one")
    return Path(path)
