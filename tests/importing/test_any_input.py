"""Whatever comes in: no traceback, and every file that comes out is one the daemon would take."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from importing.reading import checked, texts
from jobreconciler.importing.cronjob import read_cronjobs
from jobreconciler.importing.crontab import read_crontab
from jobreconciler.importing.emit import render
from jobreconciler.importing.report import Draft, Imported
from jobreconciler.importing.systemd import Source, Timer, read_timer
from jobreconciler.source.located_yaml import read_located

LINE = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), max_size=60)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
FIELD = st.one_of(
    st.sampled_from(["*", "*/5", "0", "1-5", "22-2", "5/15", "mon", "jan", "L", "1#2", "0~9", "?"]),
    st.text("0123456789*/-,~", min_size=1, max_size=5),
)
COMMAND = st.one_of(LINE, st.sampled_from(["/bin/x --a", "cat%in%", "a\\%b", "x=$(y) && z | w"]))
JOB = st.builds(
    lambda fields, command: " ".join([*fields, command]), st.tuples(*[FIELD] * 5), COMMAND
)
MACRO = st.builds(
    "{} {}".format, st.sampled_from(["@daily", "@reboot", "@x", "@every 5m"]), COMMAND
)
VARIABLE = st.builds(
    "{}={}".format,
    st.sampled_from(
        ["PATH", "MAILTO", "SHELL", "HOME", "TZ", "CRON_TZ", "API_TOKEN", "a.b", "'x y'"]
    ),
    st.one_of(LINE, st.sampled_from(["/bin/bash", '"quoted"', "UTC", "postgres://u:p@h/d"])),
)
CRONTAB = st.lists(st.one_of(JOB, MACRO, VARIABLE, LINE.map("# {}".format)), max_size=12)


def hold(imported: Imported) -> None:
    """Errors, and then nothing is written; or files that the loader takes."""
    for error in imported.errors:
        assert error.message and error.file and error.line >= 0
    for draft in imported.drafts:
        assert all(one.what and one.why for one in draft.findings)
    imported.errors.clear()
    checked(imported)


@settings(max_examples=300, deadline=None)
@given(CRONTAB, st.booleans())
def test_any_crontab(lines: list[str], system: bool) -> None:
    hold(read_crontab("crontab", "\n".join(lines).encode(), system=system))


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), TEXT.map(str.encode)))
def test_any_bytes(data: bytes) -> None:
    hold(read_crontab("f", data))
    hold(read_cronjobs("f", data))
    hold(read_timer(Timer([Source("f.timer", data)], {"f.service": [Source("f.service", data)]})))


SCALAR = st.one_of(st.none(), st.booleans(), st.integers(-5, 2**40), TEXT)
ANY = st.recursive(
    SCALAR,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)


def keyed(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A map that may lack any of the keys, and may hold anything at each."""
    return st.fixed_dictionaries(
        {}, optional={key: st.one_of(value, value, value, ANY) for key, value in values.items()}
    )


ENV = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {
                "name": st.sampled_from(["A", "B", "DB_PASSWORD", "x-y", "_"]),
                "value": st.one_of(TEXT, st.sampled_from(["$(A)", "$$(B)", "<$(DB_PASSWORD)>"])),
            }
        ),
        st.fixed_dictionaries(
            {
                "name": st.just("S"),
                "valueFrom": keyed(secretKeyRef=keyed(name=TEXT, key=TEXT), fieldRef=ANY),
            }
        ),
        ANY,
    ),
    max_size=4,
)
CONTAINER = keyed(
    name=TEXT,
    image=TEXT,
    env=ENV,
    workingDir=TEXT,
    command=st.lists(st.one_of(TEXT, st.sampled_from(["$(A)", "$(S)", "$(B)x"])), max_size=3),
    args=st.lists(TEXT, max_size=2),
    resources=keyed(limits=keyed(memory=st.sampled_from(["1Gi", "x", 5, "1e99", ""]))),
)
POD = keyed(
    containers=st.lists(CONTAINER, min_size=1, max_size=2),
    volumes=ANY,
    terminationGracePeriodSeconds=st.integers(-1, 9999),
)
SPEC = keyed(
    schedule=st.one_of(
        st.sampled_from(["@daily", "@every 5m", "0 0 ? * 1"]), st.tuples(*[FIELD] * 5).map(" ".join)
    ),
    timeZone=st.sampled_from(["UTC", "Europe/Berlin", "x"]),
    concurrencyPolicy=st.sampled_from(["Allow", "Forbid", "Replace"]),
    suspend=st.booleans(),
    startingDeadlineSeconds=st.integers(-1, 10**9),
    jobTemplate=st.fixed_dictionaries(
        {
            "spec": keyed(
                backoffLimit=st.integers(-1, 200),
                activeDeadlineSeconds=st.integers(-1, 10**8),
                template=st.fixed_dictionaries({"spec": POD}),
            )
        }
    ),
)
METADATA = keyed(
    name=TEXT,
    namespace=TEXT,
    labels=st.dictionaries(st.sampled_from(["app", "team", "owner", "tier", "x"]), TEXT),
    annotations=ANY,
)
MANIFEST = st.fixed_dictionaries(
    {
        "apiVersion": st.just("batch/v1"),
        "kind": st.just("CronJob"),
        "metadata": METADATA,
        "spec": SPEC,
    }
)


@settings(max_examples=300, deadline=None)
@given(st.lists(MANIFEST, max_size=3))
def test_any_manifest(items: list[dict[str, Any]]) -> None:
    text = json.dumps({"kind": "List", "items": items}, ensure_ascii=True)
    hold(read_cronjobs("f", text.encode()))


DIRECTIVES = st.lists(
    st.builds(
        "{}={}".format,
        st.sampled_from(
            [
                "Type",
                "ExecStart",
                "ExecStartPre",
                "Environment",
                "EnvironmentFile",
                "Restart",
                "RestartSec",
                "WorkingDirectory",
                "TimeoutStartSec",
                "RuntimeMaxSec",
                "MemoryMax",
                "SuccessExitStatus",
                "TimeoutStopSec",
                "User",
                "X",
            ]
        ),
        st.one_of(
            LINE,
            st.sampled_from(
                [
                    "oneshot",
                    "-/bin/x ${A} $B %n %h",
                    "/bin/x 'a b' ; /bin/y",
                    "A=1 B=$A",
                    "on-failure",
                    "5min",
                    "infinity",
                    "0",
                    "1G",
                    "3 TEMPFAIL",
                    "/srv",
                    "@",
                    "'",
                ]
            ),
        ),
    ),
    max_size=8,
)
CALENDARS = st.lists(
    st.one_of(
        st.sampled_from(
            ["daily", "Mon..Fri 02:00", "*-*~07/1", "Fri *-*-13", "Mon *-*-1..7", "*:0/15"]
        ),
        st.text("0123456789*/-.,:~ MonTue", max_size=12),
    ),
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(CALENDARS, DIRECTIVES, st.sampled_from(["a.timer", "a@b.timer", "@.timer", "é.timer"]))
def test_any_timer(calendars: list[str], directives: list[str], name: str) -> None:
    text = "[Timer]\nUnit=s.service\n" + "".join(f"OnCalendar={one}\n" for one in calendars)
    service = "[Service]\n" + "\n".join(directives)
    hold(
        read_timer(
            Timer(
                [Source(name, text.encode())],
                {"s.service": [Source("s.service", service.encode())]},
            )
        )
    )


VALUES = st.dictionaries(
    TEXT.filter(lambda key: "\x00" not in key),
    st.one_of(
        TEXT,
        st.integers(-(2**63) + 1, 2**63 - 1),
        st.booleans(),
        st.lists(TEXT, max_size=4),
        st.dictionaries(TEXT, TEXT, min_size=2, max_size=3),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_text_is_read_back_as_it_was(values: dict[str, Any]) -> None:
    draft = Draft("f", 1, ("a",))
    draft.section("parameters")["env"] = values
    located = read_located(render(draft, "a").encode())
    assert located.mistakes == []
    assert located.value["payload"]["parameters"]["env"] == values


@settings(max_examples=100, deadline=None)
@given(TEXT, TEXT)
def test_a_comment_never_ends_early(what: str, why: str) -> None:
    draft = Draft(what, 1, ("a",))
    draft.note("left_out", what, why, why)
    draft.set("limits.timeoutSeconds", 1, why)
    draft.section("parameters")["argv"] = ["x"]
    [text] = texts(Imported([draft])).values()
    assert read_located(text.encode()).value["payload"]["limits"] == {"timeoutSeconds": 1}
