"""The dashboard: what it serves, and to whom, is tested in Rust; here is how it is asked for."""

import json
import logging
import socket
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest

from DeepPipeline import Dashboard, GraphError, Pipeline, StartError


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        body: bytes = answer.read()
        return body.decode()


class Hold:
    """Works on a sample until it is told to go on."""

    def __init__(self) -> None:
        self.has_begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, x: object) -> None:
        self.has_begun.set()
        assert self.go_on.wait(60)


def test_a_pipeline_is_shown_while_it_runs_and_as_it_was_at_its_end() -> None:
    hold = Hold()
    with Dashboard(port=0) as dashboard:
        with Pipeline([lambda x: x, hold]) as p:
            assert dashboard.watch(p, "frames") == "frames"
            assert dashboard.watch(p, "frames") == "frames 2"
            p.put(1)
            assert hold.has_begun.wait(60)
            before = json.loads(read(f"{dashboard.url}api/report?pipeline=frames"))
            first, last = before["report"]["stages"]
            assert (first["next"], last["next"], last["counts"]["in_flight"]) == ([1], [], 1)
            assert p.report().stages[0].next == [1]
            assert 'deeppipeline_running{pipeline="frames"} 1' in read(f"{dashboard.url}metrics")
            hold.go_on.set()
        del p
        # Whoever looks again at once gets what the last has seen.
        shown: dict[str, Any] = {"is_there": True}
        while shown["is_there"]:
            shown = json.loads(read(f"{dashboard.url}api/report?pipeline=frames"))
        assert shown["report"]["outcome"] == "finished"
        assert shown["report"]["stages"][1]["counts"]["used"] == 1


def test_a_closed_dashboard_answers_nobody_and_watches_nothing() -> None:
    dashboard = Dashboard(port=0)
    dashboard.close()
    dashboard.close()
    with pytest.raises(urllib.error.URLError):
        read(dashboard.url)
    with Pipeline([print]) as p, pytest.raises(StartError, match="closed"):
        dashboard.watch(p)


def test_pipelines_that_ask_for_the_same_port_share_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "DeepPipeline")
    with Pipeline([print], dashboard=0), Pipeline([print], dashboard=0):
        [place] = [message for message in caplog.messages if message.startswith("the dashboard is at ")]
        names = [entry["name"] for entry in json.loads(read(f"{place.split()[-1]}api/pipelines"))]
    assert names == ["pipeline", "pipeline 2"]


def test_a_port_that_is_taken_is_told_before_anything_runs() -> None:
    ran: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}"):
            Pipeline([ran.append], source=[1], dashboard=port).run()
    assert ran == []


def test_where_it_is_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "DeepPipeline")
    with Dashboard(port=0) as dashboard:
        assert f"the dashboard is at {dashboard.url}" in caplog.text
    # One of the two finds the port taken, if nobody else has it.
    with Dashboard() as one, Dashboard() as other:
        assert one.url != other.url
    assert "port 8910 is taken" in caplog.text


def test_a_token_is_part_of_the_address() -> None:
    with Dashboard(port=0, token="0123456789abcdef") as dashboard:
        assert dashboard.url.endswith("/?token=0123456789abcdef")
        page, _ = dashboard.url.split("?")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            read(f"{page}metrics")
        assert read(f"{page}metrics?token=0123456789abcdef").endswith("# EOF\n")
    with pytest.raises(StartError, match="the token has 5 bytes"):
        Dashboard(port=0, token="short")


@pytest.mark.parametrize("port", [True, -1, 65536, "8910", 1.5])
def test_bad_ports_are_named(port: Any) -> None:
    with pytest.raises(GraphError, match="port is"):
        Dashboard(port)
    if port is not True:
        with pytest.raises(GraphError, match=r"dashboard is .* must be True, False, a port or a Dashboard"):
            Pipeline([print], dashboard=port)


@pytest.mark.parametrize("host", ["everywhere", "", 1])
def test_bad_hosts_are_named(host: Any) -> None:
    with pytest.raises(GraphError, match="host is"):
        Dashboard(0, host=host)


def test_an_address_of_another_machine_is_refused_by_the_system() -> None:
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1:0"):
        Dashboard(0, host="192.0.2.1")


def test_names_and_pipelines_that_cannot_be_watched_are_named() -> None:
    with Dashboard(port=0) as dashboard:
        with pytest.raises(StartError, match="watch before start"):
            dashboard.watch(Pipeline([print]))
        with Pipeline([print]) as p, pytest.raises(GraphError, match="name is"):
            dashboard.watch(p, "")
