from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from jobreconciler.cli import following
from jobreconciler.cli.client import Client
from jobreconciler.cli.following import Follower
from jobreconciler.cli.runs import Runs, ServedRuns
from jobreconciler.errors import NotFound, Transient
from jobreconciler.settings import Settings

PIECE = 4
AWAY = {"title": "starting"}
KILLED = {"title": "gone before it answers"}


class Script:
    """An API that plays one execution: each look at it shows the next of its states."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []
        self.output: dict[int, bytes] = {}

    def look(self) -> dict[str, Any]:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def piece(self, attempt: int, offset: int) -> bytes:
        """A few bytes at a time, as a big output would come."""
        return self.output.get(attempt, b"")[offset : offset + PIECE]


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def runs(script: Script, tmp_path: Path) -> Iterator[Runs]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            query = parse_qs(address.query)
            headers, status = {}, 200
            if address.path.endswith("/logs"):
                offset = int(query["offset"][0])
                body = script.piece(int(query["attempt"][0]), offset)
                headers["X-Next-Offset"] = str(offset + len(body))
            else:
                body = json.dumps(shown := script.look()).encode()
                if shown == KILLED:
                    return
                status = 503 if shown == AWAY else 200
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield ServedRuns(Client(Settings(server=url, state_dir=tmp_path), timeout=10))
    server.shutdown()
    thread.join()
    server.server_close()


def state(status: str, *attempts: int) -> dict[str, Any]:
    return {
        "status": status,
        "attempts": [{"number": number} for number in attempts],
        "progress": None,
    }


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.01)


def test_output_is_printed_whole_and_once_until_the_end(
    runs: Runs, script: Script, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    script.states = [state("queued"), state("running", 1), state("running", 1)]
    script.states.append(state("succeeded", 1))
    script.output = {1: b"a first line\nraw \xff bytes\n"}
    ended = Follower(runs, "x").follow()
    assert ended["status"] == "succeeded"
    assert capfdbinary.readouterr().out == b"a first line\nraw \xff bytes\n"


def test_each_attempt_of_a_retried_execution_is_printed(
    runs: Runs, script: Script, capfd: pytest.CaptureFixture[str]
) -> None:
    script.states = [state("running", 1), state("queued", 1), state("failed", 1, 2)]
    script.output = {1: b"first try\n", 2: b"second try\n"}
    Follower(runs, "x").follow()
    captured = capfd.readouterr()
    assert captured.out == "first try\nsecond try\n"
    assert captured.err == "--- attempt 2 ---\n"


@pytest.mark.parametrize("away", [AWAY, KILLED], ids=["it starts", "it is killed"])
def test_a_daemon_that_restarts_meanwhile_is_waited_for(
    away: dict[str, Any], runs: Runs, script: Script, capfd: pytest.CaptureFixture[str]
) -> None:
    script.states = [state("running", 1), away, state("succeeded", 1)]
    script.output = {1: b"done\n"}
    assert Follower(runs, "x").follow()["status"] == "succeeded"
    assert capfd.readouterr().out == "done\n"


def test_a_daemon_that_is_away_from_the_start_is_not_waited_for(runs: Runs, script: Script) -> None:
    script.states = [AWAY]
    with pytest.raises(Transient, match="starting"):
        Follower(runs, "x").follow()


def test_one_attempt_can_be_asked_for(
    runs: Runs, script: Script, capfd: pytest.CaptureFixture[str]
) -> None:
    script.states = [state("failed", 1, 2)]
    script.output = {1: b"first\n", 2: b"second\n"}
    Follower(runs, "x").look(2)
    assert capfd.readouterr().out == "second\n"
    with pytest.raises(NotFound, match="has no attempt 3, it has made 2 attempts"):
        Follower(runs, "x").look(3)


def test_waiting_without_output_prints_nothing(
    runs: Runs, script: Script, capfd: pytest.CaptureFixture[str]
) -> None:
    script.states = [state("running", 1), state("succeeded", 1)]
    script.output = {1: b"unseen\n"}
    Follower(runs, "x", show_output=False).follow()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
