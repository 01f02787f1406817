"""Windows: lists of the last samples, one for each key."""

import gc
import logging
import os
import signal
import weakref
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import pytest
from process_stages import AsTuple, ByParity, Forgetful, Gated, Wire, by_track, first_letter
from process_stages import Pass as Plain
from support import WATCHDOG, Collect, Pass

from DeepPipeline import SKIP, Many, Pipeline, Report, Stage, StageError, StartError, Windows

everywhere = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])


def through(stage: Stage, samples: Any, multiprocess: bool = False) -> tuple[list[Any], Report]:
    """What comes out of a stage, and the report."""
    end = Collect().options(executor="thread")
    p = Pipeline([stage, end], multiprocess=multiprocess, overflow="block", buffer_size=[2, 2])
    report = p.run(samples)
    assert report.balances()
    return end.got, report


def words(text: str, *, size: int = 2, stride: int = 1, **options: Any) -> tuple[list[str], Report]:
    """The lists that come of words that have their first letter as key."""
    stage = Pass().set_get_window(size, stride, key=first_letter, **options)
    got, report = through(stage, text.split())
    return [" ".join(words) for words in got], report


@everywhere
def test_partial_lists_begin_with_the_first_sample(multiprocess: bool) -> None:
    got, report = through(Plain().set_get_window(3, partial=True), range(1, 6), multiprocess)
    assert got == [[1], [1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert report.stages[0].counts.used == 5


@everywhere
def test_a_list_of_the_last_samples_that_moves_by_its_stride(multiprocess: bool) -> None:
    got, report = through(Plain().set_get_window(3), range(1, 6), multiprocess)
    assert got == [[1, 2, 3], [2, 3, 4], [3, 4, 5]]
    first = report.stages[0]
    counts = first.counts
    assert (first.intake, counts.used, counts.absorbed, counts.skipped, counts.gave) == ("window", 3, 2, 0, 3)
    got, report = through(Plain().set_get_window(3, 2), range(1, 9), multiprocess)
    assert got == [[1, 2, 3], [3, 4, 5], [5, 6, 7]]
    first = report.stages[0]
    assert (first.counts.used, first.counts.absorbed, first.counts.skipped) == (3, 4, 1), (
        "what no list has used at the end is skipped"
    )


@everywhere
def test_what_is_between_two_lists_is_skipped(multiprocess: bool) -> None:
    got, report = through(Plain().set_get_window(2, stride=3), range(1, 9), multiprocess)
    assert got == [[1, 2], [4, 5], [7, 8]]
    first = report.stages[0]
    assert (first.counts.used, first.counts.absorbed, first.counts.skipped) == (3, 3, 2)


def test_a_list_is_the_stages_own() -> None:
    class Change(Stage):
        def stage_run(self, samples: list[int]) -> int:
            samples.append(0)
            return sum(samples)

    assert through(Change().set_get_window(2), [1, 2, 3])[0] == [3, 5]


def test_a_list_goes_on_as_its_newest_sample() -> None:
    class Number(Stage):
        def stage_run(self, samples: list[Any]) -> int:
            assert self.sample is not None
            return self.sample.number

    assert through(Number().set_get_window(2, 2), list("abcdef"))[0] == [2, 4, 6]


def test_what_the_stage_gives_is_as_free_as_ever() -> None:
    class Moody(Stage):
        def stage_run(self, samples: list[int]) -> Any:
            return SKIP if samples[0] % 2 else Many(samples)

        def finish(self) -> str:
            return "end"

    got, report = through(Moody().set_get_window(2), [1, 2, 3, 4])
    assert got == [2, 3, "end"]
    first = report.stages[0]
    assert (first.counts.used, first.counts.skipped, first.counts.absorbed) == (1, 3, 0)


@everywhere
def test_each_key_has_a_window_of_its_own(multiprocess: bool) -> None:
    samples = [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5)]
    got, report = through(Plain().set_get_window(2, key=itemgetter(0)), samples, multiprocess)
    assert [[number for _, number in window] for window in got] == [[1, 3], [3, 4], [2, 5]]
    first = report.stages[0]
    assert (first.counts.used, first.counts.absorbed, first.counts.skipped) == (3, 2, 0)


@everywhere
def test_a_key_may_be_a_method_of_the_stage(multiprocess: bool) -> None:
    assert through(ByParity(), [1, 2, 3, 4], multiprocess)[0] == [[1, 3], [2, 4]]


def test_keys_are_the_same_where_python_says_so() -> None:
    got, _ = through(Pass().set_get_window(2, key=lambda x: x), [1, 1.0, (1, "a"), (1, "a"), "1"])
    assert got == [[1, 1.0], [(1, "a"), (1, "a")]]


def test_a_key_that_was_silent_too_long_starts_again() -> None:
    got, report = words("a1 b1 b2 b3 a2", idle=3)
    assert got == ["b1 b2", "b2 b3"]
    counts = report.stages[0].counts
    assert (counts.used, counts.absorbed, counts.skipped) == (2, 1, 2)
    assert words("a1 b1 b2 b3 a2", idle=4)[0] == ["b1 b2", "b2 b3", "a1 a2"]


def test_with_too_many_keys_the_one_silent_longest_is_forgotten() -> None:
    assert words("a1 b1 a2 c1 a3 b2", max_keys=2)[0] == ["a1 a2", "a2 a3"]
    got, report = words("a1 b1 c1 a2 b2", max_keys=2)
    assert got == []
    assert report.stages[0].counts.skipped == 5


def test_a_key_that_was_forgotten_frees_its_samples() -> None:
    class Thing:
        def __init__(self, name: str) -> None:
            self.name = name

    found: list[tuple[str, bool]] = []
    lives: dict[str, weakref.ref[Thing]] = {}

    def things() -> Any:
        for name in "abc":
            thing = Thing(name)
            lives[name] = weakref.ref(thing)
            yield thing
            del thing

    def key(thing: Thing) -> str:
        found.extend((thing.name, life() is not None) for name, life in lives.items() if name == "a")
        return thing.name

    through(Pass().set_get_window(2, key=key, max_keys=1), things())
    gc.collect()
    assert found[-1] == ("c", False)
    assert not any(life() for life in lives.values())


FRAMES = [{"ann": 1, "bob": 10}, {"ann": 2}, {}, {"bob": 20, "ann": 3}]


@everywhere
def test_with_a_dict_the_stage_gets_every_sample_and_the_windows_that_are_due(multiprocess: bool) -> None:
    got, report = through(AsTuple().set_get_window(2, key=by_track), FRAMES, multiprocess)
    assert got == [
        (FRAMES[0], {}, "Windows"),
        (FRAMES[1], {"ann": [1, 2]}, "Windows"),
        (FRAMES[2], {}, "Windows"),
        (FRAMES[3], {"bob": [10, 20], "ann": [2, 3]}, "Windows"),
    ]
    assert [*got[3][1]] == ["bob", "ann"], "in the order in which they were named"
    first = report.stages[0]
    assert (first.counts.used, first.counts.absorbed, first.counts.skipped) == (4, 0, 0)


def test_a_track_that_was_gone_too_long_starts_again() -> None:
    stage = Pass().set_get_window(2, key=by_track, idle=1)
    got, _ = through(stage, [{"ann": 1}, {}, {"ann": 2}, {"ann": 3}])
    assert [dict(windows) for windows in got] == [{}, {}, {}, {"ann": [2, 3]}]


@everywhere
def test_windows_may_go_on_to_the_next_stage(multiprocess: bool) -> None:
    got, _ = through(Plain().set_get_window(1, key=by_track), FRAMES[:1], multiprocess)
    [windows] = got
    assert type(windows) is Windows
    assert windows == {"ann": [1], "bob": [10]}
    assert windows.sample == FRAMES[0]
    assert repr(windows) == f"Windows({{'ann': [1], 'bob': [10]}}, sample={FRAMES[0]!r})"


def test_a_key_may_give_a_dict_for_one_sample_and_not_for_another() -> None:
    got, report = through(Pass().set_get_window(2, key=lambda x: x), [{"a": 1}, "a", {"a": 2}, "a", {"b": 3}])
    assert got == [{}, {"a": [1, 2]}, ["a", "a"], {}]
    first = report.stages[0]
    assert (first.counts.used, first.counts.absorbed, first.counts.skipped) == (4, 1, 0)


class OddHash:
    def __hash__(self) -> int:
        raise RuntimeError("no hash today")


class OddEq:
    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("cannot be compared")


BAD_KEYS: list[tuple[str, Callable[[Any], Any], type[Exception], str]] = [
    ("raises", lambda x: x["none"], TypeError, "TypeError: 'int' object is not subscriptable"),
    (
        "no hash",
        lambda x: [x],
        TypeError,
        "key gave a list, but must give something hashable, or a dict of key to item",
    ),
    ("odd hash", lambda x: OddHash(), RuntimeError, "no hash today"),
    ("odd comparison", lambda x: OddEq(), RuntimeError, "cannot be compared"),
]


@pytest.mark.parametrize(("key", "kind", "message"), [row[1:] for row in BAD_KEYS], ids=[row[0] for row in BAD_KEYS])
def test_a_key_that_fails_is_a_failure_of_its_stage(key: Callable[[Any], Any], kind: type, message: str) -> None:
    with pytest.raises(StageError, match=message) as caught:
        through(Pass().options(name="mine").set_get_window(2, key=key), [1, 2])
    assert isinstance(caught.value.__cause__, kind)
    assert caught.value.stage == "mine"


def test_a_key_that_fails_may_be_skipped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "DeepPipeline")

    def key(x: Any) -> Any:
        return [] if x == 2 else OddEq() if x == 5 else "a"

    stage = Pass().set_get_window(2, key=key).options(on_error="skip")
    got, report = through(stage, [1, 2, 3, 4, 5, 5])
    assert got == [[1, 3], [3, 4]]
    first = report.stages[0]
    assert (first.counts.failed, first.counts.used, first.counts.absorbed, first.counts.skipped) == (2, 2, 1, 1)


@everywhere
def test_a_failure_on_a_list_is_one_of_all_its_new_samples(
    multiprocess: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "DeepPipeline")
    got, report = through(Sums().set_get_window(2).options(on_error="skip"), [1, None, 3, 4], multiprocess)
    assert got == [7]
    first = report.stages[0]
    assert (first.counts.failed, first.counts.used) == (3, 1)


class Sums(Stage):
    def stage_run(self, samples: list[int]) -> int:
        return sum(samples)


def test_a_failure_keeps_no_sample_alive_in_its_traceback() -> None:
    class Thing:
        pass

    class Fail(Stage):
        def stage_run(self, samples: list[Thing]) -> None:
            samples.clear()
            raise ValueError("mine")

    lives: list[weakref.ref[Thing]] = []

    def things() -> Any:
        for _ in range(3):
            thing = Thing()
            lives.append(weakref.ref(thing))
            yield thing
            del thing

    with pytest.raises(StageError) as caught:
        through(Fail().set_get_window(3), things())
    gc.collect()
    assert [life() is None for life in lives] == [True, True, False], "the last is in the frames of the traceback"
    assert caught.value.__cause__ is not None


def test_windows_start_empty_after_a_crash() -> None:
    said, told, end = Wire(), Wire(), Collect().options(executor="thread")
    stage = Gated(said, told).set_get_window(2)
    p = Pipeline([stage, end], multiprocess=True, overflow="block", buffer_size=4).start()
    assert said.get()[0] == "setup"
    for x in (1, 2, 3, 4):
        p.put(x)
    window, pid = said.get()
    assert window == [1, 2]
    os.kill(pid, signal.SIGKILL)
    assert said.get()[0] == "setup"
    assert said.get()[0] == [3, 4]
    told.put("go on")
    report = p.setstop(abort_after=WATCHDOG)
    assert end.got == [[3, 4]]
    first = report.stages[0]
    assert (first.buffer.taken, first.counts.lost, first.counts.used, first.counts.absorbed) == (4, 2, 1, 1)
    assert report.balances()


def test_what_a_stage_leaves_out_of_its_pickle_is_not_its_window() -> None:
    assert through(Forgetful().set_get_window(2), [1, 2, 3], multiprocess=True)[0] == [[1, 2], [2, 3]]


def test_a_key_that_cannot_be_sent_to_a_process_is_named() -> None:
    with pytest.raises(StartError, match=r"stage 'mine': the key of its window cannot be sent .*lambda.*of a module"):
        Pipeline([Plain().options(name="mine").set_get_window(2, key=lambda x: x)], multiprocess=True).start()
    # Another intake forgets the key.
    stage = Plain().set_get_window(2, key=lambda x: x).set_get_single()
    assert through(stage, [1], multiprocess=True)[0] == [1]


def test_an_abort_counts_what_was_kept() -> None:
    with Pipeline([Pass().set_get_window(5)], overflow="block") as p:
        for x in range(3):
            p.put(x)
        while p.report().stages[0].buffer.taken < 3:
            pass
        report = p.abort()
    assert report.stages[0].counts.skipped == 3
    assert report.balances()
