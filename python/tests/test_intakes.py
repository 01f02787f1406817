"""How a stage takes from its buffer, and what happens when the buffer is full."""

import pickle
from typing import Any, Literal

import process_stages
import pytest
from support import Collect, Gate, Pass

from DeepPipeline import All, Batch, Latest, Pipeline, PutError, PutTimeout, Single, Stage, Ticket, Window
from DeepPipeline._stage import options_of


def test_single() -> None:
    gate, end = Gate().set_get_single(), Collect()
    p = Pipeline([gate, end], buffer_size=3, overflow="block").start()
    p.put(1)
    assert gate.in_flight() == 1
    for x in (2, 3, 4):
        p.put(x)
    gate.let_go(4)
    report = p.setstop()
    assert end.got == [1, 2, 3, 4]
    assert report.stages[0].intake == "single"


def test_latest() -> None:
    gate, end = Gate().set_get_latest(), Collect()
    p = Pipeline([gate, end], buffer_size=3, overflow="block").start()
    p.put(1)
    assert gate.in_flight() == 1
    for x in (2, 3, 4):
        p.put(x)
    gate.let_go(2)
    report = p.setstop()
    assert end.got == [1, 4]
    first = report.stages[0]
    assert (first.intake, first.overflow, first.buffer.superseded, first.buffer.dropped) == (
        "latest",
        "drop_oldest",
        2,
        2,
    )
    assert [str(sample) for sample in first.buffer.last_dropped] == ["2", "3"]


def test_all() -> None:
    gate, end = Gate().set_get_all(), Collect()
    p = Pipeline([gate, end], buffer_size=[3, 2], overflow="block").start()
    for x in range(1, 9):
        p.put(x) if x < 4 else None
    assert gate.in_flight() == [1, 2, 3]
    for x in (4, 5):
        p.put(x)
    gate.let_go(2)
    report = p.setstop()
    assert end.got == [[1, 2, 3], [4, 5]], "what is left comes as a shorter list"
    first = report.stages[0]
    assert (first.counts.used, first.counts.absorbed, first.buffer.taken, first.counts.gave) == (2, 3, 5, 2)


def test_all_gives_a_list_of_its_own() -> None:
    class Change(Stage):
        def stage_run(self, samples: list[int]) -> list[int]:
            samples.append(0)
            return samples

    end = Collect()
    Pipeline([Change().set_get_all(), end], buffer_size=[2, 2], overflow="block").run([1, 2, 3, 4])
    assert end.got == [[1, 2, 0], [3, 4, 0]]


def test_a_batch_is_handed_over_once_it_is_complete() -> None:
    gate, end = Gate().set_get_batch(3, timeout=3600, fold=True), Collect()
    p = Pipeline([gate, end], buffer_size=[4, 2], overflow="block").start()
    for x in (1, 2, 3):
        p.put(x)
    assert gate.in_flight() == [1, 2, 3]
    for x in (4, 5, 6, 7):
        p.put(x)
    gate.let_go(3)
    report = p.setstop()
    assert end.got == [[1, 2, 3], [4, 5, 6], [7]], "what is left comes as a shorter list"
    first = report.stages[0]
    counts = first.counts
    assert (first.intake, counts.used, counts.absorbed, first.buffer.taken, counts.gave) == ("batch", 3, 4, 7, 3)


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_a_batch_is_whatever_is_there_once_the_first_has_waited(timeout: float) -> None:
    gate, end = Gate().set_get_batch(3, timeout, fold=True), Collect()
    p = Pipeline([gate, end], buffer_size=[4, 2], overflow="block").start()
    p.put(1)
    assert gate.in_flight() == [1]
    for x in (2, 3, 4, 5):
        p.put(x)
    gate.let_go(3)
    p.setstop()
    assert end.got == [[1], [2, 3, 4], [5]]


@pytest.mark.parametrize("timeout", [float("inf"), 10**400])
def test_a_batch_may_wait_as_long_as_it_takes(timeout: float) -> None:
    end = Collect()
    Pipeline([Pass().set_get_batch(2, timeout, fold=True), end], overflow="block").run([1, 2, 3])
    assert end.got == [[1, 2], [3]]


def test_batches_in_a_process() -> None:
    end = Collect().options(executor="thread")
    stages = [process_stages.Pass().set_get_batch(3, 3600, fold=True), end]
    report = Pipeline(stages, multiprocess=True, buffer_size=4, overflow="block").run(range(7))
    assert end.got == [[0, 1, 2], [3, 4, 5], [6]]
    assert report.balances()


def test_drop_oldest() -> None:
    gate, end = Gate(), Collect()
    p = Pipeline([gate, end], buffer_size=[2, 8]).start()
    p.put(1)
    gate.in_flight()
    assert [p.put(x).number for x in (2, 3, 4)] == [2, 3, 4]
    gate.let_go(3)
    report = p.setstop()
    assert end.got == [1, 3, 4]
    first = report.stages[0]
    assert (first.overflow, first.buffer.dropped_oldest) == ("drop_oldest", 1)
    assert report.dropped == 1


def test_drop_newest() -> None:
    gate, end = Gate(), Collect()
    p = Pipeline([gate, end], buffer_size=[2, 8], overflow="drop_newest").start()
    p.put(1)
    gate.in_flight()
    assert [p.put(x).number for x in (2, 3, 4)] == [2, 3, None]
    gate.let_go(3)
    report = p.setstop()
    assert end.got == [1, 2, 3]
    assert report.stages[0].buffer.dropped_newest == 1


@pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])
def test_a_ticket_knows_the_number_that_the_stage_sees(multiprocess: bool) -> None:
    end = Collect().options(executor="thread")
    with Pipeline([process_stages.Numbered(), end], multiprocess=multiprocess, overflow="block") as p:
        tickets = [p.put("x"), p.put("y")]
    assert [ticket.number for ticket in tickets] == end.got == [1, 2]
    assert all(tickets)


def test_a_ticket_is_false_where_the_sample_was_dropped() -> None:
    assert Ticket(7)
    assert not Ticket(None)
    assert Ticket(7) == Ticket(7) != Ticket(None)
    assert [repr(Ticket(7)), repr(Ticket(None))] == ["Ticket(number=7)", "Ticket(number=None)"]
    assert pickle.loads(pickle.dumps(Ticket(7))) == Ticket(7)


def test_block() -> None:
    gate, end = Gate(), Collect()
    p = Pipeline([gate, end], buffer_size=1, overflow="block").start()
    p.put(1)
    gate.in_flight()
    p.put(2)
    sample = object()
    with pytest.raises(PutTimeout, match=r"put timed out after 0.01 s: the buffer of the first stage stayed") as caught:
        p.put(sample, timeout=0.01)
    assert caught.value.value is sample
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(PutTimeout):
        p.put(3, timeout=0)
    gate.let_go(3)
    p.put(4)
    p.setstop()
    assert end.got == [1, 2, 4]


def test_overflow_of_one_stage() -> None:
    gate, end = Gate().options(overflow="drop_newest"), Collect()
    p = Pipeline([Pass(), gate, end], overflow="block").start()
    assert [stage.overflow for stage in p.report().stages] == ["block", "drop_newest", "block"]
    p.setstop()


def test_setters_chain_and_keep_each_other() -> None:
    stage = Pass().set_get_latest().options(name="a").options(on_error="skip").set_get_all().options()
    with Pipeline([stage], buffer_size=4) as p:
        [report] = p.report().stages
        assert (report.name, report.intake, report.buffer_size) == ("a", "all", 4)


SAME: dict[str, tuple[Stage, Stage]] = {
    "single": (Pass().options(intake=Single()), Pass().set_get_single()),
    "latest": (Pass().options(intake=Latest()), Pass().set_get_latest()),
    "all": (Pass().options(intake=All()), Pass().set_get_all()),
    "batch": (Pass().options(intake=Batch(2, max_wait=3.5, fold=True)), Pass().set_get_batch(2, 3.5, fold=True)),
    "window": (
        Pass().options(intake=Window(4, 2, key=id, max_keys=8, idle=3, partial=True)),
        Pass().set_get_window(4, 2, key=id, max_keys=8, idle=3, partial=True),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_an_intake_is_a_value_and_the_setters_say_the_same(name: str) -> None:
    new, old = SAME[name]
    assert options_of(new) == options_of(old)
    with Pipeline([new]) as p:
        assert p.report().stages[0].intake == name


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_batches_and_windows_by_value(executor: Literal["thread", "process"]) -> None:
    batched = process_stages.Pass().options(intake=Batch(2, max_wait=3600, fold=True), executor=executor)
    windowed = process_stages.Pass().options(intake=Window(2, partial=True), executor=executor)
    assert list(Pipeline([batched, windowed]).stream([1, 2, 3])) == [[[1, 2]], [[1, 2], [3]]]


def test_a_batch_need_not_wait() -> None:
    assert Batch(2) == Batch(2, max_wait=0)


def test_a_stage_says_the_size_of_its_own_buffer() -> None:
    stages = [Pass(), Pass().options(buffer_size=5), Pass()]
    with Pipeline(stages, buffer_size=3) as p:
        assert [stage.buffer_size for stage in p.report().stages] == [3, 5, 3]
    with Pipeline([Pass(), Pass().options(buffer_size=6)], buffer_size=[1, 2]) as p:
        assert [stage.buffer_size for stage in p.report().stages] == [1, 6]


def test_a_stage_says_the_bytes_of_its_own_buffer() -> None:
    def of(buffer_bytes: int) -> Pipeline:
        return Pipeline([process_stages.Pass().options(buffer_bytes=buffer_bytes)], multiprocess=True)

    with of(1 << 20) as p:
        assert p.put(bytes(1 << 19))
    with of(1 << 16) as p, pytest.raises(PutError, match="bytes, but buffer_bytes is 65536"):
        p.put(bytes(1 << 19))


def test_latest_never_runs_dry() -> None:
    end = Collect()
    report = Pipeline([Pass().set_get_latest(), end], overflow="block").run(range(1000))
    first = report.stages[0]
    assert end.got[-1] == 999
    assert end.got == sorted(set(end.got))
    assert first.buffer.entered == first.buffer.taken + first.buffer.dropped


def test_a_stage_that_sees_lists_of_lists() -> None:
    end = Collect()
    first: Any = Pass().set_get_all()
    second: Any = Pass().set_get_all()
    Pipeline([first, second, end], buffer_size=[2, 3, 1], overflow="block").run(range(7))
    assert end.got == [[[0, 1], [2, 3], [4, 5]], [[6]]]
