"""A web service that answers each request with what the pipeline gives for it.

`pip install fastapi uvicorn`, then `python examples/services/service.py 8000` and `curl 127.0.0.1:8000/square/12`.

- A request that finds no room is told so (503, with Retry-After) instead of waiting in a line that grows.
- One that takes too long is answered by 504, and one whose client has gone is not waited for any longer.
- A worker process that dies is started again, and the request that it worked on is tried once more.
- SIGTERM lets the requests inside be answered before the service ends.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from DeepPipeline import NoAnswer, Pipeline, PutError, PutTimeout, Stage
from fastapi import FastAPI, HTTPException

PATIENCE = 10.0
"""Seconds that a request may take."""


class Square(Stage):
    """The model, in a process of its own."""

    def stage_run(self, x: int) -> dict[str, int]:
        return {"x": x, "square": x * x, "worker": os.getpid()}


pipeline = Pipeline(
    stages=[
        Square().options(
            workers=2,
            ordered=False,  # no request waits for one before it
            executor="process",
            on_error="skip",  # one that fails costs no other
            on_crash="retry",
            max_restarts=1_000_000,
        )
    ],
    buffer_size=16,
    overflow="block",
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await asyncio.to_thread(pipeline.start)
    yield
    await asyncio.to_thread(pipeline.setstop)


app = FastAPI(lifespan=lifespan)


@app.get("/square/{x}")
async def square(x: int) -> Any:
    try:
        answer = pipeline.submit(x, timeout=0)
    except PutTimeout:
        raise HTTPException(503, "busy", {"Retry-After": "1"}) from None
    except PutError as stopped:
        raise HTTPException(503, str(stopped)) from None
    try:
        return await asyncio.wait_for(answer, PATIENCE)
    except TimeoutError:
        answer.cancel()
        raise HTTPException(504, "the request took too long") from None
    except NoAnswer as fate:
        raise HTTPException(500, str(fate)) from None


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
