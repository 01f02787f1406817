"""Waking coroutines from other threads, and calls that wait, for a coroutine that must not.

It is imported by the first coroutine, since asyncio takes a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from DeepPipeline import _engine

T = TypeVar("T")

_starting = threading.Lock()
_process: int | None = None
"""The process that has the thread: a child that is forked has none."""


def hears_of_room() -> None:
    """Starts the thread that wakes coroutines for the engine, which never waits for an interpreter itself.

    There is one for all pipelines and loops. It sleeps while nothing is to be woken.
    """
    global _process
    if _process != os.getpid():
        with _starting:
            if _process != os.getpid():
                threading.Thread(target=_wake_all, name="DeepPipeline room", daemon=True).start()
                _process = os.getpid()


def _wake_all() -> None:
    while True:
        for wake in _engine.next_wakes():
            wake()


def waker(waiting: asyncio.Future[None]) -> Callable[[], None]:
    """Returns what ends the waiting for a future, from any thread."""
    return functools.partial(wake, waiting)


def wake(waiting: asyncio.Future[None]) -> None:
    """Ends the waiting for a future of a loop, called from any thread."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits there any longer
        waiting.get_loop().call_soon_threadsafe(_set, waiting)


def _set(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def on_a_thread(name: str, call: Callable[[], T]) -> Future[T]:
    """Makes a call that waits, on a thread of its own; returns its outcome to come."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome


async def result_of(outcome: Future[T], when_cancelled: Callable[[], object] | None = None) -> T:
    """Waits for an outcome while the loop goes on; several coroutines may.

    Where the coroutine is cancelled, `when_cancelled` is to make the outcome come soon, which is waited for.
    """
    try:
        await until_done(outcome)
    except asyncio.CancelledError:
        if when_cancelled is not None:
            when_cancelled()
            await until_done(outcome)
        raise
    return outcome.result()


async def until_done(outcome: Future[Any]) -> None:
    """Waits until an outcome has come, and leaves it alone when it is cancelled."""
    if not outcome.done():
        is_done = asyncio.get_running_loop().create_future()
        outcome.add_done_callback(lambda _: wake(is_done))
        await is_done
