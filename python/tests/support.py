"""Stages that tests talk to, and programs that tests run."""

import contextlib
import os
import queue
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from DeepPipeline import Stage

WATCHDOG = 60.0
"""Seconds after which a test gives up waiting. Only a failing test waits that long."""


class Pass(Stage):
    """Gives on what it gets."""

    def stage_run(self, x: Any) -> Any:
        return x


class Collect(Stage):
    """Keeps what it gets in `got`."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def stage_run(self, x: Any) -> None:
        self.got.append(x)


class Gate(Stage):
    """Says what it has in flight, and gives it on when it is told to."""

    def __init__(self) -> None:
        self._in_flight: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._let_go: queue.SimpleQueue[None] = queue.SimpleQueue()

    def stage_run(self, x: Any) -> Any:
        self._in_flight.put(x)
        self._let_go.get()
        return x

    def in_flight(self) -> Any:
        """Waits until the stage has taken a sample (or a list), and tells which."""
        return self._in_flight.get(timeout=WATCHDOG)

    def let_go(self, times: int = 1) -> None:
        for _ in range(times):
            self._let_go.put(None)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Waits for something that other threads bring about and nobody tells."""
    give_up = time.monotonic() + WATCHDOG
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.001)


def let_clock_pass(moment: float) -> None:
    """Waits until `time.monotonic()` is past that moment."""
    while time.monotonic() <= moment:
        time.sleep(0.001)


def workers() -> list[int]:
    """The children of this process that are there, or have not been collected, without multiprocessing's own servers.

    `multiprocessing.active_children()` does not know them.
    """
    found = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):
            found += Path(f"/proc/self/task/{task}/children").read_text().split()
    return [int(child) for child in found if not is_of_multiprocessing(child)]


def is_of_multiprocessing(child: str) -> bool:
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        return b"resource_tracker" in command or b"forkserver" in command
    return False


PRELUDE = """
import os, signal, sys, threading, time
from DeepPipeline import *

class Pass(Stage):
    def stage_run(self, x):
        return x

class Show(Stage):
    def stage_run(self, x):
        print("shown", x, flush=True)

def ready_when_main_is_in(*names):
    # Says so as soon as the main thread is in a function of one of these names.
    def look():
        while True:
            frame = sys._current_frames()[threading.main_thread().ident]
            while frame is not None:
                if frame.f_code.co_name in names:
                    print("ready", flush=True)
                    return
                frame = frame.f_back
    threading.Thread(target=look, daemon=True).start()
"""


def program(code: str) -> subprocess.Popen[str]:
    """Starts a Python program, with stages and imports at hand."""
    source = PRELUDE + textwrap.dedent(code)
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-P", "-u", "-c", source], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def program_file(path: Path) -> subprocess.Popen[str]:
    """Starts the Python program in a file, whose stages worker processes can import."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-u", str(path)], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def run_program(code: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python program to its end, which must come by itself."""
    process = program(code)
    return finish(process)


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Waits for a program to end."""
    try:
        out, err = process.communicate(timeout=WATCHDOG)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def read_until(process: subprocess.Popen[str], word: str) -> None:
    """Reads the program's output up to a line that contains the word."""
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(f"the program ended without {word!r}: {process.stderr and process.stderr.read()}")


PROGRAM = """
import logging, multiprocessing, os, signal, sys, time
from DeepPipeline import *

def say(*words):
    # At once, since several processes write into one pipe.
    os.write(1, (" ".join(map(str, words)) + chr(10)).encode())

class Slow(Stage):
    def setup(self):
        say("worker", os.getpid())
    def stage_run(self, x):
        time.sleep(0.01)
        return x

class Show(Stage):
    def stage_run(self, x):
        say("shown", x)
"""


def run_in_a_group(tmp_path: Path, code: str) -> subprocess.Popen[str]:
    """Starts a program from a file, in a group of processes of its own, as a terminal does."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM + textwrap.dedent(code))
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-P", "-u", path], stdout=pipe, stderr=pipe, text=True, process_group=0)


def lines_until(process: subprocess.Popen[str], word: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if word in line:
            return lines
    raise AssertionError(f"ended without {word!r}: {lines} {process.stderr and process.stderr.read()}")
