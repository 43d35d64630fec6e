"""Measures local-runner beside its peers on s3-sim, a server with S3's latencies, and on MinIO.

Every round runs each program once, so that what else the machine does falls on all of them;
each gets a destination of its own. A case is an entry of CASES.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median

import downloads
from measure import Argv, Failure, Usage, release_binary, run, server
from streaming import measure_streams, minio
from tools import (
    ACCESS_KEY,
    AWS_SYNC,
    IN_FLIGHT,
    LOCAL_RUNNER,
    MC_MIRROR,
    RCLONE_COPY,
    S5CMD_CP,
    S5CMD_SYNC,
    SECRET_KEY,
    Job,
    Tool,
)

#: Milliseconds that S3 itself takes, roughly, from within its region.
LATENCY = {"list": 80, "copy": 40, "head": 15}


@dataclass(frozen=True)
class Case:
    """A source bucket, what is at the destination before, and who copies the one to the other.

    The first of `tools` is what the ratios are to.
    """

    title: str
    objects: int
    tools: list[Tool]
    #: What s3-sim has at the source; `{objects}` is the number of objects.
    source: tuple[str, str] = ("--generate", "source:pattern=sequential,count={objects},size=4096")
    #: What else s3-sim is told.
    server: tuple[str, ...] = ()
    #: The fewest seconds that it can take, where the server sets a limit.
    least: Callable[[int], float] | None = None
    #: Whether the destination has all of it already.
    copied_before: bool = False
    #: Whether MinIO is the server, whose answers take as long as they take.
    on_minio: bool = False


CASES = {
    "small-copies": Case(
        "{objects:,} objects of 4 KiB into an empty bucket",
        20_000,
        [S5CMD_CP, LOCAL_RUNNER, RCLONE_COPY, MC_MIRROR, AWS_SYNC],
    ),
    "minio": Case(
        "{objects:,} objects of 4 KiB into an empty bucket, on MinIO",
        5_000,
        [S5CMD_CP, LOCAL_RUNNER, RCLONE_COPY, MC_MIRROR, AWS_SYNC],
        on_minio=True,
    ),
    "nothing-to-do": Case(
        "{objects:,} objects on each side, nothing to do",
        300_000,
        [S5CMD_SYNC, LOCAL_RUNNER, RCLONE_COPY, MC_MIRROR, AWS_SYNC],
        copied_before=True,
    ),
    "limited": Case(
        "{objects:,} objects of 4 KiB, at most 1,000 writes a second",
        20_000,
        [LOCAL_RUNNER, S5CMD_CP, RCLONE_COPY],
        server=("--write-limit", "1000"),
        least=lambda objects: objects / 1_000,
    ),
    # Beside `small-copies`.
    "faults": Case(
        "{objects:,} objects of 4 KiB, 2 % of the requests fail",
        20_000,
        [LOCAL_RUNNER, S5CMD_CP, RCLONE_COPY],
        server=("--fault-rate", "0.02"),
    ),
    "large": Case(
        "1 object of {objects} GiB in parts of 64 MiB, 100 MB/s a part",
        100,
        [LOCAL_RUNNER],
        source=("--big-object", "source:2026-11-21.dump,size={objects}GiB,part=64MiB"),
        server=("--part-copy-mb-s", "100"),
        # 16 parts a GiB, so many at a time.
        least=lambda gib: ceil(gib * 16 / IN_FLIGHT) * (64 * 1.048576 / 100 + LATENCY["copy"] / 1_000),
    ),
    # Its peers take minutes and gigabytes. With `--objects 1000000` beside it, memory shows flat.
    "five-million": Case(
        "{objects:,} objects on each side, nothing to do",
        5_000_000,
        [LOCAL_RUNNER],
        copied_before=True,
    ),
}


@dataclass
class Measurement:
    usage: Usage
    requests: dict[str, int]


def destination(tool: Tool, number: int) -> str:
    return f"copy-{tool.name.replace(' ', '-')}-{number}"


def ask(method: str, url: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
        return answer.read()


@contextmanager
def s3_sim(case: Case, objects: int, destinations: list[str]) -> Iterator[str]:
    """A server with the case's buckets; yields its address."""
    flag, source = case.source[0], case.source[1].format(objects=objects)
    argv: Argv = [release_binary("s3-sim"), "--port", "0", flag, source, *case.server]
    for operation, milliseconds in LATENCY.items():
        argv += [f"--{operation}-ms", str(milliseconds)]
    for name in destinations:
        # The same description makes the same keys and ETags.
        same = source.replace("source:", f"{name}:")
        argv += [flag, same] if case.copied_before else ["--bucket", name]
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    log = folder / "s3-sim.log"

    def address() -> str | None:
        found = re.search(r"listening on (\S+)", log.read_text())
        return found[1] if found else None

    try:
        with server(argv, log, {}, lambda: address() is not None):
            yield address() or ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def filled_minio(objects: int, destinations: list[str]) -> Iterator[str]:
    """A MinIO with a source of so many objects; yields its address."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        with minio(ACCESS_KEY, folder, SECRET_KEY) as one:
            client = one.client()
            for bucket in ["source", *destinations]:
                client.create_bucket(Bucket=bucket)
            with ThreadPoolExecutor(8) as threads:
                put = lambda number: client.put_object(
                    Bucket="source", Key=f"{number % 10}/{number:06}", Body=os.urandom(4_096)
                )
                list(threads.map(put, range(objects)))
            yield one.endpoint
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(tool: Tool, job: Job, counts: bool) -> Measurement:
    if counts:
        ask("POST", f"{job.endpoint}/_sim/reset")
    status, output, usage = run(tool.argv(job), tool.environment(job))
    if status != 0:
        raise Failure(f"{tool.name} ended with {status}; it said:\n{output[-2000:]}")
    if not counts:
        return Measurement(usage, {})
    counters = json.loads(ask("GET", f"{job.endpoint}/_sim/counters"))
    return Measurement(usage, {name: n for name, n in counters["requests"].items() if n})


def measure_case(case: Case, objects: int, rounds: int) -> dict[str, list[Measurement]]:
    measured: dict[str, list[Measurement]] = {tool.name: [] for tool in case.tools}
    names = [destination(tool, number) for tool in case.tools for number in range(rounds)]
    # Where nothing is copied, one destination serves all, and is generated once.
    destinations = ["copied-before"] if case.copied_before else names
    started = filled_minio(objects, destinations) if case.on_minio else s3_sim(case, objects, destinations)
    with started as endpoint:
        for number in range(rounds):
            for tool in case.tools:
                to = destinations[0] if case.copied_before else destination(tool, number)
                one = measure(tool, Job(endpoint, "source", to), not case.on_minio)
                measured[tool.name].append(one)
                print(
                    f"round {number + 1}/{rounds}, {tool.name}: {one.usage.seconds:.2f} s",
                    file=sys.stderr,
                    flush=True,
                )
    return measured


def ratios(figures: list[float], first: list[float]) -> list[str]:
    return [
        f"{figure:.{digits}f} ({figure / base:.2f}×)" if base else f"{figure:.{digits}f}"
        for figure, base, digits in zip(figures, first, (2, 2, 0), strict=True)
    ]


def print_table(title: str, measured: dict[str, list[Measurement]]) -> None:
    """Medians, each with its ratio to the first program's."""
    print(f"\n{title}\n")
    print("| | seconds | CPU seconds | peak memory, MiB | requests |")
    print("|-|-|-|-|-|")
    first: list[float] | None = None
    for name, runs in measured.items():
        figures = [
            median(run.usage.seconds for run in runs),
            median(run.usage.cpu_seconds for run in runs),
            median(run.usage.peak_mib for run in runs),
        ]
        first = first or figures
        cells = ratios(figures, first)
        # The last round's: they hardly differ, and a median of each would be no run's.
        last = runs[-1].requests
        cells.append("-" if not last else ", ".join(f"{count:,} {name}" for name, count in sorted(last.items())))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


#: The case that runs between two MinIO servers; its objects are parts of 64 MiB.
STREAM = "stream"
#: The case that runs from one MinIO server.
DOWNLOAD = "download"


def print_streams(parts: int, rounds: int) -> None:
    """Medians, each with its ratio to the first program's."""
    measured = measure_streams(parts, rounds)
    print(f"\n{parts * 64 / 1024:g} GiB in parts of 64 MiB, streamed; medians of {rounds}\n")
    print("| | seconds | CPU seconds | peak memory, MiB | ETag kept |")
    print("|-|-|-|-|-|")
    first: list[float] | None = None
    for name, (usages, kept) in measured.items():
        figures = [
            median(usage.seconds for usage in usages),
            median(usage.cpu_seconds for usage in usages),
            median(usage.peak_mib for usage in usages),
        ]
        cells = ratios(figures, first := first or figures)
        print(f"| {name} | {' | '.join(cells)} | {kept} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/benchmark/run", description=__doc__)
    names = ", ".join([*CASES, STREAM, DOWNLOAD])
    parser.add_argument("case", nargs="*", default=["small-copies"], help=f"of {names}")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--objects", type=int, help="another number of objects, or of parts")
    arguments = parser.parse_args()
    # Ended from outside, it still ends its server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for name in arguments.case:
            if name == STREAM:
                print_streams(arguments.objects or 32, arguments.rounds)
                continue
            if name == DOWNLOAD:
                for title, usages in downloads.measure(arguments.rounds):
                    runs = {program: [Measurement(one, {}) for one in all] for program, all in usages.items()}
                    print_table(f"{title}, from MinIO to memory; medians of {arguments.rounds}", runs)
                continue
            if name not in CASES:
                raise Failure(f"no case is called {name}: there are {names}")
            case = CASES[name]
            objects = arguments.objects or case.objects
            measured = measure_case(case, objects, arguments.rounds)
            title = case.title.format(objects=objects)
            if not case.on_minio:
                title += "; " + ", ".join(f"{op.upper()} {ms} ms" for op, ms in LATENCY.items())
            print_table(f"{title}; medians of {arguments.rounds}", measured)
            if case.least:
                least = case.least(objects)
                print(f"\nAt best {least:.2f} s: {case.tools[0].name} reaches ", end="")
                first = [run.usage.seconds for run in measured[case.tools[0].name]]
                print(f"{least / median(first):.0%} of what is possible.")
    except Failure as failure:
        print(f"benchmark: FAILED: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
