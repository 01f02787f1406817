"""Stages that cannot reach their processes are refused before anything starts, with advice that helps."""

import multiprocessing
import re
import subprocess
import sys
import zipapp
from pathlib import Path
from typing import Any

import pytest
from process_stages import Pass
from support import WATCHDOG

from DeepPipeline import Pipeline, Stage, StartError

PROGRAM = """
import os, sys
from DeepPipeline import Pipeline, Stage, StartError

class Work(Stage):
    def stage_run(self, x):
        return x

def main():
    try:
        print(list(Pipeline([Work()], multiprocess=True).stream([1, 2])))
    except StartError as error:
        print(error)

if __name__ == "__main__":
    main()
"""


def said(folder: Path, *arguments: str, code: str | None = None) -> str:
    """What a run of Python in that folder says."""
    command = [sys.executable, *arguments]
    result = subprocess.run(command, cwd=folder, input=code, capture_output=True, text=True, timeout=WATCHDOG)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the program in it, in many forms."""
    (tmp_path / "package").mkdir()
    for name in ("program.py", "package/__main__.py", "package/__init__.py", "package/module.py"):
        (tmp_path / name).write_text(PROGRAM)
    zipapp.create_archive(tmp_path / "package", tmp_path / "archive.pyz")
    gone = PROGRAM.replace("    main()\n", "    os.remove(__file__)\n    main()\n")
    (tmp_path / "gone.py").write_text(gone)
    return tmp_path


@pytest.mark.parametrize("way", ["program.py", "-m program", "-m package.module"])
def test_a_class_in_the_program_is_found(folder: Path, way: str) -> None:
    assert said(folder, *way.split()) == "[1, 2]\n"


WAYS = {
    "-m package": r"Work, is defined in \S+/package/__main__.py, which another process does not import",
    "package": r"Work, is defined in \S*package/__main__.py, which another process does not import",
    "archive.pyz": r"Work, is defined in \S*archive.pyz/__main__.py, which another process does not import",
    "-m cProfile -o profile program.py": r"Work, is not in the module __main__, .*profiler.* Put the class into",
    "gone.py": r"Work, is defined in \S*gone.py, which is no file that another process could read",
    "-": r"Work, is defined in a notebook or at a prompt",
}


@pytest.mark.parametrize(("way", "advice"), WAYS.items(), ids=WAYS)
def test_a_class_that_no_other_process_finds_is_refused(folder: Path, way: str, advice: str) -> None:
    text = said(folder, *way.split(), code=PROGRAM)
    assert re.search(advice, text), text
    assert 'or give the pipeline start_method="fork"; or leave multiprocess out' in text


def test_a_class_under_the_guard_is_not_found_and_told_so(folder: Path) -> None:
    code = "if __name__ == '__main__':\n    exec(open('program.py').read().replace('StartError as', 'Exception as'))"
    (folder / "other.py").write_text(code)
    text = said(folder, "other.py")
    assert "Can't get attribute 'Work'" in text
    assert "define it at the top of a module" in text


def test_a_class_inside_a_function_may_be_sent_as_something_else(folder: Path) -> None:
    inner = """
def main():
    class Inner(Work):
        def __reduce__(self):
            return Work, ()
    print(list(Pipeline([Inner()], multiprocess=True).stream([1, 2])))
"""
    (folder / "inner.py").write_text(PROGRAM.replace("\nif __name__", inner + "\nif __name__"))
    assert said(folder, "inner.py") == "[1, 2]\n"


def test_a_class_inside_a_function_is_refused() -> None:
    class Inner(Stage):
        def stage_run(self, x: Any) -> Any:
            return x

    with pytest.raises(StartError, match=r"<locals>.Inner, is defined inside a function.* Move it out of the function"):
        Pipeline([Inner()], multiprocess=True).start()


def test_a_class_whose_name_another_one_has_is_refused() -> None:
    twin = type("Pass", (Pass,), {"__module__": Pass.__module__})
    with pytest.raises(StartError, match=r"is not the process_stages.Pass that another process will find: .*again"):
        Pipeline([twin()], multiprocess=True).start()


def test_a_class_without_a_name_in_its_module_is_refused() -> None:
    nameless = type("Nameless", (Pass,), {"__module__": Pass.__module__})
    with pytest.raises(StartError, match=r"is not in the module process_stages, where another process looks for it"):
        Pipeline([nameless()], multiprocess=True).start()


def start_in_a_daemon() -> str:
    try:
        Pipeline([Pass()], multiprocess=True).start()
    except StartError as error:
        return str(error)
    return "started"


def test_a_daemonic_process_may_not_start_others_and_is_told_what_may() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        text = pool.apply_async(start_in_a_daemon).get(WATCHDOG)
    assert "this process is daemonic, as those of a multiprocessing.Pool are" in text
    assert "concurrent.futures.ProcessPoolExecutor" in text
