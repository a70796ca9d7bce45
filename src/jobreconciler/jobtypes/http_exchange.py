"""One HTTP exchange, redirects included, that goes where it may and ends when it has to.

Each hop's name is resolved once, its addresses are judged, and the connection is made to the very
address that was judged: there is no second look-up that could answer otherwise. TLS is checked by
the name. One deadline holds for everything; a server that sends a byte now and then cannot move it.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from jobreconciler import __version__
from jobreconciler.errors import Invalid, Transient
from jobreconciler.jobtypes.http_targets import refusal
from jobreconciler.model.strict import URL_PATTERN

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AS_GET = frozenset({301, 302, 303})
_TELLING = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Literal headers that another host is not sent either."""
_CHUNK = 65_536
_URL = re.compile(URL_PATTERN.strip("^$"))


@dataclass(frozen=True, slots=True)
class Call:
    """What to send. `named` is how errors call a URL that is itself a secret; times in seconds.

    `expected` are statuses that end the exchange, also where they are redirects.
    """

    method: str
    url: str = field(repr=False)
    named: str | None
    headers: Mapping[str, str]
    secret_headers: Mapping[str, str] = field(repr=False)
    body: bytes | None
    content_type: str
    expected: frozenset[int]
    max_redirects: int
    connect_timeout: float
    total_timeout: float
    most_bytes: int
    ca_file: str | None
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer. `shown` is its URL as an error may show it."""

    status: int
    body: bytes
    redirects: int
    seconds: float
    shown: str


@dataclass(frozen=True, slots=True)
class _Request:
    """What one hop is sent."""

    method: str
    url: SplitResult
    shown: str
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def origin(self) -> tuple[str, str, int]:
        return (self.url.scheme, str(self.url.hostname), _port(self.url))


def look(call: Call) -> list[str]:
    """The addresses the call would go to, judged. Nothing is sent, no connection is made."""
    return [str(target[1][0]) for target in _targets(call, _first(call))]


def exchange(call: Call) -> Answer:
    """Sends the call and follows its redirects. Raises Invalid, and Transient for what may pass."""
    began = time.monotonic()
    until = began + call.total_timeout
    request = _first(call)
    for redirects in range(call.max_redirects + 1):
        status, location, body = _hop(call, request, until)
        follows = status in _REDIRECTS and status not in call.expected and location is not None
        if not follows or call.max_redirects == 0:
            return Answer(status, body, redirects, time.monotonic() - began, request.shown)
        request = _redirected(call, request, status, str(location))
    raise Invalid(
        f"{_first(call).shown} redirected more than {call.max_redirects} times",
        reason="TooManyRedirects",
        hint="name the address it ends at, or raise maxRedirects",
    )


def _first(call: Call) -> _Request:
    url = _split(call.url)
    if url is None:
        raise Invalid(
            f"{call.named or 'the URL'} is no http:// or https:// address without user name "
            "and password",
            reason="UrlRefused",
            hint="credentials go into headers, by reference",
        )
    given = {**call.headers, **call.secret_headers}
    # The last of two that differ in case alone is meant: secrets and the token come last.
    headers = {name.lower(): (name, value) for name, value in given.items()}
    headers.setdefault("user-agent", ("User-Agent", f"jobreconciler/{__version__}"))
    headers.setdefault("accept", ("Accept", "*/*"))
    if call.body is not None:
        headers.setdefault("content-type", ("Content-Type", call.content_type))
    return _Request(call.method, url, call.named or _shown(url), dict(headers.values()), call.body)


def _redirected(call: Call, before: _Request, status: int, location: str) -> _Request:
    """The next hop's request: without secrets where it leads to another host."""
    url = _split(
        urljoin(before.url.geturl(), quote(location.encode("latin-1"), safe="!#$%&'()*+,/:;=?@[]~"))
    )
    if url is None:
        raise Invalid(
            f"{before.shown} redirected to something that is no http:// or https:// address",
            reason="RedirectRefused",
        )
    shown = _shown(url) if call.named is None else f"{url.scheme}://{url.netloc}/…"
    if before.url.scheme == "https" and url.scheme == "http":
        raise Invalid(
            f"{before.shown} redirected from https to http ({shown}), which is not followed",
            reason="RedirectRefused",
        )
    method, body, headers = before.method, before.body, dict(before.headers)
    if status in _AS_GET and method not in ("GET", "HEAD"):
        method, body = "GET", None
        headers = {name: v for name, v in headers.items() if name.lower() != "content-type"}
    request = _Request(method, url, shown, headers, body)
    if request.origin != before.origin:
        secret = {name.lower() for name in call.secret_headers} | _TELLING
        kept = {name: value for name, value in headers.items() if name.lower() not in secret}
        request = _Request(method, url, shown, kept, body)
    return request


def _hop(call: Call, request: _Request, until: float) -> tuple[int, str | None, bytes]:
    """Status, location and body of one answer. A redirect's body is not read."""
    try:
        with _connected(call, request, until) as line:
            connection = http.client.HTTPConnection(str(request.url.hostname))
            connection.sock = _Line(line, until)
            _send(connection, request)
            answer = connection.getresponse()
            location = answer.getheader("Location")
            if answer.status in _REDIRECTS and answer.status not in call.expected and location:
                return answer.status, location, b""
            return answer.status, location, _read(call, request, answer)
    except TimeoutError:
        raise Transient(
            f"{request.shown} took longer than {call.total_timeout:g} s",
            reason="RequestTimeout",
        ) from None
    except http.client.HTTPException as error:
        raise Transient(
            f"{request.shown} did not answer as an HTTP server ({type(error).__name__})",
            reason="BadAnswer",
        ) from None
    except OSError as error:
        raise Transient(
            f"{request.shown}: {error.strerror or type(error).__name__}", reason="ConnectionFailed"
        ) from None


def _send(connection: http.client.HTTPConnection, request: _Request) -> None:
    url = request.url
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    connection.putrequest(request.method, path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", url.netloc)
    for name, value in request.headers.items():
        connection.putheader(name, value)
    connection.putheader("Accept-Encoding", "identity")
    connection.putheader("Connection", "close")
    if request.body is not None or request.method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(len(request.body or b"")))
    connection.endheaders(request.body)


def _read(call: Call, request: _Request, answer: http.client.HTTPResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    announced = answer.length if answer.length is not None else 0
    while announced <= call.most_bytes and size <= call.most_bytes:
        part = answer.read(min(_CHUNK, call.most_bytes + 1 - size))
        if not part and answer.length:
            raise http.client.IncompleteRead(b"", answer.length)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
    raise Invalid(
        f"{request.shown} answered {answer.status} with more than {call.most_bytes // 1024} KiB",
        reason="ResponseTooLarge",
        hint="raise maxResponseKiB, or ask for less",
    )


# ---------------------------------------------------------------------------------- connections


def _connected(call: Call, request: _Request, until: float) -> socket.socket:
    """A connection to one of the addresses that were judged, TLS included.

    Raises Invalid for a target or a certificate that is refused, OSError, TimeoutError.
    """
    failed: OSError | None = None
    for family, address in _targets(call, request):
        line = socket.socket(family, socket.SOCK_STREAM)
        try:
            line.settimeout(min(call.connect_timeout, _left(until)))
            line.connect(address)
            return _secured(call, request, line, until)
        except OSError as error:
            line.close()
            if isinstance(error, TimeoutError) and time.monotonic() < until:
                error = OSError(0, f"no connection within {call.connect_timeout:g} s")
            failed = error
        except BaseException:
            line.close()
            raise
    assert failed is not None
    raise failed


def _targets(call: Call, request: _Request) -> list[tuple[int, Any]]:
    """(family, address) of where the request may go. Raises Invalid where that is nowhere."""
    found = _resolved(request)
    allowed = []
    why = ""
    for family, _, _, _, address in found:
        refused = refusal(str(address[0]), call.networks)
        if refused is None:
            allowed.append((int(family), address))
        else:
            why = why or f"{address[0]}, {refused}"
    if not allowed:
        raise Invalid(
            f"{request.shown} leads to {why}",
            reason="TargetRefused",
            hint="the daemon's setting allow-http-networks names private networks that jobs may "
            "reach; link-local ones are always refused",
        )
    return allowed


def _resolved(request: _Request) -> list[Any]:
    host = str(request.url.hostname)
    try:
        return socket.getaddrinfo(host, _port(request.url), type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        message = f"{request.shown}: its host cannot be found ({error.strerror})"
        if error.errno == socket.EAI_AGAIN:
            raise Transient(message, reason="HostUnknown") from None
        raise Invalid(message, reason="HostUnknown") from None
    except UnicodeError:
        raise Invalid(f"{request.shown}: its host is no name", reason="HostUnknown") from None


def _secured(call: Call, request: _Request, line: socket.socket, until: float) -> socket.socket:
    if request.url.scheme != "https":
        return line
    try:
        context = ssl.create_default_context(cafile=call.ca_file)
    except (OSError, ssl.SSLError):
        raise Invalid(
            f"{call.ca_file} is no readable PEM file of authorities", reason="CaFileInvalid"
        ) from None
    line.settimeout(_left(until))
    try:
        return context.wrap_socket(
            line, server_hostname=str(request.url.hostname).partition("%")[0]
        )
    except ssl.SSLCertVerificationError as error:
        raise Invalid(
            f"{request.shown}: its certificate is refused: {error.verify_message}",
            reason="CertificateRefused",
            hint="caFile names the authorities of an internal server",
        ) from None


class _Line:
    """What http.client needs of a socket, with one deadline over all it does."""

    def __init__(self, line: socket.socket, until: float) -> None:
        self._line = line
        self._until = until

    def sendall(self, data: bytes) -> None:
        self._line.settimeout(_left(self._until))
        self._line.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self._line, self._until), _CHUNK)

    def close(self) -> None:
        self._line.close()


class _Incoming(io.RawIOBase):
    def __init__(self, line: socket.socket, until: float) -> None:
        super().__init__()
        self._line = line
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._line.settimeout(_left(self._until))
        return self._line.recv_into(buffer)


def _left(until: float) -> float:
    """Seconds until the deadline. Raises TimeoutError where it has passed."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


# ------------------------------------------------------------------------------------------ URLs


def _split(text: str) -> SplitResult | None:
    """The parts of an address of the one form that is taken; None for every other."""
    if _URL.fullmatch(text) is None:
        return None
    try:
        url = urlsplit(text)
        if not url.hostname or not 0 < _port(url) < 65_536:
            return None
    except ValueError:
        return None
    return url


def _port(url: SplitResult) -> int:
    return url.port if url.port is not None else {"http": 80, "https": 443}[url.scheme]


def _shown(url: SplitResult) -> str:
    """Without the query, where tokens like to stand."""
    return f"{url.scheme}://{url.netloc}{url.path or '/'}"
