"""What is older than `max_age` when its turn comes is dropped and counted as expired, in front of every stage."""

import threading
import time

from DeepPipeline import Pipeline, Stage

go_on = threading.Event()


class Detect(Stage):
    def stage_run(self, x: int) -> int:
        if x == 2:
            go_on.wait()  # slow
        return x


class Show(Stage):
    def stage_run(self, x: int) -> None:
        print(x)


pipeline = Pipeline(stages=[Detect(), Show()], buffer_size=4, overflow="block", max_age=1.0).start()
for x in range(1, 4):
    pipeline.put(x)
time.sleep(1.1)  # the second grows old in the stage, and the third behind it
pipeline.put(4)
go_on.set()
for stage in pipeline.setstop().stages:
    print(f"expired in front of {stage.name}: {stage.buffer.expired}")
