"""One hop between two processes, in Python and in Rust, against what people use today; restarts; idle stages.

    python benchmarks/processes.py [--rust target/release/deps/process_hop-...] [--rounds 3]

In each round everybody takes a turn, with the same payloads: a 1080p RGB frame (6.2 MB) or 1 KB, 16 samples in flight,
nothing lost. The rivals are those of `rivals.py`. A ratio above 1 is in our favour.
"""

import argparse
import json
import multiprocessing
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from DeepPipeline import Pipeline, Stage

FRAME = 1920 * 1080 * 3
SMALL = 1024


class Sink(Stage):
    """Takes (time sent, number, array), and says at the end how long they took."""

    def setup(self) -> None:
        self.latencies: list[int] = []
        self.first = 0

    def stage_run(self, x: tuple[int, int, Any]) -> None:
        sent, _, array = x
        array[0]
        now = time.monotonic_ns()
        self.first = self.first or now
        self.latencies.append(now - sent)

    def teardown(self) -> None:
        elapsed = (time.monotonic_ns() - self.first) / 1e9
        warm = sorted(self.latencies[len(self.latencies) // 20 :])
        print(f"p50 {warm[len(warm) // 2] / 1e3:.1f} us  {len(self.latencies) / elapsed:.0f} samples/s", flush=True)


def hop(mode: str, size: int, count: int, period: int) -> None:
    """Ours, in Python."""
    p = Pipeline(stages=[Sink()], buffer_size=16, overflow="block", multiprocess=True).start()
    array = np.full(size, 7, np.uint8)
    begin = time.monotonic_ns()
    for number in range(count):
        if mode == "paced":
            time.sleep(max(0, begin + number * period * 1000 - time.monotonic_ns()) / 1e9)
        p.put((time.monotonic_ns(), number, array))
    p.setstop()


class Resting(Stage):
    """Says what a second worker of its life costs."""

    def __init__(self, pid: Any) -> None:
        self.pid = pid

    def setup(self) -> None:
        self.pid.send(os.getpid())

    def stage_run(self, x: int) -> None:
        self.pid.send(x)


def restart(rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds from SIGKILL to the next sample through the worker, and of a worker's own start."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    outages, starts = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        p = Pipeline(stages=[Resting(writer)], multiprocess=True, overflow="block").start()
        pid = reader.recv()
        starts.append(1000 * (time.perf_counter() - begin))
        killed = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        p.put(1)
        assert reader.recv() != pid
        assert reader.recv() == 1
        outages.append(1000 * (time.perf_counter() - killed))
        p.setstop()
    return outages, starts


def idle(seconds: float) -> list[float]:
    """Milliseconds of CPU that each of four stages took while nothing came: its process, and its share of ours."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    p = Pipeline(stages=[Resting(writer) for _ in range(4)], multiprocess=True).start()
    pids = sorted(reader.recv() for _ in range(4))

    def spent() -> list[float]:
        # In nanoseconds: the clock ticks of /proc/PID/stat are too coarse for this.
        times = []
        for pid in pids:
            tasks = Path(f"/proc/{pid}/task").iterdir()
            times.append(sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6)
        return [*times, time.process_time() * 1000]

    time.sleep(0.5)
    before = spent()
    time.sleep(seconds)
    after = spent()
    p.setstop()
    *workers, ours = (b - a for a, b in zip(before, after, strict=True))
    return [worker + ours / len(workers) for worker in workers]


def run(*command: object) -> str:
    shown = [str(part) for part in command]
    result = subprocess.run(shown, capture_output=True, text=True, timeout=600)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(shown)} failed:\n{result.stderr}")
    return result.stdout


def number(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found[1])


def measure(rust: str | None, peers: str, rounds: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)
        print(f"  {name:34} {value:12,.1f}", flush=True)

    def ours(language: str, mode: str, size: int, count: int, period: int) -> None:
        if language == "rust" and rust is None:
            return
        command = [rust] if language == "rust" else [sys.executable, __file__, "hop"]
        text = run(*command, mode, size, count, period)
        name = f"{language} {mode} {size}"
        note(name, number(text, r"p50\s+([\d.]+)") if mode == "paced" else number(text, r"([\d.]+) samples/s"))

    def rival(kind: str, mode: str, size: int, count: int, period: int) -> None:
        text = run(sys.executable, peers, mode, kind, size, count, period)
        name = f"{kind} {mode} {size}"
        note(name, number(text, r"p50=\s*([\d.]+)") if mode == "paced" else number(text, r"([\d.]+) msg/s"))

    for index in range(rounds):
        print(f"round {index + 1} of {rounds}", flush=True)
        ours("python", "thru", FRAME, 1500, 0)
        ours("rust", "thru", FRAME, 3000, 0)
        rival("queue", "thru", FRAME, 200, 0)
        rival("oob", "thru", FRAME, 1000, 0)
        rival("manager", "thru", FRAME, 60, 0)
        if rust is not None:
            note("cold copy", number(run(rust, "copy", FRAME), r"p50 ([\d.]+)"))
        ours("python", "paced", FRAME, 200, 20_000)
        ours("rust", "paced", FRAME, 200, 20_000)
        rival("queue", "paced", FRAME, 100, 50_000)
        rival("manager", "paced", FRAME, 60, 100_000)
        ours("rust", "thru", SMALL, 300_000, 0)
        ours("python", "thru", SMALL, 50_000, 0)
        rival("queue", "thru", SMALL, 50_000, 0)
    return figures


ROWS = [
    ("Python hop, frames a second, against queue", f"python thru {FRAME}", f"queue thru {FRAME}", False),
    ("Python hop, frames a second, against oob", f"python thru {FRAME}", f"oob thru {FRAME}", False),
    ("Python hop, paced p50, against queue", f"python paced {FRAME}", f"queue paced {FRAME}", True),
    ("Python hop, paced p50, against PyParallelPipe", f"python paced {FRAME}", f"manager paced {FRAME}", True),
    ("Python hop, paced p50, in cold copies", "cold copy", f"python paced {FRAME}", True),
    ("Rust hop, frames a second, against queue", f"rust thru {FRAME}", f"queue thru {FRAME}", False),
    ("Rust hop, paced p50, in cold copies", "cold copy", f"rust paced {FRAME}", True),
    ("Rust hop, 1 KB, against queue", f"rust thru {SMALL}", f"queue thru {SMALL}", False),
    ("Python hop, 1 KB, against queue", f"python thru {SMALL}", f"queue thru {SMALL}", False),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rust", help="the built bench process_hop (default: the Rust hops are left out)")
    rivals = Path(__file__).with_name("rivals.py")
    parser.add_argument("--peers", default=str(rivals), help="another script that measures rivals as rivals.py does")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    figures = measure(arguments.rust, arguments.peers, arguments.rounds)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    print("\nmedians")
    for name, median in medians.items():
        print(f"  {name:34} {median:12,.1f}")
    print("\nratios of medians")
    for title, one, other, less_is_better in ROWS:
        if one in medians and other in medians:
            ratio = medians[other] / medians[one] if less_is_better else medians[one] / medians[other]
            print(f"  {title:48} {ratio:8.2f}")
    outages, starts = restart(5)
    outage, start = statistics.median(outages), statistics.median(starts)
    print(f"\nSIGKILL to the next sample: {outage:.0f} ms, a start alone {start:.0f} ms")
    print(f"  beyond the worker's own start {outage - start:.0f} ms")
    print("CPU of an idle stage in 5 s, ms: " + ", ".join(f"{spent:.3f}" for spent in idle(5)))
    print(json.dumps({"figures": figures, "outages": outages, "starts": starts}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["hop"]:
        mode, size, count, period = sys.argv[2:]
        hop(mode, int(size), int(count), int(period))
    else:
        main()
