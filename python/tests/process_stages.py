"""Stages for tests of processes: in a module of their own, so that a worker can import them."""

import contextlib
import itertools
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from DeepPipeline import SKIP, Failed, Many, Stage, Windows


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


class UntilCancelled(Stage):
    """Says what it works on; with "old" it works until it is cancelled."""

    def __init__(self, begun: Wire) -> None:
        self.begun = begun

    def stage_run(self, x: Any) -> Any:
        self.begun.put(x)
        while x == "old" and not self.cancelled:
            pass
        return x


class TellsWorker(Stage):
    """Leaves a file for each `setup`: which worker, and whether again. The second worker dies of its first sample."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def setup(self) -> None:
        (self.folder / f"{self.worker} {self.restarted}").touch(exist_ok=False)

    def stage_run(self, x: Any) -> Any:
        if self.worker == 1 and not self.restarted:
            os.kill(os.getpid(), signal.SIGKILL)
        while not (self.folder / "1 True").exists():
            pass
        return x


class Endless(Stage):
    """Gives one value after the other, and says when it has given some and when it is asked for no more."""

    def __init__(self, said: Wire) -> None:
        self.said = said

    def stage_run(self, x: int) -> Many:
        return Many(self.count(x))

    def count(self, x: int) -> Iterator[int]:
        try:
            for y in itertools.count(x):
                if y == x + 10:
                    self.said.put("goes on")
                yield y
        finally:
            self.said.put("closed")


class Numbered(Stage):
    """Gives the number of what it gets."""

    def stage_run(self, x: Any) -> int:
        assert self.sample is not None
        return self.sample.number


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
    """Says which process has what in flight, and gives it on, or dies of it, when it is told to."""

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


class Gates:
    """Named gates at which stages on threads and in processes wait. They are FIFOs, so that a stage that is killed at
    one leaves no lock behind."""

    def __init__(self, folder: Path, *names: Any) -> None:
        self.folder = folder
        for name in names:
            os.mkfifo(folder / str(name))

    def wait_at(self, name: Any) -> None:
        """Waits until the gate is opened; where there is none of that name, not at all."""
        gate = self.folder / str(name)
        if gate.exists():
            gate.read_bytes()

    def open(self, name: Any) -> None:
        """Lets the stage through that waits, or will wait, at the gate."""
        (self.folder / str(name)).write_bytes(b"")


class AtGate(Stage):
    """Says what it has in flight and where, and gives it on; at the gates "setup" and of each sample it waits."""

    def __init__(self, said: Wire, gates: Gates) -> None:
        self.said, self.gates = said, gates

    def setup(self) -> None:
        self.said.put(("setup", os.getpid(), id(self)))
        self.gates.wait_at("setup")

    def stage_run(self, x: Any) -> Any:
        self.said.put((x, os.getpid(), id(self)))
        self.gates.wait_at(x)
        return x

    def teardown(self) -> None:
        self.said.put(("teardown", os.getpid(), id(self)))


class SkipsFrom(AtGate):
    """As AtGate, but from a number on it gives nothing."""

    def __init__(self, said: Wire, gates: Gates, number: int) -> None:
        super().__init__(said, gates)
        self.number = number

    def stage_run(self, x: int) -> Any:
        super().stage_run(x)
        return x if x < self.number else SKIP


class Moody(Stage):
    """Fails on every fourth sample, skips the next, splits the one after, and gives on the fourth."""

    def stage_run(self, x: int) -> Any:
        match x % 4:
            case 0:
                raise ValueError(x)
            case 1:
                return SKIP
            case 2:
                return Many([x, -x])
        return x


class FailAt(Stage):
    def __init__(self, number: int) -> None:
        self.number = number

    def stage_run(self, x: int) -> int:
        if x == self.number:
            raise ValueError(x)
        return x


def first_letter(word: str) -> str:
    return word[0]


def by_track(people: dict[str, int]) -> dict[str, int]:
    return people


class AsTuple(Stage):
    """What it gets where its key gives a dict."""

    def stage_run(self, windows: Windows[str, int]) -> tuple[Any, dict[str, list[int]], str]:
        return windows.sample, dict(windows), type(windows).__name__


class ByParity(Stage):
    """Takes windows of its even and of its odd samples: its key is a method of its own."""

    def __init__(self) -> None:
        self.set_get_window(2, key=self.key)

    def key(self, x: int) -> int:
        return x % 2

    def stage_run(self, window: list[int]) -> list[int]:
        return window


class Forgetful(Stage):
    """Pickles as itself alone, without what the library knows about it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def stage_run(self, x: Any) -> Any:
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


class Owns(Stage):
    """Has attributes of its own under any names, from the beginning or from its first sample on."""

    def __init__(self, names: list[str], later: bool = False) -> None:
        self.names, self.later = names, later
        if not later:
            self._own()

    def _own(self) -> None:
        for name in self.names:
            setattr(self, name, {"mine": name})

    def stage_run(self, x: Any) -> Any:
        if self.later:
            self._own()
        return [getattr(self, name)["mine"] for name in self.names]


class GiveOdd(Stage):
    """Gives on what can be sent, and cannot be made again."""

    def stage_run(self, x: Any) -> Any:
        return TwoArguments(1, 2)


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


class Unpicklable:
    def __repr__(self) -> str:
        return "no pickle"

    def __reduce__(self) -> Any:
        raise TypeError("not this one")


class Logs(Stage):
    """Logs whatever a program may log."""

    def stage_run(self, x: Any) -> Any:
        log = logging.getLogger("app.detect")
        log.debug("debug %s", x)
        log.warning("warning", extra={"camera": "front", "box": (1, 2), "odd": Unpicklable()})
        try:
            raise ValueError("broken")
        except ValueError:
            log.exception("failed")
        for name in ("app.noisy", "app.silent", "elsewhere"):
            logging.getLogger(name).info("nobody wants it")
        logging.getLogger("app.silent").error("nor this")
        warnings.warn("a warning of Python", stacklevel=1)
        return x


class Brightness(Stage):
    """Of the frame of a scene."""

    def stage_run(self, frame: Any) -> tuple[int, float]:
        return frame.index, float(frame.pixels.mean())


class Square(Stage):
    def stage_run(self, x: int) -> int:
        return x * x


class TellTeardown(Stage):
    """Gives on what it gets, and says when it is torn down."""

    def __init__(self, said: Wire) -> None:
        self.said = said

    def stage_run(self, x: Any) -> Any:
        return x

    def teardown(self) -> None:
        self.said.put("teardown")


class FailFirst(Stage):
    """Fails on every sample in so many first tries, and says each time what it got."""

    def __init__(self, said: Wire, failures: int) -> None:
        self.said, self.failures = said, failures
        self.tries = 0

    def stage_run(self, x: Any) -> Any:
        self.said.put(x)
        self.tries += 1
        if self.tries <= self.failures:
            raise ValueError(f"try {self.tries}")
        self.tries = 0
        return x


class TellItems(FailFirst):
    def stage_run(self, x: Windows[str, int]) -> Any:
        return super().stage_run([*x.items()])


class FailBetweenParts(Stage):
    """Gives two parts and fails, then gives all three."""

    def __init__(self) -> None:
        self.has_failed = False

    def stage_run(self, x: int) -> Many:
        return Many(self.parts(x))

    def parts(self, x: int) -> Iterable[int]:
        yield x
        yield x + 1
        if not self.has_failed:
            self.has_failed = True
            raise ValueError(x)
        yield x + 2


class Spoil(Stage):
    """Changes what it gets, fails, and tells what it finds when it gets it again."""

    def __init__(self) -> None:
        self.has_failed = False

    def stage_run(self, x: list[int]) -> list[int]:
        if not self.has_failed:
            self.has_failed = True
            x.append(-1)
            raise ValueError(x)
        return x


class Tag(Stage):
    """Gives a pair of its tag and what it gets."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def stage_run(self, x: Any) -> tuple[str, Any]:
        return self.tag, x


class SkipOdd(Stage):
    def stage_run(self, x: int) -> Any:
        return SKIP if x % 2 else x


class ManyOf(Stage):
    def stage_run(self, x: int) -> Many:
        return Many([x, x])


class GiveLock(Stage):
    """Gives what no other process can have."""

    def stage_run(self, x: int) -> Any:
        return threading.Lock()


class Restarted(Stage):
    """Gives what it was told in `setup` and is told now: whether its process was started again. Dies of "die"."""

    def setup(self) -> None:
        self.told = self.restarted

    def stage_run(self, x: Any) -> tuple[bool, bool]:
        if x == "die":
            os._exit(1)
        return self.told, self.restarted


class Terminates(Stage):
    """Starts processes, terminates them, and gives how each ended."""

    def stage_run(self, start_methods: list[str]) -> list[int | None]:
        program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1e6)"])
        program.terminate()
        ended: list[int | None] = [program.wait()]
        for method in start_methods:
            process = multiprocessing.get_context(method).Process(target=time.sleep, args=(1e6,))  # type: ignore[attr-defined]
            process.start()
            process.terminate()
            process.join()
            ended.append(process.exitcode)
        return ended


class LeavesRunning(Pass):
    """Leaves a thread or a process running that is no daemon, and tells its name and process."""

    def __init__(self, said: Wire, what: str) -> None:
        self.said, self.what = said, what

    def setup(self) -> None:
        from DeepPipeline import _remote

        _remote.ENDS_WITHIN = 0.1
        if self.what == "thread":
            thread = threading.Thread(target=threading.Event().wait)
            thread.start()
            self.said.put((thread.name, os.getpid()))
        else:
            process = multiprocessing.get_context("fork").Process(target=signal.pause)
            process.start()
            self.said.put((process.name, process.pid))


def sockets() -> list[str]:
    """The sockets that this process has open."""
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [link for link in links if link.startswith("socket:")]


class Sockets(Stage):
    """Tells which of its process's sockets a process has that it forks, and one that it starts without closing any."""

    def __init__(self, said: Wire) -> None:
        self.said = said

    def stage_run(self, x: Any) -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, " ".join(sockets()).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writer)
        with open(reader) as forked:
            in_forked = forked.read().split()
        code = f"import sys; sys.path = {sys.path!r}; import process_stages; print(*process_stages.sockets())"
        started = subprocess.run([sys.executable, "-c", code], close_fds=False, stdout=subprocess.PIPE, text=True)
        self.said.put((sockets(), in_forked, started.stdout.split()))


class ForksAndComesBack(Stage):
    """Forks a child that does not end where it should, and gives its exit code."""

    def __init__(self, how: str) -> None:
        self.how = how

    def stage_run(self, x: Any) -> Any:
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        match self.how:
            case "exit":
                sys.exit(7)
            case "raise":
                raise ValueError("in a child")
        return x


def doubled(x: int) -> int:
    return 2 * x


class Scale:
    """Can be called."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, x: int) -> int:
        return self.factor * x

    def times(self, x: int) -> int:
        return self(x)


class Mixed(Stage):
    """Gives back, for the samples of a batch, one of each that it may."""

    def stage_run(self, batch: list[int]) -> list[Any]:
        assert batch == [0, 1, 2, 3, 4]
        return [None, SKIP, Many([20, 21]), Failed(ValueError("a bad image")), [4]]


class BadBatch(Stage):
    """Raises for a batch with 2 in it."""

    def stage_run(self, batch: list[int]) -> list[int]:
        if 2 in batch:
            raise ValueError("a bad image")
        return batch


class DiesInBatch(Stage):
    """Dies between the second and the third result of its first batch."""

    def stage_run(self, batch: list[int]) -> list[Any]:
        return [Many(self._dies()) if x == 2 and not self.restarted else x for x in batch]

    def _dies(self) -> Iterator[int]:
        os._exit(3)
        yield 0


class Factor(Stage):
    """Multiplies by a factor."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def stage_run(self, x: int) -> int:
        return x * self.factor


class DiesOn(Stage):
    """Multiplies by a factor, and dies on one sample."""

    def __init__(self, deadly: int) -> None:
        self.deadly = deadly
        self.factor = 1

    def stage_run(self, x: int) -> int:
        if x == self.deadly:
            os._exit(3)
        return x * self.factor


class Version(Stage):
    """Gives what it got with its own number; says what becomes of it, and fails where it is told to."""

    def __init__(self, number: int, *, holds: bool = False, says: Path | None = None, fails: str = "") -> None:
        self.number = number
        self.holds = holds
        self.says = says
        self.fails = fails

    def _say(self, what: str) -> None:
        if self.says is not None:
            with self.says.open("a") as said:
                said.write(f"{what} {self.number}\n")

    def setup(self) -> None:
        self._say("setup")
        if self.fails == "setup" or (self.fails == "last setup" and self.worker == 2):
            raise ValueError(f"no weights for {self.number}")
        if self.fails == "killed":
            os.kill(os.getpid(), signal.SIGKILL)

    def stage_run(self, x: Any) -> tuple[Any, int]:
        if x == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return x, self.number

    def finish(self) -> Any:
        self._say("finish")
        if self.fails == "finish":
            raise ValueError(f"nothing to finish in {self.number}")
        return ("finish", self.number) if self.holds else SKIP

    def teardown(self) -> None:
        self._say("teardown")
        if self.fails == "teardown":
            raise ValueError(f"nothing to tear down in {self.number}")


class VersionLater(Stage):
    """An async stage that gives what it got with its own number."""

    def __init__(self, number: int, fails: bool = False) -> None:
        self.number = number
        self.fails = fails
        self.said: list[str] = []

    async def setup(self) -> None:
        self.said.append("setup")
        if self.fails:
            raise ValueError("no session")

    async def stage_run(self, x: Any) -> tuple[Any, int]:
        return x, self.number

    async def teardown(self) -> None:
        self.said.append("teardown")


class Member(Stage):
    """Tells how its worker joins and leaves the stage; in `finish` it gives what it has not given yet."""

    def __init__(self, told: Wire) -> None:
        self.told = told
        self.factor = 1
        self.fails = False

    def setup(self) -> None:
        if self.fails:
            raise ValueError("no memory left")
        self.held: list[Any] = []
        self.told.put(("joins", self.worker, self.restarted))

    def stage_run(self, x: Any) -> Any:
        if x == "hold":
            self.held.append(x)
            return SKIP
        if x == "die":
            os._exit(3)
        return x * self.factor

    def finish(self) -> Any:
        return Many(self.held)

    def teardown(self) -> None:
        self.told.put(("leaves", self.worker, self.restarted))
