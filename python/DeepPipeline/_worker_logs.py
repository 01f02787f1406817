"""The log records of workers: what the program's logging takes of them, and how they get there."""

from __future__ import annotations

import logging
import pickle
import sys
import traceback
from dataclasses import dataclass

from DeepPipeline import _engine
from DeepPipeline._log_context import context
from DeepPipeline._pickled import made_again, packed

PLAIN = (str, int, float, type(None))
"""The types that a record is made of by itself, and that pickle."""


@dataclass(frozen=True)
class LogSettings:
    """The settings of the program's logging when a worker is started: which records it takes."""

    levels: dict[str, int]
    """The loggers that have a level of their own; the root's name is empty."""
    disabled: list[str]
    disabled_up_to: int
    captures_warnings: bool

    @classmethod
    def now(cls) -> LogSettings:
        root = logging.getLogger()
        named = root.manager.loggerDict.copy().items()
        known = {name: logger for name, logger in named if isinstance(logger, logging.Logger)}
        return cls(
            {"": root.level} | {name: logger.level for name, logger in known.items() if logger.level},
            [name for name, logger in known.items() if logger.disabled],
            root.manager.disable,
            getattr(logging, "_warnings_showwarning", None) is not None,
        )

    def send_home(self, worker: _engine.Worker) -> None:
        """Sends to the pipeline's process what is taken there; called in a worker."""
        root = logging.getLogger()
        # A program that sets up logging when it is imported has done so here too.
        if root.handlers:
            return
        root.addHandler(_SendHome(worker))
        # Not all records and then a choice: one that nobody wants costs a call, not a journey.
        for name, level in self.levels.items():
            logging.getLogger(name).setLevel(level)
        for name in self.disabled:
            logging.getLogger(name).disabled = True
        logging.disable(self.disabled_up_to)
        logging.captureWarnings(self.captures_warnings)


class _SendHome(logging.Handler):
    """Sends log records to the pipeline's process, where logging is set up."""

    def __init__(self, worker: _engine.Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # The stage's name is the pipeline's to say.
            shown = {**context(), **vars(record), "msg": record.getMessage(), "args": None, "exc_info": None}
            if record.exc_info:
                shown["exc_text"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            plain = {name: value for name, value in shown.items() if type(value) in PLAIN}
            extra = {name: packed(value) for name, value in shown.items() if name not in plain}
            if not self._worker.send_note(pickle.dumps((plain, extra))):
                # In a process that the stage has forked. Its stderr is the worker's.
                print(self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)


def log_from(stage: str, note: bytes) -> None:
    """Logs a record of a worker's, in the pipeline's process."""
    plain, extra = pickle.loads(note)
    record = logging.makeLogRecord(plain | {name: made_again(value) for name, value in extra.items()})
    record.processName = record.stage = stage
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
