"""`jobreconciler token`: who may read, run and administer over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from jobreconciler.cli.answers import has_store
from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import STATE, verb
from jobreconciler.cli.output import Cell, note, page, write, write_json
from jobreconciler.errors import NotFound, Refused
from jobreconciler.model.choices import ROLES
from jobreconciler.settings import Settings

HELP = """Create, list and revoke access tokens. Works beside a daemon and without one.

A daemon that other machines can reach starts only after a token was created.

\b
Example:
  jobreconciler token create ci --role operator
"""


@verb(*STATE)
def create(
    settings: Settings,
    output: str,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is; recorded.")],
    role: Annotated[str, typer.Option(metavar="|".join(ROLES), help="What it may do.")] = "reader",
) -> int:
    """Create a token and print it, once: only its hash is stored.

    \b
    Example:
      jobreconciler token create ci --role operator
    """
    if role not in ROLES:
        raise Refused(f"--role {role}: expected one of {', '.join(ROLES)}")
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise Refused(f"{name!r} is no name for a token", hint="up to 100 printable characters")
    from jobreconciler.app import open_store

    store = open_store(settings, shared=True)
    try:
        text = store.create_token(name, role).result()
    finally:
        store.close()
    if output == "json":
        write_json({"name": name, "role": role, "token": text})
    else:
        write(text)
        note(f"this is the only time it is shown; {name} is {role}")
    return FINE


@verb(*STATE)
def list_(settings: Settings, output: str) -> int:
    """List tokens by name: role, age, and whether they are revoked. Never their text.

    \b
    Example:
      jobreconciler token list -o json
    """
    from jobreconciler.app import open_store
    from jobreconciler.core.views import instant, instant_or_none

    store = open_store(settings, read_only=True)
    try:
        tokens = store.list_tokens()
    finally:
        store.close()
    listed = [
        {
            "name": each.name,
            "role": each.role,
            "firstStart": each.first_start,
            "createdAt": instant(each.created_at),
            "revokedAt": instant_or_none(each.revoked_at),
        }
        for each in tokens
    ]
    if output == "json":
        write_json({"tokens": listed})
    elif not listed:
        write("no token was created yet")
    else:
        drawn = page()
        rows = [
            [
                str(each["name"]),
                str(each["role"]),
                drawn.ago(str(each["createdAt"])),
                Cell("revoked", "warn") if each["revokedAt"] else "",
            ]
            for each in listed
        ]
        write(drawn.table(["name", "role", "created", ""], rows))
    return FINE


@verb(*STATE)
def revoke(
    settings: Settings,
    output: str,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The token's name.")],
) -> int:
    """Revoke a token; it stops working at once.

    \b
    Example:
      jobreconciler token revoke ci
    """
    if not has_store(settings) or not _is_there(settings):
        # Opening it to write would make one.
        raise NotFound(
            "there is no store, so there is no token",
            hint="name the daemon's own --state-dir or --store",
        )
    from jobreconciler.app import open_store

    store = open_store(settings, shared=True)
    try:
        if not store.revoke_token(name).result():
            raise NotFound(
                f"no valid token is named {name!r}", hint="`jobreconciler token list` shows them"
            )
    finally:
        store.close()
    if output == "json":
        write_json({"name": name, "revoked": True})
    else:
        write(f"revoked {name}")
    return FINE


VERBS = {"create": create, "list": list_, "revoke": revoke}


def _is_there(settings: Settings) -> bool:
    """Of a database on a server only opening it tells."""
    from jobreconciler.store.engine import locate

    path = locate(settings.store, settings.state_dir).path
    return path is None or path.exists()
