"""What modules want done after a fork is done where their code is to run, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

PROGRAM = """\
import os
from jobreconciler.execute.at_fork import AtFork

at_fork = AtFork()
at_fork.take_over()

def say(word):
    os.write(1, f"{word} ".encode())

def fails():
    raise ValueError("it cannot")

os.register_at_fork(after_in_child=fails)
os.register_at_fork(
    before=lambda: say("before"),
    after_in_parent=lambda: say("parent"),
    after_in_child=lambda: say("half"),
)
os.register_at_fork(after_in_child=lambda: say("child"))
import concurrent.futures.thread  # holds a lock from before a fork until after it
at_fork.give_back()
os.register_at_fork(after_in_child=lambda: say("later"))

def fork():
    if (pid := os.fork()) == 0:
        if not at_fork.wanted:
            at_fork.wanted = True
            say("wanted")
            fork()
        os._exit(0)
    os.waitpid(pid, 0)

fork()
"""


def test_only_the_children_that_are_to_have_it_have_it_done() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    said = done.stdout.split()
    twice = ("before", "half", "later", "parent")
    assert Counter(said) == Counter({"wanted": 1, "child": 1} | dict.fromkeys(twice, 2))
    assert said.index("wanted") < said.index("child")
    assert "ValueError: it cannot" in done.stderr
