"""A small HTTP client for the daemon's API, on the standard library alone.

The access token is looked for in this order: `--token` or JOBRECONCILER_TOKEN, `--token-file`,
and, for a daemon on this machine only, the operator token in the state directory: that one must
never travel to another host because somebody mistyped `--server`.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from jobreconciler.cli.errors import Unreachable
from jobreconciler.errors import Invalid, NotFound, Refused, Transient
from jobreconciler.settings import Settings

TIMEOUT = 30.0
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class _Reply:
    """One response, read to its end; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """One daemon. Raises Unreachable, Refused, NotFound, Invalid or Transient, never HTTP's own."""

    def __init__(self, settings: Settings, *, timeout: float = TIMEOUT) -> None:
        self.server = settings.server
        self._address = urlsplit(settings.server)
        self._token = find_token(settings)
        self._timeout = timeout

    def get(self, path: str, **query: Any) -> Any:
        return self._json("GET", path, query, None)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._json("POST", path, {}, body or {})

    def hindrance(self) -> str | None:
        """What keeps the daemon from doing its work, in its own words; None while it is ready."""
        reply = self._exchange("GET", "/readyz", None, {"Accept": "application/json"})
        if reply.status == 200:
            return None
        try:
            said = json.loads(reply.body)["message"]
        except (ValueError, TypeError, KeyError):
            self._check(reply)
            raise self._not_ours() from None
        return str(said)

    def raw(self, path: str, **query: Any) -> tuple[bytes, Mapping[str, str]]:
        """The body as it is, and the response's headers in lower case."""
        reply = self._send("GET", path, query, None, accept="*/*")
        return reply.body, reply.headers

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Mapping[str, Any] | None,
    ) -> Any:
        reply = self._send(method, path, query, body)
        try:
            return json.loads(reply.body) if reply.body else None
        except ValueError:
            raise self._not_ours() from None

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Mapping[str, Any] | None,
        *,
        accept: str = "application/json",
    ) -> _Reply:
        sent = {"Accept": accept, "X-Jobreconciler-Actor": actor()}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        given = {name: value for name, value in query.items() if value is not None}
        target = path
        if given:
            target += "?" + urlencode(given)
        reply = self._exchange(method, target, payload, sent)
        self._check(reply)
        return reply

    def _exchange(
        self, method: str, target: str, payload: bytes | None, headers: Mapping[str, str]
    ) -> _Reply:
        with self._faults_in_words(method), closing(self._connection()) as connection:
            address = self._address.path.rstrip("/") + target
            connection.request(method, address, body=payload, headers=dict(headers))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            body = response.read()
            if not body and not names.keys() & {"content-length", "transfer-encoding"}:
                # A head that was cut off reads like one that says no more.
                raise ConnectionResetError
            return _Reply(response.status, names, body)

    def _connection(self) -> HTTPConnection:
        kind = HTTPSConnection if self._address.scheme == "https" else HTTPConnection
        return kind(self._address.hostname or "", self._address.port, timeout=self._timeout)

    @contextmanager
    def _faults_in_words(self, method: str) -> Iterator[None]:
        """What can go wrong on a wire, said in our words."""
        try:
            yield
        except TimeoutError:
            raise Unreachable(
                f"the daemon at {self.server} took longer than {self._timeout:g} s to answer",
                hint="`jobreconciler doctor` looks for the cause",
            ) from None
        except ConnectionRefusedError:
            raise Unreachable(
                f"no daemon answers at {self.server}",
                hint="start one with `jobreconciler run`, or name another with --server",
            ) from None
        except (ConnectionError, IncompleteRead):
            # Before HTTPException: an answer that never began is both.
            raise Unreachable(
                f"{self.server} broke off before it had answered",
                hint="a daemon that restarts does; try again"
                if method == "GET"
                else "a daemon that restarts does; it may have taken the order all the same, so "
                "look before you repeat it",
            ) from None
        except HTTPException:
            raise self._not_ours() from None
        except OSError as error:
            said = error.strerror or str(error) or type(error).__name__
            raise Unreachable(
                f"cannot reach {self.server}: {said}", hint="check --server and the network"
            ) from None

    def _not_ours(self) -> Refused:
        return Refused(
            f"something answers at {self.server}, but it is no jobreconciler daemon",
            hint="name the daemon's address with --server",
        )

    def _check(self, reply: _Reply) -> None:
        if reply.status < 300:
            return
        problem = _problem(reply.body)
        if problem is None:
            if reply.status < 500:
                raise self._not_ours()
            raise Transient(f"{self.server} answers with HTTP status {reply.status}")
        raise _raised(reply.status, problem, bool(self._token))


def actor() -> str:
    """Who sits at this terminal, as it is recorded beside what they do."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = str(os.getuid())
    return "".join(char if " " <= char <= "~" else "?" for char in name)


def segment(text: str) -> str:
    """One segment of a path."""
    return quote(text, safe="")


def find_token(settings: Settings) -> str | None:
    """The token to send, or None. Raises Refused for a named file that can't be used."""
    if settings.token:
        return settings.token.strip()
    host = urlsplit(settings.server).hostname
    if settings.token_file is None and host not in LOOPBACK:
        return None
    path = settings.operator_token_file
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        if settings.token_file is None:
            return None
        raise Refused(f"there is no token file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        if settings.token_file is None:
            return None
        raise Refused(f"the token file {path} cannot be read: {error}") from None


def _problem(raw: bytes) -> dict[str, Any] | None:
    """An RFC 9457 problem document, or None where the body is something else."""
    try:
        read = json.loads(raw)
    except ValueError:
        return None
    return read if isinstance(read, dict) and ("title" in read or "detail" in read) else None


def _wrong_fields(errors: Any) -> str:
    """A line for each field that the API found wrong, named as its flag is; empty without any."""
    if not isinstance(errors, list):
        return ""
    lines = []
    for error in errors:
        if isinstance(error, dict) and {"path", "message"} <= error.keys():
            whole = str(error["path"])
            name = whole.partition(".")[2] or whole
            flag = "-q" if name == "q" else f"--{name}" if name.isalpha() else name
            lines.append(f"{flag}: {error['message']}")
    return "\n".join(lines)


def _in_our_words(hint: str) -> str:
    """A hint of the API as one for the command line."""
    if "/openapi.json" in hint:
        return "check --server, and what `--help` says of this command"
    for path, said in (
        ("GET /api/v1/jobs", "`jobreconciler jobs`"),
        ("GET /api/v1/executions", "`jobreconciler history JOB`"),
    ):
        hint = hint.replace(path, said)
    return _as_ours(hint)


def _as_ours(sentence: str) -> str:
    """`There is no job x.` as the command line writes it: behind `error:`, without the dot."""
    begins_a_word = sentence[:1].isupper() and sentence[1:2].islower()
    first = sentence[:1].lower() if begins_a_word else sentence[:1]
    return first + sentence[1:].removesuffix(".")


def _raised(status: int, problem: Mapping[str, Any], had_token: bool) -> Exception:
    detail = problem.get("detail") or problem.get("title") or f"HTTP status {status}"
    message = _as_ours(detail) if isinstance(detail, str) else json.dumps(detail)
    message = _wrong_fields(problem.get("errors")) or message
    hint = _in_our_words(str(problem.get("hint") or ""))
    if status == 401:
        # The API's own hint speaks of headers; here a token has other ways in.
        ours = (
            "give one with JOBRECONCILER_TOKEN or --token-file, or name the daemon's own "
            "--state-dir; `jobreconciler token list` shows which there are"
        )
        return Refused(
            f"the daemon refuses access: {message}" + ("" if had_token else "; no token was found"),
            hint=ours if not hint or "Authorization" in hint else hint,
        )
    if status == 403:
        return Refused(f"the daemon refuses access: {message}", hint=hint)
    if status == 404:
        return NotFound(message, hint=hint)
    if status in (429, 502, 503, 504):
        return Transient(message, hint=hint or "try again in a moment")
    if status >= 500:
        return Transient(f"the daemon failed: {message}", hint=hint or "its log says why")
    if problem.get("reason") == "InvalidRequest":  # wrong usage, as of any flag
        return Refused(message, hint=hint, reason="InvalidRequest")
    return Invalid(message, hint=hint)
