"""Every test leaves the process as it found it."""

import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

# `python -m pytest` puts the working directory in front of the installed package: there it may lie without its engine.
here = Path(__file__).parent.parent
if not list(here.glob("DeepPipeline/_engine*.so")):
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != here]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No thread of a pipeline outlives its test."""
    # What is there already is not looked through again after each of some thousand tests.
    gc.freeze()
    before = set(threading.enumerate())
    yield
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        # One for the whole program: from the first video on, and from the first coroutine that waits for room.
        if thread.name in ("DeepPipeline warnings", "DeepPipeline room"):
            continue
        thread.join(30)  # the watchdog of a test that fails
        assert not thread.is_alive(), f"left behind: the thread {thread.name}"
