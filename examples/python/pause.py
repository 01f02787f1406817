"""A video that is paused while somebody looks at a picture, and of which nothing is missing."""

import threading

from DeepPipeline import Pipeline, Stage

third = threading.Event()


class Read(Stage):
    def stage_run(self, number: int) -> str:
        return f"picture {number}"


class Show(Stage):
    def stage_run(self, picture: str) -> None:
        print(picture)
        if picture == "picture 3":
            third.set()


pipeline = Pipeline(stages=[Read(), Show()], overflow="block", buffer_size=8).start()
for number in range(1, 4):
    pipeline.put(number)
third.wait()
pipeline.pause()
for number in range(4, 9):
    pipeline.put(number)
read = pipeline.report().stages[0]
print(f"{read.name} {'is paused' if read.paused else 'goes on'}: {read.buffer.waiting} pictures wait")
pipeline.resume()
report = pipeline.setstop()
print(f"{report.stages[-1].counts.used} pictures shown, {report.dropped} dropped")
