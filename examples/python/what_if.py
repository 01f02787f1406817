"""What would the pipeline do with other settings? Its last samples come again on a virtual clock, and tell."""

import time

from DeepPipeline import Pipeline


def detect(frame: int) -> int:
    time.sleep(0.02)
    return frame


def show(frame: int) -> None:
    time.sleep(0.005)


with Pipeline(stages=[detect, show], overflow="block") as p:
    for frame in range(30):
        p.put(frame)

now = p.what_if()
for name in ("detect", "show"):
    then = p.what_if({name: {"workers": 2}})
    print(f"another worker for {name}: {then.rate / now.rate:.0f} times as many frames a second")

tuned = p.tune(most_workers=4)
print("of four workers in all for detect:", tuned.settings["detect"]["workers"])
