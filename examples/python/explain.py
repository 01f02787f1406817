"""Which stage limits, and what would another worker give? The report explains it, of a pipeline that runs or, as here,
of a simulated one; and the same with another worker tells whether it was right."""

from DeepPipeline import Pipeline, every, stage


def detect(frame: int) -> int:
    return frame


for workers in (1, 2):
    pipeline = Pipeline(stages=[stage(detect, workers=workers), stage(print, name="show")])
    report = pipeline.simulate({"detect": 0.04, "show": 0.015}, every(0.025, 300))
    print(report.explain())
