"""An agent that drops what it was about to say when it is interrupted: an exact cut."""

import threading

from DeepPipeline import Pipeline, Stage

talks = threading.Event()


class Voice(Stage):
    def stage_run(self, sentence: str) -> str:
        return f'"{sentence}"'


class Speak(Stage):
    def stage_run(self, sound: str) -> None:
        print(f"says {sound}")
        if "weather" in sound:
            talks.set()
            while not self.cancelled:  # a long sentence
                pass
            print("stops talking")


pipeline = Pipeline(stages=[Voice(), Speak()], buffer_size=8).start()
for sentence in ["The weather today", "will be sunny", "and tomorrow", "it will rain."]:
    pipeline.put(sentence)
talks.wait()
pipeline.flush()
print("and listens")
pipeline.put("It is five o'clock.")
report = pipeline.setstop()
print(f"never said: {sum(stage.buffer.flushed for stage in report.stages)}")
