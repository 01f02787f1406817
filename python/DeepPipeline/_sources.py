"""The sources that samples may come from, and what is said of things that are no source."""

from __future__ import annotations

import os
import types
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from typing import Any, Protocol

from DeepPipeline._checks import what
from DeepPipeline.errors import GraphError


class Items(Protocol):
    """A data set: a number of items, each to be had by its index from 0."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


Source = Iterable[Any] | Items
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
        return ". A program that is async iterates over it, and puts what it gets: pipeline.put(x)"
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
