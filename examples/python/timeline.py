"""When each of the last samples was at which stage: the way of one, a picture, and a file that Perfetto opens."""

import tempfile
from pathlib import Path

from DeepPipeline import SKIP, Pipeline, Timeline


def detect(frame: int) -> object:
    return SKIP if frame == 3 else frame


def show(frame: int) -> None:
    pass


with Pipeline(stages=[detect, show], overflow="block") as p:
    for frame in range(1, 5):
        p.put(frame)

timeline = p.timeline()
for number in (2, 3):
    for visit in timeline.of_sample(number):
        print(f"frame {number} at {timeline.stages[visit.stage].name}: {visit.fate or 'used'}")

with tempfile.TemporaryDirectory() as folder:
    run = Path(folder) / "run.json"
    timeline.save(run)  # https://ui.perfetto.dev opens it
    timeline.save(Path(folder) / "run.svg", follow=2)
    print("read again:", Timeline.load(run) == timeline)
