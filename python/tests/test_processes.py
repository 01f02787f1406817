"""Stages in processes: what crosses, what stays, and what a start refuses."""

import logging
import multiprocessing
import os
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from process_stages import (
    Brightness,
    Chatter,
    Describe,
    Fail,
    FailOddly,
    GiveOdd,
    GiveUnsendable,
    Grow,
    Identity,
    KeepAll,
    Pass,
    Size,
    Tell,
    Twice,
    Where,
)
from support import Collect, finish, program_file, wait_until, workers

from DeepPipeline import (
    GraphError,
    Pipeline,
    PutError,
    RemoteError,
    SendError,
    Stage,
    StageError,
    StartError,
)


def through(*stages: Stage, samples: list[Any], **options: Any) -> list[Any]:
    """What comes out of these stages, each in a process, at an end stage on a thread."""
    end = Collect().options(executor="thread")
    report = Pipeline([*stages, end], multiprocess=True, overflow="block", **options).run(samples)
    assert report.balances()
    assert isinstance(end, Collect)
    return end.got


def test_each_stage_has_a_process_of_its_own() -> None:
    [first, *rest] = through(Where(), Where(), samples=[[], [], []])
    assert rest == [first, first]
    assert len({*first, os.getpid()}) == 3
    assert workers() == []


def test_a_stage_says_where_it_runs() -> None:
    end = Collect()
    stages = [Where(), Where().options(executor="process"), Where(), end]
    Pipeline(stages, overflow="block").run([[]])
    [[before, inside, after]] = end.got
    assert before == after == os.getpid() != inside


@pytest.mark.parametrize("start_method", ["spawn", "forkserver", "fork"])
def test_start_methods(start_method: Any) -> None:
    assert through(Pass(), Pass(), samples=[1, 2, 3], start_method=start_method) == [1, 2, 3]


frame = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
ARRAYS = {
    "contiguous": frame,
    "colours swapped": frame[..., ::-1],
    "a crop": frame[1:3, 2:5],
    "Fortran's order": np.asfortranarray(frame),
    "floats": np.linspace(0, 1, 7, dtype=">f4"),
    "no dimension": np.array(42),
    "empty": np.zeros((0, 3)),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_arrive_as_they_are_and_can_be_drawn_on(array: Any) -> None:
    [(kind, dtype, shape, writeable, arrived)] = through(Describe(), samples=[array])
    assert (kind, dtype, shape, writeable) == ("ndarray", array.dtype.str, array.shape, True)
    assert np.array_equal(arrived, array)


def test_arrays_are_read_only_where_they_may_be_tried_again() -> None:
    [(_, _, _, writeable, arrived)] = through(Describe().options(on_crash="retry"), samples=[frame])
    assert not writeable
    assert np.array_equal(arrived, frame)


@pytest.mark.parametrize("x", [b"bytes", bytearray(b"array"), "text", None, [1, None], {"a": (b"x", 1.5)}, b""])
def test_values_keep_their_type(x: Any) -> None:
    [arrived] = through(Pass(), samples=[x])
    assert type(arrived) is type(x)
    assert arrived == x


def test_plain_samples_arrive_as_they_are() -> None:
    samples = [
        7,
        -(2**70),
        0.5,
        True,
        None,
        "\ud800",
        (),
        (1, "a", [2.5, {"k": (None,)}]),
        list(range(100)),
        {1: {2: 3}},
    ]
    arrived = through(Pass(), samples=samples)
    assert [repr(x) for x in arrived] == [repr(x) for x in samples]
    shared = [1]
    [one, other] = through(Pass(), samples=[[shared, shared]])[0]
    assert one is other
    shared.append(shared)  # type: ignore[arg-type]
    [itself] = through(Pass(), samples=[shared])
    assert itself[1] is itself


def test_memoryviews_arrive_as_memoryviews() -> None:
    view: Any = memoryview(frame.tobytes()).cast("B", shape=frame.shape)
    [arrived] = through(Pass(), samples=[view])
    assert (type(arrived), arrived.shape, arrived.tolist()) == (memoryview, frame.shape, frame.tolist())


def test_sizes_vary_from_sample_to_sample() -> None:
    sizes = [1, 5_000_000, 0, 64, 3, 1_000_000, 4096, 4097, 2]
    assert through(Grow(), Size(), samples=sizes) == [(size, size % 251 if size else -1) for size in sizes]


def test_a_stage_may_keep_every_array_it_gets() -> None:
    samples = [np.full(1000, number, np.int64) for number in range(50)]
    assert through(KeepAll(), samples=samples) == [[1000 * number for number in range(50)]]


def test_identity_and_birth_cross() -> None:
    now = time.monotonic()
    identities = through(Pass(), Twice(), Identity(), samples=[now, now])
    assert identities == [(1, 1, True), (1, 2, True), (2, 1, True), (2, 2, True), (2, 3, True)]


def test_a_sample_that_is_too_large_is_refused_with_both_sizes() -> None:
    array = np.zeros(100_000, np.uint8)
    with Pipeline([Size()], multiprocess=True, buffer_bytes=50_000, overflow="block") as p:
        with pytest.raises(PutError, match=r"takes 100\d\d\d bytes, but buffer_bytes is 50000") as caught:
            p.put(array)
        assert caught.value.value is array
        p.put(array[:100])
    [stage] = p.report().stages
    assert (stage.buffer.entered, stage.counts.used) == (1, 1)


def test_a_result_that_is_too_large_is_a_stage_error() -> None:
    with pytest.raises(StageError, match=r"Grow.*buffer_bytes is 50000") as caught:
        through(Grow(), Size(), samples=[100_000], buffer_bytes=50_000)
    assert isinstance(caught.value.__cause__, SendError)


def test_what_cannot_be_pickled_is_named() -> None:
    with Pipeline([Pass()], multiprocess=True) as p:
        sample = {"frame": 1, "lock": threading.Lock()}
        with pytest.raises(PutError, match=r"process of stage \"Pass\".*'lock'") as caught:
            p.put(sample)
        assert caught.value.value is sample
    with pytest.raises(StageError, match=r"GiveUnsendable.*cannot be sent to the next stage: .*'lock'") as failed:
        through(GiveUnsendable(), Pass(), samples=[1])
    assert isinstance(failed.value.__cause__, SendError)


def test_a_sample_that_cannot_be_made_again_is_not_blamed_on_the_stage_that_gets_it() -> None:
    why = r"SendError: the sample cannot be made again from its pickle, before the stage gets it: TypeError: .*'two'"
    for receiver in (Pass(), Pass().options(executor="thread")):
        with pytest.raises(StageError, match=why) as failed:
            through(GiveOdd(), receiver, samples=[1])
        assert isinstance(failed.value.__cause__, SendError)


def test_a_stage_that_cannot_be_pickled_is_refused_before_anything_starts() -> None:
    stage = Pass().options(name="mine")
    stage.model = {"file": open(os.devnull)}  # type: ignore[attr-defined]  # noqa: SIM115
    with pytest.raises(StartError, match=r"'mine' cannot be sent.*'file'.*'model'.*setup\(\)"):
        Pipeline([Pass(), stage], multiprocess=True).start()
    stage.model["file"].close()  # type: ignore[attr-defined]
    assert workers() == []


def test_queues_and_locks_of_multiprocessing_may_be_in_a_stage() -> None:
    said = multiprocessing.get_context("spawn").SimpleQueue()
    with Pipeline([Tell(said)], multiprocess=True) as p:
        p.put(42)
        assert said.get() == 42


def test_a_stages_exception_arrives_with_its_traceback() -> None:
    with pytest.raises(StageError, match=r'"Fail" failed in stage_run on sample 1: ValueError: mine') as caught:
        through(Fail(ValueError("mine")), samples=[1])
    cause = caught.value.__cause__
    assert isinstance(cause, ValueError)
    assert "raise self.error" in str(cause.__cause__)


def test_an_exception_that_cannot_be_made_again_arrives_as_text() -> None:
    with pytest.raises(StageError, match="1 and 2") as caught:
        through(FailOddly(), samples=[1])
    assert isinstance(caught.value.__cause__, RemoteError)
    assert "raise TwoArguments" in str(caught.value.__cause__.__cause__)


def test_system_exit_is_a_stage_error() -> None:
    with pytest.raises(StageError, match="SystemExit") as caught:
        through(Fail(SystemExit(2)), samples=[1])
    assert isinstance(caught.value.__cause__, SystemExit)


def test_a_setup_that_fails_makes_the_start_fail() -> None:
    with pytest.raises(StageError, match=r'"Fail" failed in setup: ValueError: no model') as caught:
        Pipeline([Pass(), Fail(ValueError("no model"), "setup")], multiprocess=True).start()
    assert isinstance(caught.value.__cause__, ValueError)
    assert workers() == []


def test_errors_may_be_skipped() -> None:
    end = Collect().options(executor="thread")
    stage = Fail(ValueError("mine")).options(on_error="skip")
    report = Pipeline([stage, end], multiprocess=True, overflow="block").run([1, 2, 3])
    assert (report.stages[0].counts.failed, report.stages[1].buffer.entered) == (3, 0)


def test_stderr_and_log_records_carry_the_stages_name(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        through(Chatter().options(name="talker"), samples=[1])
    assert "[talker] plain words" in capsys.readouterr().err
    [record] = [record for record in caplog.records if record.name == "mine"]
    assert (record.getMessage(), record.processName) == ("a record", "talker")


def test_frames_cross_as_they_are() -> None:
    from DeepPipeline.vision import Draw, Frame, Scene, Track

    frames = [Frame(np.full((8, 6, 3), 10 * index, np.uint8), index) for index in range(3)]
    assert through(Pass(), Brightness(), samples=frames) == [(0, 0.0), (1, 10.0), (2, 20.0)]
    # Into a native stage on a thread, and out again.
    scenes = through(Pass(), Track(), Draw(), Pass(), samples=[Scene(frame, []) for frame in frames])
    assert [scene.frame.index for scene in scenes] == [0, 1, 2]
    # Inside another value they are pickled.
    [[arrived, number]] = through(Pass(), samples=[[frames[1], 7]])
    assert (arrived.index, float(arrived.pixels.mean()), number) == (1, 10.0, 7)


def test_nothing_is_left_behind() -> None:
    def open_files() -> set[str]:
        return set(os.listdir("/proc/self/fd"))

    through(Pass(), samples=[1])  # what multiprocessing keeps open, it has opened now
    before, names = open_files(), set(os.listdir("/dev/shm"))
    for _ in range(3):
        through(Pass(), Pass(), samples=[frame] * 10)
    assert len(open_files()) == len(before)
    # What others on this machine have there goes; what this process had left would stay.
    left = set(os.listdir("/dev/shm")) - names
    wait_until(lambda: not left & set(os.listdir("/dev/shm")))
    assert workers() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "gpu"}, "executor is 'gpu', but must be one of 'thread', 'process'"),
        ({"on_crash": "cry"}, "on_crash is 'cry', but must be one of 'skip', 'retry', 'stop'"),
        ({"max_restarts": -1}, "max_restarts is -1, but must be a whole number, at least 0"),
        ({"max_restarts": True}, "max_restarts is True, but must be a whole number, at least 0"),
        ({"time_limit": 0}, "time_limit is 0, but must be a number of seconds, more than 0"),
        ({"time_limit": "1"}, "time_limit is '1', but must be a number of seconds, more than 0"),
        ({"time_limit": float("nan")}, "time_limit is nan, but must be a number of seconds, more than 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError) as caught:
        Pass().options(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"multiprocess": 1}, r"multiprocess is 1 \(int\), but must be True or False"),
        ({"buffer_bytes": 0}, "buffer_bytes is 0, but must be a whole number of bytes, at least 1"),
        ({"buffer_bytes": "1 MB"}, "buffer_bytes is '1 MB'"),
        ({"start_method": "thread"}, "start_method is 'thread', but must be one of 'spawn', 'forkserver', 'fork'"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        Pipeline([Pass()], **arguments)


@pytest.mark.parametrize(("option", "value"), [("on_crash", "skip"), ("on_crash", "retry"), ("max_restarts", 3)])
def test_what_is_said_of_a_crash_is_refused_on_a_thread(option: str, value: Any) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(GraphError, match=f'{option} of stage "Pass" is set, but the stage runs on a thread'):
        Pipeline([Pass().options(**options)])
    Pipeline([Pass().options(executor="process", **options)])


def test_buffer_bytes_are_refused_where_every_stage_is_on_a_thread() -> None:
    with pytest.raises(GraphError, match="buffer_bytes is set, but every stage runs on a thread"):
        Pipeline([Pass()], buffer_bytes=1 << 20)
    Pipeline([Pass(), Pass().options(executor="process")], buffer_bytes=1 << 20)


def test_a_buffer_beyond_all_addresses_is_refused_at_start() -> None:
    with pytest.raises(
        StartError, match=r"cannot map \d+ bytes.*buffer of stage \"Pass\".*lower buffer_size or buffer_bytes"
    ):
        Pipeline([Pass()], multiprocess=True, buffer_bytes=1 << 60).start()


def test_addresses_are_taken_by_need_however_many_places_a_buffer_has(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        textwrap.dedent("""
        import resource
        from DeepPipeline import Pipeline, Stage
        class Pass(Stage):
            def stage_run(self, x): return x
        if __name__ == "__main__":
            resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
            for size in (16, 100_000):
                print(list(Pipeline([Pass(), Pass()], buffer_size=size, multiprocess=True).stream(range(3))))
        """)
    )
    result = finish(program_file(path))
    assert (result.returncode, result.stdout) == (0, "[0, 1, 2]\n" * 2), result.stderr
