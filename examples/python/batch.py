"""A stage that takes batches, up to three samples at once or what there is when the first has waited 10 ms, and gives a
result for each; and one that folds a batch into one result."""

import threading

from DeepPipeline import Batch, Pipeline, Stage

busy, go_on = threading.Event(), threading.Event()


class Detect(Stage):
    def stage_run(self, frames: list[int]) -> list[str]:
        if frames == [1]:
            busy.set()
            go_on.wait()
        return [f"frame {frame}, in a batch of {len(frames)}" for frame in frames]


pipeline = Pipeline(
    stages=[Detect().options(intake=Batch(3, max_wait=0.01)), print], buffer_size=4, overflow="block"
).start()
pipeline.put(1)
busy.wait()  # no second sample came in time
for x in range(2, 6):
    pipeline.put(x)
go_on.set()
print(f"{pipeline.setstop().stages[0].counts.used} of 5 frames have a result")


class Sum(Stage):
    def stage_run(self, frames: list[int]) -> int:
        return sum(frames)


class Show(Stage):
    def stage_run(self, total: int) -> None:
        print(f"a batch folded into {total}")


stages = [Sum().options(intake=Batch(3, max_wait=3600, fold=True)), Show()]
counts = Pipeline(stages=stages, buffer_size=4).run(range(1, 7)).stages[0].counts
print(f"{counts.used} results from {counts.used + counts.absorbed} frames")
