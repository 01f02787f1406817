"""The ways in which a stage takes from its buffer, as values for `options(intake=...)`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, Literal, SupportsIndex

from DeepPipeline._called import check_not_awaited
from DeepPipeline._checks import checked_count, checked_flag, checked_seconds, what
from DeepPipeline.errors import GraphError

Kind = Literal["single", "latest", "all", "batch", "window"]
"""The name of an intake in a report."""


@dataclass(frozen=True)
class Single:
    """Takes the oldest waiting sample (the default)."""

    kind: ClassVar[Kind] = "single"


@dataclass(frozen=True)
class Latest:
    """Takes the newest waiting sample; the older ones are counted as superseded."""

    kind: ClassVar[Kind] = "latest"


@dataclass(frozen=True)
class All:
    """Takes a list of `buffer_size` samples as soon as the buffer is full; each sample is used once."""

    kind: ClassVar[Kind] = "all"


@dataclass(frozen=True)
class Batch:
    """Takes a list of 1 to `max_size` samples: whatever is there once the first has waited `max_wait` seconds.

    The stage's `buffer_size` must be `max_size` at least. `stage_run` gives back a list with a result for each sample,
    in order, which goes on as that sample's; it may be `SKIP`, `Many(...)` or `Failed(error)`. So a batch may stand in
    a branch of a `Parallel`. Where it raises, and `on_error` is not "stop", it is called again for each sample alone,
    with a list of one.

    With `fold`, it gives back one result for all, which goes on as the newest sample's.
    """

    kind: ClassVar[Kind] = "batch"
    max_size: SupportsIndex
    _: KW_ONLY
    max_wait: float = 0.0
    fold: bool = False

    def __post_init__(self) -> None:
        _set(
            self,
            max_size=checked_count("max_size", self.max_size),
            max_wait=checked_seconds("max_wait", self.max_wait, zero=True),
            fold=checked_flag("fold", self.fold),
        )


@dataclass(frozen=True)
class Window:
    """Takes a list of the last `size` samples: the first is due with the `size`th, then one with every `stride`th.

    - `key`: gives the key of a sample, and every key has a window of its own. Where it gives a dict of key -> item, as
      for one frame with many tracks, there is a window of items for every key; `stage_run` is called for every sample
      then, and gets a `Windows`: a dict of key -> list for the keys whose list is due, with the sample itself as its
      attribute `sample`.
    - `max_keys`: for how many keys windows are kept; with one more, the one silent longest is forgotten.
    - `idle`: after how many samples without it a key is forgotten, so that its next window starts empty (default:
      never).
    - `partial`: the first list is due with the first sample: lists of what is there, until there are `size`.

    The worker keeps the windows: there can be no other `workers`, and windows start empty after a crash. Every sample
    is used once, by the first list that it is in; one between two lists counts as skipped.
    """

    kind: ClassVar[Kind] = "window"
    size: SupportsIndex
    stride: SupportsIndex = 1
    _: KW_ONLY
    key: Callable[[Any], Hashable | dict[Any, Any]] | None = None
    max_keys: SupportsIndex = 1024
    idle: SupportsIndex | None = None
    partial: bool = False

    def __post_init__(self) -> None:
        if self.key is not None and not callable(self.key):
            raise GraphError(f"key is {what(self.key)}, but must be None or a function from a sample to its key")
        if self.key is not None:
            check_not_awaited("key", self.key, "a function that returns the key: await in a stage before")
        _set(
            self,
            size=checked_count("size", self.size),
            stride=checked_count("stride", self.stride),
            max_keys=checked_count("max_keys", self.max_keys, "keys"),
            idle=None if self.idle is None else checked_count("idle", self.idle),
            partial=checked_flag("partial", self.partial),
        )


Intake = Single | Latest | All | Batch | Window


def _set(intake: Intake, **checked: Any) -> None:
    """Puts plain numbers in the place of what was given, such as numpy's."""
    for name, value in checked.items():
        object.__setattr__(intake, name, value)


def checked_intake(got: object) -> Intake:
    """The intake, if it is one."""
    if isinstance(got, Intake):
        return got
    if isinstance(got, type) and issubclass(got, Intake):
        arguments = "..." if fields(got) else ""
        raise GraphError(
            f"intake is the class {got.__name__}, but must be an instance: write {got.__name__}({arguments})"
        )
    raise GraphError(f"intake is {what(got)}, but must be Single(), Latest(), All(), Batch(...) or Window(...)")
