"""Four Python stages that do nothing: on threads against `queue.Queue`, in processes against `multiprocessing.Queue`.

    python benchmarks/python_chain.py [ROUNDS] [SAMPLES]

Rivals take turns in every round. Nothing is lost on either side (`overflow="block"`), and every buffer and queue holds
16 small objects. A ratio above 1 is in our favour.
"""

import multiprocessing
import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from DeepPipeline import Pipeline

SIZE = 16
STAGES = 4


def pass_on(x: object) -> object:
    return x


def pipeline(samples: int, multiprocess: bool) -> float:
    p = Pipeline([pass_on] * STAGES, buffer_size=SIZE, overflow="block", multiprocess=multiprocess).start()
    begin = time.perf_counter()
    for x in range(samples):
        p.put(x)
    p.setstop()
    return samples / (time.perf_counter() - begin)


def work(source: Any, target: Any, ready: Any) -> None:
    ready.release()
    while (x := source.get()) is not None:
        if target is not None:
            target.put(pass_on(x))
    if target is not None:
        target.put(None)


def by_hand(samples: int, worker: Any, queue: Callable[[int], Any], ready: Any) -> float:
    """The same chain of workers with a queue in front of each."""
    queues = [queue(SIZE) for _ in range(STAGES)]
    workers = [worker(target=work, args=(q, n, ready)) for q, n in zip(queues, [*queues[1:], None], strict=True)]
    for each in workers:
        each.start()
    for _ in workers:
        ready.acquire()
    begin = time.perf_counter()
    for x in range(samples):
        queues[0].put(x)
    queues[0].put(None)
    for each in workers:
        each.join()
    return samples / (time.perf_counter() - begin)


def threads(samples: int) -> float:
    return by_hand(samples, threading.Thread, queue.Queue, threading.Semaphore(0))


def processes(samples: int) -> float:
    context = multiprocessing.get_context("spawn")
    return by_hand(samples, context.Process, context.Queue, context.Semaphore(0))


def compare(title: str, rounds: int, samples: int, rivals: dict[str, Callable[[int], float]]) -> None:
    rates: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            rates[name].append(run(samples))
    ours, theirs = (statistics.median(of) for of in rates.values())
    print(title)
    for name, of in rates.items():
        print(f"  {name:22} {statistics.median(of):10,.0f} samples/s   ({', '.join(f'{rate:,.0f}' for rate in of)})")
    print(f"  ratio {ours / theirs:27.2f}", flush=True)


def main(rounds: int = 5, samples: int = 50_000) -> None:
    on_threads = {"DeepPipeline": lambda n: pipeline(n, False), "queue.Queue": threads}
    in_processes = {"DeepPipeline": lambda n: pipeline(n, True), "multiprocessing.Queue": processes}
    compare("four stages on threads", rounds, samples, on_threads)
    compare("four stages in processes", rounds, samples, in_processes)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
