"""A frame with several people: their crops are classified in one batch across frames, and come back to their frames."""

from DeepPipeline import Batch, ForEach, Missing, Pipeline, stage

# What a detector has found: the people in each frame.
FRAMES = {1: ["Ada", "Ben"], 2: [], 3: ["Cleo", "?"], 4: ["Dora"], 5: ["Emil", "Fay", "Gus"]}


def crop(frame: int) -> list[str]:
    return FRAMES[frame]


def classify(crops: list[str]) -> list[str]:
    print(f"a batch of {len(crops)}: {', '.join(crops)}")
    return [who.upper() for who in crops]


def known(name: str) -> str:
    if name == "?":
        raise ValueError("nobody knows who that is")
    return name


def show(frame: int, people: list[str | Missing]) -> str:
    names = [f"no. {who.index + 1} is missing" if isinstance(who, Missing) else who for who in people]
    return f"frame {frame}: {', '.join(names) or 'nobody'}"


people = [stage(classify, intake=Batch(4, max_wait=3600)), stage(known, on_error="skip")]
shown: list[str] = []
pipeline = Pipeline(source=list(FRAMES), stages=[ForEach(crop, people, show), shown.append], buffer_size=4)
report = pipeline.run()
print(*shown, sep="\n")  # now, since the next batch may come before a frame is shown
counts = report.joins[0].counts
print(f"{counts.joined} of {counts.entered} people")
