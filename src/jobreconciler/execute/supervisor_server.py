"""The process that supervisors are forked from: small, single-threaded, standard library only.

Started by the daemon as `python -I -S supervisor_server.py SOCKET NOFILE_SOFT`, never forked from
it. It reads launch requests from the socket, forks a supervisor for each and answers with its pid
and start time. It ends when the daemon's end of the socket closes; supervisors go on.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from jobreconciler.execute import frames, processes, spool
from jobreconciler.execute.supervisor import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PR_SET_CHILD_SUBREAPER = 36
_BLOCKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


def main() -> None:
    connection, soft = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(connection, False)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    gc.collect()
    gc.disable()
    gc.freeze()
    frames.write(connection, {"ready": os.getpid()})
    unpacker = frames.Unpacker()
    while data := _read(connection):
        for request in unpacker.feed(data):
            try:
                frames.write(connection, _launch(request, connection, null, libc))
            except BrokenPipeError:
                return


def _read(connection: int) -> bytes:
    try:
        return os.read(connection, 1 << 16)
    except ConnectionResetError:
        return b""


def _launch(request: dict[str, Any], connection: int, null: int, libc: Any) -> dict[str, Any]:
    try:
        pid = os.fork()
    except OSError as error:
        return {"id": request["id"], "error": error.strerror or str(error)}
    if pid == 0:
        code = 1
        try:
            os.close(connection)
            _supervise(request, null, libc)
            code = 0
        except BaseException as error:
            _give_up(request, error)
        finally:
            os._exit(code)
    found = processes.stat(pid)
    return {"id": request["id"], "pid": pid, "started": found.started if found else 0}


def _supervise(request: dict[str, Any], null: int, libc: Any) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")
    Supervisor(request, null).run()


def _give_up(request: dict[str, Any], error: BaseException) -> None:
    """A supervisor that cannot go on leaves no process behind and says what became of it."""
    import traceback

    traceback.print_exc()
    while processes.descendants(os.getpid()):
        processes.kill_descendants(os.getpid())
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    result = {"status": "lost", "error": f"its supervisor failed: {type(error).__name__}: {error}"}
    try:
        claim = spool.claimed(request["directory"])
        if claim is not None and claim[1] == os.getpid():
            spool.write_json(f"{request['directory']}/{spool.RESULT}", result)
    except OSError:
        sys.stderr.write("no result could be written\n")


if __name__ == "__main__":
    main()
