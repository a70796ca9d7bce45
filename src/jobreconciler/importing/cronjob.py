"""Kubernetes CronJobs: several documents, lists, batch/v1 and what came before it."""

from __future__ import annotations

import re
from typing import Any, Final

from jobreconciler.core.cron_fields import MACROS
from jobreconciler.core.cron_refusals import InvalidSchedule
from jobreconciler.core.zones import zone
from jobreconciler.importing.container import left_over, read_pod
from jobreconciler.importing.cron_dialects import Translated, every, translate
from jobreconciler.importing.ids import slug
from jobreconciler.importing.manifest import BadYaml, Map, read_documents
from jobreconciler.importing.report import LONGEST_SECONDS, MOST_AT_ONCE, Draft, Imported
from jobreconciler.importing.sniff import text_of
from jobreconciler.model.strict import TAG_PATTERN

_VERSIONS: Final = ("batch/v1", "batch/v1beta1", "batch/v2alpha1")
_LISTS: Final = ("List", "CronJobList")
_ZONED = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)")
_TAG = re.compile(TAG_PATTERN.removesuffix("$"))

_TAGGED: Final = (
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/name",
    "app",
    "k8s-app",
    "app.kubernetes.io/component",
    "component",
    "tier",
)
_OWNERS: Final = ("owner", "team")
_ABOUT: Final = ("description", "kubernetes.io/description")
_OF_THE_SERVER: Final = frozenset(
    {"creationTimestamp", "resourceVersion", "uid", "generation", "managedFields", "selfLink"}
)
_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_KEPT: Final = (
    "what is kept of past runs is a setting of the daemon",
    "see retention in docs/operating.md",
)
_WHY: Final = {
    "successfulJobsHistoryLimit": _KEPT,
    "failedJobsHistoryLimit": _KEPT,
    "ttlSecondsAfterFinished": _KEPT,
    "completions": ("a job is one run of one program", "start several in the command"),
    "podFailurePolicy": ("retries go by exit codes", "set retry.onExitCodes"),
}
_SPEC: Final = frozenset(
    {
        "schedule",
        "timeZone",
        "concurrencyPolicy",
        "startingDeadlineSeconds",
        "suspend",
        "jobTemplate",
    }
)
_JOB_SPEC: Final = frozenset({"template", "backoffLimit", "activeDeadlineSeconds"})


def read_cronjobs(file: str, data: bytes, *, timezone: str | None = None) -> Imported:
    """Every CronJob of a file. `timezone`: of the cluster, for those that name none."""
    out = Imported()
    text = text_of(out, file, data, "a Kubernetes manifest")
    if text is None:
        return out
    others: list[tuple[int, str]] = []
    try:
        for line, value in read_documents(text):
            for found in _objects(value):
                _take(out, file, found, line, timezone, others)
    except BadYaml as problem:
        out.error(file, problem.line, "bad_yaml", problem.message, problem.hint, problem.column)
        return out
    _say_others(out, file, others)
    if timezone is None and any(each.remarks.get("schedule.timezone") for each in out.drafts):
        out.note(
            file,
            0,
            "assumed",
            "timezone UTC",
            "a CronJob without timeZone goes by the cluster's, which is mostly UTC",
            "import with --timezone ZONE if it is another",
        )
    return out


def _objects(value: Any) -> list[Any]:
    """The objects of a document: itself, or the items of a list."""
    if isinstance(value, Map) and value.get("kind") in _LISTS:
        items = value.get("items")
        return items if isinstance(items, list) else []
    return [] if value is None else [value]


def _take(
    out: Imported, file: str, found: Any, line: int, zone: str | None, others: list[tuple[int, str]]
) -> None:
    if not isinstance(found, Map) or not isinstance(found.get("kind"), str):
        others.append((found.line if isinstance(found, Map) else line, "no Kubernetes object"))
    elif found["kind"] != "CronJob":
        others.append((found.at("kind"), f"a {found['kind'][:60]}"))
    elif found.get("apiVersion") not in _VERSIONS:
        out.error(
            file,
            found.at("apiVersion"),
            "unknown_api_version",
            f"a CronJob of {str(found.get('apiVersion'))[:60]}, not of batch/v1",
            f"known are {', '.join(_VERSIONS)}",
        )
    else:
        _cron_job(out, file, found, zone)


def _say_others(out: Imported, file: str, others: list[tuple[int, str]]) -> None:
    """Beside CronJobs, other objects are left out; alone they are the wrong file."""
    if out.drafts:
        for line, what in others:
            out.note(file, line, "left_out", what, "only CronJobs are imported")
    elif others and not out.errors:
        line, what = others[0]
        out.error(
            file,
            line,
            "not_a_cronjob",
            f"this is {what}, not a CronJob",
            "name a file with kind: CronJob in it",
        )
    elif not out.errors:
        out.note(file, 0, "left_out", "the file", "there is no CronJob in it")


def _cron_job(out: Imported, file: str, found: Map, timezone: str | None) -> None:
    spec = found.map("spec")
    schedule = spec.text("schedule")
    name = found.map("metadata").text("name") or found.map("metadata").text("generateName")
    lacks = None
    if schedule is None:
        lacks = (spec.at("schedule"), "spec.schedule")
    elif not name or not slug(name):
        lacks = (found.at("metadata"), "metadata.name")
    elif not spec.map("jobTemplate").map("spec").map("template").map("spec"):
        lacks = (spec.at("jobTemplate"), "spec.jobTemplate.spec.template.spec")
    if lacks is not None or schedule is None or name is None:
        line, what = lacks or (found.line, "spec.schedule")
        out.error(file, line, "incomplete_cronjob", f"a CronJob without {what}", "add it")
        return
    draft = Draft(file, found.line)
    _metadata(draft, found.map("metadata"), name)
    _schedule(draft, spec, schedule, timezone)
    _job(draft, spec.map("jobTemplate"))
    left_over(draft, spec, _SPEC, "spec.", _WHY)
    out.drafts.append(draft)


# ----------------------------------------------------------------------------------- metadata


def _metadata(draft: Draft, metadata: Map, name: str) -> None:
    namespace = metadata.text("namespace")
    draft.names = (name, f"{namespace}-{name}") if namespace else (name,)
    labels, notes = metadata.map("labels"), metadata.map("annotations")
    tags = [f"namespace:{namespace}"] if namespace else []
    tags += [value for key in _TAGGED if (value := labels.text(key))]
    fitting = [tag for tag in dict.fromkeys(tags) if _TAG.fullmatch(tag)]
    if fitting:
        draft.meta["tags"] = fitting
    used = {key for key in _TAGGED if key in labels}
    for source in (labels, notes):
        for key, value in source.items():
            if not isinstance(value, str) or key in used:
                continue
            if key in _OWNERS and "owner" not in draft.meta and _is_line(value, 100):
                draft.meta["owner"] = value
                used.add(key)
            elif key in _ABOUT and "description" not in draft.meta and _is_line(value, 4000):
                draft.meta["description"] = value
                used.add(key)
    for source, word in ((labels, "labels"), (notes, "annotations")):
        rest = [key for key in source if key not in used and key != _APPLIED]
        if rest:
            draft.note(
                "left_out",
                f"the {word} {', '.join(rest)}"[:300],
                "only those that clearly name an app or an owner are carried over",
                "add them to meta.tags",
                metadata.at(word),
            )
    known = _OF_THE_SERVER | {"name", "generateName", "namespace", "labels", "annotations"}
    left_over(draft, metadata, frozenset(known), "metadata.")


def _is_line(text: str, longest: int) -> bool:
    return 0 < len(text) <= longest and text.isprintable()


# ----------------------------------------------------------------------------------- schedule


def _schedule(draft: Draft, spec: Map, text: str, timezone: str | None) -> None:
    zoned = _ZONED.fullmatch(text.strip())
    named = spec.text("timeZone") or (zoned[1] if zoned else None)
    words = (zoned[2] if zoned else text).split()
    found = _expression(words)
    for one in found.remarks:
        draft.note("changed" if found.expression else "left_out", *one, spec.at("schedule"))
    if found.expression is None:
        draft.remarks["jobType"] = f"no schedule: {' '.join(words)[:80]} has no counterpart"
    else:
        was = "" if found.expression == " ".join(words) else f"was: {' '.join(words)[:200]}"
        draft.set("schedule.cronExpression", found.expression, was)
        is_known = _zone(draft, spec, named, timezone)
        if spec.get("suspend") is True:
            draft.set("schedule.isEnabled", False, "suspend: true")
        elif not found.is_sure or not is_known:
            draft.set("schedule.isEnabled", False, "until somebody has looked at it, see above")
        draft.set("schedule.catchUp", "latest")
        _deadline(draft, spec)
    _overlap(draft, spec)


def _zone(draft: Draft, spec: Map, named: str | None, timezone: str | None) -> bool:
    if named is None:
        remark = "" if timezone else "the CronJob names none"
        draft.set("schedule.timezone", timezone or "UTC", remark)
        return True
    try:
        zone(named)
    except InvalidSchedule as problem:
        draft.set("schedule.timezone", "UTC", f"was: {named[:64]}")
        draft.note(
            "left_out",
            f"timeZone {named[:64]}",
            problem.message,
            problem.hint.rstrip("."),
            spec.at("timeZone"),
        )
        return False
    draft.set("schedule.timezone", named)
    return True


def _expression(words: list[str]) -> Translated:
    text = " ".join(words)[:200]
    if len(words) == 1 and words[0] in MACROS:
        return Translated(words[0])
    if len(words) == 2 and words[0] == "@every":
        return every(words[1])
    if len(words) != 5:
        why = "Kubernetes reads five fields or a macro"
        return Translated(None, remarks=((f"the schedule {text}", why, "set payload.schedule"),))
    return translate(words, "robfig")


def _deadline(draft: Draft, spec: Map) -> None:
    seconds = spec.number("startingDeadlineSeconds")
    if seconds is None:
        return
    if 1 <= seconds <= 31_536_000:
        draft.set("schedule.startingDeadlineSeconds", seconds)
    else:
        draft.note(
            "left_out",
            f"startingDeadlineSeconds {seconds}",
            "1 to 31536000 are allowed",
            "",
            spec.at("startingDeadlineSeconds"),
        )


def _overlap(draft: Draft, spec: Map) -> None:
    policy = spec.get("concurrencyPolicy", "Allow")
    if policy == "Forbid":
        draft.set("limits.overlap", "skip", "Forbid")
        draft.note(
            "changed",
            "concurrencyPolicy Forbid",
            "Kubernetes may start the latest run that "
            "was left out once the earlier one ends; here it stays left out",
            "let one wait with overlap: queue",
            spec.at("concurrencyPolicy"),
        )
    elif policy == "Replace":
        draft.set("limits.overlap", "replace", "Replace")
    elif policy == "Allow":
        draft.set("limits.maxConcurrent", MOST_AT_ONCE, "Allow: as many as the daemon may run")
    else:
        draft.note(
            "left_out",
            f"concurrencyPolicy {str(policy)[:40]}",
            "Kubernetes has no such policy",
            "set limits.overlap",
            spec.at("concurrencyPolicy"),
        )


# ---------------------------------------------------------------------------------------- job


def _job(draft: Draft, template: Map) -> None:
    spec = template.map("spec")
    _retry(draft, spec)
    _timeout(draft, spec)
    left_over(draft, spec, _JOB_SPEC, "jobTemplate.spec.", _WHY)
    inner = spec.map("template")
    for one, where in ((template, "jobTemplate"), (inner, "jobTemplate.spec.template")):
        rest = {
            key: value
            for key, value in one.map("metadata").items()
            if key not in _OF_THE_SERVER and value
        }
        if rest:
            draft.note(
                "left_out",
                f"{where}.metadata",
                "a run has no labels or annotations",
                "",
                one.at("metadata"),
            )
        left_over(draft, one, frozenset({"metadata", "spec"}), f"{where}.")
    read_pod(draft, inner.map("spec"))


def _retry(draft: Draft, spec: Map) -> None:
    """Kubernetes tries again 6 times by default, after 10 s, 20 s, 40 s … at most 6 minutes."""
    limit = spec.get("backoffLimit", 6)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        draft.note(
            "left_out",
            "backoffLimit",
            "it is no whole number",
            "set retry.maxAttempts",
            spec.at("backoffLimit"),
        )
        limit = 6
    attempts = min(limit + 1, 100)
    remark = "" if "backoffLimit" in spec else "Kubernetes' default: 6 tries after the first"
    draft.set("retry.maxAttempts", attempts, remark)
    if attempts <= limit:
        draft.note(
            "changed",
            f"backoffLimit {limit}",
            "100 tries are the most",
            "",
            spec.at("backoffLimit"),
        )
    if attempts > 1:
        draft.set("retry.backoffStrategy", "exponential")
        draft.set("retry.initialDelay", "10s")
        draft.set("retry.maxDelay", "6m")


def _timeout(draft: Draft, spec: Map) -> None:
    pod = spec.map("template").map("spec")
    where = spec if "activeDeadlineSeconds" in spec else pod
    seconds = where.number("activeDeadlineSeconds")
    if seconds is None:
        draft.set("limits.timeoutSeconds", LONGEST_SECONDS, "the CronJob has none: the longest")
        return
    bounded = min(max(seconds, 1), LONGEST_SECONDS)
    draft.set("limits.timeoutSeconds", bounded)
    if bounded != seconds:
        draft.note(
            "changed",
            f"activeDeadlineSeconds {seconds}",
            f"1 to {LONGEST_SECONDS} are allowed",
            "",
            where.at("activeDeadlineSeconds"),
        )
    if where is spec and draft.payload["retry"]["maxAttempts"] > 1:
        draft.note(
            "changed",
            f"activeDeadlineSeconds {seconds}",
            "in Kubernetes all tries share it; here each try has it",
            "",
            where.at("activeDeadlineSeconds"),
        )
