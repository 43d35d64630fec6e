"""Replicates real dumps and real files between real servers, and checks the result.

The flow is `main`, top to bottom. See tests/real-input/run, which starts it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compare import compare, print_comparison
from fill import GIB, Filled, choose_files, fill_dumps, fill_files, make_database
from measure import Argv, Failure, Usage, release_binary, run
from servers import ACCESS_KEY, REGION, SECRET_KEY, Lambda, Minio, function, mariadb, minio

DATABASE = "backup-my-environment-name"
FILESYSTEM = "backup-fs-my-environment-name"
PREFIXES = {DATABASE: "database/", FILESYSTEM: "filesystem/"}

#: The only operation that a run with nothing to do may send as often as it likes.
READ_ONLY = {"ListObjectsV2"}

#: What keeping its report takes.
KEEPING = {"GetObject": 1, "PutObject": 4}

#: Where reports are kept.
RESERVED_PREFIX = ".replicator/"

#: What a rule of EventBridge sends on its schedule.
SCHEDULED_EVENT = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2026-11-21T03:00:00Z",
    "region": REGION,
    "resources": [f"arn:aws:events:{REGION}:123456789012:rule/replicate"],
    "detail": {},
}


@dataclass
class Run:
    """One run of one of the two programs."""

    name: str
    report: dict
    usage: Usage
    requests: Counter[str]


def say(text: str) -> None:
    print(f"real-input: {text}", flush=True)


@contextmanager
def timed(text: str) -> Iterator[None]:
    say(f"{text} …")
    started = time.monotonic()
    yield
    say(f"  {time.monotonic() - started:.1f} s")


def environment(server: Minio, destination: str) -> dict[str, str]:
    """All that either program is told: nothing of this machine's own configuration."""
    return {
        "DATABASE_BUCKET": DATABASE,
        "FILESYSTEM_BUCKET": FILESYSTEM,
        "DESTINATION_BUCKET": destination,
        "SOURCE_ENDPOINT_URL": server.endpoint,
        "DESTINATION_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
    }


def check_space(folder: Path, dump_bytes: int, tree_bytes: int) -> None:
    """The database (half a dump, for a dump is hexadecimal), and three copies of all."""
    needed = 4 * dump_bytes + 4 * tree_bytes + 2 * GIB
    free = shutil.disk_usage(folder).free
    say(f"{needed / GIB:.1f} GiB of disk are needed in {folder}, {free / GIB:.1f} GiB are free")
    if free < needed:
        raise Failure(
            "too little disk: free some, choose another folder with TMPDIR, or a smaller --dump-gib"
        )


def fill(server: Minio, folder: Path, dump_bytes: int, files: list) -> Filled:
    s3 = server.client()
    with mariadb(folder) as database:
        with timed(f"making a database of which a dump has {dump_bytes / GIB:.2f} GiB"):
            make_database(database, dump_bytes)
        with timed(f"dumping it into {DATABASE}"):
            dumps = fill_dumps(s3, DATABASE, database, dump_bytes)
    shutil.rmtree(folder / "mariadb")
    with timed(f"uploading {len(files):,} files into {FILESYSTEM}"):
        tree = fill_files(s3, FILESYSTEM, files)
    return dumps + tree


def brief(report: dict) -> str:
    """What a report says in one line, without what is zero."""
    said = [f"{report['status']}, ${report['cost_usd']:.4f}"]
    for source in report["sources"]:
        amounts = {name: value for name, value in source.items() if isinstance(value, dict)}
        told = [
            f"{amount['objects']:,} {name}"
            for name, amount in amounts.items()
            if amount.get("objects")
        ]
        said.append(f"{source['source']}: {', '.join(told)}")
    said.append(", ".join(f"{count:,} {name}" for name, count in report["requests"].items()))
    return "; ".join(said)


def counted(server: Minio, name: str, start: Callable[[], tuple[dict, Usage]]) -> Run:
    """Runs one program and counts, at the server, the requests it sends."""
    before = server.requests()
    report, usage = start()
    requests = server.requests()
    requests.subtract(before)
    say(f"{name}: {usage.seconds:.1f} s; its report: {brief(report)}")
    return Run(name, report, usage, +requests)


def invoke(function_: Lambda) -> tuple[dict, Usage]:
    report, usage = function_.invoke(SCHEDULED_EVENT)
    if "errorType" in report or report.get("status") != "complete":
        log = function_.log.read_text(errors="replace")[-3000:]
        raise Failure(f"the Lambda did not complete: {json.dumps(report)}\nits log ends:\n{log}")
    return report, usage


def run_local(variables: dict[str, str]) -> tuple[dict, Usage]:
    argv: Argv = [release_binary("local-runner"), "replicate", "--json", "--quiet"]
    status, output, usage = run(argv, variables)
    if status != 0:
        raise Failure(f"local-runner ended with {status}; it said:\n{output}")
    return json.loads(output), usage


def snapshot(server: Minio, bucket: str) -> dict[str, tuple[str, str]]:
    """What is in a bucket, and since when: it shows any object that is written again."""
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {
        entry["Key"]: (entry["ETag"], str(entry["LastModified"]))
        for page in pages
        for entry in page.get("Contents", [])
        if not entry["Key"].startswith(RESERVED_PREFIX)
    }


def open_uploads(server: Minio, bucket: str) -> list[str]:
    """MinIO lists open uploads for one key at a time only, so the source's keys are asked for."""
    s3 = server.client()
    found = []
    for key in snapshot(server, DATABASE):
        answer = s3.list_multipart_uploads(Bucket=bucket, Prefix=PREFIXES[DATABASE] + key)
        found += [upload["Key"] for upload in answer.get("Uploads", [])]
    return found


def compare_all(server: Minio, destination: str) -> int:
    """Prints the comparison with both sources; answers the number of differences."""
    differences = 0
    for source, prefix in PREFIXES.items():
        result = compare(server.client(), source, destination, prefix)
        print_comparison(f"{source} -> {destination}/{prefix}", result)
        differences += len(result.differences)
    uploads = open_uploads(server, destination)
    for key in uploads:
        print(f"  DIFFERS {destination}/{key}: a multipart upload was left open")
    return differences + len(uploads)


def replicate_twice(
    server: Minio, name: str, destination: str, start: Callable[[], tuple[dict, Usage]]
) -> tuple[list[Run], list[str]]:
    """A run that copies all, and one that has nothing to do; and what was wrong with them."""
    wrong = []
    first = counted(server, f"{name}, first run", start)
    with timed("comparing every object with boto3"):
        if differences := compare_all(server, destination):
            wrong.append(f"{name}: {differences} differences after the first run (listed above)")
    before = snapshot(server, destination)
    second = counted(server, f"{name}, second run", start)
    if snapshot(server, destination) != before:
        wrong.append(f"{name}: the second run changed the destination")
    other = {op: n for op, n in second.requests.items() if op not in READ_ONLY}
    if any(n > KEEPING.get(op, 0) for op, n in other.items()):
        wrong.append(
            f"{name}: the second run sent {other}, where {sorted(READ_ONLY)} is all it needs"
        )
    return [first, second], wrong


def print_table(filled: Filled, runs: list[Run]) -> None:
    print(f"\n{filled.objects:,} objects, {filled.bytes:,} bytes ({filled.bytes / GIB:.2f} GiB)\n")
    print("| run | seconds | CPU seconds | peak memory, MiB | requests by operation |")
    print("|-|-|-|-|-|")
    for one in runs:
        requests = ", ".join(f"{count:,} {name}" for name, count in one.requests.most_common())
        usage = one.usage
        print(
            f"| {one.name} | {usage.seconds:.1f} | {usage.cpu_seconds:.1f} "
            f"| {usage.peak_mib:.0f} | {requests or 'none'} |"
        )
    print(flush=True)


def check(arguments: argparse.Namespace, folder: Path) -> list[str]:
    dump_bytes = int(arguments.dump_gib * GIB)
    files = choose_files(arguments.files)
    check_space(folder, dump_bytes, sum(file.path.stat().st_size for file in files))
    with minio(folder) as server:
        filled = fill(server, folder, dump_bytes, files)
        s3 = server.client()
        for bucket in ("replica-of-the-lambda", "replica-of-local-runner"):
            s3.create_bucket(Bucket=bucket)

        variables = environment(server, "replica-of-the-lambda")
        with function(folder, variables) as lambda_:
            runs, wrong = replicate_twice(
                server, "Lambda", "replica-of-the-lambda", lambda: invoke(lambda_)
            )
        variables = environment(server, "replica-of-local-runner")
        more_runs, more_wrong = replicate_twice(
            server, "local-runner", "replica-of-local-runner", lambda: run_local(variables)
        )
        print_table(filled, runs + more_runs)
    return wrong + more_wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tests/real-input/run", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument(
        "--dump-gib",
        type=float,
        default=5.1,
        help="the large dump's size in GiB; above 5, no single request copies it (default: 5.1)",
    )
    parser.add_argument(
        "--files",
        type=int,
        help="how many files; all of the crates' sources and at least 20,000 unless given",
    )
    arguments = parser.parse_args()
    # Ended from outside, it still ends its servers and removes its folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A short path: a Unix socket's may have about a hundred bytes.
    folder = Path(tempfile.mkdtemp(prefix="real-input-"))
    try:
        wrong = check(arguments, folder)
    except Failure as failure:
        wrong = [str(failure)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for problem in wrong:
        print(f"real-input: FAILED: {problem}", file=sys.stderr)
    if not wrong:
        say("passed: both replicas equal their sources, and a second run only listed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
