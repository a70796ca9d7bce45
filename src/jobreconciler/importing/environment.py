"""Variables of an imported job: literal text, or a reference where it looks like a secret.

A job file is read by everyone who may read the repository, so a value that looks like a secret is
never written, nor shown in a finding: the job gets a reference, and a person is told.
"""

from __future__ import annotations

import re

from jobreconciler.importing.report import Draft, Place
from jobreconciler.model.strict import ENV_PATTERN

_NAME = re.compile(ENV_PATTERN.removesuffix("$"))
_OWN = "JOBRECONCILER_"
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:\w*PASS(?:WORD|WD|PHRASE)?|SECRETS?|\w*TOKEN|\w*API_?KEY|PRIVATE_?KEY|"
    r"(?:\w*_)?ACCESS_?KEY|SECRET_?KEY|CREDENTIALS?|PWD)(?:$|_(?!FILE|PATH|DIR))",
    re.I,
)
_URL_WITH_SECRET = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_OPTION_WITH_SECRET = re.compile(
    r"(?:pass(?:word|wd)?|secret|token|api[-_]?key)[=:]\s*['\"]?[^\s'\"$]|"
    r"--(?:password|token|secret|api-?key)\s+[^\s$-]|"
    r"Authorization:\s*(?:Bearer|Basic)\s+[^\s$]|"
    r"\bmysql\w*\b[^|;&]{0,200}\s-p[^\s$]",
    re.I,
)
_NO_SECRET = re.compile(r"(?:true|false|yes|no|on|off|[0-9]|/[^:]*)?", re.I)


def put(draft: Draft, name: str, value: str, at: int | Place) -> bool:
    """Give the job a variable. False where no job can have it, which is then a finding."""
    if not _NAME.fullmatch(name) or len(name) > 256 or "\0" in value:
        draft.note(
            "left_out",
            f"the variable {name[:64]!r}",
            "a job's variables have plain names",
            "set it inside the command",
            at,
        )
        return False
    if name.startswith(_OWN):
        draft.note(
            "left_out",
            f"the variable {name}",
            "names that begin so are the daemon's own",
            "rename it",
            at,
        )
        return False
    env = draft.section("parameters").setdefault("env", {})
    if looks_secret(name, value):
        env[name] = {"env": name}
        draft.note(
            "secret",
            f"the value of {name}",
            "it looks like a secret, so it is not written",
            f"start the daemon with {name} set, or write {{file: name}}",
            at,
        )
    else:
        env[name] = value
    return True


def looks_secret(name: str, value: str) -> bool:
    """By its name, or because it is a URL that carries a password."""
    if _NO_SECRET.fullmatch(value):
        return False
    return bool((name != "PWD" and _SECRET_NAME.search(name)) or _URL_WITH_SECRET.search(value))


def check_command(draft: Draft, command: str, at: int | Place) -> None:
    """Say where a command seems to hold a secret. It is written as it is: it has to run."""
    if _URL_WITH_SECRET.search(command) or _OPTION_WITH_SECRET.search(command):
        draft.note(
            "secret",
            "the command",
            "it seems to hold a secret, and it is written as it is",
            "move it to parameters.env as {env: NAME} before you commit the file",
            at,
        )
