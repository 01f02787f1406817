"""Behaviour recognition on a video, as `deeppipeline behaviour` does it, with one stage in plain Python."""

import argparse
import contextlib
import sys
from collections import Counter
from pathlib import Path

from DeepPipeline import Pipeline, PipelineError, Stage
from DeepPipeline.vision import (
    Capture,
    ClassifyBehaviour,
    DetectPeople,
    Draw,
    EstimatePose,
    Record,
    Scene,
    Track,
    WriteVideo,
)


class Watch(Stage):
    """The stage in plain Python: sees every scene, counts what people do, and shows a live line."""

    def setup(self) -> None:
        self.seen: Counter[str] = Counter()

    def stage_run(self, scene: Scene) -> Scene:
        self.seen.update(person.behaviour[0] for person in scene.people if person.behaviour)
        brightness = float(scene.frame.pixels[::16, ::16].mean())  # the frame's own memory, as a numpy array
        line = f"frame {scene.frame.index + 1}, {len(scene.people)} people, brightness {brightness:.0f}"
        with contextlib.suppress(OSError):  # that nobody reads it is no reason to stop
            print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr)
        return scene

    def teardown(self) -> None:
        # Here, since in a process of its own the stage's attributes stay in that process.
        with contextlib.suppress(OSError):
            for behaviour, frames in self.seen.most_common():
                print(f"{behaviour}: {frames}", flush=True)


def free_places(folder: Path, stem: str, state: str) -> tuple[Path, Path]:
    """Where a video and its lines may go: what an earlier run wrote is not replaced."""
    name, number = f"{stem}.{state}", 2
    while (folder / f"{name}.mp4").exists() or (folder / f"{name}.jsonl").exists():
        name, number = f"{stem}.{state}.{number}", number + 1
    return folder / f"{name}.mp4", folder / f"{name}.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", help="whatever FFmpeg opens: a file, a camera such as /dev/video0, an rtsp:// address")
    parser.add_argument("--output", type=Path, default=Path("out"), help="folder of the results (default: out)")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the models (default: models)")
    parser.add_argument("--limit", type=int, help="stop after that many frames")
    parser.add_argument("--multiprocess", action="store_true", help="run the Python stage in a process of its own")
    parser.add_argument("--dashboard", action="store_true", help="show it live on http://127.0.0.1:8910")
    arguments = parser.parse_args()

    capture = Capture(arguments.input, limit=arguments.limit)
    arguments.output.mkdir(parents=True, exist_ok=True)
    # Named whole only when the whole run has succeeded.
    stem = Path(arguments.input).stem
    video, lines = free_places(arguments.output, stem, "behaviour.partial")
    pipeline = Pipeline(
        source=capture,
        stages=[
            DetectPeople(arguments.models / "nanodet_416.onnx"),
            Track(),
            EstimatePose(arguments.models / "movenet_lightning_192.onnx"),
            ClassifyBehaviour(arguments.models / "pose_classifier_body18.onnx"),
            Watch(),
            Record(lines),
            Draw(),
        ],
        end_stage=WriteVideo(video, capture.frame_rate),
        multiprocess=arguments.multiprocess,
        dashboard=arguments.dashboard,
    )
    try:
        report = pipeline.run()
    except KeyboardInterrupt:  # everything inside has flowed out
        if not capture.is_live:
            raise
        report = pipeline.report()  # that is how a live stream ends
    for partial, place in zip((video, lines), free_places(arguments.output, stem, "behaviour"), strict=True):
        partial.rename(place)
    print(report)


if __name__ == "__main__":
    try:
        main()
    except (PipelineError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
