"""A stage that takes batches: up to three samples at once, or what there is when the first has waited 10 ms."""

import threading

from DeepPipeline import Batch, Pipeline, Stage

busy, go_on = threading.Event(), threading.Event()


class Detect(Stage):
    def stage_run(self, frames: list[int]) -> list[int]:
        if frames == [1]:
            busy.set()
            go_on.wait()
        return frames


class Show(Stage):
    def stage_run(self, frames: list[int]) -> None:
        print(frames)


pipeline = Pipeline(
    stages=[Detect().options(intake=Batch(3, max_wait=0.01)), Show()], buffer_size=4, overflow="block"
).start()
pipeline.put(1)
busy.wait()  # no second sample came in time
for x in range(2, 6):
    pipeline.put(x)
go_on.set()
detect = pipeline.setstop().stages[0]
print(f"{detect.counts.used} results from {detect.counts.used + detect.counts.absorbed} samples")
