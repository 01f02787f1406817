"""A pipeline in a few lines: two stages, each on its own thread, with a buffer in front of each."""

from DeepPipeline import Pipeline, Stage


class Detect(Stage):
    def stage_run(self, frame: int) -> int:
        return frame * frame


class Show(Stage):
    def stage_run(self, found: int) -> None:
        print(f"found {found}")


pipeline = Pipeline(stages=[Detect(), Show()], overflow="block")
pipeline.start()
for frame in range(1, 6):
    pipeline.put(frame)
report = pipeline.setstop()
print(f"{report.stages[0].buffer.entered} in, {report.stages[1].counts.used} out")
