"""A stage that takes lists of `buffer_size` samples; what is left at the end comes as a shorter list."""

from DeepPipeline import All, Pipeline, Stage


class Gather(Stage):
    def stage_run(self, samples: list[int]) -> list[int]:
        return samples


class Show(Stage):
    def stage_run(self, samples: list[int]) -> None:
        print(samples)


pipeline = Pipeline(stages=[Gather().options(intake=All()), Show()], buffer_size=3, overflow="block").start()
for x in range(1, 8):
    pipeline.put(x)
gather = pipeline.setstop().stages[0]
print(f"{gather.counts.used} results from {gather.counts.used + gather.counts.absorbed} samples")
