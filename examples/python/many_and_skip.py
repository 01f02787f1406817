"""A stage may give many values for one sample, or none."""

from DeepPipeline import SKIP, Many, Pipeline, Stage


class Words(Stage):
    def stage_run(self, line: str) -> object:
        return Many(line.split(" ")) if line else SKIP


class Show(Stage):
    def stage_run(self, word: str) -> None:
        assert self.sample is not None
        print(f"sample {self.sample.number}.{self.sample.part}: {word}")


pipeline = Pipeline(stages=[Words(), Show()], overflow="block").start()
for line in ["one line", "", "and another"]:
    pipeline.put(line)
print(f"skipped: {pipeline.setstop().stages[0].counts.skipped}")
