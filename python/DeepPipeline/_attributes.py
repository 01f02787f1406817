"""The attributes of a stage, or of another object that is called, that an update may set."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

from DeepPipeline._stage import CALLED, Stage


def set_attributes(target: object, values: dict[str, Any]) -> None:
    """Sets attributes that exist; none where one does not, or is the worker's."""
    for name in values:
        if _is_workers(target, name):
            wrong = f"has {name!r} for its worker, not to update"
        elif not _has(target, name):
            wrong = f"has no attribute {name!r} to update"
        else:
            continue
        known = ", ".join(dict.fromkeys(_names(target)))
        raise AttributeError(f"{type(target).__name__} {wrong}: there are {known or 'none'}")
    for name, value in values.items():
        setattr(target, name, value)


def _is_workers(target: object, name: str) -> bool:
    if name.startswith(("__", "_deeppipeline")):
        return True
    # Data may have the name of a method.
    return isinstance(target, Stage) and name in (*CALLED, "update") and callable(getattr(target, name, None))


def _has(target: object, name: str) -> bool:
    """Returns true if it has an attribute of its own by that name, which can be set."""
    found = getattr(type(target), name, None)
    if isinstance(found, property):
        return found.fset is not None
    is_own = name in getattr(target, "__dict__", {}) or any(name in vars(kind) for kind in _kinds(target))
    return hasattr(target, name) and (is_own or not hasattr(Stage, name))


def _names(target: object) -> Iterator[str]:
    """The names of what may be set, without methods."""
    public = [name for name in getattr(target, "__dict__", {}) if not name.startswith("_")]
    yield from public
    for kind in _kinds(target):
        slots = vars(kind).get("__slots__", ())
        for name, value in vars(kind).items():
            is_data = not callable(value) and not isinstance(value, NO_DATA)
            if not name.startswith("_") and (is_data or name in slots) and _has(target, name):
                yield name


NO_DATA = (classmethod, staticmethod, types.MemberDescriptorType, types.GetSetDescriptorType)
"""The types of what classes have beside their values and functions."""


def _kinds(target: object) -> list[type]:
    """The classes of an object that are the program's own."""
    return [kind for kind in type(target).__mro__ if kind not in Stage.__mro__]
