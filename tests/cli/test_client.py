from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jobreconciler.cli.client import Client, find_token, segment
from jobreconciler.cli.errors import Unreachable
from jobreconciler.errors import Invalid, JobReconcilerError, NotFound, Refused, Transient
from jobreconciler.settings import Settings

Serve = Callable[[int, bytes], "Server"]


class Server:
    """A real HTTP server that gives one answer and keeps what it was asked."""

    def __init__(self, status: int, body: bytes) -> None:
        self.asked: list[dict[str, Any]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                asked.append(
                    {
                        "line": f"{self.command} {self.path}",
                        "headers": dict(self.headers),
                        "body": self.rfile.read(length),
                    }
                )
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[Server] = []

    def start(status: int, body: bytes) -> Server:
        running.append(Server(status, body))
        return running[-1]

    yield start
    for server in running:
        server.close()


def client(url: str, tmp_path: Path, **settings: Any) -> Client:
    return Client(Settings(server=url, state_dir=tmp_path / "state", **settings), timeout=10)


def test_a_question_carries_query_and_token_and_its_answer_is_json(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(200, b'{"jobs": []}')
    answer = client(server.url, tmp_path, token="t0k").get("/api/v1/jobs", state="late", tag=None)
    assert answer == {"jobs": []}
    assert server.asked[0]["line"] == "GET /api/v1/jobs?state=late"
    assert server.asked[0]["headers"]["Authorization"] == "Bearer t0k"


def test_an_order_carries_its_body(serve: Serve, tmp_path: Path) -> None:
    server = serve(202, b"{}")
    client(server.url + "/prefix", tmp_path).post("/api/v1/x", {"dryRun": True})
    [asked] = server.asked
    assert asked["line"] == "POST /prefix/api/v1/x"
    assert json.loads(asked["body"]) == {"dryRun": True}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, Refused),
        (403, Refused),
        (404, NotFound),
        (409, Invalid),
        (422, Invalid),
        (429, Transient),
        (500, Transient),
        (503, Transient),
    ],
)
def test_problem_documents_become_errors_with_their_detail(
    status: int, kind: type[JobReconcilerError], serve: Serve, tmp_path: Path
) -> None:
    server = serve(status, b'{"title": "No", "detail": "because of this", "hint": "do that"}')
    with pytest.raises(kind, match="because of this") as caught:
        client(server.url, tmp_path).get("/x")
    assert type(caught.value) is kind
    assert caught.value.hint == "do that"


@pytest.mark.parametrize("status", [200, 404, 418])
def test_another_program_on_the_port_is_not_taken_for_the_daemon(
    status: int, serve: Serve, tmp_path: Path
) -> None:
    server = serve(status, b"<html>hello</html>")
    with pytest.raises(Refused, match="it is no jobreconciler daemon"):
        client(server.url, tmp_path).get("/x")


def test_where_nothing_listens_the_hint_says_how_to_start_a_daemon(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(200, b"")
    server.close()
    with pytest.raises(Unreachable, match="no daemon answers at") as caught:
        client(server.url, tmp_path).get("/x")
    assert "jobreconciler run" in caught.value.hint


@pytest.mark.parametrize(
    "sent",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"],
    ids=["before its first byte", "within its head", "within its body"],
)
def test_a_daemon_that_ends_while_it_answers_is_unreachable_for_now(
    sent: bytes, tmp_path: Path
) -> None:
    with ending(sent) as url:
        with pytest.raises(Unreachable, match="broke off before it had answered") as caught:
            client(url, tmp_path).get("/x")
        assert "look before you repeat" not in caught.value.hint
    with ending(sent) as url:
        with pytest.raises(Unreachable) as caught:
            client(url, tmp_path).post("/x")
        assert "it may have taken the order all the same" in caught.value.hint


@contextmanager
def ending(sent: bytes) -> Iterator[str]:
    """A server that reads one request, begins its answer, and is gone."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def test_a_host_that_does_not_exist_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"cannot reach http://nowhere\.invalid"):
        client("http://nowhere.invalid", tmp_path).get("/x")


def written(path: Path, text: str = "secret\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("server", "token"),
    [
        ("http://127.0.0.1:1", "secret"),
        ("http://localhost:1", "secret"),
        ("http://[::1]:1", "secret"),
        ("https://elsewhere.example", None),
        ("http://127.0.0.1.example:1", None),
    ],
)
def test_the_operator_token_never_leaves_this_machine(
    server: str, token: str | None, tmp_path: Path
) -> None:
    written(tmp_path / "token")
    assert find_token(Settings(server=server, state_dir=tmp_path)) == token


def test_a_token_given_on_purpose_goes_anywhere(tmp_path: Path) -> None:
    server = "https://elsewhere.example"
    named = written(tmp_path / "mine", "from-file\n")
    assert find_token(Settings(server=server, token_file=named)) == "from-file"
    assert find_token(Settings(server=server, token_file=named, token="flag")) == "flag"


def test_a_named_token_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there is no token file"):
        find_token(Settings(token_file=tmp_path / "gone"))
    assert find_token(Settings(state_dir=tmp_path)) is None


def test_ids_cannot_change_the_path() -> None:
    assert segment("a/../b?c#d") == "a%2F..%2Fb%3Fc%23d"
