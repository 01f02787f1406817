"""Samples that come from a source, here any iterable, on a worker of its own."""

from DeepPipeline import Pipeline, Stage


class TenTimes(Stage):
    def stage_run(self, x: int) -> int:
        return 10 * x


class Show(Stage):
    def stage_run(self, x: int) -> None:
        print(x)


report = Pipeline(source=range(1, 6), stages=[TenTimes(), Show()]).run()
print(f"{report.outcome}: {report.stages[0].buffer.entered} samples")
