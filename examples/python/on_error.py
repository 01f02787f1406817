"""What a stage's error does: "skip" counts the sample as failed and goes on, "stop" (the default) stops the run."""

import logging

from DeepPipeline import Pipeline, Stage, StageError

# A skipped failure is logged with its traceback; here it is only counted.
logging.getLogger("DeepPipeline").setLevel(logging.ERROR)


class Invert(Stage):
    def stage_run(self, x: int) -> int:
        if x == 0:
            raise ZeroDivisionError("division by zero")
        return 100 // x


class Show(Stage):
    def stage_run(self, x: int) -> None:
        print(x)


for on_error in ("skip", "stop"):
    stages = [Invert().options(on_error=on_error), Show()]
    try:
        report = Pipeline(source=[2, 0, 5], stages=stages).run()
        print(f"{report.outcome}, failed: {report.stages[0].counts.failed}")
    except StageError as error:
        print(f"{error.stage} failed on sample {error.sample}: {error.__cause__}")
