"""What a status tree may be made of: the components, their props and their events.

One declaration serves three readers: `/api/v1/catalog` (whoever draws the tree), the committed
`render-tree.schema.json`, and the tests that hold `core/render_tree.py` to both. The tree itself
is json-render's flat spec (json-render 0.20): `{root, elements, state}`.
"""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

JSON_SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"

PHASES: Final = ("queued", "running", "complete", "failed")
COLORS: Final = ("default", "green", "red", "amber", "blue")
LEVELS: Final = ("info", "warn", "error")
TRIGGER_TYPES: Final = ("schedule", "webhook", "manual", "dependency")
STATUSES: Final = (
    "queued",
    "running",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "lost",
    "missed",
    "skipped",
)

_INSTANT: Final[Schema] = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$",
    "description": "RFC 3339, in UTC.",
}
_TEXT: Final[Schema] = {"type": "string"}
_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
_FLAG: Final[Schema] = {"type": "boolean"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_SECONDS: Final[Schema] = {"type": "number", "minimum": 0, "description": "In seconds."}
_TEXTS: Final[Schema] = {"type": "array", "items": _TEXT}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": sorted(required),
        "additionalProperties": False,
    }


def _one_of(values: tuple[str, ...]) -> Schema:
    return {"enum": list(values)}


_METRIC: Final = _object(
    {"label": _TEXT, "value": {"type": ["string", "number"]}, "color": _one_of(COLORS)}
)

_CONDITION: Final = _object(
    {
        "type": _TEXT,
        "status": {"enum": ["True", "False", "Unknown"]},
        "reason": _TEXT,
        "message": _TEXT,
        "since": _INSTANT,
    }
)

_COUNT_NAMES: Final = (
    "jobs",
    "enabled",
    "disabled",
    "suspended",
    "held",
    "failing",
    "running",
    "queued",
    "invalidFiles",
)
_COUNTS: Final = _object(dict.fromkeys(_COUNT_NAMES, _COUNT))

_SOURCE: Final = _object(
    {
        "healthy": _FLAG,
        "conditions": {"type": "array", "items": _CONDITION},
        "revision": _TEXT_OR_NULL,
        "observedRevision": _TEXT_OR_NULL,
        "environment": _TEXT_OR_NULL,
        "author": _TEXT,
        "message": _TEXT,
        "committedAt": _TEXT,
        "lastSuccessAt": {**_INSTANT, "type": ["string", "null"]},
    }
)

_RUN: Final = _object(
    {
        "executionId": _TEXT,
        "status": _one_of(STATUSES),
        "phase": _one_of(PHASES),
        "trigger": _TEXT,
        "queuedAt": _INSTANT,
        "attempts": _COUNT,
        "dryRun": _FLAG,
    },
    {"startedAt": _INSTANT, "completedAt": _INSTANT, "durationSeconds": _SECONDS},
)

_HISTORY_ROW: Final = _object(
    {
        "id": _TEXT,
        "status": _one_of(STATUSES),
        "trigger": _TEXT,
        "timestamp": _INSTANT,
        "level": _one_of(LEVELS),
        "message": _TEXT,
        "dryRun": _FLAG,
    },
    {"durationSeconds": _SECONDS, "revision": _TEXT},
)

_SCHEDULE: Final = _object({"cronExpression": _TEXT, "timezone": _TEXT, "isEnabled": _FLAG})
_RETRY: Final = _object({"maxAttempts": _COUNT}, {"backoffStrategy": _TEXT})


def _component(
    description: str, props: Schema, *, children: bool = False, events: tuple[str, ...] = ()
) -> Schema:
    return {
        "description": description,
        "props": props,
        "children": children,
        "events": list(events),
    }


STATUS_COMPONENTS: Final[dict[str, Schema]] = {
    "JobPhaseIndicator": _component(
        "Where an execution stands.",
        _object({"phase": _one_of(PHASES)}, {"startedAt": _INSTANT, "completedAt": _INSTANT}),
    ),
    "JobProgressBar": _component(
        "How far a batch has come.",
        _object(
            {
                "itemsProcessed": _COUNT,
                "itemsTotal": _COUNT,
                "percentage": {"type": "number", "minimum": 0, "maximum": 100},
            }
        ),
    ),
    "JobMetricRow": _component(
        "A few figures side by side.",
        _object({"metrics": {"type": "array", "items": _METRIC}}),
    ),
    "JobLogEntry": _component(
        "One thing that happened.",
        _object({"timestamp": _INSTANT, "level": _one_of(LEVELS), "message": _TEXT}),
    ),
    "JobErrorAlert": _component(
        "Why an execution failed; `press` asks for another one.",
        _object({"error": _TEXT, "retryable": _FLAG}, {"retryCount": _COUNT}),
        events=("press",),
    ),
    "NextRunCountdown": _component(
        "When the job starts next.",
        _object({"nextRunAt": _INSTANT, "timezone": _TEXT}),
    ),
}

CONTAINERS: Final[dict[str, Schema]] = {
    "Stack": _component(
        "Lays its children out in a column, a row or a grid.",
        _object({"direction": _one_of(("column", "row", "grid"))}, {"title": _TEXT}),
        children=True,
    ),
    "FleetSummary": _component(
        "How many jobs are in which state, and which revision is applied.",
        _object({"counts": _COUNTS, "source": _SOURCE}),
        children=True,
    ),
    "JobCard": _component(
        "One job: what it is, and what became of its last execution.",
        _object(
            {
                "jobId": _TEXT,
                "title": _TEXT,
                "jobType": _TEXT,
                "enabled": _FLAG,
                "tags": _TEXTS,
                "triggers": {"type": "array", "items": _one_of(TRIGGER_TYPES)},
                "conditions": {"type": "array", "items": _CONDITION},
                "generation": _COUNT,
                "observedGeneration": _COUNT,
                "revision": _TEXT,
                "file": _TEXT,
                "consecutiveFailures": _COUNT,
            },
            {
                "description": _TEXT,
                "owner": _TEXT,
                "schedule": _SCHEDULE,
                "retry": _RETRY,
                "batchSize": _COUNT,
                "lastRun": _RUN,
            },
        ),
        children=True,
    ),
    "ExecutionHistory": _component(
        "A job's executions, newest first; its children are drawn once for each.",
        _object(
            {"executions": {"type": "array", "items": _HISTORY_ROW}},
            {"nextCursor": _TEXT},
        ),
        children=True,
    ),
}

COMPONENTS: Final[dict[str, Schema]] = {**STATUS_COMPONENTS, **CONTAINERS}

ACTIONS: Final[dict[str, Schema]] = {
    "retryExecution": {
        "description": "Run what this execution ran once more.",
        "params": _object({"executionId": _TEXT}),
    },
}


def catalog() -> dict[str, Any]:
    """The document of `/api/v1/catalog`.

    `components` maps a name to `{description, props, children, events}`, `actions` a name to
    `{description, params}`; `props` and `params` are JSON Schemas (draft 2020-12) of the values
    *after* their bindings are resolved. An optional prop that has no value is absent.
    """
    return {
        "$schema": JSON_SCHEMA,
        "title": "Components of the status tree",
        "jsonRender": "0.20",
        "components": COMPONENTS,
        "actions": ACTIONS,
    }


# ------------------------------------------------------------------------------ the tree's schema

_POINTER: Final[Schema] = {"type": "string", "pattern": "^/"}

_EXPRESSION: Final[Schema] = {
    "description": "A binding: a pointer into `state`, or a field of the repeated item.",
    "oneOf": [
        _object({"$state": _POINTER}),
        _object({"$item": _TEXT}),
        _object({"$template": _TEXT}),
    ],
}

_COMPARISONS: Final[Schema] = {
    **{name: {"type": ["string", "number", "boolean", "null"]} for name in ("eq", "neq")},
    **{name: {"type": "number"} for name in ("gt", "gte", "lt", "lte")},
    "not": {"const": True},
}

_VISIBLE: Final[Schema] = {
    "oneOf": [
        _FLAG,
        _object({"$state": _POINTER}, _COMPARISONS),
        _object({"$item": _TEXT}, _COMPARISONS),
        _object({"$and": {"type": "array", "items": {"$ref": "#/$defs/visible"}}}),
        _object({"$or": {"type": "array", "items": {"$ref": "#/$defs/visible"}}}),
    ]
}

_REPEAT: Final = _object(
    {"statePath": {"oneOf": [_POINTER, _object({"$item": _TEXT})]}}, {"key": _TEXT}
)


def _bound(props: Schema) -> Schema:
    """The same props where each may be a binding instead of a value."""
    return {
        **props,
        "properties": {
            name: {"anyOf": [{"$ref": "#/$defs/expression"}, schema]}
            for name, schema in props["properties"].items()
        },
    }


def _element(name: str, component: Schema) -> Schema:
    optional: dict[str, Schema] = {"visible": {"$ref": "#/$defs/visible"}}
    if component["children"]:
        optional["repeat"] = {"$ref": "#/$defs/repeat"}
    if component["events"]:
        optional["on"] = {
            "type": "object",
            "propertyNames": {"enum": component["events"]},
            "additionalProperties": {"$ref": "#/$defs/action"},
        }
    keys: Schema = {"type": "array", "items": _TEXT}
    return _object(
        {
            "type": {"const": name},
            "props": _bound(component["props"]),
            "children": keys if component["children"] else {**keys, "maxItems": 0},
        },
        optional,
    )


def render_tree_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a whole status tree, bindings included.

    What it cannot say, that every child and the root exist, the tests say.
    """
    actions = [
        _object({"action": {"const": name}, "params": _bound(action["params"])})
        for name, action in ACTIONS.items()
    ]
    return {
        "$schema": JSON_SCHEMA,
        "title": "Status tree",
        "description": "A json-render 0.20 flat spec of jobreconciler's own components. "
        "Everything that changes while it is shown is under `state`.",
        **_object(
            {
                "root": _TEXT,
                "elements": {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {
                        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in COMPONENTS]
                    },
                },
                "state": {"type": "object"},
            }
        ),
        "$defs": {
            "expression": _EXPRESSION,
            "visible": _VISIBLE,
            "repeat": _REPEAT,
            "action": actions[0] if len(actions) == 1 else {"oneOf": actions},
            **{name: _element(name, component) for name, component in COMPONENTS.items()},
        },
    }
