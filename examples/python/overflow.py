"""What happens when a buffer of two is full: five samples arrive while the stage is busy with the first."""

import threading

from DeepPipeline import Pipeline, PutTimeout, Stage


class Collect(Stage):
    def __init__(self) -> None:
        self.busy, self.go_on = threading.Event(), threading.Event()
        self.results: list[int] = []

    def stage_run(self, x: int) -> None:
        if x == 1:
            self.busy.set()
            self.go_on.wait()
        self.results.append(x)


for overflow in ("drop_oldest", "drop_newest", "block"):
    collect = Collect().options(overflow=overflow)
    pipeline = Pipeline(stages=[collect], buffer_size=2).start()
    pipeline.put(1)
    collect.busy.wait()
    for x in range(2, 6):
        try:
            if not pipeline.put(x, timeout=0):
                print(f"{overflow}: {x} was dropped on arrival")
        except PutTimeout as full:
            print(f"{overflow}: no room for {full.value} yet")
    collect.go_on.set()
    pipeline.setstop()
    print(f"{overflow}: {collect.results}")
