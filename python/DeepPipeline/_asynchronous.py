"""The side of a pipeline for programs with an event loop: what waits there lets the loop go on."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from DeepPipeline._answers import Answer
from DeepPipeline._checks import checked_wait
from DeepPipeline.errors import PutTimeout

if TYPE_CHECKING:
    from DeepPipeline import _engine
    from DeepPipeline.pipeline import Pipeline


class Asynchronous:
    """A part of `Pipeline`."""

    async def aput(self, x: Any, timeout: float | None = None, *, entrance: str | None = None) -> _engine.Ticket:
        """Puts one sample as `put` does; where that waits for room, the coroutine does, and the loop goes on.

        Where the order of samples counts, put them from one coroutine. One that is cancelled while it waits has not put
        its sample in. Raises what `put` raises.
        """
        pipeline = cast("Pipeline", self)
        engine = pipeline._entrance("aput", x, entrance)
        ticket = await _entered(engine.putting(x, entrance, None), "aput", x, timeout)
        if ticket is None:
            raise pipeline._refusal(engine, "aput", x)
        return ticket

    async def asubmit(self, x: Any, timeout: float | None = None, *, entrance: str | None = None) -> Answer:
        """Puts one sample as `aput` does, and returns the answer to come, which can be awaited, as `submit` does."""
        pipeline = cast("Pipeline", self)
        engine = pipeline._entrance("asubmit", x, entrance)
        with pipeline._answer_to(engine, "asubmit", x) as answer:
            ticket = await _entered(engine.putting(x, entrance, answer), "asubmit", x, timeout)
            if ticket is None:
                raise pipeline._refusal(engine, "asubmit", x)
        answer._number = ticket.number
        return answer

    async def __aenter__(self) -> Self:
        """Starts as `start` does, and lets the loop go on until every `setup` has succeeded."""
        pipeline = cast("Pipeline", self)
        engine = pipeline.start(wait=False)._started("start")

        def wait_up() -> None:
            pipeline._check_up(engine, engine.wait_up(None), None)

        await _waited_for("start", wait_up, pipeline._request_abort)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drains as the end of a `with` does, and lets the loop go on meanwhile; being cancelled again aborts."""
        pipeline = cast("Pipeline", self)
        await _waited_for("setstop", lambda: pipeline.__exit__(kind, error, traceback), pipeline._request_abort)


async def _waited_for(name: str, call: Callable[[], object], when_cancelled: Callable[[], object]) -> None:
    from DeepPipeline import _loops

    await _loops.result_of(_loops.on_a_thread(name, call), when_cancelled)


async def _entered(putting: _engine.Putting, what: str, x: Any, timeout: float | None) -> _engine.Ticket | None:
    """Waits until the sample is in, for `timeout` seconds at most."""
    timeout = checked_wait("timeout", timeout)
    if not putting.attempt(None):
        import asyncio  # it takes a while, and whoever awaits has it

        from DeepPipeline import _loops

        loop = asyncio.get_running_loop()
        _loops.hears_of_room()
        try:
            async with asyncio.timeout(timeout):
                while True:
                    room = loop.create_future()
                    if putting.attempt(_loops.waker(room)):
                        break
                    await room
        except TimeoutError:
            if putting.ticket is None:
                text = f"{what} timed out after {timeout} s: the buffer of the first stage stayed full"
                raise PutTimeout(text, x) from None
        finally:
            putting.leave()
    return putting.ticket
