"""The recipes of the book run as they stand there, and give what they say."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
BLOCK = re.compile(r"(?:<!-- (?P<how>[^>]*?) *-->\n)?```(?P<language>\w+)\n(?P<text>.*?)```\n", re.DOTALL)


class Recipe(NamedTuple):
    title: str
    how: str
    """How the program is run: what the comment in front of it says, which no reader sees."""
    program: str
    output: str


def recipes() -> list[Recipe]:
    found = []
    for section in (DOCS / "recipes.md").read_text().split("\n## ")[1:]:
        blocks = [match.groupdict() for match in BLOCK.finditer(section)]
        python = [at for at, block in enumerate(blocks) if block["language"] == "python"]
        for at in python:
            assert blocks[at + 1]["language"] == "text", f"what does the program under {section[:40]!r} give?"
            title = section.partition("\n")[0]
            found.append(Recipe(title, blocks[at]["how"] or "", blocks[at]["text"], blocks[at + 1]["text"]))
    return found


def looks_like(expected: str) -> re.Pattern[str]:
    """A pattern of an output, in which three dots stand for anything."""
    return re.compile(".*".join(map(re.escape, expected.strip().split("..."))), re.DOTALL)


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.title)
def test_recipe(recipe: Recipe, tmp_path: Path) -> None:
    if recipe.how.startswith("before:"):
        subprocess.run([sys.executable, "-c", recipe.how.removeprefix("before:")], cwd=tmp_path, check=True)
    output = run(recipe, tmp_path)
    assert looks_like(recipe.output).fullmatch(output.strip()), f"it printed\n{output}\nand not\n{recipe.output}"


def run(recipe: Recipe, folder: Path) -> str:
    if recipe.how == "notebook":
        return in_a_notebook(recipe.program, folder)
    program = folder / ("test_it.py" if recipe.how == "pytest" else "recipe.py")
    program.write_text(recipe.program)
    command = [sys.executable, str(program)]
    if recipe.how == "pytest":
        command[1:1] = ["-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider"]
    environment = os.environ | {"CAMERA": str(PROJECT / "clips" / "park.mp4")}
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        seen = ""
        if recipe.how.startswith("SIGTERM when it prints: "):
            cue = recipe.how.removeprefix("SIGTERM when it prints: ")
            while cue not in seen:
                line = process.stdout.readline()
                assert line, f"it ended before it printed {cue!r}: {seen!r}"
                seen += line
            process.send_signal(signal.SIGTERM)
        seen += process.stdout.read()
    assert process.returncode == 0, seen
    if recipe.how == "pytest":
        # What pytest says of it in a word; the rest is dots and times.
        return " ".join(seen.splitlines()[-1].split()[:2])
    return seen


def in_a_notebook(program: str, folder: Path) -> str:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    parts = re.split(r"^# the (?:next|last).*\n", program, flags=re.MULTILINE)
    cells = [nbformat.v4.new_code_cell(part) for part in parts]
    notebook = nbformat.v4.new_notebook(cells=cells)
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=100, kernel_name="python3", resources=where).execute()
    outputs = [output for cell in cells for output in cell["outputs"]]
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


def test_both_languages_of_the_book_have_the_same_programs() -> None:
    english, chinese = ((DOCS / name).read_text() for name in ("recipes.md", "recipes.zh-CN.md"))
    assert [match["text"] for match in BLOCK.finditer(chinese)] == [match["text"] for match in BLOCK.finditer(english)]
