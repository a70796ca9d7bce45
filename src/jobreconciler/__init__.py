"""GitOps for scheduled jobs: declared in git, validated, applied, scheduled, run and observed."""

__version__ = "0.1.0"
