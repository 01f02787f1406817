"""Signals that reach every process of a program: it decides what they mean, and its workers go on meanwhile."""

import os
import signal
from pathlib import Path

import pytest
from process_stages import Restarted, Terminates
from support import Collect, finish, lines_until, run_in_a_group

from DeepPipeline import Pipeline

SENT = [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2]

# A program that drains once it was sent all of them, and says which process was told.
STOPS = f"""
asked = []
def stop(number, frame):
    say("told", os.getpid(), number)
    asked.append(number)

def handle():
    for number in {[int(number) for number in SENT]}:
        signal.signal(number, stop)

def run(method):
    p = Pipeline([Slow(), Show()], multiprocess=True, overflow="block", start_method=method).start()
    x = 0
    while len(asked) < {len(SENT)}:
        p.put(x := x + 1)
    report = p.setstop()
    lost, restarts = sum(s.counts.lost for s in report.stages), sum(s.restarts for s in report.stages)
    say("outcome", report.outcome, report.stages[-1].counts.used == x, lost, restarts)
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_stop_signal_to_the_whole_group_loses_nothing(method: str, tmp_path: Path) -> None:
    process = run_in_a_group(tmp_path, STOPS + f'if __name__ == "__main__":\n    handle()\n    run({method!r})\n')
    lines_until(process, "shown 2")
    for number in SENT:
        os.killpg(process.pid, number)
        # One after the other, and in the program alone: a fork has its handlers, too.
        said = lines_until(process, f"told {process.pid} {int(number)}")
        assert sum(line.startswith("told") for line in said) == 1
    result = finish(process)
    assert "outcome finished True 0 0" in result.stdout
    assert "told" not in result.stdout
    assert "Traceback" not in result.stderr


def test_a_stop_signal_does_not_end_a_worker_that_still_imports_the_program(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    imports = f"""
if __name__ == "__mp_main__":
    say("importing")
    open({str(gate)!r}).close()
elif __name__ == "__main__":
    handle()
    run("spawn")
"""
    process = run_in_a_group(tmp_path, STOPS + imports)
    lines_until(process, "importing")
    for number in SENT:
        os.killpg(process.pid, number)
        lines_until(process, f"told {process.pid} {int(number)}")
    with gate.open("w"):
        result = finish(process)
    assert "outcome finished True 0 0" in result.stdout, result.stderr


def test_what_a_stage_starts_can_be_terminated() -> None:
    end = Collect().options(executor="thread")
    methods = ["fork", "spawn"]
    Pipeline([Terminates().options(executor="process"), end], overflow="block").run([methods])
    assert end.got == [[-signal.SIGTERM] * 3]


def test_a_stage_is_told_that_its_process_was_started_again() -> None:
    end = Collect().options(executor="thread")
    Pipeline([Restarted().options(executor="process"), end], overflow="block").run(["first", "die", "second"])
    assert end.got == [(False, False), (True, True)]


def test_on_a_thread_no_stage_was_started_again() -> None:
    end = Collect()
    Pipeline([Restarted(), end], overflow="block").run(["first"])
    assert end.got == [(False, False)]
