"""The interpreter always exits: drained, without a hang, an abort or a word too many."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from support import PRELUDE, WATCHDOG, finish, program, program_file, read_until, run_program

FINE = (0, "")


LOST = 120
"""The exit code of a program whose samples were lost at its end."""


def ended(code: str, *shown: Any, exit_code: int = 0) -> str:
    """The program exits with that code and shows these samples; gives back its stderr."""
    result = run_program(code)
    assert result.returncode == exit_code, result.stderr
    assert result.stdout.splitlines() == [f"shown {x}" for x in shown]
    return result.stderr


def test_with_an_open_pipeline() -> None:
    assert (
        ended("p = Pipeline([Pass(), Show()], overflow='block').start()\nfor x in range(5): p.put(x)", *range(5)) == ""
    )


def test_with_a_pipeline_that_was_never_started() -> None:
    assert ended("p = Pipeline([Pass(), Show()])") == ""


def test_with_a_slow_stage_that_goes_on() -> None:
    code = """
    class Slow(Stage):
        def stage_run(self, x):
            time.sleep(0.01)
            return x
    p = Pipeline([Slow(), Show()], overflow='block', buffer_size=8).start()
    for x in range(8): p.put(x)
    """
    assert ended(code, *range(8)) == ""


STUCK = """
import DeepPipeline._exit
DeepPipeline._exit.PATIENCE = 0.2
entered = threading.Event()
class Stuck(Stage):
    def stage_run(self, x):
        entered.set()
        time.sleep(1e6)
p = Pipeline([Pass(), Stuck(), Pass()]).start()
p.put(1)
entered.wait()
"""


def test_with_a_stage_stuck_in_sleep() -> None:
    assert "still busy: Stuck" in ended(STUCK, exit_code=LOST)


@pytest.mark.parametrize("stuck", ["time.sleep(1e6)", "while True: pass"])
def test_with_a_generator_stuck_inside_many(stuck: str) -> None:
    code = f"""
    import DeepPipeline._exit
    DeepPipeline._exit.PATIENCE = 0.2
    entered = threading.Event()
    class Stuck(Stage):
        def stage_run(self, x):
            def values():
                yield x
                entered.set()
                {stuck}
            return Many(values())
    p = Pipeline([Stuck(), Pass()]).start()
    p.put(1)
    entered.wait()
    """
    assert "still busy: Stuck" in ended(code, exit_code=LOST)


def test_after_an_exception_with_a_stuck_stage() -> None:
    result = run_program(STUCK + "raise ValueError('mine')")
    assert result.returncode == 1
    assert "ValueError: mine" in result.stderr


@pytest.mark.parametrize("last", ["p.abort()", "p.setstop(abort_after=0.1)", "del p"])
def test_with_what_an_abort_left_behind(last: str) -> None:
    ended(STUCK + last)


def test_with_a_stage_that_never_stops_computing() -> None:
    code = """
    import DeepPipeline._exit
    DeepPipeline._exit.PATIENCE = 0.2
    entered = threading.Event()
    class Busy(Stage):
        def stage_run(self, x):
            entered.set()
            while True: pass
    p = Pipeline([Busy(), Pass()]).start()
    p.put(1)
    entered.wait()
    """
    ended(code, exit_code=LOST)


def test_after_an_exception_inside_with() -> None:
    result = run_program(
        "with Pipeline([Pass(), Show()], overflow='block') as p:\n    p.put(1)\n    raise ValueError('mine')"
    )
    assert (result.returncode, result.stdout) == (1, "shown 1\n")
    assert result.stderr.rstrip().endswith("ValueError: mine")


def test_sys_exit_with_an_open_pipeline() -> None:
    result = run_program("p = Pipeline([Show()], overflow='block').start()\np.put(1)\nsys.exit(7)")
    assert (result.returncode, result.stdout, result.stderr) == (7, "shown 1\n", "")


def test_with_a_failure_that_nobody_saw() -> None:
    code = """
    class Fails(Stage):
        def stage_run(self, x): raise ValueError('unseen')
    p = Pipeline([Fails()]).start()
    p.put(1)
    """
    err = ended(code, exit_code=LOST)
    assert "a pipeline that nobody waited for has failed" in err
    assert "ValueError: unseen" in err


POOLS = {
    "an executor made for each sample": """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(2) as pool: return pool.submit(int, x).result()
    """,
    "asyncio.to_thread": """
        import asyncio
        async def main(): return await asyncio.to_thread(int, x)
        return asyncio.run(main())
    """,
    "a thread": """
        box = []
        thread = threading.Thread(target=box.append, args=(x,))
        thread.start()
        thread.join()
        return box[0]
    """,
    "an executor of processes": """
        from concurrent.futures import ProcessPoolExecutor
        import multiprocessing
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(int, x).result()
    """,
}

WARM_POOL = """
pool = ThreadPoolExecutor(1)
pool.submit(int, 0).result()
"""

SLOW_TO_COME = """
class Fetch(Stage):
    def stage_run(self, x):
        main_ended.wait()
{fetch}
# It sees the end of the program before the stage does.
main_ended = threading.Event()
def at_the_end(pipeline, patience):
    main_ended.set()
    return drain(pipeline, patience)
drain = Pipeline._drain_at_exit
Pipeline._drain_at_exit = at_the_end
p = Pipeline([Fetch(), Show()], overflow='block', buffer_size=4).start()
for x in range(3): p.put(x)
"""


def slow_to_come(fetch: str) -> str:
    return SLOW_TO_COME.format(fetch=textwrap.indent(textwrap.dedent(fetch), " " * 8))


@pytest.mark.parametrize("fetch", POOLS.values(), ids=POOLS.keys())
def test_with_a_stage_that_starts_threads(fetch: str) -> None:
    assert ended(slow_to_come(fetch), *range(3)) == ""


def test_with_a_pool_that_a_stage_has_made_before() -> None:
    code = slow_to_come("return pool.submit(int, x).result()")
    assert ended("from concurrent.futures import ThreadPoolExecutor\n" + WARM_POOL + code, *range(3)) == ""


@pytest.mark.parametrize("how", [["program.py"], ["-m", "program"], ["."]])
def test_however_the_program_is_run_a_stage_may_start_threads(how: list[str], tmp_path: Path) -> None:
    code = PRELUDE + slow_to_come(POOLS["a thread"])
    for name in ("program.py", "__main__.py"):
        (tmp_path / name).write_text(code)
    result = subprocess.run([sys.executable, *how], cwd=tmp_path, capture_output=True, text=True, timeout=WATCHDOG)
    assert (result.returncode, result.stderr, result.stdout) == (0, "", "shown 0\nshown 1\nshown 2\n")


def test_at_a_prompt_pipelines_stay_open_from_line_to_line() -> None:
    lines = """
from DeepPipeline import *
class Show(Stage):
    def stage_run(self, x): print("shown", x, flush=True)

p = Pipeline([Show()], overflow="block").start()
accepted = p.put(1)
accepted = p.put(2)
"""
    result = subprocess.run([sys.executable, "-P", "-i"], input=lines, capture_output=True, text=True, timeout=WATCHDOG)
    assert (result.returncode, result.stdout) == (0, "shown 1\nshown 2\n"), result.stderr
    assert "Error" not in result.stderr


ON_3_12 = pytest.mark.skipif(sys.version_info[:2] != (3, 12), reason="of sys.monitoring, which only Python 3.12 needs")

ENDED_BY = {"sys.exit()": "sys.exit()", "no tool left": ""}


@ON_3_12
@pytest.mark.parametrize("last", ENDED_BY.values(), ids=ENDED_BY.keys())
def test_a_stage_that_can_start_no_thread_at_the_end_ends_the_program_with_an_error(last: str) -> None:
    taken = "" if last else "for tool in (3, 4): sys.monitoring.use_tool_id(tool, 'theirs')\n"
    err = ended(taken + slow_to_come(POOLS["a thread"]) + last, exit_code=LOST)
    assert "can't create new thread at interpreter shutdown" in err


@ON_3_12
def test_a_tool_that_monitors_everything_sees_all_of_the_program() -> None:
    code = """
    returned = []
    def theirs(code, offset, value): returned.append(code.co_name)
    events = sys.monitoring.events
    sys.monitoring.use_tool_id(sys.monitoring.COVERAGE_ID, "theirs")
    sys.monitoring.register_callback(sys.monitoring.COVERAGE_ID, events.PY_RETURN, theirs)
    sys.monitoring.set_events(sys.monitoring.COVERAGE_ID, events.PY_RETURN)
    import atexit
    atexit.register(lambda: print("shown", returned.count("<module>"), sys.monitoring.get_tool(4)))
    p = Pipeline([Show()], overflow="block").start()
    for x in range(3): p.put(x)
    """
    assert ended(code, 0, 1, 2, "1 None") == ""


def test_what_cannot_be_drained_ends_the_program_with_an_error() -> None:
    err = ended(slow_to_come('raise RuntimeError("can\'t start new thread")'), exit_code=LOST)
    assert "can't start new thread" in err


def test_what_logs_after_samples_were_lost_is_not_told_that_it_cannot() -> None:
    code = """
    import atexit, logging
    atexit.register(logging.warning, "the last word")
    class Fails(Stage):
        def stage_run(self, x):
            raise ValueError("broken")
    p = Pipeline([Fails()]).start()
    p.put(1)
    """
    err = ended(code, exit_code=LOST)
    assert "WARNING:root:the last word" in err
    assert "Logging error" not in err


def test_the_exit_code_of_an_exception_stays() -> None:
    result = run_program(slow_to_come("raise RuntimeError('too late')") + "raise ValueError('mine')")
    assert result.returncode == 1
    assert "too late" in result.stderr


def test_a_worker_process_is_started_again_while_the_interpreter_exits(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        textwrap.dedent("""
        import os, threading
        from DeepPipeline import Pipeline, Stage
        class Work(Stage):
            def stage_run(self, x):
                if x == 1: os._exit(3)
                return x
        class Show(Stage):
            def stage_run(self, x): print("shown", x, flush=True)
        class Hold(Stage):
            def stage_run(self, x):
                main_ended.wait()
                return x
        main_ended = threading.Event()
        if __name__ == "__main__":
            def at_the_end(pipeline, patience):
                main_ended.set()
                return drain(pipeline, patience)
            drain = Pipeline._drain_at_exit
            Pipeline._drain_at_exit = at_the_end
            stages = [Hold().options(executor="thread"), Work(), Show().options(executor="thread")]
            p = Pipeline(stages, overflow="block", buffer_size=4, multiprocess=True).start()
            for x in range(3): p.put(x)
        """)
    )
    result = finish(program_file(path))
    assert (result.returncode, result.stdout.splitlines()) == (0, ["shown 0", "shown 2"]), result.stderr
    assert "starting it again" in result.stderr


def test_with_a_failure_that_was_seen() -> None:
    code = """
    class Fails(Stage):
        def stage_run(self, x): raise ValueError('seen')
    p = Pipeline([Fails()]).start()
    p.put(1)
    try: p.setstop()
    except StageError: pass
    """
    err = ended(code)
    assert err.count("ValueError: seen") == 2, (
        "once in the message, once as the traceback: it is logged when it happens"
    )
    assert "nobody waited" not in err


@pytest.mark.parametrize("daemon", [True, False])
def test_while_another_thread_puts(daemon: bool) -> None:
    code = f"""
    def feed():
        try:
            while True: p.put(0)
        except PutError: pass
    p = Pipeline([Pass(), Pass()], overflow='block').start()
    threading.Thread(target=feed, daemon={daemon}).start()
    """
    assert ended(code) == ""


def test_with_a_pipeline_that_a_thread_starts_while_the_interpreter_exits() -> None:
    code = """
    def late():
        global p
        threading.main_thread().join()
        try:
            p = Pipeline([Pass(), Show()], overflow='block').start()
            for x in range(5): p.put(x)
        except StartError as error:
            assert 'at interpreter shutdown' in str(error)
            for x in range(5): print('shown', x)
    threading.Thread(target=late).start()
    """
    assert ended(code, *range(5)) == ""


def test_with_a_source_that_waits() -> None:
    code = """
    import queue
    class Camera:
        frames = queue.SimpleQueue()
        def __iter__(self): return iter(self.frames.get, None)
        def close(self): self.frames.put(None)
    camera = Camera()
    camera.frames.put(1)
    p = Pipeline(source=camera, stages=[Show()], overflow='block').start()
    while not p.report().stages[0].counts.used: pass
    """
    assert ended(code, 1) == ""


def test_with_a_source_that_cannot_be_woken() -> None:
    code = """
    import DeepPipeline._exit
    DeepPipeline._exit.PATIENCE = 0.2
    def frames():
        yield 1
        time.sleep(1e6)
    p = Pipeline(source=frames(), stages=[Show()], overflow='block').start()
    while not p.report().stages[0].counts.used: pass
    """
    assert "still busy: source" in ended(code, 1, exit_code=LOST)


@pytest.mark.parametrize("source", ["sys.stdin", "sys.stdin.buffer", "(line for line in sys.stdin.buffer)"])
def test_with_a_source_that_reads_from_stdin(source: str) -> None:
    process = program(f"""
    import DeepPipeline._exit
    DeepPipeline._exit.PATIENCE = 0.2
    p = Pipeline(source={source}, stages=[Show()]).start()
    while not p.report().stages[0].counts.used: pass
    """)
    assert process.stdin is not None
    process.stdin.write("line\n")
    process.stdin.flush()
    # It stays open: the source waits for another line.
    assert process.wait(WATCHDOG) == LOST
    assert process.stderr is not None
    assert "still busy: source" in process.stderr.read()
    process.stdin.close()


def test_from_atexit() -> None:
    code = """
    import atexit
    def bye():
        print('shown', p.setstop().outcome)
    atexit.register(bye)
    p = Pipeline([Pass()], overflow='block').start()
    p.put(1)
    """
    assert ended(code, "finished") == ""


def test_in_a_reference_cycle() -> None:
    code = """
    class Own(Show):
        pass
    stage = Own()
    stage.pipeline = Pipeline([stage], overflow='block').start()
    stage.pipeline.put(1)
    """
    assert ended(code, 1) == ""


def test_many_times_with_busy_workers() -> None:
    """What aborts an interpreter at its end does so now and then only."""
    code = """
    p = Pipeline([Pass(), Pass(), Pass()], overflow='block').start()
    for x in range(2000): p.put(x)
    """
    for process in [program(code) for _ in range(10)]:
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == FINE


def test_a_forked_child() -> None:
    code = """
    p = Pipeline([Pass(), Show()], overflow='block').start()
    child = os.fork()
    if child == 0:
        try: p.put(1)
        except PutError: sys.exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    p.put(2)
    """
    assert "Error" not in ended(code, 2)


def test_a_child_forked_inside_with() -> None:
    code = """
    child = None
    try:
        with Pipeline([Show()], overflow='block') as p:
            child = os.fork()
            if child == 0: sys.exit(5)
            p.put(1)
    finally:
        if child: assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    """
    assert "Error" not in ended(code, 1)


def test_a_child_forked_by_a_stage() -> None:
    code = """
    import multiprocessing
    class Forks(Stage):
        def stage_run(self, x):
            child = multiprocessing.get_context('fork').Process(target=int)
            child.start()
            child.join()
            return child.exitcode
    with Pipeline([Forks(), Show()], overflow='block') as p:
        p.put(1)
    """
    assert "Error" not in ended(code, 0)


def test_a_pipeline_started_in_a_forked_child() -> None:
    code = """
    p = Pipeline([Show()], overflow='block').start()
    child = os.fork()
    if child == 0:
        p.start().put(1)
        sys.exit(0)
    os.waitpid(child, 0)
    """
    assert "Error" not in ended(code, 1)


def test_killed_by_a_signal_it_dies_of_it() -> None:
    process = program("p = Pipeline([Pass()]).start()\nprint('ready')\nsys.stdin.read()")
    read_until(process, "ready")
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == -15


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_no_thread_of_the_engines_own() -> None:
    code = """
    p = Pipeline([Pass(), Pass()]).start()
    print('shown', len(os.listdir('/proc/self/task')) - 1)
    """
    # One for each stage, one that logs, and one that frees what is discarded.
    assert os.path.isdir("/proc/self/task")
    ended(code, 4)
