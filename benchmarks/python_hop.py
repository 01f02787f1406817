"""One hop in Python: `put` to the end stage, against `queue.Queue` and a consumer thread, in one interleaved run.

Nothing is lost on either side (`overflow="block"`), and both hold 16 small objects. A ratio above 1 is in our favour.
"""

import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable

from DeepPipeline import Pipeline, Stage

SIZE = 16
DONE = object()


class Sink(Stage):
    def stage_run(self, x: object) -> None:
        pass


def pipeline(samples: int) -> None:
    p = Pipeline(stages=[Sink()], buffer_size=SIZE, overflow="block").start()
    for x in range(samples):
        p.put(x)
    p.setstop()


def queue_and_thread(samples: int) -> None:
    q: queue.Queue[object] = queue.Queue(SIZE)

    def consume() -> None:
        while q.get() is not DONE:
            pass

    thread = threading.Thread(target=consume)
    thread.start()
    for x in range(samples):
        q.put(x)
    q.put(DONE)
    thread.join()


def rate(run: Callable[[int], None], samples: int) -> float:
    begin = time.perf_counter()
    run(samples)
    return samples / (time.perf_counter() - begin)


def main(rounds: int = 5, samples: int = 100_000) -> None:
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(rate(pipeline, samples))
        theirs.append(rate(queue_and_thread, samples))
    for name, rates in (("DeepPipeline", ours), ("queue.Queue", theirs)):
        print(f"{name:13} {statistics.median(rates):10,.0f} samples/s   ({', '.join(f'{r:,.0f}' for r in rates)})")
    print(f"ratio         {statistics.median(ours) / statistics.median(theirs):10.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
