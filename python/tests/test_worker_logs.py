"""Log records of a worker process are those of a thread."""

import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from process_stages import Logs

from DeepPipeline import Pipeline

Record = tuple[Any, ...]


@pytest.fixture
def records() -> Iterator[list[Record]]:
    """What arrives where the program has set up logging as many do: levels by name, and warnings caught."""
    seen: list[Record] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            extra = [str(getattr(record, name, None)) for name in ("camera", "box", "odd")]
            trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else record.exc_text
            if record.name.startswith(("app", "elsewhere", "py")):
                last = trace and trace.splitlines()[-1]
                seen.append((record.name, record.levelname, record.getMessage(), last, *extra))

    keep, root = Keep(), logging.getLogger()
    levels = {"app": logging.DEBUG, "app.noisy": logging.ERROR}
    root.addHandler(keep)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger("app.silent").disabled = True
    logging.captureWarnings(True)
    yield seen
    logging.captureWarnings(False)
    logging.getLogger("app.silent").disabled = False
    for name in levels:
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.removeHandler(keep)


@pytest.mark.filterwarnings("always")
def test_a_worker_logs_what_a_thread_logs(records: list[Record]) -> None:
    def logged(executor: Literal["thread", "process"]) -> list[Record]:
        records.clear()
        Pipeline([Logs().options(executor=executor)]).run([1])
        return list(records)

    on_a_thread = logged("thread")
    assert [record[:2] for record in on_a_thread] == [
        ("app.detect", "DEBUG"),
        ("app.detect", "WARNING"),
        ("app.detect", "ERROR"),
        ("py.warnings", "WARNING"),
    ]
    assert on_a_thread[1][-3:] == ("front", "(1, 2)", "no pickle")
    assert on_a_thread[2][3] == "ValueError: broken"
    assert logged("process") == on_a_thread
