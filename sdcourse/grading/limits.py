"""What keeps a submitted notebook from doing harm: no network, and an end to memory and time."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from functools import lru_cache
from pathlib import Path


class TimedOut(Exception):
    """A process took longer than it may."""


def run_limited(module: str, arguments: list[str], seconds: float, memory_gb: float, folder: Path) -> int:
    """Run `python -m module` in its own process group and return its exit status.

    Args:
        folder: where it works; what it writes relative to it stays there.

    Raises:
        TimedOut: after `seconds`; the process and all that it started are ended.
    """
    command = [*_without_network(), sys.executable, "-m", module, str(memory_gb), *arguments]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise TimedOut from None
    finally:
        _end(process)


def limit_this_process(memory_gb: float) -> None:
    """No more memory than this, where the system can say so, and no connection to anywhere."""
    try:
        import resource

        size = int(memory_gb * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    except (ImportError, ValueError, OSError):
        pass  # Windows has no such limit, macOS no reliable one

    def refuse(*_, **__):
        raise OSError("Submissions run without a network.")

    socket.socket.connect = socket.socket.connect_ex = refuse
    socket.getaddrinfo = refuse


@lru_cache(maxsize=1)
def _without_network() -> list[str]:
    """A command that runs another without any network, where the system offers one (Linux)."""
    command = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare"):
        return []
    works = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if works else []


def _end(process: subprocess.Popen) -> None:
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
