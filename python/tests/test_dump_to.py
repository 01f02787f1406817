"""The timelines that are written when something goes wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import Collect, wait_until

from DeepPipeline import GraphError, Pipeline, Stage, StageError, Timeline


class Moody(Stage):
    """Fails on 2, and dies on 3."""

    def stage_run(self, x: int) -> int:
        if x == 2:
            raise ValueError("two")
        if x == 3:
            os.abort()
        return x


def written(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json")) if folder.exists() else []


def why(path: Path) -> str:
    return Timeline.load(path).marks[-1].text


def test_a_pipeline_that_fails_leaves_its_timeline(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with pytest.raises(StageError), Pipeline([Moody()], Collect(), dump_to=folder) as p:
        p.put(1)
        p.put(2)
    [path] = written(folder)
    timeline = Timeline.load(path)
    assert [mark.text for mark in timeline.marks] == [
        "Moody failed in stage_run: ValueError: two",
        "the pipeline failed",
    ]
    assert [(visit.sample.number, visit.fate) for visit in timeline.visits if visit.stage == 0] == [
        (1, None),
        (2, "failed"),
    ]


def test_a_worker_that_dies_leaves_what_it_had_in_flight(tmp_path: Path) -> None:
    with Pipeline([Moody()], Collect(), multiprocess=True, overflow="block", dump_to=str(tmp_path)) as p:
        for x in (1, 3, 1):
            p.put(x)
        wait_until(lambda: written(tmp_path) != [])
    first = Timeline.load(written(tmp_path)[0])
    [lost] = [visit for visit in first.visits if visit.crashed]
    assert (lost.sample.number, lost.stage, lost.worker, lost.fate) == (2, 0, 0, "lost")


SIGNALLED = """
import os, signal, sys, time
from pathlib import Path
from DeepPipeline import Pipeline

def nothing(x):
    pass

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with Pipeline([nothing], multiprocess=sys.argv[2] == "True", dump_to=folder) as p:
        p.put(1)
        os.kill(os.getpid(), signal.SIGUSR2)
        while not list(folder.glob("*.json")):
            time.sleep(0.01)
"""


@pytest.mark.parametrize("multiprocess", [False, True])
def test_a_signal_asks_for_it(tmp_path: Path, multiprocess: bool) -> None:
    """In a program of its own: it is for all pipelines of a process."""
    (tmp_path / "signalled.py").write_text(SIGNALLED)
    command = [sys.executable, str(tmp_path / "signalled.py"), str(tmp_path), str(multiprocess)]
    subprocess.run(command, check=True, timeout=100)
    assert [why(path) for path in written(tmp_path)] == ["asked for with SIGUSR2"]


def test_without_a_folder_the_signal_ends_the_program_as_ever(tmp_path: Path) -> None:
    program = "with Pipeline([print]): os.kill(os.getpid(), signal.SIGUSR2)"
    imports = "import os, signal; from DeepPipeline import Pipeline\n"
    ended = subprocess.run([sys.executable, "-c", imports + program], check=False, timeout=100, cwd=tmp_path)
    assert ended.returncode == -signal.SIGUSR2


def test_what_is_no_folder_is_refused() -> None:
    for folder, message in [("", "dump_to is '', but must be"), (3, "dump_to is 3 .int., but must be the path of a")]:
        with pytest.raises(GraphError, match=message):
            Pipeline([Moody()], Collect(), dump_to=folder)  # type: ignore[arg-type]
