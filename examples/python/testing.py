"""A stage tested alone, and a pipeline on a virtual clock."""

from DeepPipeline import Pipeline, Stage, every, stage
from DeepPipeline.testing import run_stage


class Smooth(Stage):
    """Gives the mean of each two samples, and what is left at the end."""

    def setup(self) -> None:
        self.last: float | None = None

    def stage_run(self, x: float) -> float:
        mean = x if self.last is None else (self.last + x) / 2
        self.last = x
        return mean

    def finish(self) -> float | None:
        return self.last


run = run_stage(Smooth(), [2.0, 4.0, 8.0])
print(f"gave: {run.gave}")

pipeline = Pipeline(stages=[stage(print, name="detect"), stage(print, name="show")])
report = pipeline.simulate({"detect": 0.03}, every(0.01, 8))
print(f"dropped: {[sample.number for sample in report.stages[0].buffer.last_dropped]}")
