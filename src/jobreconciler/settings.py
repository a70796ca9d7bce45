"""Settings: one frozen value, read from flags, the environment, a file and the defaults.

The first that says something wins: flags, then `JOBRECONCILER_*` variables, then
`jobreconciler.toml` in the working directory (or the file named by `--config` or
`JOBRECONCILER_CONFIG`), then the defaults below. Where neither a variable nor a file has anything
to say, pydantic-settings is not imported at all: it costs more time than the validation of a file.
"""

import os
import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jobreconciler.errors import Refused

PREFIX = "JOBRECONCILER_"
FILE_NAME = "jobreconciler.toml"
DEFAULT_LISTEN = "127.0.0.1:8484"
DEFAULT_SERVER = f"http://{DEFAULT_LISTEN}"

_DURATION = re.compile(r"(?=.)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_LISTEN = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\s]+):(?P<port>\d{1,5})", re.ASCII)


def parse_duration(text: str) -> int | None:
    """Whole seconds of `30s`, `5m`, `1h30m`, `2d` or a bare number; None if it is none of them."""
    if text.isdecimal() and text.isascii():
        return int(text)
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    seconds = parse_duration(value.strip())
    if seconds is None:
        raise ValueError(f"{value!r} is not a duration such as 30s, 5m, 1h30m or 45")
    return seconds


def _listen(value: Any) -> Any:
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"{value!r} is not HOST:PORT, such as {DEFAULT_LISTEN}")
    return value


def _server(value: Any) -> Any:
    if not isinstance(value, str) or not re.match(r"https?://[^/\s]", value):
        raise ValueError(f"{value!r} is not an http:// or https:// address")
    # Imported here: most command lines name no server.
    from urllib.parse import urlsplit

    try:
        address = urlsplit(value)
        usable = bool(address.hostname) and address.port != 0 and value.isascii()
        (address.hostname or "").encode("idna")
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(
            f"{value!r} is not http://HOST or http://HOST:PORT, such as {DEFAULT_SERVER}; "
            "a port is a number up to 65535"
        )
    return value.rstrip("/")


def _jobs_dir(value: Any) -> Any:
    text = str(value).replace("\\", "/").strip("/")
    parts = [part for part in text.split("/") if part != "."]
    if str(value).startswith("/") or ".." in parts or not parts:
        raise ValueError(f"{str(value)!r} is not a directory below the repository's root")
    return "/".join(parts)


def _networks(value: Any) -> Any:
    """Networks as they are in a file (a list) or in a variable (with commas), as one text."""
    from ipaddress import ip_network

    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list):
        raise ValueError(f"{value!r} is no list of networks such as 127.0.0.1,10.20.0.0/16")
    found = [str(part).strip() for part in parts if str(part).strip()]
    for part in found:
        try:
            ip_network(part)
        except ValueError as error:
            raise ValueError(f"{error}; write 127.0.0.1 or 10.20.0.0/16") from None
    return ",".join(found)


def _default_max_running() -> int:
    """Two for every core this process may use, not every core of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return 2 * len(os.sched_getaffinity(0))
    return 2 * (os.cpu_count() or 1)


def _host_name() -> str:
    return os.uname().nodename


class Settings(BaseModel):
    """Everything a command or the daemon can be told. `poll_interval` and `keep_*` are in seconds,
    but for counts and GiB."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, defer_build=True)

    repo: str = "."
    ref: str | None = None
    jobs_dir: Annotated[str, BeforeValidator(_jobs_dir)] = "jobs.d"
    state_dir: Path = Path(".jobreconciler")
    store: str | None = Field(default=None, repr=False)
    server: Annotated[str, BeforeValidator(_server)] = DEFAULT_SERVER
    listen: Annotated[str, BeforeValidator(_listen)] = DEFAULT_LISTEN
    max_running: int = Field(default_factory=_default_max_running, ge=1, le=10_000)
    log_format: Literal["auto", "json", "console"] = "auto"
    environment: str | None = None
    atomic: bool = False
    require_fast_forward: bool = False
    working_tree: bool = False
    poll_interval: Annotated[float, BeforeValidator(_seconds), Field(ge=1, le=86_400)] = 30.0
    instance: str = Field(default_factory=_host_name, min_length=1, max_length=255)
    drain: bool = Field(default_factory=lambda: os.getpid() == 1)
    secrets_dir: Path | None = None
    allow_http_networks: Annotated[str, BeforeValidator(_networks)] = ""
    smtp_url: str | None = Field(default=None, repr=False)
    keep_executions: Annotated[int, BeforeValidator(_seconds), Field(ge=0)] = 30 * 86_400
    keep_executions_per_job: int = Field(default=20, ge=1)
    keep_output: Annotated[int, BeforeValidator(_seconds), Field(ge=0)] = 7 * 86_400
    keep_output_gib: float = Field(default=10.0, ge=0)
    concurrency_groups: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    token: str | None = Field(default=None, repr=False)
    token_file: Path | None = None

    @property
    def listen_host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def listen_port(self) -> int:
        return int(self.listen.rpartition(":")[2])

    @property
    def http_networks(self) -> tuple[str, ...]:
        """Private networks that jobs of type `http` may reach."""
        return tuple(filter(None, self.allow_http_networks.split(",")))

    @property
    def database_path(self) -> Path:
        """Where the SQLite store lies when `store` doesn't say otherwise."""
        return self.state_dir / "store.db"

    @property
    def secrets_path(self) -> Path:
        """Where `{file: name}` secrets lie; the directory need not exist."""
        return self.secrets_dir or self.state_dir / "secrets"

    @property
    def operator_token_file(self) -> Path:
        return self.token_file or self.state_dir / "token"


FIELDS = tuple(Settings.model_fields)


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    needs: Collection[str] = FIELDS,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings a command works with. `flags` hold only what was given on the command line.

    `needs` names the fields the command reads; variables for others cannot make it slower or fail.
    Raises Refused (naming the flag, the variable or the file) for a value that can't be used.
    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    config = _config_file(given.pop("config", None), environ)
    variables = {f"{PREFIX}{name.upper()}": name for name in FIELDS if name in needs}
    in_environment = any(environ.get(variable) for variable in variables)
    try:
        if config is None and not in_environment:
            # Without anything to check, what checks it need not be made.
            return Settings(**given) if given else Settings.model_construct()
        from jobreconciler.settings_sources import layered

        return layered(given, environ, variables, config)
    except ValidationError as error:
        raise Refused(_explain(error, partial(_origin, given, environ, config))) from None


def _config_file(flag: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path | None:
    named = flag or environ.get(f"{PREFIX}CONFIG")
    if named:
        path = Path(named)
        if not path.is_file():
            where = "--config" if flag else f"{PREFIX}CONFIG"
            raise Refused(
                f"{where}: there is no file {path}", hint="name a TOML file, or leave it out"
            )
        return path
    path = Path(FILE_NAME)
    return path if path.is_file() else None


def _origin(
    given: Mapping[str, Any], environ: Mapping[str, str], config: Path | None, name: str
) -> str:
    if name in given:
        return "--" + name.replace("_", "-")
    variable = PREFIX + name.upper()
    if environ.get(variable):
        return variable
    return f"{config}: {name}" if config else name


def _explain(error: ValidationError, origin: Any) -> str:
    lines = []
    for mistake in error.errors(include_url=False):
        name = str(mistake["loc"][0]) if mistake["loc"] else ""
        rest = ".".join(str(part) for part in mistake["loc"][1:])
        where = origin(name) + (f".{rest}" if rest else "")
        if mistake["type"] == "extra_forbidden":
            from difflib import get_close_matches

            close = get_close_matches(name, FIELDS, 1)
            said = "there is no such setting" + (f"; did you mean {close[0]}?" if close else "")
        elif mistake["type"] == "value_error":
            said = str(mistake["ctx"]["error"])
        else:
            said = f"{mistake['msg']}, got {mistake['input']!r}"
        lines.append(f"{where}: {said}")
    return "\n".join(lines)
