"""The samples on which a stage failed, or that a process took with it when it died, kept in a folder."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

from DeepPipeline._checks import checked_count, checked_folder, what
from DeepPipeline._fates import FateEvent, Told
from DeepPipeline._pickled import shown
from DeepPipeline.errors import DeadLetterError

SUFFIX = ".letter"

UNFINISHED = ".tmp"

ABANDONED_AFTER = 60.0
"""The seconds after which nobody writes a letter any more."""

FORMAT = "pickle"
"""The format of a value from Python; the first line of a letter is the same in Rust."""

DEFAULT_MAX_BYTES = 1 << 30


class DeadLetters:
    """The folder for the samples on which a stage failed, or that were lost, and how many bytes they may have together.

    When there are more, the oldest are removed. One file is one sample: a line of JSON that says what became of it, and
    its pickle.
    """

    def __init__(self, folder: str | os.PathLike[str], *, max_bytes: SupportsIndex = DEFAULT_MAX_BYTES) -> None:
        self.folder = checked_folder("folder", folder)
        self.max_bytes = checked_count("max_bytes", max_bytes, "bytes")

    def __repr__(self) -> str:
        return f"DeadLetters({str(self.folder)!r}, max_bytes={self.max_bytes})"


def checked_dead_letters(given: object) -> DeadLetters | None:
    """Returns the folder for dead letters, if there is to be one."""
    if given is None or isinstance(given, DeadLetters):
        return given
    return DeadLetters(checked_folder("dead_letters", given, more=", or DeadLetters(...)"))


class Writer:
    """Writes dead letters, on the thread that hears of fates. What cannot be written is logged, and nothing stops."""

    def __init__(self, dead_letters: DeadLetters) -> None:
        self._to = dead_letters
        self._written = 0
        self._failed = Told()

    def write(self, event: FateEvent) -> None:
        if event.fate not in ("failed", "lost"):
            return
        try:
            self._write(event)
        except BaseException as error:  # whatever the sample raises as it is pickled
            message = "%d dead letters could not be kept in %s, and the pipeline goes on: %s"
            self._failed.tell(message, self._to.folder, error)

    def _write(self, event: FateEvent) -> None:
        letter = _header(event) + pickle.dumps(event.value, protocol=5)
        if len(letter) > self._to.max_bytes:
            raise DeadLetterError(f"one of {len(letter)} bytes is larger than max_bytes, {self._to.max_bytes}")
        self._to.folder.mkdir(parents=True, exist_ok=True)
        self._make_room(len(letter))
        # Names sort by time; several pipelines may share a folder.
        self._written += 1
        name = f"{time.time_ns():020}-{event.number}-{event.part}-{os.getpid()}-{self._written}"
        unfinished = self._to.folder / f".{name}{UNFINISHED}"
        try:
            unfinished.write_bytes(letter)
            unfinished.replace(self._to.folder / (name + SUFFIX))
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise

    def _make_room(self, needed: int) -> None:
        """Removes the oldest until there is room for so many bytes."""
        now = time.time()
        sizes, total = [], 0
        for path in sorted(self._to.folder.iterdir()):
            if path.suffix not in (SUFFIX, UNFINISHED):
                continue
            # Others may remove letters meanwhile.
            with contextlib.suppress(FileNotFoundError):
                about = path.lstat()
                if path.suffix == SUFFIX:
                    sizes.append((path, about.st_size))
                    total += about.st_size
                elif now - about.st_mtime > ABANDONED_AFTER:
                    path.unlink()  # whoever wrote it was killed

        left = None
        for path, size in sizes:
            if total + needed <= self._to.max_bytes:
                return
            try:
                path.unlink(missing_ok=True)
                total -= size
            except OSError as error:  # a newer one may go instead
                left = left or error
        if left is not None and total + needed > self._to.max_bytes:
            raise left


def _letters(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)


def _header(event: FateEvent) -> bytes:
    error = event.error
    header = {
        "stage": event.stage,
        "number": event.number,
        "part": event.part,
        "source": event.source,
        "fate": event.fate,
        "error": None if error is None else shown(str, error),
        "error_type": None if error is None else f"{type(error).__module__}.{type(error).__qualname__}",
        "format": FORMAT,
        "type": f"{type(event.value).__module__}.{type(event.value).__qualname__}",
        "time": time.time(),
    }
    return json.dumps(header).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A sample that was kept: what the stage had got, and what became of it."""

    value: Any
    """What the stage had got; None where that was not there any more."""
    stage: str
    """The stage that failed on it, or whose process died with it."""
    number: int
    """The number that it had."""
    part: int
    """Its part where a stage had made many of one sample, else 0."""
    source: str | None
    """The source or entrance that it had come from, if that had a name."""
    fate: str
    """ "failed" or "lost"."""
    error: str | None
    """The text of the error."""
    error_type: str | None
    """The type of the error, with its module."""
    time: float
    """The time when it was written, as `time.time()` says it."""
    path: Path
    """The file."""


def replay(folder: str | os.PathLike[str], *, trusted: bool = False, remove: bool = False) -> Iterator[DeadLetter]:
    """Gives out the samples that were kept in a folder, oldest first, for the caller to put in again where it sees fit.

    A dead letter is what the failed stage had got, which is what its pipeline takes only where that stage is the first.
    To read it runs whatever code a pickle says: `trusted=True` says that the folder is yours. With `remove` a file goes
    when the next one is asked for.

    A letter that cannot be read, as its class is gone or its file was cut off, or cannot be removed, holds up no other:
    after the last one a `DeadLetterError` names all such files, as its `paths`, and they stay. A file that disappears
    meanwhile is passed over.
    """
    checked = checked_folder("folder", folder, DeadLetterError)
    if not isinstance(remove, bool):
        raise DeadLetterError(f"remove is {what(remove)}, but must be True or False")
    if trusted is not True:
        raise DeadLetterError(
            f"the letters in {os.fspath(folder)!r} are pickles, and to read one runs the code that it says: "
            "give trusted=True if nobody else can write there"
        )
    return _replay(checked, remove)


def _replay(folder: Path, remove: bool) -> Iterator[DeadLetter]:
    try:
        letters = _letters(folder)
    except OSError as error:
        raise DeadLetterError(f"the folder {str(folder)!r} cannot be read: {error}") from error
    bad: list[tuple[Path, BaseException]] = []
    for path in letters:
        try:
            letter = _read(path)
        except (Exception, SystemExit) as error:
            bad.append((path, error.with_traceback(None)))  # whose frames have what was read
            continue
        if letter is None:
            continue
        yield letter
        del letter  # it is not kept alive while the next is read
        if remove:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                bad.append((path, error))
    if bad:
        raise _told(bad)


def _read(path: Path) -> DeadLetter | None:
    """Returns the letter, unless its file has disappeared."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    header, _, payload = content.partition(b"\n")
    facts = json.loads(header)
    kind, form = facts.pop("type"), facts.pop("format")
    if form not in (FORMAT, None):
        raise ValueError(f"its value is a {kind} of Rust, in the format {form}")
    value = None if form is None else pickle.loads(payload)
    return DeadLetter(value=value, path=path, **facts)


def _told(bad: list[tuple[Path, BaseException]]) -> DeadLetterError:
    """Returns the error that names the files of which nothing could be made."""
    path, why = bad[0]
    if len(bad) == 1:
        text = f"{str(path)!r} is no dead letter, or cannot be made again here or removed, and stays: {why!r}"
    else:
        text = f"{len(bad)} letters cannot be read or removed, and stay: {str(path)!r} ({why!r}) and others"
    told = DeadLetterError(text, paths=tuple(path for path, _ in bad))
    told.__cause__ = why
    return told
