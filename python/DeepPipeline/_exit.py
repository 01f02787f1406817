"""What happens to pipelines that are still open when the interpreter exits: they are drained."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from DeepPipeline.pipeline import Pipeline

PATIENCE = 5.0
"""After that many seconds in which no stage was done with anything, a pipeline is aborted."""

_open: weakref.WeakSet[Pipeline] = weakref.WeakSet()


def watch(pipeline: Pipeline) -> None:
    """Remembers a pipeline without keeping it alive."""
    _open.add(pipeline)


def _drain_all() -> None:
    for pipeline in list(_open):
        pipeline._drain_at_exit(PATIENCE)


# Before the interpreter waits for threads, and while daemon threads still run: `atexit` would be too late for both.
threading._register_atexit(_drain_all)  # type: ignore[attr-defined]
