"""Which code reads job files: a name that changes whenever the same bytes could be read otherwise.

Over the text of the code itself, not over what it declares: generating the JSON Schemas to compare
them takes a tenth of a restart. A comment changes it too, and then all files are read once more.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pydantic

import jobreconciler

if TYPE_CHECKING:
    from jobreconciler.ports import JobType, JobTypes

_PACKAGE = Path(jobreconciler.__file__).parent
_READING = ("model", "source", "core", "jobtypes")


def reader_version(job_types: JobTypes) -> str:
    """A digest of this program's reading code, of the job types and of pydantic's version."""
    digest = hashlib.sha256(f"{jobreconciler.__version__} {pydantic.VERSION}".encode())
    for path in _own_code():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for name in job_types.names():
        job_type = job_types.get(name)
        digest.update(f"\0{name} {job_type.batches}".encode())
        for module in sorted(_modules(job_type)):
            digest.update(module.encode() + b"\0" + _text_of(module))
    return digest.hexdigest()[:16]


def _own_code() -> Iterator[Path]:
    for folder in _READING:
        yield from sorted((_PACKAGE / folder).glob("*.py"))


def _modules(job_type: JobType) -> set[str]:
    """Where a type, the models that its parameters are made of, and what those inherit are
    written."""
    models: set[type[pydantic.BaseModel]] = set()
    _collect(job_type.parameters, models)
    bases = {base.__module__ for model in models for base in model.__mro__}
    return {type(job_type).__module__, *bases} - {"builtins", "pydantic.main"}


def _collect(annotation: Any, models: set[type[pydantic.BaseModel]]) -> None:
    """Adds the models that are in an annotation, at any depth."""
    for inner in get_args(annotation):
        _collect(inner, models)
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        if annotation in models:
            return
        models.add(annotation)
        for field in annotation.model_fields.values():
            _collect(field.annotation, models)


def _text_of(module: str) -> bytes:
    """Empty where there is no file with the text: then the version of the program has to do."""
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        return Path(file).read_bytes() if file else b""
    except OSError:
        return b""
