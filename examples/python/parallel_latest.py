"""A slow branch beside a fast one: every frame is drawn, with what the detector found last."""

from DeepPipeline import Parallel, Pipeline, Stage


class Frames(Stage):
    def stage_run(self, frame: int) -> int:
        return frame


class Detect(Stage):
    def stage_run(self, frame: int) -> str:
        return f"what is in frame {frame}"


class Draw(Stage):
    def stage_run(self, frame_and_found: tuple[int, str | None]) -> None:
        frame, found = frame_and_found  # None before the detector has found anything
        del frame, found


pipeline = Pipeline([Parallel([Frames(), Detect()], join="latest"), Draw()])

# A camera with a frame every 10 ms, and a detector that takes 35 ms for each that it gets.
report = pipeline.simulate({"Detect": 0.035}, arrivals=[0.01 * frame for frame in range(12)])
for stage in report.stages:
    print(f"{stage.name}: {stage.counts.used} used, {stage.buffer.dropped} dropped")
join = report.joins[0].counts
print(f"{join.joined} frames drawn, with {join.renewed} results of the detector")
