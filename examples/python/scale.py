"""A detector that gets more workers while the pipeline runs, and fewer later: no sample is lost, the order is kept."""

from DeepPipeline import Pipeline, ScaleError, Stage


class Detect(Stage):
    def __init__(self) -> None:
        self.threshold = 1

    def setup(self) -> None:
        if self.worker == 3:
            raise ValueError("no memory is left for a fourth model")

    def stage_run(self, frame: int) -> str:
        return f"frame {frame} by threshold {self.threshold}"


detect = Detect().options(workers=1, max_workers=4)
pipeline = Pipeline(stages=[detect], overflow="block").start()
print(pipeline.submit(1).result())
pipeline.update("Detect", threshold=5)
pipeline.scale("Detect", 3)  # those that join know the threshold
answers = [pipeline.submit(frame) for frame in (2, 3, 4)]
for answer in answers:
    print(answer.result())
try:
    pipeline.scale("Detect", 4)
except ScaleError as error:
    print(f"not scaled: {error.__cause__}")
pipeline.scale("Detect", 1)
print(pipeline.submit(5).result())
stage = pipeline.setstop().stages[0]
print(f"{stage.counts.used} of 5 used, by {stage.workers} of {stage.max_workers} workers")
