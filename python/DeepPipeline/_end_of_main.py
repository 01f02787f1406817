"""The moment when the last line of the program has run. Only Python 3.12 needs it.

As soon as that version exits, it starts no thread any more; others do until `threading` has shut down.
So there, pipelines are drained one step earlier: when the code of the main module returns.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType

NAME = "DeepPipeline"

UNASSIGNED_TOOLS = (4, 3)
"""The tools of `sys.monitoring` that are not meant for debuggers, coverage, profilers or optimizers."""


def before_exit(call: Callable[[], None]) -> None:
    """Lets it be called when the main module returns. No exception is a return, that of `sys.exit()` neither."""
    if sys.version_info < (3, 12) or sys.version_info >= (3, 13):
        return
    main = _code_of_main()
    if main is None:
        return
    monitoring, returns = sys.monitoring, sys.monitoring.events.PY_RETURN

    def at_return(code: CodeType, _offset: int, _value: object) -> None:
        monitoring.set_local_events(tool, code, 0)
        monitoring.register_callback(tool, returns, None)
        monitoring.free_tool_id(tool)
        call()

    for tool in UNASSIGNED_TOOLS:
        with contextlib.suppress(ValueError):  # it is in use, for an earlier pipeline perhaps
            monitoring.use_tool_id(tool, NAME)
        if monitoring.get_tool(tool) == NAME:
            monitoring.register_callback(tool, returns, at_return)
            monitoring.set_local_events(tool, main, returns)  # nothing else is slower by it
            return


def _code_of_main() -> CodeType | None:
    """The code of the main module if the program ends with it, as it does not at a prompt or inside another program."""
    if sys.flags.inspect or hasattr(sys, "ps1") or not sys.orig_argv:
        return None
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    outermost: FrameType | None = None
    while frame is not None:
        if frame.f_globals.get("__name__") != "runpy":  # which runs `python -m`
            outermost = frame
        frame = frame.f_back
    if outermost is None or outermost.f_code.co_name != "<module>":
        return None
    return outermost.f_code if outermost.f_globals is vars(sys.modules["__main__"]) else None
