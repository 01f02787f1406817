"""Ctrl-C: the first one drains, the second one aborts, wherever the main thread waits."""

import signal
import subprocess
import threading

import pytest
from support import finish, program, read_until

from DeepPipeline import drain_on_signals

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
        def inside():
            while True: time.sleep(0.01)
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
    assert result.returncode == 120, "samples are lost"
    assert "interrupted while the interpreter exits: aborting" in result.stderr


def test_without_a_pipeline_in_the_way() -> None:
    """The library installs no handler: an interrupt elsewhere is the user's own."""
    process = program("""
    p = Pipeline([Show()], overflow='block').start()
    p.put(1)
    while not p.report().stages[0].counts.used: pass
    print('ready', flush=True)
    signal.pause()
    """)
    read_until(process, "ready")
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in result.stderr


DRAINS = """
with drain_on_signals() as stop:
    try:
        with p:
            p.put(1)
            entered.wait()
            p.put(2)
            ready_when_main_is_in('put')
            p.put(3)
    finally:
        report = p.report()
        print('received', stop.received.name, 'outcome', report.outcome, report.stages[-1].counts.used, flush=True)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_inside_drain_on_signals_each_of_them_drains(number: signal.Signals, code: int) -> None:
    process = program(STAGES + DRAINS)
    read_until(process, "ready")
    process.send_signal(number)
    read_until(process, "told interrupted: draining; interrupt again to abort")
    assert process.stdin is not None
    process.stdin.write("go on\n")
    process.stdin.flush()
    result = finish(process)
    assert f"received {number.name} outcome finished 2" in result.stdout
    assert (result.returncode, result.stderr) == (code, "")


def test_inside_drain_on_signals_a_second_one_aborts() -> None:
    process = program(STAGES + DRAINS)
    read_until(process, "ready")
    process.send_signal(signal.SIGTERM)
    read_until(process, "told interrupted: draining; interrupt again to abort")
    process.send_signal(signal.SIGHUP)
    result = finish(process)
    assert "received SIGTERM outcome aborted 0" in result.stdout
    assert (result.returncode, result.stderr) == (143, "")


def test_drain_on_signals_leaves_ignored_signals_alone_and_puts_handlers_back() -> None:
    ours = signal.signal(signal.SIGTERM, lambda *_: None)
    handler = signal.getsignal(signal.SIGTERM)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with drain_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert (stop.received, stop.exit_code) == (None, 0)
            assert signal.getsignal(signal.SIGTERM) is not handler
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, ours)
        signal.signal(signal.SIGHUP, hang_up)


def test_drain_on_signals_in_another_thread_is_refused() -> None:
    refused: list[str] = []

    def enter() -> None:
        try:
            with drain_on_signals():
                pass
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=enter, name="other")
    thread.start()
    thread.join()
    assert refused == [
        "drain_on_signals in thread 'other': only the main thread may handle signals; enter it there",
    ]
