"""Ten samples, one every 0.3 s, through three stages of 0.5 s: buffers of two that drop their oldest keep it fresh."""

import json
import sys
import time

from DeepPipeline import Pipeline, Stage


class Append(Stage):
    def __init__(self, name: str) -> None:
        self.name = name

    def stage_run(self, x: list[str]) -> list[str]:
        time.sleep(0.5)
        x.append(self.name)
        return x


class End(Stage):
    def stage_run(self, x: list[str]) -> None:
        print(json.dumps(x), flush=True)


if __name__ == "__main__":
    stages = [Append("stage one"), Append("stage two"), Append("stage three"), End()]
    P = Pipeline(stages=stages, buffer_size=2, multiprocess=True)
    P.start()
    for i in range(1, 11):
        P.put([f"Pipeline: {i}"])
        time.sleep(0.3)
    print(P.setstop(), file=sys.stderr)
