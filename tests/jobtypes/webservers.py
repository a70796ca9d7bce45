"""HTTP servers on loopback that behave as servers do, and as they should not."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jobreconciler.jobtypes.http_exchange import Call

LOOPBACK = ("127.0.0.0/8",)


def call(url: str, **changed: Any) -> Call:
    made = Call(
        method="GET", url=url, named=None, headers={}, secret_headers={}, body=None,
        content_type="", expected=frozenset(), max_redirects=5, connect_timeout=10,
        total_timeout=30, most_bytes=65_536, ca_file=None, networks=LOOPBACK,
    )  # fmt: skip
    return replace(made, **changed)


@dataclass
class Asked:
    method: str
    path: str
    host: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Web:
    """A server. `asked` is what it was sent; `root` its address by number."""

    root: str = ""
    port: int = 0
    asked: list[Asked] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """/status/N answers N; /to?url=U redirects there with 302, /to307 with 307; /loop to itself;
    /big?n=N sends N bytes; /endless chunks for ever; /echo answers 500 with what it was sent."""

    web: Web

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.web.asked.append(
            Asked(self.command, self.path, headers.get("host", ""), headers, body)
        )
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        step = url.path.strip("/").partition("/")[0]
        getattr(self, f"at_{step or 'root'}")(query)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def at_root(self, _query: dict[str, str]) -> None:
        self.send(200, b"hello")

    def at_status(self, _query: dict[str, str]) -> None:
        self.send(int(urlsplit(self.path).path.rpartition("/")[2]), b"because\x1b[31m")

    def at_to(self, query: dict[str, str]) -> None:
        self.send(302, b"x" * 1000, Location=query["url"])

    def at_to307(self, query: dict[str, str]) -> None:
        self.send(307, Location=query["url"])

    def at_loop(self, _query: dict[str, str]) -> None:
        self.send(302, Location="/loop")

    def at_nowhere(self, _query: dict[str, str]) -> None:
        self.send(302)

    def at_big(self, query: dict[str, str]) -> None:
        self.send(200, b"x" * int(query["n"]))

    def at_endless(self, _query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        except OSError:
            self.close_connection = True

    def at_echo(self, _query: dict[str, str]) -> None:
        said = {"headers": dict(self.headers.items()), "path": self.path}
        self.send(500, json.dumps(said).encode())

    def log_message(self, *_: Any) -> None:
        """Silence."""


@contextmanager
def web_server(context: ssl.SSLContext | None = None) -> Iterator[Web]:
    web = Web()
    kind = type("Handler", (Handler,), {"web": web, "protocol_version": "HTTP/1.1"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
    web.port = server.server_port
    web.root = f"http{'s' if context else ''}://127.0.0.1:{web.port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A fresh self-signed certificate for a host name: its PEM file, and a server's context."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(cert), "-subj", f"/CN={name}",
         "-addext", f"subjectAltName=DNS:{name}"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


@contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Each connection is given to `serve`, which speaks no proper HTTP. Its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def take() -> None:
        while not over.is_set():
            try:
                line, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(line,), daemon=True).start()

    def handle(line: socket.socket) -> None:
        with line:
            try:
                serve(line)
            except OSError:
                return

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def drip(head: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    """Sends `head`, and then a little now and then, for as long as somebody listens."""

    def serve(line: socket.socket) -> None:
        line.sendall(head)
        while True:
            time.sleep(0.02)
            line.sendall(drop)

    return serve


def silent(line: socket.socket) -> None:
    """Takes what it is sent and never answers."""
    while line.recv(65_536):
        continue
