"""Which database the signal jobs work on, and the secret through which their files name it."""

from __future__ import annotations

import os
from pathlib import Path

from jobreconciler.errors import Refused
from jobreconciler.settings import Settings

SECRET = "signals-database-url"
"""`{file: signals-database-url}` in the job files of jobs.d/."""
VARIABLE = "SIGNALS_DATABASE_URL"
FILE_NAME = "signals.db"


def secret_file(settings: Settings) -> Path:
    return settings.secrets_path / SECRET


def database_url(settings: Settings, given: str | None) -> str:
    """The first that says something: the flag, the variable, the secret, the state directory."""
    named = given or os.environ.get(VARIABLE)
    if named:
        return named.strip()
    try:
        return secret_file(settings).read_text("utf-8").strip()
    except FileNotFoundError:
        return f"sqlite:///{(settings.state_dir / FILE_NAME).absolute()}"


def keep_secret(settings: Settings, url: str) -> bool:
    """Leave the URL where the daemon finds it, mode 0600. False: it is there already.

    Raises Refused where the file names another database.
    """
    path = secret_file(settings)
    if path.exists():
        if path.read_text("utf-8").strip() != url:
            raise Refused(
                f"{path} names another database",
                hint="the jobs use that one: delete the file first, or leave --database out",
            )
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(url + "\n")
    return True
