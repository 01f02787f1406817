"""A pipeline in an event loop: coroutines wait for room, for answers and for results, and the loop never does."""

import asyncio

from DeepPipeline import Pipeline, stage


async def square(x: int) -> int:
    await asyncio.sleep(0.001)  # as for the answer of a server
    return x * x


async def main() -> None:
    async with Pipeline(stages=[stage(square, concurrency=20)], buffer_size=2, overflow="block") as pipeline:
        # A hundred coroutines wait for room, and for their answers, on one thread.
        async def ask(x: int) -> int:
            answer = await pipeline.asubmit(x)
            return int(await answer)

        print(sum(await asyncio.gather(*(ask(x) for x in range(1, 101)))))
        ticket = await pipeline.aput(0)
        print("sample", ticket.number)
    print(pipeline.report().stages[0].counts.used, "samples were used")

    async for result in Pipeline(stages=[square]).stream(range(1, 4)):
        print(result)


asyncio.run(main())
