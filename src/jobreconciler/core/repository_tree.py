"""Which runs start in the repository's own tree: by convention, those whose `cwd` says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def starts_in_tree(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> bool:
    """Whether a run of this config, with what its trigger sets, has `cwd: {repo: dir}`."""
    parameters = config["payload"].get("parameters") or {}
    if any(name == "cwd" or name.startswith("cwd.") for name in overrides):
        return True
    return isinstance(parameters.get("cwd"), Mapping)
