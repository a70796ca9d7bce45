"""`jobreconciler doctor`: look at everything a daemon needs, and say how to mend what is wrong."""

from __future__ import annotations

from jobreconciler.cli.checks import Check, examine
from jobreconciler.cli.errors import FINE, NO
from jobreconciler.cli.options import DAEMON, REPOSITORY, STATE, verb
from jobreconciler.cli.output import Page, Style, page, write, write_json
from jobreconciler.cli.words import clean, count, wrap
from jobreconciler.settings import Settings

_STYLES: dict[str, Style] = {"ok": "good", "warn": "warn", "fail": "bad"}


@verb(*REPOSITORY, *STATE, *DAEMON, "listen", "secrets_dir")
def command(settings: Settings, output: str) -> int:
    """Check git, repository, store, clock, zone data, secrets, access and port. Changes nothing.

    Exits with 1 when a check fails.

    \b
    Example:
      jobreconciler doctor --repo ~/jobs
    """
    drawn = page()
    checks = examine(settings, drawn.now)
    failed = sum(check.status == "fail" for check in checks)
    if output == "json":
        write_json({"ok": not failed, "checks": [_json(check) for check in checks]})
    else:
        write(checks_text(checks, drawn))
    return NO if failed else FINE


def checks_text(checks: list[Check], drawn: Page) -> str:
    left = max(len(check.name) for check in checks) + 2
    lines = []
    for check in checks:
        head = drawn.styled(f"{check.status:<6}", _STYLES[check.status]) + f"{check.name:<{left}}"
        first, *rest = wrap(clean(check.message), drawn.width - left - 6) or [""]
        lines.append(head + first)
        below = " " * (left + 6)
        lines += [below + line for line in rest]
        if check.status != "ok" and check.hint:
            hint = wrap(clean(check.hint), drawn.width - left - 9)
            lines += [below + ("→ " if n == 0 else "  ") + line for n, line in enumerate(hint)]
    worst = [
        count(sum(check.status == status for check in checks), said)
        for status, said in (("fail", "failure"), ("warn", "warning"))
        if any(check.status == status for check in checks)
    ]
    return "\n".join([*lines, "", ", ".join(worst) or "all is well"])


def _json(check: Check) -> dict[str, str]:
    return {
        "name": check.name,
        "status": check.status,
        "message": check.message,
        "hint": check.hint,
    }
