"""A stage that takes the newest sample: what waited in front of it is counted as superseded."""

import threading

from DeepPipeline import Latest, Pipeline, Stage

busy, go_on = threading.Event(), threading.Event()


class Detect(Stage):
    def stage_run(self, x: int) -> int:
        if x == 1:
            busy.set()
            go_on.wait()
        return x


class Show(Stage):
    def stage_run(self, x: int) -> None:
        print(x)


pipeline = Pipeline(stages=[Detect().options(intake=Latest()), Show()], buffer_size=4).start()
pipeline.put(1)
busy.wait()
for x in range(2, 6):
    pipeline.put(x)
go_on.set()
report = pipeline.setstop()
print(f"superseded: {report.stages[0].buffer.superseded}")
