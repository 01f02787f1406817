"""Native stages beside Python stages: they hand over without a copy, and what does not fit is refused."""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
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
    assert [stage.counts.used for stage in report.stages] == [2, 2, 2, 2]
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
    with pytest.raises(GraphError, match=r"Track takes one sample at a time: leave out intake=Batch\("):
        Pipeline(stages=[Track().set_get_batch(2, 0.1)])
    with pytest.raises(GraphError, match=r"Track takes one sample at a time: leave out intake=Window\("):
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
    source = [Frame(picture(), 0, 0.0), Frame(picture(0, 0), 1, 0.1)]
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
    assert len(seen) == report.stages[0].counts.used


def test_a_waiting_source_is_woken_when_a_native_stage_fails(tmp_path: Path) -> None:
    class Frames:
        """Two frames, one without pixels, which a video cannot have, and then nothing until it is closed."""

        def __init__(self) -> None:
            self.closed = threading.Event()
            self.sizes = [(0, 0), (48, 64)]

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


def test_a_video_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frames = [Scene(Frame(picture(), index, index / 10), []) for index in range(3)]
    Pipeline([WriteVideo("take:2.mp4", 10)], source=frames).run()
    names: list[str | bytes | Path] = ["take:2.mp4", b"take:2.mp4", Path("take:2.mp4"), os.fsdecode(b"lat\xefn1.mp4")]
    shutil.copy("take:2.mp4", os.fsdecode(b"lat\xefn1.mp4"))
    for name in names:
        assert len(list(Capture(name))) == 3, name


@pytest.fixture
def logged() -> Iterator[queue.SimpleQueue[logging.LogRecord]]:
    """What is logged, as it comes."""
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(records)
    logging.getLogger("DeepPipeline").addHandler(handler)
    yield records
    logging.getLogger("DeepPipeline").removeHandler(handler)


def test_a_video_has_one_size_and_a_warning_says_so(
    tmp_path: Path, logged: queue.SimpleQueue[logging.LogRecord]
) -> None:
    video = tmp_path / "video.mp4"
    scenes = [Scene(Frame(picture(*size), index, index / 10), []) for index, size in enumerate([(48, 64), (32, 32)])]
    Pipeline([WriteVideo(video, 10)], source=scenes).run()
    assert [(frame.width, frame.height) for frame in Capture(video)] == [(64, 48), (64, 48)]
    record = logged.get(timeout=60)
    assert record.levelname == "WARNING"
    assert "video.mp4 is a video of 64x48, into which a picture of 32x32 is fitted" in record.getMessage()


@pytest.fixture
def silent_camera() -> Iterator[tuple[str, socket.socket]]:
    """A server that takes a connection and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}", server


def test_opening_has_a_bound(silent_camera: tuple[str, socket.socket]) -> None:
    with pytest.raises(CaptureError, match=r"no picture came within 0\.1 s; .* longer open_timeout"):
        Capture(silent_camera[0], open_timeout=0.1)
    for wrong in (0, -1, "long"):
        with pytest.raises(GraphError, match=r"open_timeout is .*, but must be a number of seconds, more than 0"):
            Capture(CLIP, open_timeout=wrong)  # type: ignore[arg-type]
        with pytest.raises(GraphError, match="stall_after is"):
            Capture(CLIP, stall_after=wrong)  # type: ignore[arg-type]


def test_ctrl_c_ends_the_opening_of_a_silent_camera(silent_camera: tuple[str, socket.socket]) -> None:
    address, server = silent_camera
    code = f"from DeepPipeline.vision import Capture; Capture({address!r}, open_timeout=600)"
    with subprocess.Popen([sys.executable, "-P", "-c", code], stderr=subprocess.PIPE, text=True) as program:
        # FFmpeg connects: it is being opened.
        connection, _ = server.accept()
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=60)
        assert program.returncode == -signal.SIGINT
        assert said.rstrip().endswith("KeyboardInterrupt")
        # And FFmpeg has gone with it.
        connection.settimeout(60)
        assert connection.recv(1) == b""


def test_a_stall_is_logged_while_it_lasts(tmp_path: Path, logged: queue.SimpleQueue[logging.LogRecord]) -> None:
    fifo = tmp_path / "camera"
    os.mkfifo(fifo)
    # More bytes than FFmpeg wants to see before it takes an input for open; then the pipe is held, and nothing comes.
    stream = tmp_path / "stream.nut"
    pattern = ["-f", "lavfi", "-i", "testsrc=s=640x360:r=10:d=1", "-c:v", "rawvideo", "-pix_fmt", "rgb24"]
    ffmpeg = os.environ.get("DEEPPIPELINE_FFMPEG", "ffmpeg")
    subprocess.run([ffmpeg, "-v", "error", *pattern, stream], check=True)
    held = threading.Event()

    def camera() -> None:
        with open(fifo, "wb", buffering=0) as pipe:
            pipe.write(stream.read_bytes())
            held.wait()

    thread = threading.Thread(target=camera)
    thread.start()
    pipeline = Pipeline(source=Capture(fifo, stall_after=0.05), stages=[Call(lambda frame: None)]).start()
    try:
        assert f"{fifo} has stalled: no picture has come for" in logged.get(timeout=60).getMessage()
    finally:
        held.set()
        pipeline.setstop()
        thread.join()


def test_a_program_that_ignores_its_children_still_reads_and_writes_videos(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        frames = [Scene(Frame(picture(), index, index / 10), []) for index in range(3)]
        Pipeline([WriteVideo(tmp_path / "video.mp4", 10)], source=frames).run()
        assert len(list(Capture(tmp_path / "video.mp4"))) == 3
        with pytest.raises(CaptureError, match="No such file"):
            Capture(tmp_path / "none.mp4")
    finally:
        signal.signal(signal.SIGCHLD, before)
