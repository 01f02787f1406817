"""The dashboard: pipelines live in the browser."""

from __future__ import annotations

import logging
import os
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from DeepPipeline import _engine
from DeepPipeline._checks import what
from DeepPipeline.errors import GraphError, StartError

if TYPE_CHECKING:
    from DeepPipeline.pipeline import Pipeline

logger = logging.getLogger("DeepPipeline")

DEFAULT_PORT = 8910
"""The port of a dashboard that is told none."""


class Dashboard:
    """Shows pipelines live in the browser, and gives their metrics to Prometheus at `/metrics`.

    >>> dashboard = Dashboard(port=0)
    >>> dashboard.url.startswith("http://127.0.0.1:")
    True
    >>> dashboard.close()

    The page comes from inside the process: nothing has to be installed, and no request of it leaves the machine. It
    only shows: nothing can be changed by it.

    - `port`: the port to listen on, 0 for any that is free. None is 8910 or, if that is taken, any that is free.
    - `host`: the IP address to listen on. Only this machine can look at the default.
    - `token`: what everybody who looks has to know, at least 16 letters. For a `host` that others reach one is made at
      random where none is given; `url` has it.

    Raises `StartError` where it cannot listen there. `close()`, or the end of a `with`, ends it.
    """

    def __init__(self, port: int | None = None, *, host: str = "127.0.0.1", token: str | None = None) -> None:
        if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535):
            raise GraphError(f"port is {what(port)}, but must be None or a number from 0 to 65535")
        if not isinstance(host, str):
            raise GraphError(f"host is {what(host)}, but must be an IP address, as in '127.0.0.1'")
        if token is not None and not isinstance(token, str):
            raise GraphError(f"token is {what(token)}, but must be None or a str")
        address = None
        if port is not None or host != "127.0.0.1":
            name = f"[{host}]" if ":" in host else host
            address = f"{name}:{DEFAULT_PORT if port is None else port}"
        try:
            self._open = _engine.Dashboard(address, token)
        except ValueError:
            raise GraphError(f"host is {what(host)}, but must be an IP address, as in '127.0.0.1'") from None
        except OSError as error:
            raise StartError(str(error)) from None
        if port is None and self._open.port != DEFAULT_PORT:
            logger.warning("port %s is taken: the dashboard is at %s", DEFAULT_PORT, self.url)
        else:
            logger.info("the dashboard is at %s", self.url)

    @property
    def url(self) -> str:
        """The address of the page, with the token if it wants one."""
        return self._open.url

    def watch(self, pipeline: Pipeline, name: str = "pipeline") -> str:
        """Shows a pipeline that was started, and returns the name that it has got: "name 2" where another has it.

        One that has ended stays to be seen as it was at its end.
        """
        if not isinstance(name, str) or not name:
            raise GraphError(f"name is {what(name)}, but must be a str of at least one letter")
        got = self._open.watch(name, pipeline._started("watch"))
        if got is None:
            raise StartError("this dashboard is closed")
        return got

    def close(self) -> None:
        """Ends it; a page that is open shows the last that it got."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Dashboard at {self.url}>"


def checked_dashboard(dashboard: object) -> int | Dashboard | None:
    """Returns the dashboard that a pipeline is shown by: that one, or that of a port, -1 for the default."""
    if isinstance(dashboard, Dashboard):
        return dashboard
    if isinstance(dashboard, bool):
        return -1 if dashboard else None
    if isinstance(dashboard, int) and 0 <= dashboard <= 65535:
        return dashboard
    raise GraphError(f"dashboard is {what(dashboard)}, but must be True, False, a port or a Dashboard")


_shared: dict[tuple[int, int], Dashboard] = {}
"""By process and port: the pipelines of a program that ask for the same one share it, until the program ends."""
_shared_made = threading.Lock()


def shared_dashboard(wanted: int | Dashboard | None) -> Dashboard | None:
    if not isinstance(wanted, int):
        return wanted
    place = (os.getpid(), wanted)
    with _shared_made:
        if place not in _shared:
            _shared[place] = Dashboard(None if wanted < 0 else wanted)
        return _shared[place]
