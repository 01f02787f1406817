"""In a notebook: a real kernel runs the cells."""

from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")

CELLS = [
    """
import threading, time
from DeepPipeline import Pipeline, Stage, StageError

class Double(Stage):
    def stage_run(self, x):
        return 2 * x

class Keep(Stage):
    def __init__(self):
        self.got = []
    def stage_run(self, x):
        self.got.append(x)
""",
    """
keep = Keep()
with Pipeline([Double(), keep], overflow="block") as p:
    for x in range(3):
        p.put(x)
keep.got
""",
    """
open_one = Pipeline([Double(), Keep()]).start()
open_one.put(1)
""",
    """
class Fails(Stage):
    def stage_run(self, x):
        raise ValueError("mine")
try:
    Pipeline([Fails()], overflow="block").run([1])
except StageError as error:
    print(error)
""",
    """
import _thread, sys
entered, go_on = threading.Event(), threading.Event()
class Slow(Stage):
    def stage_run(self, x):
        entered.set()
        go_on.wait()
slow = Pipeline([Slow()]).start()
slow.put(1)
entered.wait()
def press():
    main = threading.main_thread().ident
    while sys._current_frames()[main].f_code.co_name != "_flow_out":
        pass
    _thread.interrupt_main()
    go_on.set()
threading.Thread(target=press).start()
try:
    slow.setstop()
except KeyboardInterrupt:
    print("interrupted")
slow.report().outcome
""",
    """
stuck = Pipeline([Slow()]).start()
entered.clear()
go_on.clear()
stuck.put(1)
entered.wait()
""",
    """
from DeepPipeline import StartError
try:
    Pipeline([Double(), Keep()], multiprocess=True).start()
except StartError as error:
    print(error)
""",
    """
import importlib, pathlib, sys
pathlib.Path("mine.py").write_text("from DeepPipeline import Stage\\n"
    "class Square(Stage):\\n    def stage_run(self, x): return x * x\\n")
sys.path.insert(0, "")
import mine
keep = Keep().options(executor="thread")
Pipeline([mine.Square(), keep], multiprocess=True, overflow="block").run([1, 2, 3])
keep.got
""",
    """
keep = Keep().options(executor="thread")
Pipeline([Double(), keep], multiprocess=True, start_method="fork", overflow="block").run([1, 2, 3])
keep.got
""",
]


def test_cells_run_and_the_kernel_shuts_down(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    # `execute` starts a kernel, and shuts it down with an open and a stuck pipeline in it.
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", resources=place).execute()
    outputs = [
        "".join(o.get("text", "") or o["data"]["text/plain"] for o in cell["outputs"]) for cell in notebook["cells"]
    ]
    assert outputs[1] == "[0, 2, 4]"
    assert outputs[2] == "Ticket(number=1)"
    assert "ValueError: mine" in outputs[3]
    assert "interrupted" in outputs[4]
    assert "'finished'" in outputs[4]
    assert "Double, is defined in a notebook" in outputs[6]
    assert "Put the class into a module" in outputs[6]
    assert outputs[7:] == ["[1, 4, 9]", "[2, 4, 6]"]
