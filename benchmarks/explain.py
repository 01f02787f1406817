"""How often `explain` names the stage that limits, and how near what it and `what_if` foretell is to the truth.

Random pipelines in which one stage is planted that limits, each run as it is and once more with another worker of that
stage. What stages do is to sleep, so that no two of them want the same core.

    python benchmarks/explain.py [--multiprocess] [--pipelines 100] [--seconds 5] [--at-once 10]
"""

import argparse
import logging
import random
import time
from concurrent.futures import ThreadPoolExecutor

from DeepPipeline import Pipeline, Stage


class Sleeps(Stage):
    """Takes that many seconds for a sample, give or take a share of them."""

    def __init__(self, seconds: float, jitter: float, seed: int) -> None:
        self.seconds, self.jitter, self.random = seconds, jitter, random.Random(seed)

    def stage_run(self, x: int) -> int:
        time.sleep(self.seconds * self.random.uniform(1 - self.jitter, 1 + self.jitter))
        return x


def numbers():
    """Yields more than anybody takes."""
    number = 0
    while True:
        number += 1
        yield number


class Planted:
    """A random chain in which one stage limits: the others need at most four fifths of its time."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        count = draw.randint(2, 5)
        self.limit = draw.randrange(count)
        self.slowest = draw.uniform(0.01, 0.04)
        self.shares = [1.0 if stage == self.limit else draw.uniform(0.1, 0.8) for stage in range(count)]
        self.workers = [draw.randint(1, 2) for _ in range(count)]
        self.jitter = draw.uniform(0.0, 0.3)
        self.buffer_size = draw.randint(1, 4)
        self.overflow = draw.choice(["block", "drop_oldest", "drop_newest"])
        self.every = self.slowest * draw.uniform(0.4, 0.8)
        self.seed = seed

    def run(self, seconds: float, multiprocess: bool, more: int = 0):
        """Runs it for so long, and returns its report and its timeline at the end of that time."""
        stages = []
        for stage, (share, workers) in enumerate(zip(self.shares, self.workers, strict=True)):
            sleeps = Sleeps(self.slowest * share * workers, self.jitter, self.seed + stage)
            more_here = more if stage == self.limit else 0
            stages.append(sleeps.options(name=f"stage {stage}", workers=workers + more_here))
        blocks = self.overflow == "block"
        source = numbers() if blocks else None
        pipeline = Pipeline(
            stages, buffer_size=self.buffer_size, overflow=self.overflow, multiprocess=multiprocess, source=source
        )
        pipeline.start()
        end, next_put = time.monotonic() + seconds, time.monotonic()
        while time.monotonic() < end:
            if blocks:
                time.sleep(0.05)
                continue
            pipeline.put(0)
            next_put += self.every
            time.sleep(max(0.0, next_put - time.monotonic()))
        report, timeline = pipeline.report(), pipeline.timeline()
        pipeline.abort()
        return report, timeline


def look(seed: int, seconds: float, multiprocess: bool):
    """Returns the explanation of one, whether it is right, and with another worker the rates that it and `what_if`
    foretell and the real one, and the p99 ages that `what_if` foretells and the real one."""
    planted = Planted(seed)
    report, timeline = planted.run(seconds, multiprocess)
    explanation, limit = report.explain(), f"stage {planted.limit}"
    foretold = timeline.what_if({limit: {"workers": planted.workers[planted.limit] + 1}})
    real, _ = planted.run(seconds, multiprocess, more=1)
    rates = (explanation.with_another_worker or 0.0, foretold.rate, real.stages[-1].recent.rate)
    # What waits outside for room is older than what came in at once.
    ages = None if planted.overflow == "block" else (foretold.age_p99, real.recent_age.p99)
    return seed, explanation, explanation.limit == limit, rates, ages


def is_near(told: float, real: float, share: float) -> bool:
    return abs(told - real) <= share * real


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--multiprocess", action="store_true", help="every stage in a process of its own")
    parser.add_argument("--pipelines", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each runs")
    parser.add_argument("--at-once", type=int, default=10, help="how many run at the same time")
    arguments = parser.parse_args()

    logging.getLogger("DeepPipeline").setLevel(logging.ERROR)  # that samples are dropped is wanted here
    with ThreadPoolExecutor(arguments.at_once) as pool:
        looks = [
            pool.submit(look, seed, arguments.seconds, arguments.multiprocess) for seed in range(arguments.pipelines)
        ]
        results = [look.result() for look in looks]
    right = sum(is_right for _, _, is_right, _, _ in results)
    near = sum(is_near(told, real, 0.1) for _, _, _, (told, _, real), _ in results)
    near_if = sum(is_near(told, real, 0.05) for _, _, _, (_, told, real), _ in results)
    ages = [ages for _, _, _, _, ages in results if ages is not None]
    near_age = sum(is_near(told, real, 0.15) for told, real in ages)
    for seed, explanation, is_right, (told, told_if, real), of_ages in results:
        if not is_right or not is_near(told, real, 0.1):
            print(f"{seed}: {'right' if is_right else 'WRONG'}, {told:.1f} foretold, {real:.1f} real: {explanation}")
        if not is_near(told_if, real, 0.05):
            print(f"{seed}: what_if {told_if:.1f}, {real:.1f} real")
        if of_ages is not None and not is_near(*of_ages, 0.15):
            print(f"{seed}: what_if p99 {of_ages[0] * 1e3:.1f} ms, {of_ages[1] * 1e3:.1f} ms real")
    where = "processes" if arguments.multiprocess else "threads"
    print(f"{arguments.pipelines} pipelines on {where}: {right} right, {near} within a tenth of the real rate")
    print(f"what_if: {near_if} rates within 5 %, of {len(ages)} that drop {near_age} p99 ages within 15 %")


if __name__ == "__main__":
    main()
