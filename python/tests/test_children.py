"""Worker processes are the pipeline's own from their first moment to their last, whatever fails and whoever meddles."""

import errno
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from process_stages import ForksAndComesBack, Gated, LeavesRunning, Pass, Sockets, Wire
from support import WATCHDOG, Collect, finish, run_program, workers

import DeepPipeline
from DeepPipeline import Pipeline, StageError, StartError, WorkerDied, _launch
from DeepPipeline._threads import WorkerThread

START_METHODS = ["spawn", "forkserver", "fork"]


def program(tmp_path: Path, code: str, **options: Any) -> "subprocess.Popen[str]":
    """Starts a program from a file, as workers need it."""
    path = tmp_path / "program.py"
    imports = "import multiprocessing, os, signal, sys, threading, time\nfrom DeepPipeline import *\n"
    path.write_text(imports + textwrap.dedent(code))
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-P", "-u", path], stdout=pipe, stderr=pipe, text=True, **options)


# What a program may do to its children, without thinking of a pipeline.
MEDDLING = {
    "the system collects them": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "a thread collects them": "threading.Thread(target=collect, daemon=True).start()",
    "a handler collects them": "signal.signal(signal.SIGCHLD, lambda *_: collect_some())",
}


@pytest.mark.parametrize("meddling", MEDDLING)
def test_a_lost_exit_status_is_no_failure(tmp_path: Path, meddling: str) -> None:
    code = f"""
    def collect_some():
        try:
            while os.waitpid(-1, os.WNOHANG)[0]: pass
        except ChildProcessError: pass

    def collect():
        while True:
            try: os.waitpid(-1, 0)
            except ChildProcessError: time.sleep(0.001)

    class DiesOf(Stage):
        def __init__(self, number): self.number = number
        def stage_run(self, x):
            if x == self.number: os.kill(os.getpid(), signal.SIGKILL)
            return x

    if __name__ == "__main__":
        {MEDDLING[meddling]}
        p = Pipeline([DiesOf(None), DiesOf(2)], multiprocess=True, overflow="block")
        report = p.run([1, 2, 3])
        counts = [(stage.counts.used, stage.counts.lost, stage.restarts) for stage in report.stages]
        print(counts, report.balances(), report.left_behind, flush=True)
    """
    result = finish(program(tmp_path, code))
    assert result.stdout == "[(3, 0, 0), (2, 1, 1)] True []\n", result.stderr


def test_an_exit_status_that_nobody_can_tell_is_said_to_be_lost(tmp_path: Path) -> None:
    code = """
    class Dies(Stage):
        def stage_run(self, x): os._exit(3)

    if __name__ == "__main__":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try: Pipeline([Dies().options(max_restarts=0)], multiprocess=True).run([1])
        except StageError as error: print(error.__cause__.exitcode, error, flush=True)
    """
    result = finish(program(tmp_path, code))
    assert result.stdout.startswith("None "), result.stderr
    assert "nobody can tell how: SIGCHLD is ignored" in result.stdout


@pytest.mark.parametrize("start_method", START_METHODS)
def test_multiprocessing_cannot_collect_a_worker(start_method: Any) -> None:
    import multiprocessing

    said, told = Wire(), Wire()
    stage = Gated(said, told).options(max_restarts=0)
    p = Pipeline([stage], multiprocess=True, overflow="block", start_method=start_method).start()
    assert said.get()[0] == "setup"
    p.put(1)
    _, pid = said.get()
    process = os.pidfd_open(pid)
    # Whatever starts a process of multiprocessing's collects all that have ended and that it knows.
    assert multiprocessing.active_children() == []
    told.put("exit")
    with pytest.raises(StageError) as caught:
        p.setstop()
    assert select.select([process], [], [], 0)[0]
    os.close(process)
    assert isinstance(caught.value.__cause__, WorkerDied)
    assert caught.value.__cause__.exitcode == 3


def test_a_worker_that_dies_right_after_its_fork_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    said, told = Wire(), Wire()
    launched = _launch.Asked.launched
    launches = []

    def dies_the_second_time(asked: _launch.Asked) -> _launch.Launched:
        process = launched(asked)
        launches.append(process.pid)
        if len(launches) == 2:
            os.kill(process.pid, signal.SIGKILL)
            while Path(f"/proc/{process.pid}").exists():  # until the fork server has collected it
                time.sleep(0.001)
        return process

    monkeypatch.setattr(_launch.Asked, "launched", dies_the_second_time)
    p = Pipeline([Gated(said, told)], multiprocess=True, overflow="block", start_method="forkserver").start()
    assert said.get()[0] == "setup"
    p.put(1)
    p.put(2)
    assert said.get()[0] == 1
    told.put("exit")
    assert said.get()[0] == "setup"
    assert said.get()[0] == 2
    told.put("go on")
    [stage] = p.setstop().stages
    assert (stage.counts.used, stage.counts.lost, stage.restarts, len(launches)) == (1, 1, 2, 3)


HANDLING = ("_abort", "_request_abort", "_wake_source", "_give_up_start", "__del__")
"""What runs for another failure, or for another pipeline."""
PACKAGE = os.path.dirname(DeepPipeline.__file__)


def start_interrupted_at(line: int, start_method: Any) -> bool:
    """Starts a pipeline, with a Ctrl-C at that line of the package that this thread comes to; false past the last."""
    stages = [Collect(), Pass().options(executor="process"), Collect()]
    p = Pipeline(stages, overflow="block", start_method=start_method)
    left, process = line, os.getpid()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if os.getpid() != process:
            sys.settrace(None)
            return None
        if not frame.f_code.co_filename.startswith(PACKAGE) or frame.f_code.co_name in HANDLING:
            return None
        # While it is blocked it comes later.
        is_blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        left -= event == "line" and p._engine is not None and not is_blocked
        if left == 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    try:
        sys.settrace(trace)
        try:
            p.start(wait=False)
        finally:
            sys.settrace(None)
    except KeyboardInterrupt:
        if p._engine is not None:
            assert p.abort().left_behind == [], line
        return True
    p.abort()
    return False


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_a_start_that_is_interrupted_anywhere_leaves_nothing(start_method: Any) -> None:
    line = 1
    while start_interrupted_at(line, start_method):
        assert workers() == [], line
        line += 1
    assert workers() == []
    assert line > 20


def fails(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EMFILE, "Too many open files")


def fails_at(call: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """Fails when it is called that often."""
    calls = 0

    def function(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        return (fails if calls == call else real)(*arguments, **named)

    return function


STEPS = [
    *[("spawn", step, call) for step in ("_pickled", "_fill", "os.pipe", "util.spawnv_passfds") for call in (1, 2)],
    *[("spawn", "resource_tracker.getfd", call) for call in (1, 2)],
    *[("forkserver", step, call) for step in ("_pickled", "_fill", "Asked.launched") for call in (1, 2)],
    *[("forkserver", "forkserver.connect_to_new_process", call) for call in (1, 2)],
    *[("fork", "popen_fork.Popen", call) for call in (1, 2)],
]


@pytest.mark.parametrize(("start_method", "step", "call"), STEPS)
def test_a_step_of_a_start_that_fails_leaves_nothing(
    start_method: Any, step: str, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner: Any = _launch
    *path, name = step.split(".")
    for part in path:
        owner = getattr(owner, part)
    monkeypatch.setattr(owner, name, fails_at(call, getattr(owner, name)))
    p = Pipeline([Collect(), Pass(), Pass()], multiprocess=True, overflow="block", start_method=start_method)
    with pytest.raises(StartError, match=r"cannot start a process for stage .*Too many open files"):
        p.start()
    assert workers() == []


@pytest.mark.parametrize("start_method", START_METHODS)
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_thread_that_cannot_be_started_leaves_nothing(
    start_method: Any, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    real, calls = WorkerThread.start, iter(range(1, 100))
    monkeypatch.setattr(WorkerThread, "start", lambda self: (refused if next(calls) == call else real)(self))
    stages = [Pass().options(executor="thread"), Pass(), Pass()]
    with pytest.raises(StartError, match="can't start new thread"):
        Pipeline(stages, multiprocess=True, start_method=start_method).start()
    assert workers() == []


HANGS = """
class Model(Stage):
    def __init__(self): self.weights = bytes(5_000_000)
    def stage_run(self, x): os._exit(1)

if multiprocessing.current_process().name != "MainProcess" and os.path.exists("hangs"):
    os.write(1, f"importing {os.getpid()}\\n".encode())
    signal.pause()
"""


def importing(process: "subprocess.Popen[str]") -> int:
    """Waits until a worker hangs while it imports the program, and gives its pidfd."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("importing"):
            return os.pidfd_open(int(line.split()[1]))
    raise AssertionError(f"nobody imports: {process.stderr and process.stderr.read()}")


def assert_ends(worker: int) -> None:
    assert select.select([worker], [], [], WATCHDOG)[0]
    os.close(worker)


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_a_worker_that_hangs_while_it_imports_the_program_holds_up_no_start(tmp_path: Path, start_method: str) -> None:
    (tmp_path / "hangs").touch()
    code = f"""
    {textwrap.indent(HANGS, "    ").strip()}

    if __name__ == "__main__":
        try: Pipeline([Model()], multiprocess=True, start_method="{start_method}").start(timeout=2)
        except StartTimeout as error: print(error, flush=True)
    """
    process = program(tmp_path, code, cwd=tmp_path)
    worker = importing(process)
    result = finish(process)
    assert "still in setup: Model; the pipeline was aborted" in result.stdout, result.stderr
    assert_ends(worker)


def test_a_worker_that_hangs_while_it_imports_the_program_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "hangs").touch()
    code = f"""
    {textwrap.indent(HANGS, "    ").strip()}

    if __name__ == "__main__":
        Pipeline([Model()], multiprocess=True).start()
    """
    process = program(tmp_path, code, cwd=tmp_path)
    worker = importing(process)
    process.kill()
    assert_ends(worker)
    finish(process)


def test_a_worker_whose_program_was_gone_before_it_began_ends_without_a_word() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    code = f"""
    import socket
    from DeepPipeline import _engine
    ours, theirs = socket.socketpair()
    _engine.Lifeline(theirs.detach(), {gone.pid})
    print("lives on")
    """
    result = run_program(code)
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGKILL, "", "")


def test_a_restart_that_hangs_in_the_import_holds_up_no_stop(tmp_path: Path) -> None:
    code = f"""
    {textwrap.indent(HANGS, "    ").strip()}

    if __name__ == "__main__":
        p = Pipeline([Model()], multiprocess=True).start()
        open("hangs", "w").close()
        p.put(1)
        sys.stdin.read()
        print("outcome", p.setstop(abort_after=0.1).left_behind, flush=True)
    """
    process = program(tmp_path, code, cwd=tmp_path, stdin=subprocess.PIPE)
    worker = importing(process)
    result = finish(process)
    assert "outcome []" in result.stdout, result.stderr
    assert_ends(worker)


@pytest.mark.parametrize("what", ["thread", "process"])
def test_what_a_stage_leaves_running_is_named_and_does_not_keep_its_process(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    said = Wire()
    end = Collect().options(executor="thread")
    p = Pipeline([LeavesRunning(said, what).options(name="leaves"), end], multiprocess=True, overflow="block").start()
    name, pid = said.get()
    left = os.pidfd_open(pid)
    p.put(1)
    report = p.setstop()
    assert (end.got, report.left_behind, report.stages[0].restarts) == ([1], [], 0)
    assert workers() == []
    [warning] = [message for message in caplog.messages if "running" in message]
    assert warning.startswith(f"stage 'leaves' left {what} {name!r} running, which kept its process for 0.1 s")
    assert_ends(left)


@pytest.mark.parametrize("start_method", START_METHODS)
def test_processes_of_a_stage_do_not_have_its_workers_socket(start_method: Any) -> None:
    said = Wire()
    Pipeline([Sockets(said)], multiprocess=True, overflow="block", start_method=start_method).run([1])
    sockets, forked, started = map(set, said.get())
    [own] = sockets - forked
    assert own not in started


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("how", ["exit", "return", "raise"])
def test_a_forked_child_that_comes_back_from_a_stage_is_no_worker(executor: Any, how: str) -> None:
    end = Collect()
    codes = {"exit": 7, "return": 1, "raise": 1}
    report = Pipeline([ForksAndComesBack(how).options(executor=executor), end], overflow="block").run([1, 2])
    assert end.got == [codes[how], codes[how]]
    assert (report.stages[0].counts.used, report.stages[0].counts.failed, report.balances()) == (2, 0, True)


def test_the_first_worker_is_started_with_ctrl_c_blocked(tmp_path: Path) -> None:
    code = """
    from multiprocessing import util
    real = util.spawnv_passfds
    def spawnv_passfds(path, arguments, descriptors):
        if any("spawn_main" in str(argument) for argument in arguments):
            print("blocked", signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)
        return real(path, arguments, descriptors)

    class Same(Stage):
        def stage_run(self, x): return x

    if __name__ == "__main__":
        util.spawnv_passfds = spawnv_passfds
        Pipeline([Same()], multiprocess=True).run([1])
    """
    result = finish(program(tmp_path, code))
    assert result.stdout == "blocked True\n", result.stderr
