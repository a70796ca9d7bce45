"""From a launch to what its supervisor is told: JSON, secrets resolved, never stored.

id, directory, bootId               which run, where its files go, the kernel's boot id
argv, env, cwd, successExitCodes    what to start and how to judge its exit code
timeoutSeconds, killGraceSeconds    TERM after the one, KILL after the other
outputBytes, memoryBytes            caps; memoryBytes is null where there is none
secrets                             values to mask in everything the job says
reuse                               whether the worker of a Python job may take another run after it
worker                              for a Python job: all that its worker is told, JSON that the
                                    supervisor passes on unread (see worker.py); else null. It is
                                    sent as a second line, apart from the rest
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from jobreconciler.errors import Invalid
from jobreconciler.execute import frames, processes, secret_values
from jobreconciler.execute.encoding import encoded
from jobreconciler.execute.secret_values import SecretValues
from jobreconciler.execute.spawn import REPORT_FD
from jobreconciler.model.execution import Launch
from jobreconciler.ports import ExecSpec, JobType

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def build(
    launch: Launch,
    job_type: JobType,
    secrets: SecretValues,
    directory: str,
    environ: Mapping[str, str],
    *,
    networks: Sequence[str] = (),
    tree: str | None = None,
) -> dict[str, Any]:
    """The request for one attempt. Raises Invalid where the launch cannot be carried out.

    `tree` is the directory that `cwd: {repo: dir}` means, where the launch has one.
    """
    if launch.dry_run and not job_type.dry_runs:
        raise Invalid(
            f"jobs of type {job_type.name!r} cannot run dry",
            reason="DryRunUnsupported",
            hint="start it without a dry run, or not at all",
        )
    parameters = _validated(job_type, launch.parameters)
    values: list[str] = []
    spec = job_type.program(parameters)
    if spec is not None:
        request = _limited(launch, directory, spec, _cwd(spec, environ, tree))
        request["env"] = _environment(launch, spec, secrets, environ, values)
        request["secrets"] = secret_values.to_mask(values)
        return request
    found = _secrets_of(parameters, secrets)
    values += found.values()
    spec = ExecSpec(argv=("python",), cwd=_cwd_of(parameters))
    request = _limited(launch, directory, spec, _cwd(spec, environ, tree))
    isolated = getattr(parameters, "isolation", "worker") != "worker"
    request["reuse"] = not isolated and not request["memoryBytes"]
    request["worker"] = encoded(
        {
            "env": _environment(launch, spec, secrets, environ, values),
            "cwd": request["cwd"],
            "directory": directory,
            "memoryBytes": request["memoryBytes"],
            "reuse": request["reuse"],
            "payload": _payload(launch, job_type, found, networks),
        }
    )
    request["secrets"] = secret_values.to_mask(values)
    return request


class Sent(NamedTuple):
    """A request as it is sent. `python`: the warm server's; `light`: it may be handed out together
    with others, since its worker can say by itself how it ended."""

    body: bytes
    python: bool
    light: bool
    has_secrets: bool


def sent(request: dict[str, Any]) -> Sent:
    head = {key: value for key, value in request.items() if key != "worker"}
    if request["worker"] is None:
        return Sent(encoded(head), False, False, bool(request["secrets"]))
    # Not where there are secrets: a worker holds all that it is handed at once, so that a run could
    # find those of the ones behind it in its own memory.
    light = request["reuse"] and 0 in request["successExitCodes"] and not request["secrets"]
    body = frames.launch(encoded(head), request["worker"])
    return Sent(body, True, light, bool(request["secrets"]))


def _limited(
    launch: Launch,
    directory: str,
    spec: ExecSpec,
    cwd: str,
) -> dict[str, Any]:
    """What the supervisor itself goes by, whatever kind of job it is."""
    limits = launch.config.get("payload", {}).get("limits", {})
    return {
        "directory": directory,
        "bootId": _boot_id(),
        "argv": list(spec.argv),
        "cwd": cwd,
        "successExitCodes": list(spec.success_exit_codes),
        "timeoutSeconds": limits.get("timeoutSeconds", 3600),
        "killGraceSeconds": limits.get("killGraceSeconds", 10),
        "outputBytes": int(limits.get("outputKiB", 1024)) * 1024,
        "memoryBytes": _bytes(limits.get("memoryMiB")),
        "worker": None,
    }


_boot_id = cache(processes.boot_id)


@lru_cache(maxsize=4)
def _absolute(path: tuple[str, ...]) -> list[str]:
    return [str(Path(entry).absolute()) for entry in path if entry]


def _validated(job_type: JobType, parameters: Mapping[str, Any]) -> BaseModel:
    try:
        return job_type.parameters.model_validate(parameters)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(str(part) for part in first["loc"]) or "parameters"
        raise Invalid(
            f"parameters of job type {job_type.name!r}: {at}: {first['msg']}",
            reason="InvalidParameters",
        ) from None


def _secrets_of(parameters: BaseModel, secrets: SecretValues) -> dict[str, str]:
    return {
        secret_values.key(reference): secrets.resolve(reference)
        for reference in secret_values.references(parameters)
    }


def _payload(
    launch: Launch, job_type: JobType, secrets: Mapping[str, str], networks: Sequence[str]
) -> dict[str, Any]:
    """What its runner reads (see runner.py)."""
    limits = launch.config.get("payload", {}).get("limits", {})
    kind = type(job_type)
    return {
        "sysPath": _absolute(tuple(sys.path)),
        "jobType": f"{kind.__module__}:{kind.__qualname__}",
        "parameters": launch.parameters,
        "secrets": secrets,
        "batchSize": limits.get("batchSize"),
        "timeoutSeconds": limits.get("timeoutSeconds", 3600),
        "networks": list(networks),
        "dryRun": launch.dry_run,
        "executionId": launch.execution_id,
        "attempt": launch.attempt,
        "slot": instant(launch.trigger.slot),
        "trigger": launch.trigger.type,
        "revision": launch.revision,
    }


def _environment(
    launch: Launch,
    spec: ExecSpec,
    secrets: SecretValues,
    environ: Mapping[str, str],
    values: list[str],
) -> dict[str, str]:
    """The job's whole environment; resolved secrets are added to `values`, to be masked."""
    environment = {
        "PATH": environ.get("PATH", _PATH),
        "HOME": environ.get("HOME") or _home_of_user(),
        "LANG": environ.get("LANG", "C.UTF-8"),
        "TZ": environ.get("TZ", "UTC"),
    }
    for name, value in spec.env.items():
        if isinstance(value, Mapping):
            environment[name] = secrets.resolve(value)
            values.append(environment[name])
        else:
            environment[name] = str(value)
    return environment | {
        "JOBRECONCILER_JOB": launch.job_id,
        processes.MARKER: launch.execution_id,
        "JOBRECONCILER_ATTEMPT": str(launch.attempt),
        "JOBRECONCILER_TRIGGER": launch.trigger.type,
        "JOBRECONCILER_SLOT": instant(launch.trigger.slot) or "",
        "JOBRECONCILER_REVISION": launch.revision,
        "JOBRECONCILER_DRY_RUN": "true" if launch.dry_run else "false",
        "JOBRECONCILER_REPORT_FD": str(REPORT_FD),
    }


def _cwd_of(parameters: BaseModel) -> str | Mapping[str, str] | None:
    """Where a Python job is to start: any type's parameters may have a `cwd`."""
    cwd = getattr(parameters, "cwd", None)
    return cwd.model_dump() if isinstance(cwd, BaseModel) else cwd


def _cwd(spec: ExecSpec, environ: Mapping[str, str], tree: str | None) -> str:
    if isinstance(spec.cwd, str):
        return spec.cwd
    if spec.cwd is not None:
        if tree is None:
            raise Invalid(
                "only the parameter `cwd` can name a directory of the repository",
                reason="InvalidParameters",
            )
        return tree
    return _existing(environ.get("HOME") or _home_of_user())


@lru_cache(maxsize=4)
def _existing(home: str) -> str:
    return home if Path(home).is_dir() else "/"


def _home_of_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"


@lru_cache(maxsize=16)
def instant(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, as jobs are told it."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _bytes(mebibytes: int | None) -> int | None:
    return None if mebibytes is None else int(mebibytes) * 2**20
