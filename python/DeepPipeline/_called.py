"""What comes of calling an object that the program gives: a function, a partial, an object that can be called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from DeepPipeline.errors import GraphError


def name_of_function(function: Callable[..., Any]) -> str:
    """Returns a name to read in reports: the function's own, else that of the object's class."""
    inner = inside(function)
    found = getattr(inner, "__name__", None)
    name = found if isinstance(found, str) and found else type(inner).__name__
    # Not every name is an identifier: "<lambda>", or one that was set by hand and that UTF-8 cannot write.
    return name.strip("<>").encode(errors="replace").decode() or "function"


def inside(function: Any) -> Any:
    """Returns the function that partials are made of."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def calls(function: Any, kind: Callable[[Any], bool]) -> bool:
    """Returns true if calling the object calls a function of that kind."""
    function = inside(function)
    return kind(function) or kind(type(function).__call__)


def must_be_awaited(function: Any) -> bool:
    """Returns true if what a call gives is nothing until it is awaited."""
    return calls(function, inspect.iscoroutinefunction) or calls(function, inspect.isasyncgenfunction)


def check_not_awaited(argument: str, function: Callable[..., Any], instead: str) -> None:
    """Refuses a function that is async, where it is called and what it gives is used at once."""
    if must_be_awaited(function):
        raise GraphError(f"{argument} is {name_of_function(function)}, which is async, but must be {instead}")
