"""What a stage still holds when the stream ends, it gives out in `finish`."""

from DeepPipeline import SKIP, Pipeline, Stage


class Pairs(Stage):
    """Adds up two samples at a time."""

    held: int | None = None

    def stage_run(self, x: int) -> object:
        if self.held is None:
            self.held = x
            return SKIP
        total, self.held = self.held + x, None
        return total

    def finish(self) -> int | None:
        return self.held


class Show(Stage):
    def stage_run(self, x: int) -> None:
        print(x)


Pipeline(source=range(1, 6), stages=[Pairs(), Show()]).run()
