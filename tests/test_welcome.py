"""What `make run` says first."""

from __future__ import annotations

from jobreconciler import welcome
from jobreconciler.cli.index import VERBS
from jobreconciler.settings import DEFAULT_LISTEN, DEFAULT_SERVER


def test_it_names_the_address_and_only_verbs_that_exist() -> None:
    text = welcome.welcome("bin/jobreconciler", DEFAULT_LISTEN, DEFAULT_SERVER)
    assert f"{DEFAULT_SERVER}/" in text
    verbs = [
        line.split("bin/jobreconciler ")[1].split()[0]
        for line in text.splitlines()
        if "bin/jobreconciler " in line
    ]
    assert verbs and set(verbs) <= set(VERBS)
    assert "JOBRECONCILER_SERVER" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_on_another_address_it_says_how_the_other_commands_find_the_daemon() -> None:
    text = welcome.welcome("jobreconciler", "127.0.0.1:9000", DEFAULT_SERVER)
    assert "export JOBRECONCILER_SERVER=http://127.0.0.1:9000" in text
