"""Every sample that does not come through is told: which one, where, why, and with what error."""

import logging
from typing import Any

from DeepPipeline import SKIP, FateEvent, Pipeline, Stage

# A skipped failure is logged with its traceback; here the program is told.
logging.getLogger("DeepPipeline").setLevel(logging.ERROR)


class Invert(Stage):
    def stage_run(self, x: int) -> Any:
        if x == 0:
            raise ZeroDivisionError("division by zero")
        return SKIP if x < 0 else 100 // x


class Show(Stage):
    def stage_run(self, x: int) -> None:
        print(x)


told: list[FateEvent] = []
stages = [Invert().options(on_error="skip"), Show()]
report = Pipeline(source=[2, 0, 5, -1], stages=stages, on_fate=told.append).run()
for event in told:
    error = f": {event.error}" if event.error else ""
    print(f"sample {event.number} {event.fate} in {event.stage}{error}")
print(f"missed: {report.fates_missed}")
