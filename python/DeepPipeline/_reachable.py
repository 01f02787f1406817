"""Checks that stages can reach their processes, and advice where they cannot."""

from __future__ import annotations

import inspect
import os
import sys
from multiprocessing import reduction
from multiprocessing.context import set_spawning_popen
from multiprocessing.process import current_process
from typing import Any, Literal, NamedTuple

from DeepPipeline._called import inside
from DeepPipeline._function import FunctionStage, function_of
from DeepPipeline._intake import Window
from DeepPipeline._payload import why_not
from DeepPipeline._stage import Stage, options_of
from DeepPipeline.errors import StartError

StartMethod = Literal["spawn", "forkserver", "fork"]
START_METHODS: tuple[StartMethod, ...] = ("spawn", "forkserver", "fork")

OR_ELSE = 'or give the pipeline start_method="fork"; or leave multiprocess out'


def check_stages(stages: list[tuple[str, Stage]], start_method: StartMethod) -> None:
    """Refuses stages that cannot reach their processes, naming what is to blame."""
    if current_process().daemon:
        raise StartError(
            "this process is daemonic, as those of a multiprocessing.Pool are, and may not start processes for stages: "
            "run the pipeline in a concurrent.futures.ProcessPoolExecutor, or in a Process(..., daemon=False); "
            "or leave multiprocess out"
        )
    if start_method == "fork":
        return
    for name, stage in stages:
        named = _named(stage)
        if named.is_in_main() and (where := _where_nobody_imports_it(named.word)) is not None:
            raise _not_found(name, named, where)
        intake = options_of(stage).intake
        key = intake.key if isinstance(intake, Window) else None
        try:
            _pickle_as_if_starting(key)
        except Exception as error:
            raise StartError(
                f"stage {name!r}: the key of its window cannot be sent to its process: cannot pickle "
                f"{why_not(key, _pickle_as_if_starting)} ({error}). "
                "Make it a function of a module, not a lambda"
            ) from error
        try:
            _pickle_as_if_starting(stage)
        except Exception as error:
            if (where := _where_nobody_finds_it(named)) is not None:
                raise _not_found(name, named, where) from error
            blamed = why_not(stage, _pickle_as_if_starting)
            where_to_make_it = "the setup() of a Stage" if isinstance(stage, FunctionStage) else "setup()"
            raise StartError(
                f"stage {name!r} cannot be sent to its process: cannot pickle {blamed} ({error}). "
                f"Make it in {where_to_make_it}, which runs in the process"
            ) from error


class _Named(NamedTuple):
    """A class or a function, which another process finds by its name."""

    word: str
    thing: Any

    def is_in_main(self) -> bool:
        return getattr(self.thing, "__module__", None) == "__main__"


def _named(stage: Stage) -> _Named:
    """Returns what a stage needs in its process: its class, or the function that it was made of."""
    if not isinstance(stage, FunctionStage):
        return _Named("class", type(stage))
    function = inside(function_of(stage))
    owner = getattr(function, "__self__", None)
    if owner is not None and not inspect.ismodule(owner):  # a method
        return _Named("class", owner if isinstance(owner, type) else type(owner))
    return _Named("function", function) if hasattr(function, "__qualname__") else _Named("class", type(function))


def _not_found(name: str, named: _Named, where: str) -> StartError:
    return StartError(f"stage {name!r}: its {named.word}, {named.thing.__qualname__}, {where}; {OR_ELSE}")


def _where_nobody_imports_it(word: str) -> str | None:
    """Says where the program is if another process does not import it, and where to put its classes instead."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)  # of `python -m`, a folder or an archive
    file = getattr(main, "__file__", None) or ""
    if spec is None and file and not os.path.isfile(file) and not file.startswith("<"):
        return (
            f"is defined in {file}, which is no file that another process could read. "
            f"Put the {word} into a module, a .py file, and import it"
        )
    if spec is None and not os.path.isfile(file):
        return (
            "is defined in a notebook or at a prompt, where another process cannot find it. "
            f"Put the {word} into a module, a .py file, and import it"
        )
    if spec is not None and f".{spec.name}".endswith(".__main__"):
        return (
            f"is defined in {file}, which another process does not import, as that would run the program. "
            f"Put the {word} into a module beside it, and import it"
        )
    return None


def _where_nobody_finds_it(named: _Named) -> str | None:
    """Says where a class is that another process does not find by its name, and where to put it instead."""
    word, kind = named
    if "<lambda>" in kind.__qualname__:
        return "is a lambda, which has no name by which another process could find it. Write it with def in a module"
    if "<locals>" in kind.__qualname__:
        return "is defined inside a function, where another process cannot find it. Move it out of the function"
    found: Any = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is kind:
        return None
    if found is not None:
        return (
            f"is not the {kind.__module__}.{kind.__qualname__} that another process will find: that module was loaded "
            f"again, or something else has the name. Make the stage of the {word} that has the name now"
        )
    return (
        f"is not in the module {kind.__module__}, where another process looks for it: another program, such as a "
        f"profiler, runs this one, or the {word} has another name there. Put the {word} into a module, and import it"
    )


class _NoProcess:
    """The context that locks, queues and descriptors want to see before they let themselves be pickled."""

    DupFd = staticmethod(int)

    @staticmethod
    def duplicate_for_child(descriptor: int) -> int:
        return descriptor


def _pickle_as_if_starting(value: object) -> None:
    set_spawning_popen(_NoProcess())  # type: ignore[arg-type]
    try:
        reduction.ForkingPickler.dumps(value)
    finally:
        set_spawning_popen(None)
