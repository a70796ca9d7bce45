"""A pod template as a command: argv, variables, working directory, memory.

`$(VAR)` is expanded as the kubelet does it, by what is known here. A reference to a value that is
a secret here cannot be written out: then the command becomes a script that puts it in at run time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from jobreconciler.importing import environment
from jobreconciler.importing.manifest import Map
from jobreconciler.importing.report import Draft
from jobreconciler.importing.script import Pieces, Ref, joined, placeholder, shell_word
from jobreconciler.importing.units import LARGEST_MIB, SMALLEST_MIB, mebibytes_of_quantity
from jobreconciler.model.strict import SECRET_FILE_PATTERN

_SECRET_FILE = re.compile(SECRET_FILE_PATTERN.removesuffix("$"))
_REFERENCE = re.compile(r"\$(?:(\$)|\(([^)]*)\))")

_NO_COUNTERPART: Final = "it has no counterpart here"
_POD_WHY: Final[dict[str, tuple[str, str]]] = {
    "initContainers": (
        "only the first container's command is carried over",
        "make each a job, and let this one depend on it",
    ),
    "volumes": ("a command sees the files of the daemon's machine", "put the files there"),
    "serviceAccountName": (
        "a command has no service account",
        "give it credentials through parameters.env",
    ),
    "serviceAccount": (
        "a command has no service account",
        "give it credentials through parameters.env",
    ),
    "nodeSelector": ("runs happen where the daemon is", "run a daemon there"),
    "affinity": ("runs happen where the daemon is", "run a daemon there"),
    "tolerations": ("runs happen where the daemon is", ""),
    "securityContext": ("jobs run as the daemon's user", "run a daemon as that user"),
    "imagePullSecrets": ("no image is pulled", ""),
    "priorityClassName": ("priorities are numbers here", "set payload.priority, 0 to 100"),
}
_CONTAINER_WHY: Final[dict[str, tuple[str, str]]] = {
    "image": (
        "the command runs on the daemon's machine, not in an image",
        "install the program there, or start the image with docker run",
    ),
    "envFrom": ("its variables are not in the manifest", "set them in parameters.env"),
    "volumeMounts": ("a command sees the files of the daemon's machine", "check its paths"),
    "securityContext": ("jobs run as the daemon's user", "run a daemon as that user"),
    "lifecycle": ("there are no hooks around a run", "call them in the command"),
}
_QUIET: Final = frozenset(
    {
        "name",
        "command",
        "args",
        "env",
        "resources",
        "workingDir",
        "imagePullPolicy",
        "terminationMessagePath",
        "terminationMessagePolicy",
    }
)
_POD_QUIET: Final = frozenset(
    {
        "containers",
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "dnsPolicy",
        "schedulerName",
        "activeDeadlineSeconds",
    }
)


_DEFAULTS: Final = (("completions", 1), ("parallelism", 1), ("completionMode", "NonIndexed"))


def read_pod(draft: Draft, pod: Map) -> None:
    """Everything of `spec.template.spec`; what has no counterpart becomes findings."""
    left_over(draft, pod, _POD_QUIET, "", _POD_WHY)
    containers = pod.maps("containers")
    if not containers:
        placeholder(draft, "the pod has no container", pod.at("containers"))
        return
    for other in containers[1:]:
        name = other.text("name") or "without a name"
        draft.note(
            "left_out",
            f"the container {name}",
            "a job starts one program: the first's",
            "make it a job of its own",
            other.line,
        )
    grace = pod.number("terminationGracePeriodSeconds")
    if grace is not None and 0 <= grace <= 3600:
        draft.set("limits.killGraceSeconds", grace)
    elif grace is not None:
        draft.note(
            "left_out",
            f"terminationGracePeriodSeconds {grace}",
            "0 to 3600 are allowed",
            "set limits.killGraceSeconds",
            pod.at("terminationGracePeriodSeconds"),
        )
    _container(draft, containers[0])


def left_over(
    draft: Draft,
    found: Map,
    known: frozenset[str],
    where: str,
    why: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """A finding for each key of a map that nobody has looked at."""
    for key, value in found.items():
        if key not in known and value and (key, value) not in _DEFAULTS:
            reason, hint = (why or {}).get(key, (_NO_COUNTERPART, ""))
            shown = f" {value}" if isinstance(value, int | str) and len(str(value)) <= 80 else ""
            draft.note("left_out", f"{where}{key}{shown}", reason, hint, found.at(key))


def _container(draft: Draft, container: Map) -> None:
    left_over(draft, container, _QUIET, "", _CONTAINER_WHY)
    variables, late = _variables(draft, container)
    command, args = _words(container, "command"), _words(container, "args")
    if command is None or args is None:
        key = "command" if command is None else "args"
        placeholder(draft, f"{key} is no list of texts", container.at(key))
    elif not command:
        image = container.text("image") or "the image"
        placeholder(
            draft,
            f"the program is the one that {image} starts by itself, which only the image knows",
            container.line,
            args,
        )
    else:
        _program(draft, [expand(word, variables) for word in command + args], late)
        environment.check_command(draft, " ".join(command + args)[:4096], container.at("command"))
    directory = container.text("workingDir")
    if directory is not None and directory.startswith("/"):
        draft.section("parameters")["cwd"] = directory
    elif directory:
        draft.note(
            "left_out",
            f"workingDir {directory}",
            "cwd is an absolute path",
            "set parameters.cwd",
            container.at("workingDir"),
        )
    _resources(draft, container.map("resources"))


def _words(container: Map, key: str) -> list[str] | None:
    value = container.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return None
    return value


def _program(draft: Draft, words: Sequence[Pieces], late: Mapping[str, Pieces]) -> None:
    """`argv` where all is known now, else a script that puts in the rest."""
    parameters = draft.section("parameters")
    if not late and all(isinstance(piece, str) for word in words for piece in word):
        parameters["argv"] = ["".join(map(str, word)) for word in words]
        return
    exports = [f"export {name}={shell_word(pieces)}\n" for name, pieces in late.items()]
    parameters["shell"] = "".join(exports) + "exec " + " ".join(map(shell_word, words))


# ---------------------------------------------------------------------------------- variables


def _variables(draft: Draft, container: Map) -> tuple[dict[str, Pieces], dict[str, Pieces]]:
    """What `$(VAR)` stands for; and the variables that only a script can put together."""
    known: dict[str, Pieces] = {}
    late: dict[str, Pieces] = {}
    entries = container.maps("env")
    if container.get("env") and len(entries) != len(container["env"]):
        draft.note(
            "left_out",
            "a part of env",
            "it is no list of maps; Kubernetes refuses it too",
            "set parameters.env",
            container.at("env"),
        )
    for entry in entries:
        name = entry.text("name")
        if not name:
            draft.note("left_out", "a variable without a name", _NO_COUNTERPART, "", entry.line)
        elif "valueFrom" in entry:
            _from_elsewhere(draft, name, entry.map("valueFrom"), entry, known)
        elif isinstance(entry.get("value", ""), str):
            _literal(draft, name, expand(entry.get("value", ""), known), entry, known, late)
        else:
            draft.note(
                "left_out",
                f"the variable {name}",
                "its value is no text; Kubernetes refuses it too",
                "quote it",
                entry.at("value"),
            )
    return known, late


def _literal(
    draft: Draft,
    name: str,
    pieces: Pieces,
    entry: Map,
    known: dict[str, Pieces],
    late: dict[str, Pieces],
) -> None:
    late.pop(name, None)
    if not all(isinstance(piece, str) for piece in pieces):
        draft.section("parameters").setdefault("env", {}).pop(name, None)
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            late[name] = pieces
            known[name] = (Ref(name),)
        return
    value = "".join(map(str, pieces))
    if environment.put(draft, name, value, entry.at("value")):
        known[name] = (Ref(name),) if environment.looks_secret(name, value) else (value,)


def _from_elsewhere(
    draft: Draft, name: str, source: Map, entry: Map, known: dict[str, Pieces]
) -> None:
    secret = source.map("secretKeyRef")
    path = f"{secret.text('name') or ''}/{secret.text('key') or ''}"
    if secret and _SECRET_FILE.fullmatch(path) and len(path) <= 256:
        if not environment.put(draft, name, "", entry.line):
            return
        draft.section("parameters")["env"][name] = {"file": path}
        draft.note(
            "secret",
            f"the value of {name}",
            f"it is the key {secret.text('key')} of the Secret {secret.text('name')}",
            f"put it into the file {path} of the daemon's secrets directory",
            entry.line,
        )
        if secret.get("optional") is True:
            draft.note(
                "changed",
                f"the variable {name}",
                "its secret is optional; here a run fails without it",
                "",
                secret.at("optional"),
            )
        known[name] = (Ref(name),)
        return
    kind = next(iter(source), "valueFrom")
    draft.note(
        "left_out",
        f"the variable {name}",
        f"its value comes from {kind}, which is not in the manifest",
        f"set parameters.env.{name}",
        entry.line,
    )


def expand(text: str, known: Mapping[str, Pieces]) -> Pieces:
    """`$(VAR)` by what is known, `$$` as one dollar; a reference to nothing known stays text."""
    pieces: list[str | Ref] = []
    at = 0
    for found in _REFERENCE.finditer(text):
        pieces.append(text[at : found.start()])
        at = found.end()
        pieces += ("$",) if found[1] else known.get(found[2], (found[0],))
    return joined([*pieces, text[at:]])


# ---------------------------------------------------------------------------------- resources


def _resources(draft: Draft, resources: Map) -> None:
    limits = resources.map("limits")
    left_over(draft, resources, frozenset({"limits", "requests"}), "resources.")
    if "memory" in limits:
        _memory(draft, limits)
    left_over(draft, limits, frozenset({"memory"}), "resources.limits.")
    asked = resources.map("requests")
    if asked:
        draft.note(
            "left_out",
            "resources.requests",
            "nothing is reserved for a run",
            "",
            resources.at("requests"),
        )


def _memory(draft: Draft, limits: Map) -> None:
    said = limits["memory"]
    amount = mebibytes_of_quantity(said)
    if amount is None:
        draft.note(
            "left_out",
            f"resources.limits.memory {said}",
            "it is no quantity",
            "set limits.memoryMiB",
            limits.at("memory"),
        )
        return
    bounded = min(max(amount, SMALLEST_MIB), LARGEST_MIB)
    draft.set("limits.memoryMiB", bounded)
    if bounded != amount:
        draft.note(
            "changed",
            f"resources.limits.memory {said}",
            f"{SMALLEST_MIB} to {LARGEST_MIB} MiB are allowed",
            "",
            limits.at("memory"),
        )
