"""What a user may name: a repository, a ref, a jobs directory. Everything else is refused.

Nothing that starts with a dash reaches git's command line, no transport runs a program
(`ext::`, `fd::`), and credentials in a URL are split off before anything can print them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from jobreconciler.errors import Refused
from jobreconciler.source.faults import redact
from jobreconciler.source.names import has_control, unsafe_name

_SCHEMES = ("https", "http", "ssh", "git+ssh", "ssh+git", "git", "file")
_PLAIN = {"http": "http:// is not encrypted", "git": "git:// is not encrypted or authenticated"}
_SCP = re.compile(r"^(?:(?P<user>[^@/:\s]+)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^@/:\s]+):(?P<path>.+)$")
_HELPER = re.compile(r"^[A-Za-z0-9+.-]*::")
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|^[./]|[./]$")
_BAD_REVISION = re.compile(r"[\x00-\x20\x7f:?*\[\\{}]|\.\.|^[./]")
FULL_ID = re.compile(r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")


@dataclass(frozen=True, slots=True)
class Location:
    """Where the repository is. `url` never carries a secret; `path` is set for a local one."""

    url: str
    path: Path | None = None
    protocols: str = ""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    warning: str = ""

    @property
    def shown(self) -> str:
        """For people: errors, logs, conditions."""
        return str(self.path) if self.path is not None else redact(self.url)


def parse_location(repo: str) -> Location:
    """Raises Refused(RepositoryRefused)."""
    if not repo or repo.startswith("-"):
        raise _refused(repo, "it is empty or looks like an option")
    if has_control(repo):
        raise _refused(repo, "it contains control characters")
    if _HELPER.match(repo):
        raise _refused(repo, "remote helpers (NAME::…) can run programs")
    if "://" in repo:
        return _from_url(repo)
    scp = _SCP.match(repo)
    if scp and not Path(repo).exists():
        _check_host(repo, scp["host"], scp["user"] or "")
        return Location(repo, protocols="ssh")
    return Location(repo, path=Path(repo).expanduser().absolute())


def _from_url(repo: str) -> Location:
    try:
        parts = urlsplit(repo)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _refused(repo, f"it is no valid URL ({error})") from None
    scheme = parts.scheme.lower()
    if scheme not in _SCHEMES:
        raise _refused(repo, f"the transport {scheme!r} is not allowed")
    if scheme == "file":
        if host not in ("", "localhost") or not parts.path.startswith("/"):
            raise _refused(repo, "file:// needs an absolute path")
        return Location(f"file://{parts.path}", protocols="file")
    username = unquote(parts.username or "")
    _check_host(repo, host, username)
    netloc = f"[{host}]" if ":" in host else host
    netloc += f":{port}" if port is not None else ""
    if scheme in ("http", "https"):
        # The whole user part is taken as secret: tokens are often given as the user name.
        return Location(
            urlunsplit((scheme, netloc, parts.path, parts.query, "")),
            protocols="http:https" if scheme == "http" else "https",
            username=username,
            password=unquote(parts.password or ""),
            warning=f"{_PLAIN[scheme]}: anyone on the way can change the jobs"
            if scheme in _PLAIN
            else "",
        )
    netloc = f"{username}@{netloc}" if username else netloc
    return Location(
        urlunsplit((scheme, netloc, parts.path, "", "")),
        protocols="git" if scheme == "git" else "ssh",
        warning=f"{_PLAIN[scheme]}: anyone on the way can change the jobs"
        if scheme in _PLAIN
        else "",
    )


def _check_host(repo: str, host: str, username: str) -> None:
    if not host or host.startswith("-") or username.startswith("-"):
        raise _refused(repo, "its host or user is missing or looks like an option")
    if has_control(host + username) or " " in host + username:
        raise _refused(repo, "its host or user contains blanks or control characters")


def _refused(repo: str, why: str) -> Refused:
    return Refused(
        f"--repo {redact(repo)!r} is refused: {why}",
        reason="RepositoryRefused",
        hint="give a local path, https://…, ssh://… or git@host:path",
    )


def check_ref(ref: str) -> str:
    """A branch or tag, short or full, by git's rules for ref names. Raises Refused(RefRefused)."""
    bare = ref.removeprefix("refs/")
    if (
        not bare
        or ref == "@"
        or ref.startswith("-")
        or bare.startswith("-")
        or _BAD_REF.search(ref)
    ):
        raise Refused(
            f"--ref {redact(ref)!r} is not the name of a branch or tag",
            reason="RefRefused",
            hint="give main, v1.2 or refs/heads/main",
        )
    return ref


def check_revision(name: str) -> str:
    """A commit id, short or full, a ref, or either with `~n` or `^n`. Raises Refused."""
    if not name or name.startswith("-") or _BAD_REVISION.search(name):
        raise Refused(
            f"{redact(name)!r} is not a revision",
            reason="RefRefused",
            hint="give a commit id, a branch or a tag",
        )
    return name


def check_jobs_dir(jobs_dir: str) -> str:
    """Normalised: no leading or trailing slash; "" is the repository's root. Raises Refused."""
    parts = [part for part in jobs_dir.split("/") if part not in ("", ".")]
    if jobs_dir.startswith(("/", "-")) or unsafe_name("/".join(parts)):
        raise Refused(
            f"--jobs-dir {redact(jobs_dir)!r} is not a path inside the repository",
            reason="JobsDirRefused",
            hint="give a relative path without '..', as in jobs.d",
        )
    return "/".join(parts)


def candidates(ref: str) -> tuple[str, ...]:
    """Full names a ref may mean, in the order they are tried."""
    if ref.startswith("refs/") or ref == "HEAD":
        return (ref,)
    return (f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/remotes/{ref}")
