"""Stages for video, written in Rust: they run without the GIL, beside stages of your own in Python.

A `Capture` is a source of `Frame`s; `DetectPeople` makes a `Scene` of a frame; the stages behind it fill in more and
hand the scene on. A Python stage anywhere in between gets the same objects, the pixels without a copy.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import shutil
import sys
import threading
from pathlib import Path as FilePath
from typing import Any, Literal, Self, SupportsIndex, get_args

from DeepPipeline import _engine
from DeepPipeline._checks import checked_flag, checked_number, checked_seconds, one_of
from DeepPipeline._engine import Frame, Person, Scene
from DeepPipeline._stage import Stage
from DeepPipeline.errors import CaptureError, GraphError, ModelError, OutputError

__all__ = [
    "Capture",
    "CaptureError",
    "ClassifyBehaviour",
    "DetectPeople",
    "Draw",
    "EstimatePose",
    "Frame",
    "ModelError",
    "OutputError",
    "Person",
    "Record",
    "Scene",
    "Track",
    "WriteVideo",
]

Path = str | os.PathLike[str]
Runtime = Literal["auto", "onnxruntime", "pure_rust"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)


def _find_what_is_not_linked() -> None:
    """Tells the engine where this interpreter has ONNX Runtime and FFmpeg, unless the user has said so.

    Neither is imported: only their files are used.
    """
    found = importlib.util.find_spec("onnxruntime")
    if found is not None and found.origin is not None and "DEEPPIPELINE_ONNXRUNTIME" not in os.environ:
        for library in sorted(FilePath(found.origin).parent.glob("capi/libonnxruntime.so*")):
            os.environ["DEEPPIPELINE_ONNXRUNTIME"] = str(library)
    found = importlib.util.find_spec("imageio_ffmpeg")
    wanted = "DEEPPIPELINE_FFMPEG" not in os.environ and shutil.which("ffmpeg") is None
    if wanted and found is not None and found.origin is not None:
        for program in sorted(FilePath(found.origin).parent.glob("binaries/ffmpeg-*")):
            os.environ["DEEPPIPELINE_FFMPEG"] = str(program)


_find_what_is_not_linked()

logger = logging.getLogger("DeepPipeline")


@functools.cache
def _log_warnings() -> None:
    """Has a thread log what the stages of this module warn of; they themselves run without the interpreter."""
    pipe = _engine.vision_warnings()

    def log() -> None:
        rest = b""
        while chunk := os.read(pipe, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                logger.warning("%s", line.decode(errors="replace"))

    threading.Thread(target=log, name="DeepPipeline warnings", daemon=True).start()


class NativeStage(Stage):
    """A stage that runs on a thread of the engine. It can be part of one pipeline."""

    def stage_run(self, x: Any) -> Any:
        """Runs in the engine only."""
        raise GraphError(
            f"{type(self).__name__} is native: it runs as a stage of a Pipeline, and is not called from Python"
        )


class DetectPeople(NativeStage):
    """Finds people: takes a Frame, gives a Scene.

    NanoDet (RangiLyu, https://github.com/RangiLyu/nanodet); `model` is the path of `nanodet_416.onnx`. People scored
    below `min_score` (0 to 1) are left out. Raises `ModelError`.
    """

    def __init__(self, model: Path, *, runtime: Runtime = "auto", min_score: float | None = None) -> None:
        checked = one_of("runtime", runtime, RUNTIMES)
        self._deeppipeline_native = _engine.NativeStage.detect_people(os.fspath(model), checked, min_score)


class Track(NativeStage):
    """Gives every person a number that stays with them: takes and gives a Scene.

    ByteTrack (Zhang et al., 2022, https://arxiv.org/abs/2110.06864).
    """

    def __init__(self) -> None:
        self._deeppipeline_native = _engine.NativeStage.track()


class EstimatePose(NativeStage):
    """Finds 17 keypoints of every person: takes and gives a Scene.

    MoveNet Lightning (Google); `model` is the path of `movenet_lightning_192.onnx`. Raises `ModelError`.
    """

    def __init__(self, model: Path, *, runtime: Runtime = "auto") -> None:
        self._deeppipeline_native = _engine.NativeStage.estimate_pose(
            os.fspath(model), one_of("runtime", runtime, RUNTIMES)
        )


class ClassifyBehaviour(NativeStage):
    """Says what every person does, from the last poses of their track: takes and gives a Scene.

    `model` is the path of `pose_classifier_body18.onnx`, its labels beside it. Raises `ModelError`.
    """

    def __init__(self, model: Path, *, runtime: Runtime = "auto") -> None:
        self._deeppipeline_native = _engine.NativeStage.classify_behaviour(
            os.fspath(model), one_of("runtime", runtime, RUNTIMES)
        )


class Record(NativeStage):
    """Writes a JSON line per frame and track to `path`: takes and gives a Scene. Raises `OutputError`."""

    def __init__(self, path: Path) -> None:
        self._deeppipeline_native = _engine.NativeStage.record(os.fspath(path))


class Draw(NativeStage):
    """Draws boxes, skeletons and labels into the frame: takes and gives a Scene."""

    def __init__(self) -> None:
        self._deeppipeline_native = _engine.NativeStage.draw()


class WriteVideo(NativeStage):
    """An end stage: writes the frames of its scenes into a video file.

    `frame_rate` is about how many frames come a second. The video has the size of the first frame; one of another size
    is fitted into it, with black around, and a warning is logged. If writing fails or the pipeline is aborted, no file
    is left. When a stage before it fails, what had passed that stage is still written: give the file a name that says
    so, and rename it when the pipeline has succeeded, as `examples/python/behaviour.py` does. Raises `OutputError`.
    """

    def __init__(self, path: Path, frame_rate: float | None = None) -> None:
        if frame_rate is not None:
            frame_rate = checked_seconds("frame_rate", frame_rate, of="frames a second")
        _log_warnings()
        self._deeppipeline_native = _engine.NativeStage.write_video(os.fspath(path), frame_rate)


class Capture:
    """Frames of anything that FFmpeg opens: a file, a camera such as /dev/video0, an rtsp:// address.

    Hand it to a pipeline as its `source`, where it runs without the GIL, or iterate over it. `format` is how FFmpeg is
    to read the input where it cannot guess (its -f option), `realtime` reads a file as fast as it would play, `limit`
    ends it after that many frames. `"-"` is standard input. Raises `CaptureError`, also when no frame has come after
    `open_timeout` seconds.

    Colours are those that the stream names, frames are upright and their pixels square; where the size changes on the
    way, each frame has its own. What should be known is logged as a warning (logger `DeepPipeline`): high dynamic
    range, which is not tone-mapped, damage in the middle of a file, and when no frame has come for `stall_after`
    seconds.
    """

    def __init__(
        self,
        input: Path | bytes | os.PathLike[bytes],
        *,
        format: str | None = None,
        realtime: bool = False,
        limit: SupportsIndex | None = None,
        open_timeout: float = 30.0,
        stall_after: float = 10.0,
    ) -> None:
        if limit is not None:
            limit = checked_number("limit", limit, 0, sys.maxsize, "at least 0")
        _log_warnings()
        self._native = _engine.NativeCapture(
            os.fsdecode(input),
            format,
            checked_flag("realtime", realtime),
            limit,
            checked_seconds("open_timeout", open_timeout),
            checked_seconds("stall_after", stall_after),
        )

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self._native.width

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self._native.height

    @property
    def frame_rate(self) -> float | None:
        """Frames a second, if the input says so."""
        return self._native.frame_rate

    @property
    def frames(self) -> int | None:
        """The approximate number of frames, if the input says so."""
        return self._native.frames

    @property
    def is_live(self) -> bool:
        """True if frames come at their own pace: a camera or a network stream."""
        return self._native.is_live

    def close(self) -> None:
        """Makes a waiting read return soon, and ends the video."""
        self._native.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Frame:
        frame = self._native.next()
        if frame is None:
            raise StopIteration
        return frame
