"""Four Python stages that do nothing: on threads against `queue.Queue`, in processes against `multiprocessing.Queue`.

    python benchmarks/python_chain.py [ROUNDS] [SAMPLES]

Rivals take turns in every round. Nothing is lost on either side (`overflow="block"`), and every buffer and queue holds
16 small objects. A ratio above 1 is in our favour. On a busy machine the CPU time of a sample tells more than the rate.
"""

import multiprocessing
import queue
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from DeepPipeline import Pipeline

SIZE = 16
STAGES = 4
FEW = 200


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


def spent() -> float:
    """Seconds of CPU that this process and those that it has waited for have taken."""
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(time.ru_utime + time.ru_stime for time in times)


def measure(run: Callable[[int], float], samples: int) -> tuple[float, float]:
    """Samples a second, and microseconds of CPU a sample, without those for the start."""
    begin = spent()
    run(FEW)
    start = spent()
    rate = run(samples)
    return rate, 1e6 * (spent() - start - (start - begin)) / (samples - FEW)


def compare(title: str, rounds: int, samples: int, rivals: dict[str, Callable[[int], float]]) -> None:
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            measured[name].append(measure(run, samples))
    print(title)
    medians = []
    for name, of in measured.items():
        rates, times = zip(*of, strict=True)
        rate, time = statistics.median(rates), statistics.median(times)
        medians.append((rate, time))
        print(f"  {name:22} {rate:10,.0f} samples/s   ({', '.join(f'{rate:,.0f}' for rate in rates)})")
        print(f"  {'':22} {time:10.1f} us of CPU   ({', '.join(f'{time:.1f}' for time in times)})")
    (ours, our_time), (theirs, their_time) = medians
    print(f"  ratio {ours / theirs:27.2f}, of CPU {their_time / our_time:.2f}", flush=True)


def main(rounds: int = 5, samples: int = 50_000) -> None:
    on_threads = {"DeepPipeline": lambda n: pipeline(n, False), "queue.Queue": threads}
    in_processes = {"DeepPipeline": lambda n: pipeline(n, True), "multiprocessing.Queue": processes}
    compare("four stages on threads", rounds, samples, on_threads)
    compare("four stages in processes", rounds, samples, in_processes)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
