"""What the last stage gives, asked for one by one."""

import contextlib
import gc
import queue
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from process_stages import FailAt, Pass, Tell, TellTeardown, Wire
from process_stages import Square as SquareThere
from support import WATCHDOG, Gate, finish, program, read_until, run_program, workers

from DeepPipeline import SKIP, GraphError, Many, Pipeline, PutError, Stage, StageError, StartError, Stream

everywhere = pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])


class Counting:
    """A source of 1, 2, 3, ... that says how many it was asked for."""

    def __init__(self) -> None:
        self.asked: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.number = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.number += 1
        self.asked.put(self.number)
        return self.number


class TornDown(Stage):
    """Gives on what it gets, and says when it is torn down."""

    def __init__(self) -> None:
        self.is_torn_down = threading.Event()

    def stage_run(self, x: Any) -> Any:
        return x

    def teardown(self) -> None:
        self.is_torn_down.set()


@everywhere
def test_values_come_out_in_order(multiprocess: bool) -> None:
    stream = Pipeline([Pass(), SquareThere()], multiprocess=multiprocess).stream(range(100))
    assert list(stream) == [x * x for x in range(100)]
    report = stream.report()
    assert report.outcome == "finished" and report.balances()
    assert [stage.name for stage in report.stages] == ["Pass", "Square", "stream"]
    assert report.dropped == 0


def test_it_is_over_after_the_last_value() -> None:
    stream = Pipeline([Pass()], source=[1]).stream()
    assert (next(stream), next(stream, "over"), next(stream, "over")) == (1, "over", "over")
    stream.close()
    assert stream.report().outcome == "finished"


def test_the_source_runs_ahead_only_as_far_as_the_buffers_let_it() -> None:
    source = Counting()
    with Pipeline([Pass()], source=source, buffer_size=1).stream() as stream:
        # One is handed over, one waits for that, one is in the hand of the stage, one waits for that, one is in the
        # source's.
        for number in range(1, 6):
            assert source.asked.get(timeout=WATCHDOG) == number
        assert next(stream) == 1
        assert source.asked.get(timeout=WATCHDOG) == 6
        assert source.asked.empty()


@everywhere
def test_nothing_is_dropped_unless_the_user_says_so(multiprocess: bool) -> None:
    stream = Pipeline([Pass(), Pass()], multiprocess=multiprocess, buffer_size=1).stream(range(50))
    assert list(stream) == [*range(50)]
    assert [stage.overflow for stage in stream.report().stages] == ["block"] * 3


def test_a_policy_that_the_user_gives_is_kept() -> None:
    with Pipeline([Pass(), Pass().options(overflow="drop_newest")], overflow="drop_oldest").stream([]) as stream:
        assert [*stream] == []
    assert [stage.overflow for stage in stream.report().stages] == ["drop_oldest", "drop_newest", "block"]


def test_without_a_stream_the_oldest_is_dropped() -> None:
    with Pipeline([Pass()]) as p:
        assert p.report().stages[0].overflow == "drop_oldest"


def test_skips_many_lists_and_none_come_as_from_any_stage() -> None:
    class Mixed(Stage):
        def stage_run(self, x: int) -> Any:
            return [SKIP, None, [x], Many([x, x])][x]

        def finish(self) -> str:
            return "finish"

    assert list(Pipeline([Mixed()]).stream(range(4))) == [None, [2], 3, 3, "finish"]


def test_buffer_sizes_are_those_of_the_users_stages() -> None:
    with Pipeline([Pass(), Pass()], buffer_size=[3, 4]).stream([]) as stream:
        assert [stage.buffer_size for stage in stream.report().stages] == [3, 4, 2]
    with Pipeline([Pass(), Pass()], buffer_size=5).stream([]) as stream:
        assert [stage.buffer_size for stage in stream.report().stages] == [5, 5, 5]


def test_it_needs_one_source() -> None:
    with pytest.raises(GraphError, match="stream got a source, but the pipeline has one already"):
        Pipeline([Pass()], source=[1]).stream([2])
    with pytest.raises(GraphError, match="stream needs a source"):
        Pipeline([Pass()]).stream()


def test_a_pipeline_runs_once() -> None:
    p = Pipeline([Pass()], source=[1])
    assert list(p.stream()) == [1]
    with pytest.raises(StartError, match="start was called twice"):
        p.stream()
    with pytest.raises(PutError):
        p.put(1)


@everywhere
def test_a_failure_comes_after_all_values_before_it(multiprocess: bool) -> None:
    stream = Pipeline([Pass(), FailAt(5), Pass()], multiprocess=multiprocess, buffer_size=8).stream(range(100))
    got = []
    with pytest.raises(StageError) as caught:
        for x in stream:
            got.append(x)
    assert got == [0, 1, 2, 3, 4]
    assert caught.value.stage == "FailAt"
    assert isinstance(caught.value.__cause__, ValueError)
    assert next(stream, "over") == "over"
    assert stream.report().outcome == "failed" and stream.report().balances()


def test_a_source_that_fails_is_told_after_all_values_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("unplugged")

    stream = Pipeline([Pass()]).stream(source())
    assert (next(stream), next(stream)) == (1, 2)
    with pytest.raises(StageError, match="unplugged"):
        next(stream)


def test_a_setup_that_fails_is_told_at_once() -> None:
    class Broken(Pass):
        def setup(self) -> None:
            raise OSError("no model")

    with pytest.raises(StageError, match="no model"):
        Pipeline([Broken()]).stream([1])


def test_closing_runs_every_teardown() -> None:
    stages = [TornDown(), TornDown()]
    stream = Pipeline(stages, source=Counting()).stream()
    assert next(stream) == 1
    stream.close()
    assert all(stage.is_torn_down.is_set() for stage in stages)
    assert list(stream) == []
    assert stream.report().outcome == "aborted" and stream.report().balances()
    stream.close()


def test_the_end_of_with_closes() -> None:
    stage = TornDown()
    with contextlib.suppress(KeyError), Pipeline([stage], source=Counting()).stream() as stream:
        for x in stream:
            if x == 3:
                raise KeyError(x)
    assert stage.is_torn_down.is_set()
    assert stream.report().outcome == "aborted"


def test_processes_end_with_the_stream() -> None:
    said = Wire()
    with Pipeline([TellTeardown(said)], source=Counting(), multiprocess=True).stream() as stream:
        assert next(stream) == 1
    assert said.get() == "teardown"
    assert workers() == []


def test_a_break_ends_the_pipeline() -> None:
    stage = TornDown()
    p = Pipeline([stage], source=Counting())
    for x in p.stream():
        if x == 3:
            break
    gc.collect()
    assert stage.is_torn_down.wait(WATCHDOG)
    assert p.setstop().outcome == "aborted"


def test_an_iterator_that_is_forgotten_ends_the_pipeline() -> None:
    stage = TornDown()
    stream: Stream | None = Pipeline([stage], source=Counting()).stream()
    assert stream is not None and next(stream) == 1
    del stream
    gc.collect()
    assert stage.is_torn_down.wait(WATCHDOG)


def test_one_that_was_never_asked_ends_too() -> None:
    stage = TornDown()
    Pipeline([stage], source=Counting()).stream()
    gc.collect()
    assert stage.is_torn_down.wait(WATCHDOG)


def test_abort_from_another_thread_wakes_whoever_asks() -> None:
    gate = Gate()
    p = Pipeline([gate], source=[1, 2])
    stream = p.stream()
    got: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
    asking = threading.Thread(target=lambda: got.put(list(stream)))
    asking.start()
    assert gate.in_flight() == 1
    aborting = threading.Thread(target=p.abort)
    aborting.start()
    while p.report().outcome != "aborted":
        pass
    gate.let_go(2)
    assert got.get(timeout=WATCHDOG) == []
    asking.join()
    aborting.join()


def test_setstop_lets_the_rest_go() -> None:
    p = Pipeline([Pass()], source=Counting())
    stream = p.stream()
    assert next(stream) == 1
    assert p.setstop().outcome == "finished"
    assert len(list(stream)) <= 1  # what was offered already


def test_a_stage_of_the_users_may_be_named_stream() -> None:
    with Pipeline([Pass().options(name="stream")]).stream([1]) as stream:
        assert list(stream) == [1]
    assert [stage.name for stage in stream.report().stages] == ["stream", "stream 2"]


def test_several_threads_may_ask() -> None:
    stream = Pipeline([Pass()]).stream(range(200))
    got: queue.SimpleQueue[int] = queue.SimpleQueue()
    threads = [threading.Thread(target=lambda: [*map(got.put, stream)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WATCHDOG)
    assert sorted(got.get() for _ in range(200)) == [*range(200)]


def test_an_end_stage_may_tell_and_give() -> None:
    said = Wire()

    class TellAndGive(Tell):
        def stage_run(self, x: Any) -> Any:
            super().stage_run(x)
            return x

    assert list(Pipeline([Pass()], end_stage=TellAndGive(said)).stream([7])) == [7]
    assert said.get() == 7


@pytest.mark.parametrize("multiprocess", [False, True], ids=["threads", "processes"])
def test_ctrl_c_while_waiting_for_a_value(multiprocess: bool) -> None:
    process = program(f"""
        class Hold(Stage):
            def stage_run(self, x):
                if x == 2: time.sleep(0.2)
                return x
            def teardown(self): print("torn down", flush=True)
        def source():
            yield 1
            hold.wait()
        hold = threading.Event()
        p = Pipeline([Hold().options(executor="thread"), Pass().options(name="there")], start_method="fork",
                     multiprocess={multiprocess})
        try:
            for x in p.stream(source()):
                print("got", x, flush=True)
                ready_when_main_is_in("take")
        except KeyboardInterrupt:
            print("outcome", p.report().outcome, flush=True)
            hold.set()
    """)
    read_until(process, "ready")
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert "torn down" in done.stdout and "outcome aborted" in done.stdout, done
    assert done.returncode == 0, done


def test_the_interpreter_exits_while_a_stream_is_unfinished() -> None:
    done = run_program("""
        import itertools
        stream = Pipeline([Pass()]).stream(itertools.count(1))
        print("got", next(stream), flush=True)
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "got 1\n", "")
