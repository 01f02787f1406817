"""Each worker knows its index, and takes a device of its own."""

import threading

from DeepPipeline import Pipeline, Stage

DEVICES = ["cuda:0", "cuda:1"]
both = threading.Barrier(2)


class Detect(Stage):
    def setup(self) -> None:
        self.device = DEVICES[self.worker or 0]

    def stage_run(self, frame: int) -> tuple[int, str]:
        both.wait()  # each has a frame
        return frame, self.device


results = list(Pipeline(stages=[Detect().options(workers=2)]).stream([1, 2]))
print(f"frames: {[frame for frame, _ in results]}")
print(f"devices: {sorted(device for _, device in results)}")
