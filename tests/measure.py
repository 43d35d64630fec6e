"""What the real-input check and the benchmark share: where tests/setup puts things, servers
as processes, and what a process takes."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "replicator"

Argv = list[str | Path]


class Failure(Exception):
    """Something that ends a check or a benchmark, told in one sentence."""


def tool(path: str) -> Path:
    program = CACHE / path
    if not program.is_file():
        raise Failure(f"{program} is missing: run tests/setup: it sets it up")
    return program


def release_binary(name: str) -> Path:
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    program = target / "release" / name
    if not program.is_file():
        raise Failure(f"{program} is missing: run tests/setup: it builds the release binaries")
    return program


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def server(
    argv: Argv,
    log: Path,
    environment: dict[str, str],
    ready: Callable[[], bool],
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ready, its output in `log`; it is ended when the block is left."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=cwd
        )
    try:
        _wait_until(ready, child, str(argv[0]), log)
        yield child
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_until(
    ready: Callable[[], bool], child: subprocess.Popen[bytes], name: str, log: Path
) -> None:
    limit = 60
    deadline = time.monotonic() + limit
    while not ready():
        ended = child.poll()
        if ended is not None or time.monotonic() > deadline:
            what = f"was not ready in {limit} s" if ended is None else f"ended with {ended}"
            end = log.read_text(errors="replace")[-2000:]
            raise Failure(f"{name} {what}; the end of its log:\n{end}")
        time.sleep(0.05)


@dataclass
class Usage:
    """What a process has taken."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def peak_mib(process: int) -> float:
    """The peak resident memory of a running process; 0 once it has ended."""
    with contextlib.suppress(OSError):
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
        return int(peak[1]) / 1024 if peak else 0.0
    return 0.0


def run(argv: Argv, environment: dict[str, str]) -> tuple[int, str, Usage]:
    """Runs a program to its end: its exit code, its standard output, and what it took."""
    peak = 0.0
    ended = threading.Event()

    # The kernel's ru_maxrss would count this Python's own memory, from before the exec; so the
    # program's is looked at while it runs. It only grows: the last look is off by a moment.
    def watch(process: int) -> None:
        nonlocal peak
        while not ended.wait(0.01):
            peak = max(peak, peak_mib(process))

    started = time.monotonic()
    child = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment
    )
    watcher = threading.Thread(target=watch, args=(child.pid,))
    watcher.start()
    try:
        assert child.stdout is not None
        with child.stdout:
            output = child.stdout.read()
        # Not child.wait(): only this tells what the child has used.
        _, status, used = os.wait4(child.pid, 0)
    finally:
        ended.set()
        watcher.join()
    child.returncode = os.waitstatus_to_exitcode(status)
    usage = Usage(time.monotonic() - started, used.ru_utime + used.ru_stime, peak)
    return child.returncode, output.decode(errors="replace"), usage
