"""The web service of the examples, under load while its workers are killed: every request is answered, and rightly."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

SERVICE = Path(__file__).parents[2] / "examples" / "services" / "service.py"
CLIENTS = 20
REQUESTS = 10_000
KILL_EVERY = 500
"""Every so many requests the worker that has just answered is killed."""


@contextlib.contextmanager
def service() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(SERVICE), str(port)])
    try:
        while True:
            assert process.poll() is None, "the service has ended"
            with contextlib.suppress(ConnectionRefusedError):
                assert ask(http.client.HTTPConnection("127.0.0.1", port, timeout=60), 3)[0] == 200
                break
        yield process, port
    finally:
        process.kill()
        process.wait()


def ask(connection: http.client.HTTPConnection, x: int) -> tuple[int, dict[str, int]]:
    connection.request("GET", f"/square/{x}")
    response = connection.getresponse()
    return response.status, json.loads(response.read())


@pytest.mark.timeout(600)
def test_every_request_is_answered_rightly_while_workers_are_killed() -> None:
    numbers = iter(range(REQUESTS))
    lock, statuses, killed = threading.Lock(), Counter[int](), set[int]()

    def client(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                x = next(numbers, None)
            if x is None:
                return
            status, found = ask(connection, x)
            while status == 503:  # it is busy
                with lock:
                    statuses[status] += 1
                status, found = ask(connection, x)
            with lock:
                statuses[status] += 1
                if status == 200:
                    assert found["square"] == x * x
                    if x % KILL_EVERY == 0:
                        killed.add(found["worker"])
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(found["worker"], signal.SIGKILL)

    with service() as (process, port):
        clients = [threading.Thread(target=client, args=(port,)) for _ in range(CLIENTS)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)
    # A request whose workers were killed twice is told so, and only that one.
    assert statuses[200] + statuses[500] == REQUESTS, statuses
    assert statuses[500] <= len(killed) // 2, statuses
    assert len(killed) > 5
