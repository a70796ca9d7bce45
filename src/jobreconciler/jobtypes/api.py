"""What a package that adds a job type may import. These names stay from version to version.

See `examples/acme-job-types` for a whole package. A type is a class with `name`, `description`,
`parameters` (a `StrictModel`) and `run`; its entry point in the group `jobreconciler.job_types` is
called as the type is.
"""

from jobreconciler.errors import Invalid, Transient
from jobreconciler.jobtypes.base import PythonType
from jobreconciler.jobtypes.command import Environment, WorkingDirectory
from jobreconciler.model.strict import (
    DistinctItems,
    Duration,
    Items,
    Line,
    PositiveDuration,
    SecretReference,
    StrictModel,
    Text,
    Whole,
)
from jobreconciler.ports import ExecSpec, JobContext

__all__ = [
    "DistinctItems",
    "Duration",
    "Environment",
    "ExecSpec",
    "Invalid",
    "Items",
    "JobContext",
    "Line",
    "PositiveDuration",
    "PythonType",
    "SecretReference",
    "StrictModel",
    "Text",
    "Transient",
    "Whole",
    "WorkingDirectory",
]
