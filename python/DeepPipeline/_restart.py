"""A source that is opened again, as its worker sees it."""

from __future__ import annotations

from typing import Any

from DeepPipeline._checks import what
from DeepPipeline._sources import Restart, Source, check_source
from DeepPipeline._worker import END, SourceStage


def source_stage(source: Source, place: str = "source") -> SourceStage:
    """What runs on the worker of a source, which is checked."""
    if isinstance(source, Restart):
        return ReopenedSource(source)
    check_source(source, place)
    return SourceStage(source)


class ReopenedSource(SourceStage):
    """A source that a function opens; the engine says when."""

    def __init__(self, restart: Restart) -> None:
        super().__init__(restart)
        self.restart = restart
        self._open: SourceStage | None = None
        """What is open."""

    def setup(self) -> None:
        pass

    def source_open(self) -> None:
        assert self.restart is not None
        given = self.restart.open()
        if isinstance(given, Restart):
            raise TypeError(f"the function of a Restart gave {what(given)}, but must give what it opens, not how")
        check_source(given, "what the function of a Restart gave")
        source = SourceStage(given)
        try:
            source.setup()
        except BaseException:
            source.leave()
            raise
        self._open = source

    def source_next(self) -> Any:
        if self._open is None:
            return END
        result = END
        try:
            result = self._open.source_next()
        finally:
            # A device is to be free while nobody reads from it.
            if result is END:
                self._leave()
        return result

    def teardown(self) -> None:
        self._leave()

    def wake(self) -> None:
        source = self._open
        if source is not None:
            source.wake()

    def keep(self) -> None:
        source = self._open
        if source is not None:
            source.keep()

    def still_closes(self, patience: float) -> bool:
        source = self._open
        return source is not None and source.still_closes(patience)

    @property
    def is_used_up_by_one(self) -> bool:
        return False

    def _leave(self) -> None:
        source, self._open = self._open, None
        if source is not None:
            source.leave()
