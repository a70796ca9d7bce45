"""A service's Exec lines as one command: argv where there is one, else a script that goes on
while all is well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from jobreconciler.importing import environment
from jobreconciler.importing.report import Draft
from jobreconciler.importing.script import Pieces, Ref, joined, placeholder, plain, shell_words
from jobreconciler.importing.unit_file import (
    BadWords,
    Directive,
    Unit,
    commands_of,
    resolved,
    words_of,
)

_PREFIXES: Final = "@-:+!"
_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_WHOLE_WORD = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_OF_EVERY_JOB: Final = frozenset({"PATH", "HOME", "LANG", "TZ"})


class _Command(NamedTuple):
    words: list[Pieces]
    may_fail: bool


class _Known(NamedTuple):
    """What is known of the unit: its specifiers, and the literal values of its variables."""

    specifiers: Mapping[str, str]
    values: Mapping[str, str]


def read_command(draft: Draft, service: Unit, specifiers: Mapping[str, str]) -> None:
    """ExecStart with ExecStartPre before it, and the variables they may use."""
    known = _Known(specifiers, _environment(draft, service, specifiers))
    before = service.all("Service", "ExecStartPre")
    start = service.all("Service", "ExecStart")
    if not start:
        placeholder(draft, f"{service.name} has no ExecStart", draft.line)
        return
    commands: list[_Command] = []
    for one in (*before, *start):
        try:
            commands += _commands(draft, one, known)
        except BadWords as problem:
            placeholder(draft, f"{one.key}: {problem}", one.at)
            return
    if not commands:
        placeholder(draft, f"the ExecStart of {service.name} is empty", start[0].at)
        return
    for one in (*before, *start):
        environment.check_command(draft, one.value[:4096], one.at)
    _write(draft, commands)


def _write(draft: Draft, commands: Sequence[_Command]) -> None:
    parameters = draft.section("parameters")
    words = plain(commands[0].words)
    if len(commands) == 1 and not commands[0].may_fail:
        if words is not None:
            parameters["argv"] = words
        else:
            parameters["shell"] = "exec " + shell_words(commands[0].words)
        return
    parameters["shell"] = " &&\n".join(
        f"{{ {shell_words(one.words)} || true; }}" if one.may_fail else shell_words(one.words)
        for one in commands
    )
    if len(commands) > 1:
        draft.note(
            "changed",
            "several Exec lines",
            "they are one script here, with one timeout and "
            "one exit code; it stops at the first that fails, as systemd does",
            "",
            draft.line,
        )


def _commands(draft: Draft, one: Directive, known: _Known) -> list[_Command]:
    """Raises BadWords."""
    found = []
    for words in commands_of(one.value):
        name = words[0].lstrip(_PREFIXES)
        marks = words[0][: len(words[0]) - len(name)]
        words = [name, *words[1:]] if name else words[1:]
        if "@" in marks and len(words) > 1:
            draft.note(
                "left_out",
                f"{one.key}=@",
                f"the program would call itself {words[1][:60]}",
                "",
                one.at,
            )
            del words[1]
        if "+" in marks or "!" in marks:
            draft.note(
                "left_out",
                f"{one.key}={marks}",
                "the mark gives it more rights than the service; jobs run as the daemon's user",
                "",
                one.at,
            )
        if words:
            read = [piece for word in words for piece in _word(draft, one, word, marks, known)]
            found.append(_Command(read, "-" in marks))
    return found


def _word(draft: Draft, one: Directive, text: str, marks: str, known: _Known) -> list[Pieces]:
    """One word as none, one or several: `$NAME` alone gives as many as its value has."""
    text, unknown = resolved(text, known.specifiers)
    for specifier in unknown:
        draft.switch_off("until the specifiers in the command are replaced, see above")
        draft.note(
            "left_out",
            f"{specifier} in {one.key}",
            "only systemd knows what it stands for",
            "write it out in parameters",
            one.at,
        )
    if ":" in marks:
        return [(text,)]
    alone = _WHOLE_WORD.fullmatch(text)
    if alone is not None:
        value = _value(draft, one, alone[1], known)
        if value is None:
            return [(Ref(alone[1], splits=True),)]
        return [(word,) for word in _split(value)]
    pieces: list[str | Ref] = []
    at = 0
    for found in _VARIABLE.finditer(text):
        pieces.append(text[at : found.start()])
        at = found.end()
        value = "$" if found[1] else _value(draft, one, found[2], known)
        pieces.append(Ref(found[2]) if value is None else value)
    return [joined([*pieces, text[at:]])]


def _split(value: str) -> list[str]:
    try:
        return words_of(value)
    except BadWords:
        return value.split()


def _value(draft: Draft, one: Directive, name: str, known: _Known) -> str | None:
    """The literal value, or None where the shell has to put it in."""
    value = known.values.get(name)
    if value is not None and not environment.looks_secret(name, value):
        return value
    if value is None and name not in _OF_EVERY_JOB:
        draft.note(
            "left_out",
            f"the value of ${name}",
            "it is not in the unit",
            f"set parameters.env.{name}",
            one.at,
        )
    return None


def _environment(draft: Draft, service: Unit, specifiers: Mapping[str, str]) -> dict[str, str]:
    """Environment= into the job's env; the values are returned as well."""
    values: dict[str, str] = {}
    for one in service.all("Service", "Environment"):
        try:
            words = words_of(one.value)
        except BadWords as problem:
            draft.note("left_out", "Environment", str(problem), "set parameters.env", one.at)
            continue
        for word in words:
            said, unknown = resolved(word, specifiers)
            name, equals, value = said.partition("=")
            if unknown or not equals:
                why = f"{unknown[0]} is known to systemd only" if unknown else "it is no NAME=value"
                draft.note(
                    "left_out", f"Environment {name[:64]}", why, "set parameters.env", one.at
                )
            elif environment.put(draft, name, value, one.at):
                values[name] = value
    for one in service.all("Service", "EnvironmentFile"):
        draft.note(
            "left_out",
            f"EnvironmentFile {one.value[:200]}",
            "a job gets the variables of its own file only",
            "set parameters.env",
            one.at,
        )
    return values
