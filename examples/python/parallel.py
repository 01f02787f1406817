"""Branches that work on the same samples at the same time; the stage after them gets their results as a tuple."""

from DeepPipeline import SKIP, Parallel, Pipeline, Stage


class Square(Stage):
    def stage_run(self, x: int) -> int:
        return x * x


class Odd(Stage):
    def stage_run(self, x: int) -> object:
        return x if x % 2 else SKIP  # what one branch ends is not joined, and holds up nothing


class Negate(Stage):
    def stage_run(self, x: int) -> int:
        return -x


class Show(Stage):
    def stage_run(self, results: tuple[int, int]) -> None:
        print(results)


# A branch is a stage, or a list of them.
squares_and_odds = Parallel([Square(), [Odd(), Negate()]])
report = Pipeline(source=range(1, 6), stages=[squares_and_odds, Show()]).run()
join = report.joins[0]
print(f"joined: {join.counts.joined}, unjoined: {join.counts.unjoined}")
