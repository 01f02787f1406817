"""Workers that die or hang: what is lost, what is tried again, and what the user is told."""

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from process_stages import Gated, HalfThenDie, HangsInTeardown, Tell, Wire
from support import PROGRAM, WATCHDOG, Collect, finish, lines_until, run_in_a_group, workers

from DeepPipeline import Pipeline, Stage, StageError, WorkerDied


class Bench:
    """A gated stage in a process, between a test that puts and an end stage that collects."""

    def __init__(self, **options: Any) -> None:
        self.said = Wire()
        self.told = Wire()
        self.end = Collect().options(executor="thread")
        stage = Gated(self.said, self.told).options(name="gated", **options)
        self.p = Pipeline([stage, self.end], multiprocess=True, overflow="block", buffer_size=4).start()
        self.pid = self.next("setup")

    def next(self, wanted: Any) -> int:
        """Waits until the worker says this, and tells which process it is."""
        what, pid = self.said.get()
        assert what == wanted
        assert isinstance(pid, int)
        return pid

    def stop(self) -> Any:
        report = self.p.setstop(abort_after=WATCHDOG)
        assert report.balances()
        assert workers() == []
        return report.stages[0]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("death", ["kill", "exit", "abort", "segfault"])
def test_a_worker_that_dies_is_started_again_and_loses_the_sample_in_flight_alone(death: str) -> None:
    bench = Bench()
    for x in (1, 2, 3):
        bench.p.put(x)
    first = bench.next(1)
    if death == "kill":
        kill(first)
    else:
        bench.told.put(death)
    second = bench.next("setup")
    assert second != first
    for x in (2, 3):
        assert bench.next(x) == second
        bench.told.put("go on")
    stage = bench.stop()
    assert (stage.counts.lost, stage.restarts, stage.counts.used) == (1, 1, 2)
    assert bench.end.got == [2, 3]


def test_a_sample_may_be_tried_again_once() -> None:
    bench = Bench(on_crash="retry")
    bench.p.put(1)
    bench.p.put(2)
    kill(bench.next(1))
    bench.next("setup")
    bench.next(1)
    bench.told.put("go on")
    kill(bench.next(2))
    bench.next("setup")
    kill(bench.next(2))
    bench.next("setup")
    stage = bench.stop()
    assert (stage.counts.lost, stage.restarts, stage.counts.used, stage.buffer.taken) == (1, 3, 1, 2)
    assert bench.end.got == [1]


def test_a_crash_may_stop_the_pipeline() -> None:
    bench = Bench(on_crash="stop")
    bench.p.put(1)
    bench.next(1)
    bench.told.put("exit")
    with pytest.raises(
        StageError, match=r'"gated" failed in stage_run on sample 1: its worker ended with exit code 3'
    ) as caught:
        bench.p.setstop()
    died = caught.value.__cause__
    assert isinstance(died, WorkerDied)
    assert (died.exitcode, died.stderr) == (3, ["about to exit"])
    assert caught.value.report.balances()
    assert caught.value.report.stages[0].counts.lost == 1


def test_when_it_gives_up_it_tells_the_signal_and_the_last_words() -> None:
    bench = Bench(max_restarts=1)
    for x in (1, 2, 3):
        bench.p.put(x)
    bench.next(1)
    bench.told.put("abort")
    bench.next("setup")
    bench.next(2)
    bench.told.put("abort")
    with pytest.raises(StageError, match=r"SIGABRT \(signal 6\); it had been restarted 1 times within 60s") as caught:
        bench.p.setstop()
    died = caught.value.__cause__
    assert isinstance(died, WorkerDied)
    assert died.exitcode == -signal.SIGABRT
    assert any("stage_run" in line for line in died.stderr), died.stderr  # where in Python it was
    assert caught.value.report.balances()


def test_a_worker_that_hangs_is_killed_after_its_timeout() -> None:
    bench = Bench(time_limit=0.2)
    bench.p.put(1)
    bench.p.put(2)
    bench.next(1)
    bench.told.put("hang")
    bench.next("setup")
    bench.next(2)
    bench.told.put("go on")
    stage = bench.stop()
    assert stage.counts.lost >= 1  # on a busy machine the second may be over its time, too
    assert stage.counts.lost + stage.counts.used == 2


def test_a_thread_that_takes_too_long_is_only_reported(caplog: pytest.LogCaptureFixture) -> None:
    class Slow(Stage):
        def stage_run(self, x: float) -> None:
            threading.Event().wait(x)

    report = Pipeline([Slow().options(time_limit=0.001)], overflow="block").run([0.0, 0.01])
    assert report.stages[0].counts.used == 2
    assert "stage 'Slow' took longer than its time_limit on a sample" in caplog.messages


def test_a_half_given_many_is_not_given_twice() -> None:
    deaths = Wire()
    deaths.put("die once")
    end = Collect().options(executor="thread")
    stage = HalfThenDie(deaths).options(on_crash="retry")
    p = Pipeline([stage, end], multiprocess=True, overflow="block").start()
    p.put(1)
    p.put(2)
    report = p.setstop()
    assert end.got == [11, 12, 13, 21, 22, 23]
    assert report.balances()


def test_a_worker_that_hangs_in_teardown_does_not_hang_setstop() -> None:
    said = Wire()
    p = Pipeline([HangsInTeardown(said)], multiprocess=True).start()
    p.put(1)
    report = p.setstop(abort_after=0.1)
    pid = said.get()
    assert report.balances()
    assert report.left_behind == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_that_hangs_is_killed_by_abort() -> None:
    bench = Bench()
    bench.p.put(1)
    pid = bench.next(1)
    report = bench.p.abort()
    assert report.left_behind == []
    assert report.balances()
    assert report.stages[0].counts.lost == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_pipeline_that_is_forgotten_leaves_no_process() -> None:
    bench = Bench()
    bench.p.put(1)
    process = os.pidfd_open(bench.next(1))
    del bench.p
    assert select.select([process], [], [], WATCHDOG)[0]
    os.close(process)


def test_workers_end_when_their_pipelines_process_is_killed(tmp_path: Path) -> None:
    process = run_in_a_group(
        tmp_path,
        """
        if __name__ == "__main__":
            p = Pipeline([Slow(), Slow(), Show()], multiprocess=True).start()
            say("started")
            while True:
                p.put(1)
        """,
    )
    lines = lines_until(process, "started")
    workers = [os.pidfd_open(int(line.split()[1])) for line in lines if line.startswith("worker")]
    assert len(workers) == 2
    process.kill()
    for worker in workers:
        assert select.select([worker], [], [], WATCHDOG)[0]
        os.close(worker)
    process.communicate()


def test_ctrl_c_drains_once_and_workers_print_no_tracebacks(tmp_path: Path) -> None:
    process = run_in_a_group(
        tmp_path,
        """
        if __name__ == "__main__":
            try:
                with Pipeline([Slow(), Show()], multiprocess=True, overflow="block") as p:
                    for x in range(1, 1_000_000):
                        p.put(x)
            except KeyboardInterrupt:
                report = p.report()
                print("outcome", report.outcome, report.balances(), report.stages[0].counts.lost, flush=True)
        """,
    )
    lines_until(process, "shown 3")
    os.killpg(process.pid, signal.SIGINT)
    result = finish(process)
    assert "outcome finished True 0" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_second_ctrl_c_aborts(tmp_path: Path) -> None:
    process = run_in_a_group(
        tmp_path,
        """
        class Stuck(Stage):
            def stage_run(self, x):
                say("stuck")
                while True:
                    signal.pause()

        class Told(logging.Handler):
            def emit(self, record):
                say("told", record.getMessage())

        if __name__ == "__main__":
            logging.getLogger("DeepPipeline").addHandler(Told())
            try:
                with Pipeline([Stuck(), Show()], multiprocess=True, overflow="block") as p:
                    p.put(1)
                    signal.pause()
            except KeyboardInterrupt:
                report = p.report()
                say("outcome", report.outcome, report.balances(), report.stages[0].counts.lost)
        """,
    )
    lines_until(process, "stuck")
    os.killpg(process.pid, signal.SIGINT)
    lines_until(process, "told interrupted: draining")
    os.killpg(process.pid, signal.SIGINT)
    result = finish(process)
    assert "outcome aborted True 1" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_missing_main_guard_is_a_clear_error_and_no_fork_bomb(tmp_path: Path) -> None:
    process = run_in_a_group(
        tmp_path,
        """
        say("imported")
        Pipeline([Slow(), Show()], multiprocess=True).start()
        """,
    )
    result = finish(process)
    assert result.returncode == 1
    assert result.stdout.count("imported") == 3  # by the program, and by the worker of each stage
    assert 'if __name__ == "__main__":' in result.stderr
    assert "before it was ready" in result.stderr


def test_a_class_from_a_prompt_is_refused_with_advice() -> None:
    code = PROGRAM + "Pipeline([Slow()], multiprocess=True).start()"
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=WATCHDOG)
    assert result.returncode == 1
    assert "Slow, is defined in a notebook or at a prompt" in result.stderr
    assert "Put the class into a module" in result.stderr


def test_a_forked_class_from_a_prompt_works() -> None:
    code = PROGRAM + 'Pipeline([Slow(), Show()], multiprocess=True, start_method="fork").run([1])'
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=WATCHDOG)
    assert (result.returncode, result.stderr) == (0, "")
    assert "shown 1" in result.stdout


def test_the_interpreter_drains_processes_when_it_exits(tmp_path: Path) -> None:
    process = run_in_a_group(
        tmp_path,
        """
        if __name__ == "__main__":
            p = Pipeline([Slow(), Show()], multiprocess=True, overflow="block").start()
            for x in range(1, 6):
                p.put(x)
        """,
    )
    result = finish(process)
    assert (result.returncode, result.stderr) == (0, "")
    assert "shown 5" in result.stdout


def test_a_stage_may_have_processes_of_its_own(tmp_path: Path) -> None:
    process = run_in_a_group(
        tmp_path,
        """
        class Loads(Stage):
            def stage_run(self, x):
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    return sum(pool.map(abs, range(-x, 0)))

        if __name__ == "__main__":
            Pipeline([Loads(), Show()], multiprocess=True, overflow="block").run([1, 2, 3])
        """,
    )
    result = finish(process)
    assert (result.returncode, result.stderr) == (0, "")
    assert [line for line in result.stdout.splitlines() if line.startswith("shown")] == [
        "shown 1",
        "shown 3",
        "shown 6",
    ]


def test_an_end_stage_in_a_process_sees_everything_in_order() -> None:
    said = Wire()
    p = Pipeline([Tell(said)], multiprocess=True, overflow="block").start()
    for x in range(20):
        p.put(x)
        assert said.get() == x
    p.setstop()


def test_a_reader_of_stderr_that_has_stopped_holds_up_neither_a_time_out_nor_the_exit(tmp_path: Path) -> None:
    process = run_in_a_group(
        tmp_path,
        """
        class Floods(Stage):
            def stage_run(self, x):
                for _ in range(50_000):
                    print("flood", x, file=sys.stderr)
                while True:
                    signal.pause()

        if __name__ == "__main__":
            logging.basicConfig()  # restarts are logged to stderr, too
            stage = Floods().options(time_limit=2, max_restarts=1)
            p = Pipeline([stage], multiprocess=True, overflow="block").start()
            p.put(1)
            p.put(2)
            try:
                p.setstop()
            except StageError as error:
                say("died", "killed for taking longer than 2s" in str(error))
        """,
    )
    lines = lines_until(process, "died")  # while nobody reads stderr
    assert lines[-1] == "died True"
    assert process.wait(WATCHDOG) == 0
    result = finish(process)
    assert "[Floods] flood 1\n" in result.stderr


def test_a_progress_bar_of_a_worker_moves_while_it_is_drawn(tmp_path: Path) -> None:
    process = run_in_a_group(
        tmp_path,
        f"""
        class Bar(Stage):
            def stage_run(self, x):
                sys.stderr.write(chr(13) + str(x) + "%")
                while not os.path.exists(os.path.join({str(tmp_path)!r}, str(x))):
                    time.sleep(0.01)

        if __name__ == "__main__":
            Pipeline([Bar()], multiprocess=True, overflow="block").run([10, 20])
        """,
    )
    assert process.stderr is not None
    shown = ""
    for x, step in ((10, "[Bar] 10%"), (20, "\r[Bar] 20%")):
        while not shown.endswith(step):
            shown += os.read(process.stderr.fileno(), 1).decode()
        (tmp_path / str(x)).touch()
    assert (finish(process).returncode, shown) == (0, "[Bar] 10%\r[Bar] 20%")
