"""The text of an imported job file: canonical key order, and a comment for all there is to say.

Text is written so that the strict reader gives back exactly what was put in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from jobreconciler.importing.report import Draft, Finding
from jobreconciler.model.job_config import Meta, Payload
from jobreconciler.model.job_parts import Limits, Retry, Schedule

_SCHEMA = "# yaml-language-server: $schema=../schemas/job-config.schema.json"
_WIDTH = 96
_PARAMETERS = ("argv", "shell", "env", "successExitCodes", "cwd")

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*")
_AMBIGUOUS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def render(draft: Draft, job_id: str) -> str:
    """The whole file. `job_id` is valid (see ids)."""
    meta = _ordered({"id": job_id, **draft.meta}, _keys(Meta))
    payload = _ordered(draft.payload, _keys(Payload))
    for section, model in (("schedule", Schedule), ("retry", Retry), ("limits", Limits)):
        if section in payload:
            payload[section] = _ordered(payload[section], _keys(model))
    payload["parameters"] = _ordered(payload["parameters"], _PARAMETERS)
    lines = [_SCHEMA, *_header(draft)]
    lines += ["meta:", *_map(meta, "  ", "meta", {})]
    lines += ["payload:", *_map(payload, "  ", "", draft.remarks)]
    return "\n".join(lines) + "\n"


def _keys(model: type[BaseModel]) -> list[str]:
    """The model's keys in the order of the job file."""
    return [field.alias or name for name, field in model.model_fields.items()]


def comment(text: str, lead: str = "", below: str = "") -> list[str]:
    """`text` as comment lines; the first begins with `lead`, the others with `below`."""
    lines: list[str] = []
    line = lead
    for word in printable(text).split():
        if line.strip() and line != lead and len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = below
        line += word if line in (lead, below) else f" {word}"
    return [f"# {each}".rstrip() for each in [*lines, line]]


def printable(text: str) -> str:
    """On one line: every character that could end it, or drive a terminal, is a space."""
    return "".join(char if char.isprintable() else " " for char in text)


def _header(draft: Draft) -> Iterator[str]:
    where = f", line {draft.line}" if draft.line else ""
    yield from comment(f"Imported from {draft.file}{where}.")
    if draft.findings:
        yield "# To look at:"
    for finding in draft.findings:
        yield from comment(_said(finding, draft), "- ", "  ")


def _said(finding: Finding, draft: Draft) -> str:
    elsewhere = finding.line and (finding.file, finding.line) != (draft.file, draft.line)
    where = f"line {finding.line}: " if elsewhere and finding.file == draft.file else ""
    if elsewhere and finding.file != draft.file:
        where = f"{finding.file}:{finding.line}: "
    return where + finding.sentence()


def _ordered(values: dict[str, Any], order: Sequence[str]) -> dict[str, Any]:
    return {key: values[key] for key in order if key in values}


def _map(values: dict[str, Any], indent: str, path: str, remarks: dict[str, str]) -> Iterator[str]:
    for key, value in values.items():
        here = f"{path}.{key}" if path else key
        remark = remarks.get(here, "")
        tail = f"   # {printable(remark)}" if remark else ""
        name = f"{indent}{_text(key)}:"
        if isinstance(value, dict) and value and not _is_reference(value):
            yield name + tail
            yield from _map(value, indent + "  ", here, remarks)
        elif isinstance(value, str) and (block := _block(value)):
            mark, lines = block
            yield f"{name} {mark}{tail}"
            yield from (f"{indent}  {line}".rstrip() for line in lines)
        elif isinstance(value, list) and len(_flow(value)) + len(name) > _WIDTH:
            yield name + tail
            yield from (f"{indent}  - {_flow(item)}" for item in value)
        else:
            yield f"{name} {_flow(value)}{tail}"


def _is_reference(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)) in ("env", "file")


def _block(text: str) -> tuple[str, list[str]] | None:
    """`|` or `|-` and its lines, for text of several plain lines that a block gives back."""
    body = text.removesuffix("\n")
    lines = body.split("\n")
    if len(lines) < 2 or any(line != line.rstrip() or not line.isprintable() for line in lines):
        return None
    if not lines[0] or lines[0].startswith(" ") or not lines[-1]:
        return None
    return ("|" if text.endswith("\n") else "|-"), lines


def _flow(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    return _text(str(value))


def _text(text: str) -> str:
    """Bare where no reader could take it for anything else, else in double quotes."""
    if _PLAIN.fullmatch(text) and text.lower() not in _AMBIGUOUS:
        return text
    return '"' + "".join(_ESCAPES.get(char) or _escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
