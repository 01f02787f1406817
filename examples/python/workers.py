"""Two workers for one stage: while one is busy with a slow sample the other goes on, and order is kept all the same."""

import threading

from DeepPipeline import Pipeline, Stage

others_done = threading.Event()


class Detect(Stage):
    def stage_run(self, x: int) -> int:
        if x == 1:
            others_done.wait()  # slow
        if x == 4:
            others_done.set()
        return x


class Show(Stage):
    def stage_run(self, x: int) -> None:
        print(x)


# With `ordered=False` the slow sample would be the last.
pipeline = Pipeline(stages=[Detect().options(workers=2), Show()], overflow="block").start()
for x in range(1, 6):
    pipeline.put(x)
detect = pipeline.setstop().stages[0]
print(f"{detect.workers} workers used {detect.counts.used} samples")
