"""A detector that is replaced by another while the pipeline runs: no sample is lost, and the order is kept."""

from DeepPipeline import Pipeline, Stage, UpdateError


class Detect(Stage):
    def __init__(self, weights: str) -> None:
        self.weights = weights
        self.seen = 0

    def setup(self) -> None:
        if self.weights == "broken":
            raise ValueError("these weights cannot be read")

    def stage_run(self, frame: int) -> str:
        self.seen += 1
        return f"frame {frame}, seen by the {self.weights} one"

    def finish(self) -> None:  # before the next one begins, and at the end
        print(f"the {self.weights} one has seen {self.seen}")


pipeline = Pipeline(stages=[Detect("small")], overflow="block").start()
for frame in (1, 2):
    print(pipeline.submit(frame).result())
pipeline.replace("Detect", Detect("large"))
print(pipeline.submit(3).result())
try:
    pipeline.replace("Detect", Detect("broken"))
except UpdateError as error:
    print(f"not replaced: {error.__cause__}")
print(pipeline.submit(4).result())
report = pipeline.setstop()
print(f"{report.stages[0].counts.used} of 4 used")
