"""JSON Schemas (draft 2020-12), generated from the models and the job-type registry alone."""

from jobreconciler.schema.files import check, render_schemas, write
from jobreconciler.schema.form import form_fields
from jobreconciler.schema.job_file import defaults_schema, job_file_schema, parameters_schema

__all__ = [
    "check",
    "defaults_schema",
    "form_fields",
    "job_file_schema",
    "parameters_schema",
    "render_schemas",
    "write",
]
