"""Native stages beside Python stages: they hand over without a copy, and what does not fit is refused."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from DeepPipeline import GraphError, Pipeline, Stage, StageError
from DeepPipeline.vision import (
    Capture,
    CaptureError,
    DetectPeople,
    Draw,
    Frame,
    ModelError,
    OutputError,
    Person,
    Record,
    Scene,
    Track,
    WriteVideo,
)

PROJECT = Path(__file__).parent.parent.parent
CLIP = PROJECT / "clips" / "park.mp4"
NANODET = PROJECT / "models" / "nanodet_416.onnx"

np = pytest.importorskip("numpy", reason="numpy is not installed, and these tests look at pixels with it")


class Call(Stage):
    """Calls a function with every sample, and gives back what it gives."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def stage_run(self, x: Any) -> Any:
        return self.function(x)


def picture(height: int = 48, width: int = 64) -> Any:
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def test_a_frame_keeps_the_pixels_it_was_made_of() -> None:
    pixels = picture()
    frame = Frame(pixels, index=3, time=0.5)
    assert (frame.width, frame.height, frame.index, frame.time) == (64, 48, 3, 0.5)
    assert np.array_equal(frame.pixels, pixels)
    flipped = Frame(pixels[:, ::-1])
    assert np.array_equal(flipped.pixels, pixels[:, ::-1])


def test_pixels_are_a_view_that_outlives_its_frame() -> None:
    frame = Frame(picture())
    first, second = frame.pixels, frame.pixels
    assert first.ctypes.data == second.ctypes.data
    assert not first.flags.owndata
    del frame, second
    assert np.array_equal(first, picture())


def test_pixels_are_a_shaped_memoryview_where_numpy_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = Frame(picture())
    monkeypatch.setitem(sys.modules, "numpy", None)
    pixels = frame.pixels
    assert isinstance(pixels, memoryview)
    assert (pixels.shape, pixels.format, pixels.readonly) == ((48, 64, 3), "B", True)
    assert pixels.tobytes() == picture().tobytes()


def test_pixels_are_read_only() -> None:
    frame = Frame(picture())
    with pytest.raises(ValueError, match="read-only"):
        frame.pixels[0, 0, 0] = 1
    with pytest.raises(ValueError):
        frame.pixels.flags.writeable = True


@pytest.mark.parametrize("pixels", [picture()[:, :, 0], picture()[:, :, :2], picture().astype(np.float32), b"abc", 7])
def test_what_is_no_picture_is_refused(pixels: Any) -> None:
    with pytest.raises(ValueError, match=r"must be an array of shape \(height, width, 3\) of unsigned bytes"):
        Frame(pixels)


def test_a_video_can_be_read_in_a_loop() -> None:
    capture = Capture(CLIP, limit=np.int64(3))
    assert (capture.width, capture.height) == (1768, 994)
    frames = list(capture)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert frames[0].time < frames[1].time < frames[2].time
    assert frames[0].pixels.shape == (994, 1768, 3)


def test_a_python_stage_between_native_ones_sees_and_changes_scenes(tmp_path: Path) -> None:
    addresses = []

    def mark(scene: Scene) -> Scene:
        addresses.append(scene.frame.pixels.ctypes.data)
        scene.people = [Person((10, 20, 30, 40), 0.5, track=7, behaviour=("marked", 0.25))]
        return scene

    def look(scene: Scene) -> Scene:
        addresses.append(scene.frame.pixels.ctypes.data)
        return scene

    lines = tmp_path / "tracks.jsonl"
    stages = [DetectPeople(NANODET), Call(mark), Record(lines), Call(look)]
    report = Pipeline(source=Capture(CLIP, limit=2), stages=stages, overflow="block").run()
    assert report.balances()
    assert [stage.used for stage in report.stages] == [2, 2, 2, 2]
    assert sorted(addresses) == sorted(addresses[::2] * 2), "the picture was copied on its way"
    written = lines.read_text().splitlines()
    assert len(written) == 2
    assert all('"marked"' in line and '"track":7' in line.replace(" ", "") for line in written)


def test_people_of_the_clip_reach_a_python_stage() -> None:
    found: list[list[Person]] = []
    stages = [DetectPeople(NANODET), Call(lambda scene: found.append(scene.people))]
    Pipeline(source=Capture(CLIP, limit=1), stages=stages, overflow="block").run()
    assert found[0], "there is a man in the first frame"
    left, top, right, bottom = found[0][0].bounds
    assert 0 <= left < right <= 1768
    assert 0 <= top < bottom <= 994


def test_frames_may_be_put_from_python(tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    with Pipeline(stages=[Call(lambda frame: Scene(frame, [])), Draw(), WriteVideo(video, 10)], overflow="block") as p:
        for index in range(5):
            p.put(Frame(picture(), index, index / 10))
    assert len(list(Capture(video))) == 5


def test_a_native_stage_refuses_what_is_no_frame() -> None:
    with Pipeline(stages=[DetectPeople(NANODET)]) as p, pytest.raises(TypeError, match=r"takes a vision\.Frame"):
        p.put({"frame": 1})


def test_what_a_python_stage_gives_to_a_native_one_must_be_a_scene() -> None:
    pipeline = Pipeline(stages=[Call(lambda x: x), Track()]).start()
    pipeline.put("no scene")
    with pytest.raises(StageError, match=r"Track, takes a vision\.Frame or vision\.Scene, but got str") as caught:
        pipeline.setstop()
    assert isinstance(caught.value.__cause__, TypeError)


def test_native_neighbours_must_fit() -> None:
    with pytest.raises(GraphError, match="Track takes a Scene, but the source before it gives a Frame"):
        Pipeline(source=Capture(CLIP, limit=1), stages=[Track()])


def test_a_native_stage_takes_no_lists() -> None:
    with pytest.raises(GraphError, match="Track takes one sample at a time"):
        Pipeline(stages=[Track().set_get_all()])
    with pytest.raises(GraphError, match=r"Track takes one sample at a time: it cannot set_get_batch\(\)"):
        Pipeline(stages=[Track().set_get_batch(2, 0.1)])
    with pytest.raises(GraphError, match=r"Track takes one sample at a time: it cannot set_get_window\(\)"):
        Pipeline(stages=[Track().set_get_window(2)])


def test_a_native_stage_has_one_worker() -> None:
    with pytest.raises(
        GraphError, match="Track is native and cannot be copied for several workers: leave out workers=2"
    ):
        Pipeline(stages=[Track().options(workers=2)])


def test_a_native_stage_is_part_of_one_pipeline_only() -> None:
    track = Track()
    Pipeline(stages=[track]).start().setstop()
    with pytest.raises(GraphError, match="Track has been part of a pipeline before"):
        Pipeline(stages=[track])


def test_an_error_in_a_native_stage_reaches_the_caller(tmp_path: Path) -> None:
    source = [Frame(picture(), 0, 0.0), Frame(picture(32, 32), 1, 0.1)]
    stages = [Call(lambda frame: Scene(frame, [])), WriteVideo(tmp_path / "video.mp4", 10)]
    with pytest.raises(StageError) as caught:
        Pipeline(source=source, stages=stages, overflow="block").run()
    assert caught.value.stage == "WriteVideo"
    assert caught.value.__cause__ is not None
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"no-such-file\.mp4"):
        Capture("no-such-file.mp4")
    with pytest.raises(ModelError, match=r"no-such-model\.onnx"):
        DetectPeople("no-such-model.onnx")
    with pytest.raises(OutputError, match="no-such-folder"):
        WriteVideo(tmp_path / "no-such-folder" / "video.mp4")
    with pytest.raises(ValueError, match="runtime is 'gpu', but must be one of"):
        DetectPeople(NANODET, runtime="gpu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Capture("clip.mp4", limit=-1), "limit is -1, but must be a whole number, at least 0"),
        (lambda: Capture("clip.mp4", limit=True), "limit is True, but must be a whole number, at least 0"),
        (lambda: Capture("clip.mp4", realtime=1), r"realtime is 1 \(int\), but must be True or False"),  # type: ignore[arg-type]
        (lambda: WriteVideo("x.mp4", frame_rate=0), "frame_rate is 0, but must be a number of frames a second, more"),
        (lambda: WriteVideo("x.mp4", frame_rate=True), "frame_rate is True, but must be a number of frames a second"),
    ],
)
def test_an_argument_that_cannot_be_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make()


def test_setstop_ends_a_capture_that_would_go_on() -> None:
    seen: list[Frame] = []
    pipeline = Pipeline(source=Capture(CLIP, realtime=True), stages=[Call(seen.append)]).start()
    report = pipeline.setstop()
    assert report.outcome == "finished"
    assert len(seen) == report.stages[0].used


def test_a_waiting_source_is_woken_when_a_native_stage_fails(tmp_path: Path) -> None:
    class Frames:
        """Two frames of different sizes, which a video cannot have, and then nothing until it is closed."""

        def __init__(self) -> None:
            self.closed = threading.Event()
            self.sizes = [(32, 32), (48, 64)]

        def __iter__(self) -> Frames:
            return self

        def __next__(self) -> Scene:
            if not self.sizes:
                self.closed.wait()
                raise StopIteration
            return Scene(Frame(np.zeros((*self.sizes.pop(), 3), np.uint8)), [])

        def close(self) -> None:
            self.closed.set()

    frames = Frames()
    with pytest.raises(StageError, match="WriteVideo"):
        Pipeline([WriteVideo(tmp_path / "video.mp4", 10)], source=frames, overflow="block").run()
    assert frames.closed.is_set()
