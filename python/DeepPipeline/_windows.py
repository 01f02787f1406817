"""A stage that takes windows, on its worker: it is called when a list of its last samples is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from DeepPipeline import _engine
from DeepPipeline._give import SKIP
from DeepPipeline._intake import Intake, Window
from DeepPipeline._seat import Holder
from DeepPipeline._stage import Stage, method_of

K = TypeVar("K")
T = TypeVar("T")


class Windows(dict[K, list[T]]):
    """The input of a stage whose `key` gives a dict: key -> list of the last items, for the keys whose list is due.

    `sample` is the sample that it came with.
    """

    sample: Any
    """The sample itself."""

    def __init__(self, due: Mapping[K, list[T]], sample: Any) -> None:
        super().__init__(due)
        self.sample = sample

    def __repr__(self) -> str:
        return f"Windows({super().__repr__()}, sample={self.sample!r})"


class _Kept:
    """The type of KEPT."""


KEPT = _Kept()
"""The result for a sample that a later list will use."""


class _Due(NamedTuple):
    """The keys whose lists a stage gets for one sample."""

    keys: list[Any]
    of_items: bool
    """True if they are the keys of a dict."""


class WindowStage(Holder):
    """A stage and the windows in front of it. It is called when one is due."""

    def __init__(self, stage: Stage, window: Window, worker: _engine.Worker) -> None:
        self._stage = stage
        self._key = window.key
        self._due: _Due | None = None
        """The keys due for the present sample, if that has been put into its windows and a list is due."""
        self._worker = worker
        # Apart, since samples that are kept are in the ledger and items are not: whatever came with a dict is used by
        # its own call.
        self._samples, self._items = (
            _engine.WindowStore(window.size, window.stride, window.max_keys, window.idle, window.partial)
            for _ in range(2)
        )

    def setup(self) -> None:
        method_of(self._stage, "setup")()

    def stage_run(self, x: Any) -> Any:
        self._due = None
        if self._worker.forgets_windows():
            self._samples.forget()
            self._items.forget()
        if cuts := self._worker.forgets_sources():
            self._items.forget_sources(cuts)
            self._worker.account(0, 0, self._samples.forget_sources(cuts))
        key = None if self._key is None else self._key(x)
        self._worker.account(0, self._samples.begin())
        self._items.begin()
        if isinstance(key, dict):
            put = [(name, self._items.put(name, item)[0]) for name, item in key.items()]
            due = {name: last for name, last in put if last is not None}
            self._due = _Due([*due], of_items=True)
            return method_of(self._stage, "stage_run")(Windows(due, x))
        last, is_kept, used, left_out = self._samples.put(key, x)
        self._worker.account(used, left_out)
        if last is not None:
            self._due = _Due([key], of_items=False)
            return method_of(self._stage, "stage_run")(last)
        return KEPT if is_kept else SKIP

    def _deeppipeline_run_again(self, x: Any) -> Any:
        """The stage has failed on this sample, which is in its windows already, unless its key could not be made."""
        if self._due is None:
            return self.stage_run(x)
        if self._due.of_items:
            return method_of(self._stage, "stage_run")(
                Windows({name: self._items.again(name) for name in self._due.keys}, x)
            )
        return method_of(self._stage, "stage_run")(self._samples.again(self._due.keys[0]))

    def exchange(self, new: Any) -> Any:
        old, self._stage = self._stage, new
        return old

    def update(self, **values: Any) -> None:
        method_of(self._stage, "update")(**values)

    def finish(self) -> Any:
        return method_of(self._stage, "finish")()

    def teardown(self) -> None:
        # Where an exception's traceback keeps this object alive, it is not to keep the samples alive.
        del self._samples, self._items
        self._due = None
        method_of(self._stage, "teardown")()


def with_windows(stage: Stage, intake: Intake, worker: _engine.Worker) -> Stage | WindowStage:
    """Returns what the worker is to run: the stage itself, unless it takes windows."""
    return WindowStage(stage, intake, worker) if isinstance(intake, Window) else stage
