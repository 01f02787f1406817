"""Three cameras and a caller of `put` feed one stage, which takes from them in turn; a sample knows its source."""

import threading
from collections.abc import Iterator

from DeepPipeline import Pipeline, Stage

go_on = threading.Event()


class Show(Stage):
    def setup(self) -> None:
        self.shown: dict[str, list[str]] = {}

    def stage_run(self, x: str) -> None:
        go_on.wait()  # until all of them wait
        assert self.sample is not None and self.sample.source is not None
        self.shown.setdefault(self.sample.source, []).append(x)

    def teardown(self) -> None:
        for source in sorted(self.shown):
            print(f"{source}: {' '.join(self.shown[source])}")


def camera(name: str, frames: int) -> Iterator[str]:
    for frame in range(1, frames + 1):
        yield f"{name}{frame}"


pipeline = Pipeline(
    stages=[Show()],
    sources={"north": camera("n", 6), "south": camera("s", 2)},
    entrances=["by hand"],
).start()
pipeline.put("h1", entrance="by hand")
pipeline.put("h2", entrance="by hand")
pipeline.add_source("east", camera("e", 3))
go_on.set()
report = pipeline.join()
for row in report.sources:
    print(f"{row.name}: {row.state}, {row.counts.entered} entered")
