"""Exceptions as pickles: with what they carry, as far as that can be pickled and made again."""

from __future__ import annotations

import contextlib
import copy
import pickle
import reprlib
import traceback
from collections.abc import Callable
from typing import Any, Self, TypeVar

E = TypeVar("E", bound=BaseException)

Packed = tuple[bytes, str]
"""The pickle of a value, and what stands for the value where it cannot be made again."""

_brief = reprlib.Repr()
_brief.maxother = _brief.maxstring = 200


class SurvivesPickle(Exception):
    """An exception that pickles whatever it carries, and that is made again without a call of its `__init__`.

    A process pool breaks, or waits for ever, on a result that does not pickle or cannot be made again. So what fails to
    is replaced by its repr.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        attributes = {name: packed(value) for name, value in vars(self).items()}
        cause = None if self.__cause__ is None else (dump_exception(self.__cause__), shown(_text, self.__cause__))
        return _unpacked, (type(self), [packed(argument) for argument in self.args], attributes, cause)

    def __copy__(self) -> Self:
        return _remade(type(self), self.args, vars(self), self.__cause__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        arguments = tuple(_copied(argument, memo) for argument in self.args)
        attributes = {name: _copied(value, memo) for name, value in vars(self).items()}
        return _remade(type(self), arguments, attributes, self.__cause__)


def _remade(kind: type[E], arguments: tuple[Any, ...], attributes: dict[str, Any], cause: BaseException | None) -> E:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    vars(error).update(attributes)
    if cause is not None:
        error.__cause__ = cause
    return error


def _unpacked(
    kind: type[SurvivesPickle], arguments: list[Packed], attributes: dict[str, Packed], cause: tuple[bytes, str] | None
) -> SurvivesPickle:
    return _remade(
        kind,
        tuple(made_again(argument) for argument in arguments),
        {name: made_again(value) for name, value in attributes.items()},
        None if cause is None else load_exception(*cause),
    )


def packed(value: object) -> Packed:
    """The value for another process, where it pickles; else what stands for it."""
    pickled = b""
    with contextlib.suppress(Exception):
        pickled = pickle.dumps(value)
    return pickled, shown(_brief.repr, value)


def made_again(packed: Packed) -> Any:
    """The value, or what stands for it."""
    pickled, shown = packed
    try:
        return pickle.loads(pickled)
    except Exception:
        return shown


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    try:
        return copy.deepcopy(value, memo)
    except Exception:
        return value


def _text(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def shown(show: Callable[[Any], str], value: object) -> str:
    """The value as text, also where it cannot be shown."""
    try:
        return show(value)
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"


class RemoteTraceback(Exception):
    """The traceback of an exception in another process, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def dump_exception(error: BaseException) -> bytes:
    """The exception for another process: itself where it pickles, and the text of its traceback."""
    pickled = b""
    with contextlib.suppress(Exception):
        pickled = pickle.dumps(error)
    return pickle.dumps((pickled, shown(_trace, error)))


def load_exception(detail: bytes, text: str) -> BaseException:
    """Loads what another process dumped; where the exception cannot be made again, a `RemoteError` with its text."""
    from DeepPipeline.errors import RemoteError  # it is itself one that survives

    pickled, trace = pickle.loads(detail) if detail else (b"", "")
    error: BaseException = RemoteError(text)
    with contextlib.suppress(Exception):
        loaded = pickle.loads(pickled)
        if isinstance(loaded, BaseException):
            error = loaded
    if trace:
        # At the end of what is known of the causes, whose own traces are a part of this one.
        last = error
        while last.__cause__ is not None and not isinstance(last.__cause__, RemoteTraceback):
            last = last.__cause__
        last.__cause__ = RemoteTraceback(trace)
    return error
