"""Starts worker processes as `multiprocessing` does, except that nothing here waits for the new process.

It may hang before it has read a word: in its interpreter's start, or since the fork server is busy. And
`multiprocessing` does not know it: it collects every child that it knows, which would take the exit status away from
the worker, and waits for all of them when the program ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import select
import threading
from collections.abc import Callable
from multiprocessing import forkserver, popen_fork, reduction, resource_tracker, spawn, util
from multiprocessing.context import set_spawning_popen
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from DeepPipeline._worker_signals import held_back

if TYPE_CHECKING:
    from DeepPipeline._remote import Job

STATUS_WITHIN = 1.0
"""Seconds that a fork server has to tell how a process has ended."""


_one_at_a_time = threading.Lock()
"""A user's stage is pickled by one thread at a time, and no more descriptors are open than for one start."""


class Launched:
    """A process that has been started."""

    def __init__(self, pid: int, close: Callable[[], None], status: int | None = None) -> None:
        self.pid = pid
        self.close = close
        """Lets go of what the process is to find as long as this one lives."""
        self._status = status

    def exit_code(self) -> int | None:
        """Asks the fork server how the process has ended; None where that is for its parent to learn, or is lost."""
        if self._status is None or not select.select([self._status], [], [], STATUS_WITHIN)[0]:
            return None
        try:
            code: int = forkserver.read_signed(self._status)
        except (EOFError, OSError):
            return None  # the fork server has gone
        return code


def forked(process: BaseProcess) -> Launched:
    """Forks this process."""
    popen = popen_fork.Popen(process)
    return Launched(popen.pid, popen.close)


def spawned(process: BaseProcess, job: Job) -> Launched:
    """Starts a new interpreter."""
    with _one_at_a_time:
        tracker = resource_tracker.getfd()
        popen = _Spawning()
        words = _pickled(process, job, popen)
        reader, writer = os.pipe()
        try:
            _fill(writer, words)
            command = spawn.get_command_line(tracker_fd=tracker, pipe_handle=reader)
            inherited: list[Any] = [*popen.fds, tracker, reader]
            with held_back():
                pid = util.spawnv_passfds(os.fsencode(spawn.get_executable()), command, inherited)
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        return Launched(pid, lambda: os.close(writer))


class Asked:
    """A process that multiprocessing's fork server has been asked for."""

    def __init__(self, status: int, writer: int) -> None:
        self.status = status
        """The pipe on which the fork server says first which process it is, and then how it has ended."""
        self._writer = writer

    def launched(self) -> Launched:
        """The process, once the fork server has something to say."""
        try:
            return Launched(forkserver.read_signed(self.status), self.close, self.status)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self.status)
        os.close(self._writer)


def asked_of_server(process: BaseProcess, job: Job) -> Asked:
    """Asks multiprocessing's fork server to fork itself."""
    with _one_at_a_time:
        popen = _ForkServing()
        words = _pickled(process, job, popen)
        asked = Asked(*forkserver.connect_to_new_process(popen.fds))
        try:
            _fill(asked._writer, words)
        except BaseException:
            asked.close()
            raise
        return asked


class _Spawning:
    """The context that locks, queues and descriptors ask for while pickled for an interpreter that inherits them."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def duplicate_for_child(self, fd: int) -> int:
        self.fds.append(fd)
        return fd

    def DupFd(self, fd: int) -> Any:
        return _Inherited(fd)


class _ForkServing(_Spawning):
    """The same for a child of the fork server, which gets copies of them."""

    def duplicate_for_child(self, fd: int) -> int:
        self.fds.append(fd)
        return len(self.fds) - 1

    def DupFd(self, fd: int) -> Any:
        return _Received(fd)


class _Inherited:
    def __init__(self, fd: int) -> None:
        self.fd = fd

    def detach(self) -> int:
        return self.fd


class _Received(_Inherited):
    def detach(self) -> int:
        received: list[int] = forkserver.get_inherited_fds()  # type: ignore[assignment]
        return received[self.fd]


def _pickled(process: BaseProcess, job: Job, popen: _Spawning) -> bytes:
    """Pickles what multiprocessing's side in the new process reads: how to prepare, and the process object."""
    prepare = spawn.get_preparation_data(process.name)
    # The job runs the program, once its lifeline is there.
    job.program = {key: prepare.pop(key) for key in list(prepare) if key.startswith("init_main_")}
    words = io.BytesIO()
    set_spawning_popen(popen)  # type: ignore[arg-type]
    try:
        reduction.dump(prepare, words)
        reduction.dump(process, words)
    finally:
        set_spawning_popen(None)
    return words.getvalue()


def _fill(writer: int, words: bytes) -> None:
    """Writes what a pipe is to hold until it is read."""
    os.set_blocking(writer, False)
    if len(words) > select.PIPE_BUF:
        with contextlib.suppress(OSError):
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, max(len(words), 1 << 16))
    try:
        written = os.write(writer, words)
    except BlockingIOError:
        written = 0
    if written < len(words):
        raise OSError(
            f"a process is told {len(words)} bytes before it runs, more than a pipe holds: shorten sys.path or sys.argv"
        )
