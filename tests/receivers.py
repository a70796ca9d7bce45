"""Real receivers of notifications on loopback: an HTTP server, a mail server, a dead port."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Post:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """Answers every POST with `status`; while `silent`, with nothing at all."""

    url: str = ""
    status: int = 200
    posts: list[Post] = field(default_factory=list)
    silent: bool = False
    asked: threading.Event = field(default_factory=threading.Event)
    speak: threading.Event = field(default_factory=threading.Event)

    def got(self, event: str) -> list[Post]:
        return [post for post in self.posts if post.headers["x-jobreconciler-event"] == event]


@contextmanager
def http_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.asked.set()
            if receiver.silent:
                receiver.speak.wait(60)
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.posts.append(Post(self.path, headers, body))
            self.send_response(receiver.status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.speak.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class MailBox:
    port: int = 0
    mails: list[Envelope] = field(default_factory=list)
    logins: list[bool] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        self.mails.append(envelope)
        return "250 taken"


@contextmanager
def mail_server(user: str = "", password: str = "") -> Iterator[MailBox]:
    """With a user, who logs in has to know the password."""
    box = MailBox()

    def check(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: Any) -> Any:
        known = isinstance(given, LoginPassword) and given == LoginPassword(
            user.encode(), password.encode()
        )
        box.logins.append(known)
        return AuthResult(success=known)

    extra: dict[str, Any] = {}
    if user:
        extra = {"authenticator": check, "auth_require_tls": False}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        box.port = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=box.port, **extra)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
