"""An agent that talks to two callers: one interrupts it, and the other hears everything."""

import threading

from DeepPipeline import Pipeline, Stage

talks = threading.Event()


class Speak(Stage):
    def stage_run(self, sentence: str) -> None:
        assert self.sample is not None
        print(f"to {self.sample.source}: {sentence}")
        if "weather" in sentence:
            talks.set()
            while not self.cancelled:  # a long sentence
                pass
            print("stops talking")


pipeline = Pipeline(stages=[Speak()], entrances=["ann", "bob"], buffer_size=8).start()
pipeline.put("The weather today", entrance="ann")
talks.wait()
pipeline.put("will be sunny.", entrance="ann")
pipeline.put("Your bill is paid.", entrance="bob")
pipeline.flush(source="ann")
pipeline.put("It is five o'clock.", entrance="ann")
report = pipeline.setstop()
for name in ("ann", "bob"):
    print(f"never said to {name}: {report.source(name).counts.flushed}")
