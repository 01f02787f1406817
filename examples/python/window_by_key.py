"""A window for each of the tracks in a frame: the stage gets every frame, and the windows that are due with it."""

from DeepPipeline import Pipeline, Stage, Window, Windows

Frame = dict[str, int]  # where each person is


def tracks(frame: Frame) -> Frame:
    return frame


class Speed(Stage):
    def stage_run(self, seen: Windows[str, int]) -> str:
        moved = [f"{name} moved {last[-1] - last[0]}" for name, last in seen.items()]
        return f"{len(seen.sample)} people: {', '.join(moved) or 'nobody seen long enough'}"


class Show(Stage):
    def stage_run(self, line: str) -> None:
        print(line)


frames: list[Frame] = [{"ann": 0, "bob": 9}, {"ann": 1}, {"ann": 4, "bob": 8}, {"bob": 7}]
stages = [Speed().options(intake=Window(2, key=tracks, idle=30)), Show()]
speed = Pipeline(source=frames, stages=stages).run().stages[0]
print(f"{speed.counts.used} frames in, {speed.counts.gave} out")
