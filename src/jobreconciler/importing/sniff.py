"""What a file is by its first bytes, so that a PDF is not reported as a strange crontab."""

from __future__ import annotations

from jobreconciler.importing.report import Imported

MAX_BYTES = 8 * 1024 * 1024

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "a PDF"),
    (b"\x7fELF", "a program"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"SQLite format 3", "a database"),
)
_MARKUP: tuple[tuple[str, str], ...] = (
    ("<!doctype html", "an HTML page"),
    ("<html", "an HTML page"),
    ("<?xml", "an XML file"),
    ("<", "markup"),
)


def text_of(out: Imported, file: str, data: bytes, wanted: str) -> str | None:
    """The file's text, or None and an error in `out` that says what the file is instead."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            out.error(file, 1, "not_the_kind", f"this is {name}, not {wanted}", "name another file")
            return None
    if len(data) > MAX_BYTES:
        out.error(
            file,
            0,
            "too_large",
            f"the file has {len(data)} bytes; at most {MAX_BYTES} are read",
            "split it",
        )
        return None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        out.error(file, 1, "not_utf8", "the file is UTF-16 text, not UTF-8", "save it as UTF-8")
        return None
    nul = data.find(b"\0")
    if nul >= 0:
        out.error(
            file,
            data.count(b"\n", 0, nul) + 1,
            "not_text",
            f"a NUL byte: this is a binary file, not {wanted}",
            "name another file",
        )
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        out.error(
            file,
            line,
            "not_utf8",
            f"the byte 0x{data[error.start]:02X} is not UTF-8",
            "save it as UTF-8, for example with iconv",
        )
        return None
    return None if _is_markup(out, file, text, wanted) else text


def _is_markup(out: Imported, file: str, text: str, wanted: str) -> bool:
    start = text.lstrip()[:64].lower()
    for mark, name in _MARKUP:
        if start.startswith(mark):
            line = text[: len(text) - len(text.lstrip())].count("\n") + 1
            out.error(
                file,
                line,
                "not_the_kind",
                f"this is {name}, not {wanted}",
                "name the file itself; was a web page saved instead?",
            )
            return True
    return False
