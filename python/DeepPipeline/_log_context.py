"""Where a log record comes from: the stage, its worker, and the sample that it works on."""

from __future__ import annotations

import logging
import threading
from typing import Any

from DeepPipeline import _engine
from DeepPipeline._stage import WORK

FIELDS = ("stage", "worker", "source", "sample")


class LogContext(logging.Filter):
    """Adds to each record where it comes from: the attributes `stage`, `worker`, `source` and `sample`.

    >>> handler = logging.StreamHandler()
    >>> handler.setFormatter(logging.Formatter("%(stage)s, sample %(sample)s: %(message)s"))
    >>> handler.addFilter(LogContext())

    `stage` is the name of the stage whose worker logs, `worker` its index among those of the stage, `sample` the number
    of the sample that it works on, with `.part` behind it for a part of one, and `source` the name of the sample's
    source. Each is None where there is none: outside of stages, of a call, of a pipeline whose sources have names. It
    belongs on handlers, which get the records of all loggers. Records of stages in processes have all of it, too.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record through, with the attributes that it does not have already."""
        present = vars(record)
        if any(field not in present for field in FIELDS):
            for field, value in context().items():
                present.setdefault(field, value)
        return True


def context() -> dict[str, Any]:
    """Returns what is known of the stage that calls."""
    work = WORK.get()
    worker = _engine.worker_index() if work is None else work.job.worker
    if worker is None:
        return dict.fromkeys(FIELDS)
    found = _engine.current_sample() if work is None else work.job.sample
    number, part, _, source = found or (None, 0, 0.0, None)
    sample = number if part == 0 else f"{number}.{part}"
    # A worker's thread has the name of its stage.
    return {"stage": threading.current_thread().name, "worker": worker, "source": source, "sample": sample}
