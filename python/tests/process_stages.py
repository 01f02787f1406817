"""Stages for tests of processes: in a module of their own, so that a worker can import them."""

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from DeepPipeline import Many, Stage


class Wire:
    """What a test and the stages in its processes talk through: without locks, which a killed worker would keep."""

    def __init__(self) -> None:
        self._reader, self._writer = multiprocessing.Pipe(duplex=False)

    def put(self, x: Any) -> None:
        self._writer.send(x)

    def get(self) -> Any:
        return self._reader.recv()

    def empty(self) -> bool:
        return not self._reader.poll()


class Pass(Stage):
    def stage_run(self, x: Any) -> Any:
        return x


class Where(Stage):
    """Adds the process it runs in."""

    def stage_run(self, x: list[int]) -> list[int]:
        return [*x, os.getpid()]


class Tell(Stage):
    """Says what it gets."""

    def __init__(self, said: Any) -> None:
        self.said = said

    def stage_run(self, x: Any) -> None:
        self.said.put(x)


class Gated(Stage):
    """Says which process has what in hand, and gives it on, or dies of it, when it is told to."""

    def __init__(self, said: Wire, told: Wire) -> None:
        self.said, self.told = said, told

    def setup(self) -> None:
        self.said.put(("setup", os.getpid()))

    def stage_run(self, x: Any) -> Any:
        self.said.put((x, os.getpid()))
        match self.told.get():
            case "exit":
                print("about to exit", file=sys.stderr)
                os._exit(3)
            case "abort":
                os.abort()
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                signal.pause()
        return x


class HangsInTeardown(Stage):
    def __init__(self, said: Wire) -> None:
        self.said = said

    def stage_run(self, x: Any) -> Any:
        return x

    def teardown(self) -> None:
        self.said.put(os.getpid())
        signal.pause()


class Describe(Stage):
    """What an array is like when it arrives, and whether it can be drawn on."""

    def stage_run(self, x: Any) -> tuple[Any, ...]:
        before = x.copy()
        writeable = x.flags.writeable
        if writeable:
            x[...] = 0
        return type(x).__name__, x.dtype.str, x.shape, writeable, before


class KeepAll(Stage):
    """Keeps every array that it gets, and gives their sums at the end."""

    def setup(self) -> None:
        self.kept: list[Any] = []

    def stage_run(self, x: Any) -> Any:
        self.kept.append(x)
        return Many([])

    def finish(self) -> list[int]:
        return [int(x.sum()) for x in self.kept]


class Grow(Stage):
    """Gives arrays of as many bytes as it is told."""

    def stage_run(self, size: int) -> Any:
        return np.full(size, size % 251, np.uint8)


class Size(Stage):
    def stage_run(self, x: Any) -> tuple[int, int]:
        return x.nbytes, int(x[-1]) if x.size else -1


class Fail(Stage):
    def __init__(self, error: BaseException, where: str = "stage_run") -> None:
        self.error, self.where = error, where

    def setup(self) -> None:
        if self.where == "setup":
            raise self.error

    def stage_run(self, x: Any) -> Any:
        if self.where == "stage_run":
            raise self.error
        return x


class TwoArguments(Exception):
    """Pickles, but cannot be made again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class FailOddly(Stage):
    def stage_run(self, x: Any) -> Any:
        raise TwoArguments(1, 2)


class GiveUnsendable(Stage):
    def stage_run(self, x: Any) -> Any:
        return {"answer": 42, "lock": sys.stderr}


class Identity(Stage):
    """What it knows about its sample."""

    def stage_run(self, x: float) -> tuple[int, int, bool]:
        sample = self.sample
        assert sample is not None
        return sample.number, sample.part, x <= sample.birth <= time.monotonic()


class Twice(Stage):
    def stage_run(self, x: Any) -> Many:
        return Many([x, x])

    def finish(self) -> Any:
        return 0.0


class HalfThenDie(Stage):
    """Dies of the first sample after two parts of it, once."""

    def __init__(self, deaths: Wire) -> None:
        self.deaths = deaths

    def stage_run(self, x: int) -> Many:
        return Many(self.parts(x))

    def parts(self, x: int) -> Iterable[int]:
        yield 10 * x + 1
        yield 10 * x + 2
        if not self.deaths.empty():
            self.deaths.get()
            os._exit(1)
        yield 10 * x + 3


class Chatter(Stage):
    def stage_run(self, x: Any) -> Any:
        print("plain words", file=sys.stderr)
        logging.getLogger("mine").warning("a %s", "record")
        return x


class Brightness(Stage):
    """Of the frame of a scene."""

    def stage_run(self, frame: Any) -> tuple[int, float]:
        return frame.index, float(frame.pixels.mean())
