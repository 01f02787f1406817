"""Ctrl-C: the first one drains, the second one aborts, wherever the main thread waits."""

import signal
import subprocess

import pytest
from support import finish, program, read_until

# The stage takes its time until the program hears from the test on stdin.
STAGES = """
import logging
entered, go_on = threading.Event(), threading.Event()
class Slow(Stage):
    def stage_run(self, x):
        entered.set()
        go_on.wait()
        return x
class Told(logging.Handler):
    def emit(self, record): print('told', record.getMessage(), flush=True)
logging.getLogger('DeepPipeline').addHandler(Told())
def listen():
    if sys.stdin.readline(): go_on.set()
threading.Thread(target=listen, daemon=True).start()
def frames():
    yield 1
    yield 2
    while True:
        time.sleep(0.001)
        yield 3
def interrupted(p):
    print('outcome', p.report().outcome, p.report().balances(), flush=True)
p = Pipeline([Slow(), Show()], overflow='block', buffer_size=1)
"""

PLACES = {
    "with": """
        def inside(): signal.pause()
        try:
            with p:
                p.put(1)
                entered.wait()
                ready_when_main_is_in('inside')
                inside()
        except KeyboardInterrupt: interrupted(p)
    """,
    "put": """
        try:
            with p:
                p.put(1)
                entered.wait()
                p.put(2)
                ready_when_main_is_in('put')
                p.put(3)
        except KeyboardInterrupt: interrupted(p)
    """,
    "setstop": """
        p.start().put(1)
        entered.wait()
        ready_when_main_is_in('_flow_out')
        try: p.setstop()
        except KeyboardInterrupt: interrupted(p)
    """,
    "end of with": """
        try:
            with p:
                p.put(1)
                entered.wait()
                ready_when_main_is_in('_flow_out')
        except KeyboardInterrupt: interrupted(p)
    """,
    "run": """
        ready_when_main_is_in('_flow_out')
        try: p.run(frames())
        except KeyboardInterrupt: interrupted(p)
    """,
    "join": """
        p = Pipeline([Slow(), Show()], source=frames(), overflow='block', buffer_size=1).start()
        entered.wait()
        ready_when_main_is_in('_flow_out')
        try: p.join()
        except KeyboardInterrupt: interrupted(p)
    """,
}


def start(place: str) -> subprocess.Popen[str]:
    process = program(STAGES + "\n" + "if True:\n" + PLACES[place])
    read_until(process, "ready")
    process.send_signal(signal.SIGINT)
    read_until(process, "told interrupted: draining; interrupt again to abort")
    return process


@pytest.mark.parametrize("place", PLACES)
def test_the_first_one_drains(place: str) -> None:
    process = start(place)
    assert process.stdin is not None
    process.stdin.write("go on\n")
    process.stdin.flush()
    result = finish(process)
    assert result.returncode == 0, result.stderr
    assert "shown 1" in result.stdout or place == "run"
    assert "outcome finished True" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("place", PLACES)
def test_the_second_one_aborts(place: str) -> None:
    process = start(place)
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.returncode == 0, result.stderr
    assert "shown" not in result.stdout
    assert "outcome aborted True" in result.stdout
    assert "Traceback" not in result.stderr


def test_while_starting_it_aborts() -> None:
    process = program("""
    go_on = threading.Event()
    class Slow(Stage):
        def setup(self):
            print('ready', flush=True)
            go_on.wait()
        def stage_run(self, x): pass
    p = Pipeline([Slow()])
    try: p.start()
    except KeyboardInterrupt: print('shown', p.report().outcome, p.report().stages[0].name, flush=True)
    go_on.set()
    """)
    read_until(process, "ready")
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert (result.returncode, result.stdout) == (0, "shown aborted Slow\n")


def test_at_exit_it_aborts() -> None:
    process = program("""
    entered = threading.Event()
    class Stuck(Stage):
        def stage_run(self, x):
            entered.set()
            time.sleep(1e6)
    import DeepPipeline._exit
    DeepPipeline._exit.PATIENCE = 1e6
    p = Pipeline([Stuck()]).start()
    p.put(1)
    entered.wait()
    ready_when_main_is_in('_drain_at_exit')
    """)
    read_until(process, "ready")
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.returncode == 0
    assert "interrupted while the interpreter exits: aborting" in result.stderr


def test_without_a_pipeline_in_the_way() -> None:
    """The library installs no handler: an interrupt elsewhere is the user's own."""
    process = program("""
    p = Pipeline([Show()], overflow='block').start()
    p.put(1)
    while not p.report().stages[0].used: pass
    print('ready', flush=True)
    signal.pause()
    """)
    read_until(process, "ready")
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in result.stderr
