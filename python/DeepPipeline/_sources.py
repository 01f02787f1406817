"""The sources that samples may come from, and what is said of things that are no source."""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol

from DeepPipeline._called import check_not_awaited
from DeepPipeline._checks import checked_flag, checked_number, checked_seconds, what
from DeepPipeline.errors import GraphError


class Items(Protocol):
    """A data set: a number of items, each to be had by its index from 0."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class Restart:
    """A source that a function opens, and that is opened again after an error or an end, as cameras are.

    `sources={"north": Restart(lambda: vision.Capture("rtsp://..."))}`: the function gives what could be a source
    itself. It runs on the source's own thread once everything is up. When it raises, or what it has opened raises or
    ends, it is called again after `wait` seconds, which are doubled, up to `at_most`, each time in a row that no sample
    came. What was open is closed before, by its `close()` if it has one. The pipeline runs meanwhile, and the report
    and the log tell what the source does. It ends by `setstop`, by `remove_source`, and when it was opened again
    `times` times in a row without giving a sample: then it has failed for good, with its last error, or has ended, if
    it only ended each time and never raised.

    - `open`: the function, without arguments.
    - `wait`, `at_most`: seconds until it is opened again, at first and at most.
    - `times`: how often in a row, at least 1; None is for ever.
    - `is_live`: True if samples come at their own pace, as a camera's do; by default what the function says by an
      attribute of this name (a class may have one), or False.
    """

    open: Callable[[], Any]
    wait: float = 0.5
    at_most: float = 30.0
    times: int | None = None
    is_live: bool | None = None

    def __post_init__(self) -> None:
        if not callable(self.open):
            raise GraphError(
                f"Restart got {what(self.open)}, but must get a function that opens the source each time it is called: "
                "Restart(lambda: vision.Capture(address))"
            )
        check_not_awaited("open", self.open, "a function that returns the source")
        set_ = object.__setattr__  # as dataclasses do that are frozen
        set_(self, "wait", checked_seconds("wait of Restart", self.wait))
        set_(self, "at_most", checked_seconds("at_most of Restart", self.at_most))
        if self.at_most < self.wait:
            raise GraphError(
                f"at_most of Restart is {self.at_most!r}, but must be at least its wait, which is {self.wait!r} and "
                "grows to that"
            )
        if self.times is not None:
            set_(self, "times", checked_number("times of Restart", self.times, 1, 2**32 - 1, "at least 1"))
        is_live = getattr(self.open, "is_live", False) if self.is_live is None else self.is_live
        # A class may have a property of that name, which only its objects answer.
        set_(self, "is_live", False if isinstance(is_live, property) else checked_flag("is_live of Restart", is_live))


Source = Iterable[Any] | Items | Restart
"""The types that samples may come from."""


def iterate(source: Any) -> Iterator[Any]:
    """The samples of a source that was checked."""
    if not isinstance(source, Iterable) and hasattr(source, "__len__"):
        # Not by iter(source), for which an IndexError anywhere in a __getitem__ is the end of the data.
        return (source[index] for index in range(len(source)))
    return iter(source)


def check_source(source: object, place: str = "source") -> None:
    """Refuses what cannot be iterated over, and what is not meant by its elements, with the way out."""
    wrong = _wrong_elements(source)
    if wrong is None and not _is_iterable(source):
        wrong = f"but must be iterable: a list, a generator, an object with __iter__, or a data set{_way_out(source)}"
    if wrong is not None:
        raise GraphError(f"{place} is {what(source)}, {wrong}")


def _is_iterable(source: object) -> bool:
    kind = type(source)
    if isinstance(source, type) or (hasattr(kind, "shape") and getattr(source, "shape", None) == ()):
        return False  # a number of numpy's has a __getitem__, and its array without a dimension an __iter__
    indexed = hasattr(kind, "__getitem__") and not hasattr(kind, "__iter__")
    return indexed or isinstance(source, Iterable)


def _wrong_elements(source: object) -> str | None:
    """Says what iterating over the source would give by mistake, and what to write instead."""
    if isinstance(source, str):
        return (
            f"of which every letter would be a sample: give {_capture(source)} for the frames of a video, "
            "open(...) for the lines of a file, [text] for one sample, or list(text) for letters"
        )
    if isinstance(source, (bytes, bytearray, memoryview)):
        return (
            "of which every byte would be a sample, a number: give vision.Capture(os.fsdecode(path)) for the frames of "
            "a video, [data] for one sample, or list(data) for numbers"
        )
    if isinstance(source, Mapping):
        return (
            "of which only the keys would be samples: give its .values() or its .items(), [mapping] for one sample, "
            "or list(mapping) for keys"
        )
    if hasattr(type(source), "itertuples"):
        return "of which the names of its columns would be samples: give its .itertuples() for its rows"
    return None


def _way_out(source: object) -> str:
    """Says what to write instead of something that is not iterable."""
    if isinstance(source, os.PathLike):
        return f". {_capture(source)} gives the frames of a video, open(...) the lines of a file"
    if isinstance(source, Integral) and not isinstance(source, bool):
        return f". A camera is vision.Capture('/dev/video{source}'), and range({source}) counts"
    if isinstance(source, types.CoroutineType):
        source.close()  # otherwise Python warns that it was never awaited, which is said here already
        return ". Await it before, in a program that is async"
    if hasattr(source, "__aiter__") or hasattr(source, "__anext__"):
        return ". A program that is async iterates over it, and puts what it gets: await pipeline.aput(x)"
    if callable(source):
        name = getattr(source, "__name__", "")
        return (
            f". It must be called first: {name if name.isidentifier() else 'function'}(); or give iter(function, None)"
        )
    if callable(getattr(source, "get", None)) and callable(getattr(source, "put", None)):
        return ". iter(queue.get, None) gives what is in a queue, until a None has come out of it"
    if callable(getattr(source, "read", None)):
        return ". Write a generator that yields what its read() gives; vision.Capture(...) reads videos and cameras"
    return ""


def _capture(path: str | os.PathLike[Any]) -> str:
    shown = repr(os.fspath(path))
    return f"vision.Capture({shown if len(shown) <= 60 else '...'})"
