"""Checks that stages can reach their processes, and advice where they cannot."""

from __future__ import annotations

import os
import sys
from multiprocessing import reduction
from multiprocessing.context import set_spawning_popen
from multiprocessing.process import current_process
from typing import Any, Literal

from DeepPipeline._payload import why_not
from DeepPipeline.errors import StartError
from DeepPipeline.stage import Stage, options_of

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
        kind = type(stage)
        if kind.__module__ == "__main__" and (where := _where_nobody_imports_it()) is not None:
            raise _class_not_found(name, kind, where)
        window = options_of(stage).window
        try:
            _pickle_as_if_starting(window and window.key)
        except Exception as error:
            raise StartError(
                f"stage {name!r}: the key of its window cannot be sent to its process: cannot pickle "
                f"{why_not(window and window.key, _pickle_as_if_starting)} ({error}). "
                "Make it a function of a module, not a lambda"
            ) from error
        try:
            _pickle_as_if_starting(stage)
        except Exception as error:
            if (where := _where_nobody_finds_it(kind)) is not None:
                raise _class_not_found(name, kind, where) from error
            blamed = why_not(stage, _pickle_as_if_starting)
            raise StartError(
                f"stage {name!r} cannot be sent to its process: cannot pickle {blamed} ({error}). "
                "Make it in setup(), which runs in the process"
            ) from error


def _class_not_found(name: str, kind: type, where: str) -> StartError:
    return StartError(f"stage {name!r}: its class, {kind.__qualname__}, {where}; {OR_ELSE}")


def _where_nobody_imports_it() -> str | None:
    """Says where the program is if another process does not import it, and where to put its classes instead."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)  # of `python -m`, a folder or an archive
    file = getattr(main, "__file__", None) or ""
    if spec is None and file and not os.path.isfile(file) and not file.startswith("<"):
        return (
            f"is defined in {file}, which is no file that another process could read. "
            "Put the class into a module, a .py file, and import it"
        )
    if spec is None and not os.path.isfile(file):
        return (
            "is defined in a notebook or at a prompt, where another process cannot find it. "
            "Put the class into a module, a .py file, and import it"
        )
    if spec is not None and f".{spec.name}".endswith(".__main__"):
        return (
            f"is defined in {file}, which another process does not import, as that would run the program. "
            "Put the class into a module beside it, and import it"
        )
    return None


def _where_nobody_finds_it(kind: type) -> str | None:
    """Says where a class is that another process does not find by its name, and where to put it instead."""
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
            "again, or something else has the name. Make the stage of the class that has the name now"
        )
    return (
        f"is not in the module {kind.__module__}, where another process looks for it: another program, such as a "
        "profiler, runs this one, or the class has another name there. Put the class into a module, and import it"
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
