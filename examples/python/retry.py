"""What a stage fails on is tried again: `retry(2)` twice at most; then the pipeline stops, or with "skip" goes on."""

import logging

from DeepPipeline import Pipeline, Stage, retry

# Every failure is logged with its traceback; here they are only shown.
logging.getLogger("DeepPipeline").setLevel(logging.ERROR)


class Fetch(Stage):
    def __init__(self) -> None:
        self.tries = 0

    def stage_run(self, x: int) -> str:
        self.tries += 1
        if x == 3 or (x == 2 and self.tries < 4):
            raise ConnectionError("no answer")
        return f"{x} after {self.tries} tries in all"


class Show(Stage):
    def stage_run(self, text: str) -> None:
        print(text)


stages = [Fetch().options(on_error=retry(2, then="skip")), Show()]
report = Pipeline(source=[1, 2, 3, 4], stages=stages).run()
print(f"used: {report.stages[0].counts.used}, failed: {report.stages[0].counts.failed}")
