"""Entry points that the tests of Python jobs call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from jobreconciler.ports import JobContext


def say_nothing(_: JobContext) -> None:
    """As short as a run can be."""


def note(context: JobContext, path: str) -> None:
    """Leaves its execution's id, by one atomic append."""
    with Path(path).open("a") as notes:
        notes.write(f"{context.execution_id}\n")


def wait_for(_: JobContext, path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)


def kill_supervisor(_: JobContext) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def describe(context: JobContext, **kwargs: Any) -> dict[str, Any]:
    return {
        "kwargs": kwargs,
        "batchSize": context.batch_size,
        "dryRun": context.dry_run,
        "executionId": context.execution_id,
        "attempt": context.attempt,
        "slot": context.slot.isoformat() if context.slot else None,
        "trigger": context.trigger,
        "revision": context.config_revision,
        "job": os.environ["JOBRECONCILER_JOB"],
    }


def fail(_: JobContext) -> None:
    sys.stdout.write("about to fail\n")
    raise ValueError("the figures\ndo not add up")


def fail_at_length(_: JobContext) -> None:
    raise ValueError("x" * 5_000_000)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def fail_without_words(_: JobContext) -> None:
    raise Unspeakable


def leave(_: JobContext, code: Any = None) -> None:
    sys.exit(code)


def wrong_result(_: JobContext) -> int:
    return 5


def secret_length(_: JobContext) -> dict[str, Any]:
    sys.stdout.write(os.environ["TOKEN"] + "\n")
    return {"length": len(os.environ["TOKEN"])}


def wait_politely(context: JobContext) -> dict[str, Any]:
    while not context.cancelled():
        context.progress(1, 2)
        time.sleep(0.01)
    return {"saved": True}


def wait_stubbornly(context: JobContext, path: str) -> None:
    try:
        context.log("info", "waiting")
        time.sleep(600)
    finally:
        Path(path).write_text("tidied")


def flood(context: JobContext) -> None:
    for number in range(20_000):
        context.progress(number + 1, 20_000)


def look_around(context: JobContext) -> dict[str, Any]:
    """What one run could leave for another, and the module state that it may."""
    state = sys.modules[__name__].__dict__.setdefault("_runs", [])
    state.append(context.execution_id)
    mask = os.umask(0)
    os.umask(mask)
    return {
        "pid": os.getpid(),
        "runs": len(state),
        "cwd": str(Path.cwd()),
        "umask": mask,
        "argv": len(sys.argv),
        "variables": sorted(os.environ),
        "handlers": [str(signal.getsignal(n)) for n in (signal.SIGALRM, signal.SIGUSR2)],
        "path": "/left/behind" in sys.path,
        "descriptors": _descriptors(),
        "children find": subprocess.check_output(["env"]).count(b"LEFT"),
        "timers": [signal.getitimer(n)[0] for n in (signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)],
        "wakeup": signal.set_wakeup_fd(-1),
        "input": sys.stdin.read(),
        "group": os.getpgid(0) == os.getpid() == os.getsid(0),
    }


def leave_traces(context: JobContext) -> dict[str, Any]:
    os.environ["LEFT"] = "behind"
    os.putenv("LEFT_TOO", "behind")
    os.environ = {**os.environ, "LEFT_HERE": "behind"}  # type: ignore[assignment]  # noqa: B003
    os.chdir("/tmp")
    os.umask(0o777)
    sys.argv[:] = ["left", "behind"]
    sys.path.append("/left/behind")
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: os._exit(9))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    signal.setitimer(signal.ITIMER_VIRTUAL, 600)
    signal.setitimer(signal.ITIMER_PROF, 600)
    wakeup = os.open(os.devnull, os.O_WRONLY | os.O_NONBLOCK)
    signal.set_wakeup_fd(wakeup)
    os.close(wakeup)
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    context.log("info", "done")
    return {"pid": os.getpid()}


def print_words(_: JobContext, words: str) -> None:
    print(words)  # noqa: T201
    sys.stdout.write("no line break")


def close_input(_: JobContext) -> dict[str, Any]:
    sys.stdin.close()
    return {"pid": os.getpid()}


def end_badly(_: JobContext, how: str) -> None:
    sys.stdout.write(f"{os.getpid()}\n")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "exit":
        os._exit(0)
    elif how == "raise":
        raise RuntimeError("no")
    elif how == "memory":
        kept = [bytearray(2**20) for _ in range(2**20)]
        kept.clear()
    elif how == "close":
        os.closerange(0, 64)
    elif how == "sleep":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)


def close_control(_: JobContext) -> None:
    """Closes what the worker speaks to its supervisor through, and goes on until that shows."""
    os.close(4)
    time.sleep(0.1)


def leave_a_thread(_: JobContext) -> dict[str, Any]:
    threading.Thread(target=time.sleep, args=(0.3,)).start()
    return {"pid": os.getpid()}


def leave_a_child(_: JobContext, apart: bool) -> dict[str, Any]:
    child = os.fork()
    if child == 0:
        if apart:
            os.setsid()
            if os.fork():
                os._exit(0)
        time.sleep(600)
    elif apart:
        os.waitpid(child, 0)
    return {"pid": os.getpid()}


def go_on_in_a_fork(_: JobContext) -> dict[str, Any]:
    os.fork()
    return {"pid": os.getpid()}


def fork_and_wait(context: JobContext) -> None:
    """A child that left session and parent, of which only the inherited mark tells."""
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        time.sleep(600)
    wait_politely(context)


def _descriptors() -> list[int]:
    found = (int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    return [number for number in sorted(found) if Path(f"/proc/self/fd/{number}").exists()]
