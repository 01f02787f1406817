"""What happens to pipelines that are still open when the interpreter exits: they are drained."""

from __future__ import annotations

import atexit
import os
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


def _forget_all() -> None:
    for pipeline in list(_open):
        pipeline._forget()
    _open.clear()


# Before the interpreter waits for threads, and while daemon threads still run.
threading._register_atexit(_drain_all)  # type: ignore[attr-defined]
# Once more, for what threads that are not daemons have started since.
atexit.register(_drain_all)
# A forked child has the pipelines but none of their threads: it must not wait for them.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
