"""A camera that goes away is opened again, while the other one goes on."""

from collections.abc import Iterator

from DeepPipeline import Pipeline, Restart, Stage, StageError

opened = 0


def camera() -> Iterator[str]:
    global opened
    opened += 1
    if opened > 2:
        raise ConnectionError("no such address")
    for frame in range(1, 4):
        yield f"opened {opened} times, frame {frame}"
    raise ConnectionError("went away")


class Show(Stage):
    def setup(self) -> None:
        self.shown: list[str] = []

    def stage_run(self, frame: str) -> None:
        assert self.sample is not None
        self.shown.append(f"{self.sample.source}: {frame}")

    def teardown(self) -> None:
        print("\n".join(sorted(self.shown)))


south = ["frame 1", "frame 2"]
try:
    Pipeline(stages=[Show()], sources={"north": Restart(camera, wait=0.001, times=1), "south": south}).run()
except StageError as error:  # without `times` it would be tried for ever
    assert error.report is not None
    for row in error.report.sources:
        print(f"{row.name}: {row.state}, {row.counts.entered} entered, opened again {row.restarts} times")
