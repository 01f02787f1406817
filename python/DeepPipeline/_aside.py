"""Threads of their own for the messages of supervision: the reader of stderr may have stopped, a handler of the
program's logging may wait for what it likes, and neither may keep a pipeline from its time-outs and its end."""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from DeepPipeline import _engine

ROOM = 256 << 10
"""The number of waiting bytes from which on workers wait for room, unless nothing is being taken."""

MOST = 4 << 20
"""The number of waiting bytes above which what comes is left out, and counted."""

PATIENCE = 1.0
"""Seconds that the end of a pipeline, or a worker, waits for what is being said, as long as nothing gets said."""

LONGEST = 5.0
"""Seconds that it waits at most."""


class Aside:
    """A bounded queue of calls, and the daemon thread that makes them, which is there while it is needed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.forget()

    def forget(self) -> None:
        """Begins anew: a forked child has the queue but not the thread."""
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, Callable[..., None], tuple[Any, ...]]] = deque()
        self._bytes = 0
        self._left_out = 0
        self._taken = self._said = 0
        self._last_said = 0.0
        """The time at which something was said last, or came where nothing was waiting."""
        self._holders = 0
        self._thread: threading.Thread | None = None

    def put(self, size: int, say: Callable[..., None], *arguments: Any) -> None:
        """Has a call made that concerns `size` bytes."""
        with self._changed:
            if self._bytes + size > MOST:
                self._left_out += 1
                return
            if self._has_thread():
                if not self.is_busy():
                    self._last_said = time.monotonic()
                self._bytes += size
                self._taken += 1
                self._waiting.append((size, say, arguments))
                self._changed.notify_all()
                return
        say(*arguments)

    def _has_thread(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._speak, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # from 3.12 on, when the interpreter exits
                return False
            self._thread = thread
        return True

    def hold(self) -> None:
        """Keeps the thread, since another could not be started when the interpreter exits, until `release`."""
        with self._changed:
            self._holders += 1
            self._has_thread()

    def release(self) -> None:
        """Lets the thread end when there is nothing to say."""
        with self._changed:
            self._holders -= 1
            self._changed.notify_all()

    def has_room(self) -> bool:
        """Returns true if there is room for what could also come later, or if nothing is being taken."""
        return self._bytes < ROOM or time.monotonic() - self._last_said > PATIENCE

    def is_busy(self) -> bool:
        """Returns true if something is still to be said."""
        return self._said < self._taken

    def flush(self) -> None:
        """Waits for what is being said, but not for a reader that has stopped."""
        if threading.current_thread() is self._thread:
            return
        with self._changed:
            wanted, end = self._taken, time.monotonic() + LONGEST
            while (before := self._said) < wanted:
                until = min(end, time.monotonic() + PATIENCE)
                while self._said == before:
                    left = until - time.monotonic()
                    if left <= 0 or not self._changed.wait(left):
                        return

    def _speak(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._holders == 0:
                        self._thread = None
                        return
                    self._changed.wait()
                size, say, arguments = self._waiting.popleft()
                left_out, self._left_out = self._left_out, 0
            # Neither what cannot be said nor a handler that fails may end what others say.
            with contextlib.suppress(Exception):
                say(*arguments)
            del say, arguments  # nothing is kept alive while waiting for the next
            if left_out:
                with contextlib.suppress(Exception):
                    text = "lines or log records were left out, since nobody took them in time"
                    write_to_stderr(f"DeepPipeline: {left_out} {text}\n")
            with self._changed:
                self._bytes -= size
                self._said += 1
                self._last_said = time.monotonic()
                self._changed.notify_all()


lines = Aside("DeepPipeline stderr")
"""The queue for what workers write to stderr."""

records = Aside("DeepPipeline log")
"""The queue for what workers and supervision log."""


class _Logger(logging.Logger):
    """The package's logger, for threads that supervise: its records are handled aside."""

    _real = logging.getLogger("DeepPipeline")

    def isEnabledFor(self, level: int) -> bool:
        return self._real.isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        records.put(256 + len(str(record.msg)), self._real.handle, record)


logger = _Logger("DeepPipeline")

if sys.platform == "linux":
    _console = _engine.Console()

    def wrote(pid: int, stage: str, text: str, redraws: bool, ends: bool) -> None:
        """Puts what a worker wrote to stderr there."""
        lines.put(len(text) + len(stage), lambda: write_to_stderr(_console.shows(pid, stage, text, redraws, ends)))


def write_to_stderr(text: str) -> None:
    stream, own = sys.stderr, sys.__stderr__
    if stream is None:
        return
    if stream is not own or own is None:  # a notebook's, or a test's
        stream.write(text)
        stream.flush()
        return
    # Past the stream, whose lock the interpreter wants when it exits.
    rest = memoryview(text.encode(own.encoding, "backslashreplace"))
    while rest:
        try:
            rest = rest[os.write(own.fileno(), rest) :]
        except BlockingIOError:
            select.select([], [own.fileno()], [])


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Keeps both threads while a process is watched."""
    lines.hold()
    records.hold()
    try:
        yield
    finally:
        lines.release()
        records.release()


def flush() -> None:
    """Waits for what is being said, but not for a reader that has stopped."""
    lines.flush()
    records.flush()


def end() -> None:
    """Runs at exit, before `logging` ends: that would wait without end for a handler that does not come back."""
    flush()
    if not records.is_busy():
        return
    handlers = [(reference, reference()) for reference in logging._handlerList]  # type: ignore[attr-defined]
    stuck = [handler for _, handler in handlers if handler is not None and not _is_free(handler)]
    streams = [stream for handler in stuck if (stream := getattr(handler, "stream", None)) is not None]
    free = [
        reference
        for reference, handler in handlers
        if handler is not None and handler not in stuck and getattr(handler, "stream", None) not in streams
    ]
    atexit.unregister(logging.shutdown)
    logging.shutdown(free)
    # Nor may the interpreter flush what somebody holds who writes to it.
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream in streams:
            setattr(sys, name, None)
        elif getattr(stream, "_stream", None) in streams:  # `_exit` makes the exit code with it
            stream._stream = io.StringIO()


def _is_free(handler: logging.Handler) -> bool:
    lock = handler.lock
    if lock is None:
        return True
    if not lock.acquire(timeout=0.1):
        return False
    lock.release()
    return True


def _forget() -> None:
    lines.forget()
    records.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
