"""What if the detector were slower? A virtual clock tells, before anything is built: no stage runs, no time passes."""

from DeepPipeline import Pipeline, every, stage


def detect(frame: int) -> int:
    return frame


pipeline = Pipeline(stages=[detect, stage(print, name="show")])
for milliseconds in (8, 12, 20):
    report = pipeline.simulate({"detect": milliseconds / 1000}, every(0.01, 100))
    oldest = report.age.max * 1000
    print(f"detect takes {milliseconds} ms: {report.dropped} of 100 frames dropped, none older than {oldest:.0f} ms")
