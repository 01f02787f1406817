"""A threshold that is lowered while the pipeline runs: on every worker, between two samples."""

from DeepPipeline import SKIP, Pipeline, Stage, UpdateError


class Detect(Stage):
    def __init__(self) -> None:
        self.threshold = 50

    def stage_run(self, score: int) -> object:
        return score if score >= self.threshold else SKIP

    def update(self, threshold: int) -> None:  # without one, attributes of these names are set
        if threshold > 100:
            raise ValueError("a score is 100 at most")
        self.threshold = threshold


class Show(Stage):
    def stage_run(self, score: int) -> None:
        print(f"found one, with a score of {score}")


pipeline = Pipeline(stages=[Detect().options(workers=2), Show()], overflow="block").start()
for score in [10, 60, 90]:
    pipeline.put(score)
pipeline.update("Detect", threshold=20)
for score in [10, 30, 60]:
    pipeline.put(score)
try:
    pipeline.update("Detect", threshold=110)
except UpdateError as error:
    report = pipeline.setstop()
    print(f"refused by {error.stage}: {error.__cause__}")
else:
    report = pipeline.setstop()
print(f"{report.stages[0].counts.skipped} of {report.stages[0].buffer.taken} below the threshold")
