"""Dead letters: the samples on which a stage failed, or that were lost, kept in a folder and put in again."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from support import Collect, Pass

from DeepPipeline import (
    Batch,
    DeadLetterError,
    DeadLetters,
    Failed,
    FateEvent,
    GraphError,
    Pipeline,
    Stage,
    replay,
    retry,
    stage,
)

modes = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])


class Inverse(Stage):
    def stage_run(self, x: int) -> int:
        return 10 // x


class Grow(Stage):
    """Changes what it gets before it fails."""

    def stage_run(self, x: list[int]) -> None:
        x.append(0)
        raise ValueError("too large")


class DieOn(Stage):
    def __init__(self, deadly: str) -> None:
        self.deadly = deadly

    def stage_run(self, x: str) -> str:
        if x == self.deadly:
            os._exit(3)
        return x


class Parse(Stage):
    def stage_run(self, batch: list[str]) -> list[int]:
        return [int(x) for x in batch]


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("not to be kept")


class Exits:
    """Ends the program where it is pickled."""

    def __reduce__(self) -> Any:
        sys.exit(1)


class Refuse(Stage):
    def stage_run(self, x: Any) -> None:
        raise ValueError("no")


def header_of(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes().partition(b"\n")[0]))


@modes
def test_failed_samples_are_kept_with_their_error_and_replayed_in_order(multiprocess: bool, tmp_path: Path) -> None:
    stages = [Inverse().options(on_error="skip")]
    Pipeline(stages, overflow="block", multiprocess=multiprocess, dead_letters=tmp_path / "dead").run([1, 0, 5, 0])
    letters = list(replay(tmp_path / "dead", trusted=True))
    assert [(letter.number, letter.value, letter.stage, letter.fate) for letter in letters] == [
        (2, 0, "Inverse", "failed"),
        (4, 0, "Inverse", "failed"),
    ]
    assert "by zero" in str(letters[0].error) and letters[0].error_type == "builtins.ZeroDivisionError"


@modes
def test_the_failed_sample_that_stops_the_pipeline_is_kept(multiprocess: bool, tmp_path: Path) -> None:
    pipeline = Pipeline([Inverse()], overflow="block", multiprocess=multiprocess, dead_letters=tmp_path)
    with pytest.raises(Exception, match="by zero"):
        pipeline.run([1, 0])
    assert [letter.value for letter in replay(tmp_path, trusted=True)] == [0]


def test_a_sample_that_a_process_took_with_it_is_kept(tmp_path: Path) -> None:
    events = list[FateEvent]()
    stages = [DieOn("bad").options(executor="process"), Collect().options(executor="thread")]
    pipeline = Pipeline(stages, overflow="block", dead_letters=tmp_path, on_fate=events.append)
    report = pipeline.run(["good", "bad", "fine"])
    assert report.stage("DieOn").counts.lost == 1
    assert [(event.number, event.fate, event.value) for event in events] == [(2, "lost", "bad")]
    [letter] = replay(tmp_path, trusted=True)
    assert (letter.value, letter.stage, letter.fate, letter.error) == ("bad", "DieOn", "lost", None)


def test_what_a_process_got_is_kept_as_it_came(tmp_path: Path) -> None:
    stages = [Grow().options(executor="process", on_error="skip")]
    Pipeline(stages, overflow="block", dead_letters=tmp_path).run([[1, 2]])
    assert [letter.value for letter in replay(tmp_path, trusted=True)] == [[1, 2]]


def test_a_large_sample_that_a_process_failed_on_is_kept(tmp_path: Path) -> None:
    stages = [Refuse().options(executor="process", on_error="skip")]
    Pipeline(stages, overflow="block", dead_letters=tmp_path).run([bytes(30 << 20)])
    assert [len(letter.value) for letter in replay(tmp_path, trusted=True)] == [30 << 20]


def test_what_a_thread_got_is_kept_as_the_stage_left_it(tmp_path: Path) -> None:
    Pipeline([Grow().options(on_error="skip")], overflow="block", dead_letters=tmp_path).run([[1, 2]])
    assert [letter.value for letter in replay(tmp_path, trusted=True)] == [[1, 2, 0]]


def test_a_sample_that_succeeds_at_the_second_try_is_no_dead_letter(tmp_path: Path) -> None:
    class AtSecond(Stage):
        tries = 0

        def stage_run(self, x: int) -> int:
            self.tries += 1
            return 10 // (self.tries - 1)

    report = Pipeline([AtSecond().options(on_error=retry(1))], overflow="block", dead_letters=tmp_path).run([1])
    assert report.stage("AtSecond").counts.used == 1
    assert list(replay(tmp_path, trusted=True)) == []


@modes
def test_of_a_batch_each_failed_sample_is_kept_alone(multiprocess: bool, tmp_path: Path) -> None:
    stages = [Parse().options(on_error="skip", intake=Batch(4, max_wait=0.01), buffer_size=4), Pass()]
    pipeline = Pipeline(stages, overflow="block", multiprocess=multiprocess, dead_letters=tmp_path)
    pipeline.run(["1", "two", "3", "four"])
    assert [letter.value for letter in replay(tmp_path, trusted=True)] == ["two", "four"]


class ParseEach(Stage):
    def stage_run(self, batch: list[str]) -> list[int | Failed]:
        results = [int(x) if x.isdigit() else Failed(ValueError(x)) for x in batch]
        batch.clear()
        return results


@modes
def test_of_a_batch_each_result_that_is_an_error_is_told_and_kept_with_its_value(
    multiprocess: bool, tmp_path: Path
) -> None:
    events = list[FateEvent]()
    stages = [ParseEach().options(on_error="skip", intake=Batch(4, max_wait=600), buffer_size=4), Pass()]
    pipeline = Pipeline(
        stages, overflow="block", multiprocess=multiprocess, dead_letters=tmp_path, on_fate=events.append
    )
    pipeline.run(["1", "two", "3", "four", "five"])
    assert [(event.number, event.value) for event in events] == [(2, "two"), (4, "four"), (5, "five")]
    assert [letter.value for letter in replay(tmp_path, trusted=True)] == ["two", "four", "five"]


def test_a_batch_that_stops_the_pipeline_is_kept_sample_by_sample(tmp_path: Path) -> None:
    pipeline = Pipeline(
        [Parse().options(intake=Batch(2, max_wait=600)), Pass()], overflow="block", dead_letters=tmp_path
    )
    with pytest.raises(Exception, match="invalid literal"):
        pipeline.run(["1", "two"])
    assert [letter.value for letter in replay(tmp_path, trusted=True)] == ["1", "two"]


def test_a_letter_of_rust_is_read_as_far_as_python_can(tmp_path: Path) -> None:
    header = (
        '{"stage":"s","number":3,"part":0,"source":null,"fate":"failed","error":"no","error_type":null,'
        '"type":%s,"format":%s,"time":1.5}\n'
    )
    (tmp_path / "1.letter").write_text(header % ("null", "null"))
    (tmp_path / "2.letter").write_text(header % ('"u32"', '"postcard"') + "5")
    letters = replay(tmp_path, trusted=True)
    assert (letter := next(letters)).value is None and letter.error == "no"
    with pytest.raises(DeadLetterError, match="a u32 of Rust, in the format postcard"):
        next(letters)


def test_what_became_of_a_sample_is_read_without_its_pickle(tmp_path: Path) -> None:
    Pipeline([Inverse().options(on_error="skip")], overflow="block", dead_letters=tmp_path).run([0])
    [path] = tmp_path.iterdir()
    header = header_of(path)
    assert (header["stage"], header["number"], header["fate"], header["type"]) == (
        "Inverse",
        1,
        "failed",
        "builtins.int",
    )


def test_the_newest_are_kept_within_the_bytes_that_are_allowed(tmp_path: Path) -> None:
    dead_letters = DeadLetters(tmp_path, max_bytes=5000)
    stages = [Refuse().options(on_error="skip")]
    Pipeline(stages, overflow="block", dead_letters=dead_letters).run([bytes([x]) * 1000 for x in range(10)])
    kept = [letter.value[0] for letter in replay(tmp_path, trusted=True)]
    assert kept == list(range(10 - len(kept), 10)) and 2 <= len(kept) <= 4
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5000


def test_a_letter_larger_than_all_is_told_and_the_others_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dead_letters = DeadLetters(tmp_path, max_bytes=2000)
    stages = [Refuse().options(on_error="skip")]
    Pipeline(stages, overflow="block", dead_letters=dead_letters).run([b"small", b"large" * 1000])
    assert [letter.value for letter in replay(tmp_path, trusted=True)] == [b"small"]
    assert "larger than max_bytes, 2000" in caplog.text


def test_a_folder_that_cannot_be_written_is_told_and_the_pipeline_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    collect = Collect()
    stages = [Inverse().options(on_error="skip"), collect]
    with caplog.at_level(logging.ERROR, "DeepPipeline"):
        Pipeline(stages, overflow="block", dead_letters=tmp_path / "file").run([0, 1, 0])
    assert collect.got == [10]
    told = [record for record in caplog.records if "could not be kept in" in record.getMessage()]
    assert len(told) == 1


def test_a_sample_that_does_not_pickle_is_told_and_the_pipeline_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stages = [Refuse().options(on_error="skip")]
    report = Pipeline(stages, overflow="block", dead_letters=tmp_path).run([Unpicklable(), 1])
    assert report.stage("Refuse").counts.failed == 2
    assert "not to be kept" in caplog.text
    assert [letter.value for letter in replay(tmp_path, trusted=True)] == [1]


def test_a_sample_that_exits_as_it_is_pickled_is_told_and_the_pipeline_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stages = [Refuse().options(on_error="skip")]
    report = Pipeline(stages, overflow="block", dead_letters=tmp_path).run([Exits(), 1])
    assert report.stage("Refuse").counts.failed == 2
    assert "1 dead letters could not be kept" in caplog.text
    assert [letter.value for letter in replay(tmp_path, trusted=True)] == [1]


def test_a_letter_that_cannot_be_told_of_does_not_end_the_thread(tmp_path: Path) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            sys.exit(1)

    class Raises:
        def __reduce__(self) -> Any:
            raise Unspeakable

    class Strict(logging.Handler):
        """Lets through what formatting a record raises."""

        def emit(self, record: logging.LogRecord) -> None:
            record.getMessage()

    logger, handler = logging.getLogger("DeepPipeline"), Strict()
    logger.addHandler(handler)
    logger.propagate = False
    try:
        Pipeline([Refuse().options(on_error="skip")], overflow="block", dead_letters=tmp_path).run([Raises(), 1])
    finally:
        logger.propagate = True
        logger.removeHandler(handler)
    assert [letter.value for letter in replay(tmp_path, trusted=True)] == [1]


def test_replay_refuses_a_folder_that_nobody_has_said_to_trust(tmp_path: Path) -> None:
    with pytest.raises(DeadLetterError, match="give trusted=True"):
        replay(tmp_path)


def test_replay_of_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(DeadLetterError, match="cannot be read"):
        list(replay(tmp_path / "none", trusted=True))


def test_replay_names_a_file_that_is_no_letter(tmp_path: Path) -> None:
    (tmp_path / "1.letter").write_bytes(b"{}\n")
    with pytest.raises(DeadLetterError, match=r"1\.letter' is no dead letter"):
        list(replay(tmp_path, trusted=True))


def test_replay_removes_each_once_the_next_is_asked_for(tmp_path: Path) -> None:
    Pipeline([Inverse().options(on_error="skip")], overflow="block", dead_letters=tmp_path).run([0, 0])
    letters = replay(tmp_path, trusted=True, remove=True)
    next(letters)
    assert len(list(tmp_path.iterdir())) == 2
    assert [letter.number for letter in letters] == [2]
    assert list(tmp_path.iterdir()) == []


def test_bad_letters_are_told_together_after_all_that_are_good(tmp_path: Path) -> None:
    Pipeline([Inverse().options(on_error="skip")], overflow="block", dead_letters=tmp_path).run([0, 0, 0])
    truncated, *_ = sorted(tmp_path.iterdir())
    truncated.write_bytes(truncated.read_bytes()[:-2])
    empty, foreign = tmp_path / "0.letter", tmp_path / "1.letter"
    empty.touch()
    foreign.write_bytes(b'{"stage": "a class that is gone"}\n')
    letters = replay(tmp_path, trusted=True, remove=True)
    assert [next(letters).number for _ in range(2)] == [2, 3]
    with pytest.raises(DeadLetterError, match=r"3 letters cannot be read or removed, and stay: .*0\.letter") as told:
        next(letters)
    assert told.value.paths == (empty, truncated, foreign)
    assert sorted(tmp_path.iterdir()) == [empty, truncated, foreign]


def test_a_letter_that_disappears_meanwhile_is_passed_over(tmp_path: Path) -> None:
    Pipeline([Inverse().options(on_error="skip")], overflow="block", dead_letters=tmp_path).run([0, 0, 0])
    letters = replay(tmp_path, trusted=True)
    assert next(letters).number == 1
    sorted(tmp_path.iterdir())[1].unlink()
    assert [letter.number for letter in letters] == [3]


def test_a_folder_without_a_name_is_refused() -> None:
    with pytest.raises(GraphError, match="dead_letters is '', but must be the path of a folder"):
        Pipeline([Pass()], dead_letters="")
    with pytest.raises(GraphError, match="folder is '', but must be the path of a folder"):
        DeadLetters("")
    with pytest.raises(DeadLetterError, match="folder is '', but must be the path of a folder"):
        replay("", trusted=True)


@pytest.mark.parametrize("given", [3, b"bytes", ["a"]])
def test_dead_letters_that_are_no_folder_are_refused(given: Any) -> None:
    with pytest.raises(GraphError, match=r"dead_letters is .* must be the path of a folder"):
        Pipeline([Pass()], dead_letters=given)


@pytest.mark.parametrize("folder", [5, None, b"bytes", "a\0b"])
def test_replay_of_what_is_no_folder_is_refused(folder: Any) -> None:
    with pytest.raises(DeadLetterError, match=r"folder is .* must be the path of a folder"):
        replay(folder, trusted=True)


def test_replay_removes_only_where_it_is_told_so_by_true(tmp_path: Path) -> None:
    with pytest.raises(DeadLetterError, match=r"remove is 'no' .* must be True or False"):
        replay(tmp_path, trusted=True, remove="no")  # type: ignore[arg-type]


class NotShown(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_a_sample_whose_error_cannot_be_shown_is_kept(tmp_path: Path) -> None:
    def fail(_: int) -> None:
        raise NotShown

    Pipeline([stage(fail, on_error="skip")], overflow="block", dead_letters=tmp_path).run([1])
    (letter,) = replay(tmp_path, trusted=True)
    assert (letter.value, letter.error) == (1, "a NotShown that cannot be shown")


def test_what_exits_as_it_is_read_holds_up_no_other(tmp_path: Path) -> None:
    Pipeline([Inverse().options(on_error="skip")], overflow="block", dead_letters=tmp_path).run([0, 0])
    first, _ = sorted(tmp_path.iterdir())
    header, _, _ = first.read_bytes().partition(b"\n")
    first.write_bytes(header + b"\n" + b"cbuiltins\nexit\n(tR.")
    letters = replay(tmp_path, trusted=True)
    assert next(letters).number == 2
    with pytest.raises(DeadLetterError, match="SystemExit"):
        next(letters)


def test_a_letter_that_cannot_be_removed_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Pipeline([Inverse().options(on_error="skip")], overflow="block", dead_letters=tmp_path).run([0, 0])
    first, second = sorted(tmp_path.iterdir())
    unlink = Path.unlink

    def refuse_first(path: Path, missing_ok: bool = False) -> None:
        if path == first:
            raise PermissionError("read-only")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse_first)
    letters = replay(tmp_path, trusted=True, remove=True)
    assert [next(letters).number for _ in range(2)] == [1, 2]
    with pytest.raises(DeadLetterError, match="read-only") as told:
        next(letters)
    assert told.value.paths == (first,)
    assert not second.exists()


def test_what_cannot_be_removed_to_make_room_lets_the_next_go_instead(tmp_path: Path) -> None:
    (tmp_path / "0.letter").mkdir()
    Pipeline([Inverse().options(on_error="skip")], overflow="block", dead_letters=tmp_path).run([0])
    (first,) = (path for path in tmp_path.iterdir() if path.is_file())
    room = DeadLetters(tmp_path, max_bytes=first.stat().st_size + (tmp_path / "0.letter").stat().st_size + 8)
    Pipeline([Inverse().options(on_error="skip")], overflow="block", dead_letters=room).run([0])
    (second,) = (path for path in tmp_path.iterdir() if path.is_file())
    assert second != first


def test_what_was_left_unfinished_is_removed_once_nobody_writes_it_any_more(tmp_path: Path) -> None:
    old, new = tmp_path / ".1.tmp", tmp_path / ".2.tmp"
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    Pipeline([Inverse().options(on_error="skip")], overflow="block", dead_letters=tmp_path).run([0])
    assert not old.exists() and new.exists()


@pytest.mark.parametrize("max_bytes", [0, -1, 1.5])
def test_max_bytes_that_is_no_number_of_bytes_is_refused(max_bytes: Any, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="max_bytes"):
        DeadLetters(tmp_path, max_bytes=max_bytes)
