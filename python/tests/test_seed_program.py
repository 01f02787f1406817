"""The program from the README of the ancestor, as its users write it."""

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest
from support import finish

PROGRAM = """
import time
from DeepPipeline import Pipeline, Stage

class StageOne(Stage):
    def stage_run(self, x):
        time.sleep(0.5)
        x.append("stage one")
        return x

class StageTwo(Stage):
    def stage_run(self, x):
        time.sleep(0.5)
        x.append("stage two")
        return x

class StageThree(Stage):
    def stage_run(self, x):
        time.sleep(0.5)
        x.append("stage three")
        return x

class StageEnd(Stage):
    def stage_run(self, x):
        print(x, flush=True)

one, two, three, end = StageOne(), StageTwo(), StageThree(), StageEnd()
{preparation}
P = Pipeline({arguments})
P.start()
for i in range(1, 11):
    P.put(["Pipeline: {{}}".format(i)])
    time.sleep(0.3)
{last_line}
"""
REPORT = "report = P.setstop()\nprint(report.dropped, report.balances(), [s.buffer.discarded for s in report.stages])"
USUAL = "stages=[one, two, three, end], buffer_size=2, multiprocess=False"

VARIANTS = {
    "as published": PROGRAM.format(preparation="", arguments=USUAL, last_line=REPORT),
    "end_stage apart": PROGRAM.format(
        preparation="", arguments="stages=[one, two, three], end_stage=end, buffer_size=2", last_line=REPORT
    ),
    "a size per stage": PROGRAM.format(
        preparation="", arguments="stages=[one, two, three, end], buffer_size=[2, 2, 2, 2]", last_line=REPORT
    ),
    "single": PROGRAM.format(preparation="one.set_get_single()", arguments=USUAL, last_line=REPORT),
    "all": PROGRAM.format(
        # The stage gets lists of two: it gives the newest of them on.
        preparation="one.stage_run = lambda x: [*x[-1], len(x)]\none.set_get_all()",
        arguments=USUAL,
        last_line=REPORT,
    ),
    "without setstop": PROGRAM.format(preparation="", arguments=USUAL, last_line=""),
}
GUARD = 'if __name__ == "__main__":\n'
PROCESSES = {
    "processes": "stages=[one, two, three, end], buffer_size=2, multiprocess=True",
    "processes, a size per stage": "stages=[one, two, three, end], buffer_size=[2, 2, 2, 2], multiprocess=True",
}


def guarded(program: str) -> str:
    """As its authors publish it: what it does is under `if __name__ == "__main__":`."""
    classes, marker, rest = program.partition("one, two, three, end = ")
    return classes + GUARD + textwrap.indent(marker + rest, "    ")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All of them at once: they do little but sleep."""
    pipe = subprocess.PIPE
    running = {
        name: subprocess.Popen([sys.executable, "-P", "-c", code], stdout=pipe, stderr=pipe, text=True)
        for name, code in VARIANTS.items()
    }
    for name, arguments in PROCESSES.items():
        path = tmp_path_factory.mktemp("seed") / "program.py"
        path.write_text(guarded(PROGRAM.format(preparation="", arguments=arguments, last_line=REPORT)))
        running[name] = subprocess.Popen([sys.executable, "-P", path], stdout=pipe, stderr=pipe, text=True)
    yield running
    for process in running.values():
        process.kill()
        process.communicate()


def lines_of(process: subprocess.Popen[str]) -> list[str]:
    result = finish(process)
    assert result.returncode == 0, result.stderr
    assert all("dropped" in line for line in result.stderr.splitlines()), result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize("name", ["as published", "end_stage apart", "a size per stage", "single", *PROCESSES])
def test_nothing_inside_is_cut_off(programs: dict[str, subprocess.Popen[str]], name: str) -> None:
    *printed, report = lines_of(programs[name])
    samples = [ast.literal_eval(line) for line in printed]
    assert all(sample[1:] == ["stage one", "stage two", "stage three"] for sample in samples)
    numbers = [int(sample[0].removeprefix("Pipeline: ")) for sample in samples]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 10
    dropped, balances, *discarded = report.split(" ", 2)
    assert len(numbers) + int(dropped) == 10
    assert (balances, discarded) == ("True", ["[0, 0, 0, 0]"])


def test_lists_of_all_that_waits(programs: dict[str, subprocess.Popen[str]]) -> None:
    *printed, report = lines_of(programs["all"])
    samples = [ast.literal_eval(line) for line in printed]
    assert all(size in (1, 2) for _, size, *_ in samples)
    assert samples[-1][0] == "Pipeline: 10"
    assert report.split(" ", 2)[1:] == ["True", "[0, 0, 0, 0]"]


def test_without_setstop_it_is_drained(programs: dict[str, subprocess.Popen[str]]) -> None:
    printed = lines_of(programs["without setstop"])
    assert "Pipeline: 10" in printed[-1]
