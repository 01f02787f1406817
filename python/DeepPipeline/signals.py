"""Signals that ask a program to stop: an opt-in to treat SIGTERM and SIGHUP as Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class StopSignals:
    """Tells which signal has asked the program to stop."""

    received: signal.Signals | None = None
    """The first that has come; None before."""

    @property
    def exit_code(self) -> int:
        """The exit code that goes with it, as in shells: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP; or 0."""
        return 0 if self.received is None else 128 + self.received


class _Stop(KeyboardInterrupt):
    """A stop signal, where Ctrl-C would be. Whatever drains on Ctrl-C drains on it."""


@contextlib.contextmanager
def drain_on_signals() -> Iterator[StopSignals]:
    """Makes SIGTERM and SIGHUP do what Ctrl-C does: the first drains the pipeline at work, a second one aborts it.

    >>> import DeepPipeline
    >>> class Show(DeepPipeline.Stage):
    ...     def stage_run(self, frame):
    ...         print(frame)
    >>> with DeepPipeline.drain_on_signals():
    ...     report = DeepPipeline.Pipeline([Show()], overflow="block").run(["frame"])
    frame

    Each raises KeyboardInterrupt in the main thread, which must be the one that enters. Where that comes out at the
    end, the program ends with exit code 143 for SIGTERM, 129 for SIGHUP, and 130 for SIGINT; to do otherwise, catch it
    inside, and ask the `StopSignals` which signal came. A signal that is ignored, as SIGHUP is under `nohup`, stays
    ignored. The handlers that were there before come back at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            f"drain_on_signals in thread {threading.current_thread().name!r}: only the main thread may handle signals; "
            "enter it there"
        )
    stop = StopSignals()

    def raise_stop(number: int, _: FrameType | None) -> None:
        stop.received = stop.received or signal.Signals(number)
        raise _Stop(signal.Signals(number).name)

    before = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        # None is a handler that is not Python's, and could not be put back.
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, raise_stop)
    try:
        yield stop
    except _Stop:
        raise SystemExit(stop.exit_code) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
