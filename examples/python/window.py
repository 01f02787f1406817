"""A stage that takes windows: the last four samples, with every second one."""

from DeepPipeline import Pipeline, Stage, Window


class Mean(Stage):
    def stage_run(self, last: list[int]) -> float:
        return sum(last) / len(last)


class Show(Stage):
    def stage_run(self, mean: float) -> None:
        print(mean)


stages = [Mean().options(intake=Window(4, stride=2)), Show()]
mean = Pipeline(source=range(1, 10), stages=stages).run().stages[0]
# Each sample is used once, by the first list that it is in; the ninth was in none.
print(f"{mean.counts.used} lists used {mean.counts.used + mean.counts.absorbed} samples, {mean.counts.skipped} skipped")
