"""Measures local-runner beside rclone where the bytes pass through them: from one MinIO
server into another, each with its own user."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from measure import Argv, Failure, Usage, free_port, release_binary, run, server, tool

MIB = 1 << 20
SECRET = "benchmark-secret"
KEY = "2026-11-21.dump"


@dataclass(frozen=True)
class Server:
    """A MinIO server with one user."""

    user: str
    port: int
    secret: str = SECRET

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.user,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )


@contextmanager
def minio(user: str, folder: Path, secret: str = SECRET) -> Iterator[Server]:
    one = Server(user, free_port(), secret)
    environment = {
        "HOME": str(folder),
        "MINIO_ROOT_USER": user,
        "MINIO_ROOT_PASSWORD": secret,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"{one.endpoint}/minio/health/cluster", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    argv: Argv = [tool("bin/minio"), "server", "--quiet", "--address", f"127.0.0.1:{one.port}"]
    argv.append(folder / user)
    with server(argv, folder / f"{user}.log", environment, ready):
        yield one


def local_runner(source: Server, destination: Server, bucket: str) -> tuple[Argv, dict[str, str]]:
    argv: Argv = [release_binary("local-runner"), "replicate", "--quiet", "--json"]
    return argv, {
        "DATABASE_BUCKET": "source",
        "DATABASE_PREFIX": "",
        "DESTINATION_BUCKET": bucket,
        "SOURCE_ENDPOINT_URL": source.endpoint,
        "DESTINATION_ENDPOINT_URL": destination.endpoint,
        "SOURCE_ACCESS_KEY_ID": source.user,
        "SOURCE_SECRET_ACCESS_KEY": SECRET,
        "AWS_ACCESS_KEY_ID": destination.user,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }


def rclone(source: Server, destination: Server, bucket: str) -> tuple[Argv, dict[str, str]]:
    """With what makes it fast: the part size that it is given, parts in flight at once, no
    hash of the whole nor of the parts, and no request that it can do without."""
    argv: Argv = [tool("venv/bin/rclone"), "copy", "from:source", f"to:{bucket}"]
    argv += [
        "--s3-chunk-size=64Mi",
        "--multi-thread-chunk-size=64Mi",
        "--multi-thread-streams=8",
        "--s3-upload-concurrency=8",
        "--s3-disable-checksum",
        "--s3-use-unsigned-payload=true",
        "--s3-no-check-bucket",
        "--s3-no-head",
        "--ignore-checksum",
        "--use-server-modtime",
    ]
    environment = {"RCLONE_CONFIG": "/dev/null"}
    for name, side in (("FROM", source), ("TO", destination)):
        environment |= {
            f"RCLONE_CONFIG_{name}_TYPE": "s3",
            f"RCLONE_CONFIG_{name}_PROVIDER": "Minio",
            f"RCLONE_CONFIG_{name}_ENDPOINT": side.endpoint,
            f"RCLONE_CONFIG_{name}_ACCESS_KEY_ID": side.user,
            f"RCLONE_CONFIG_{name}_SECRET_ACCESS_KEY": SECRET,
            f"RCLONE_CONFIG_{name}_REGION": "us-east-1",
        }
    return argv, environment


TOOLS = {"rclone copy": rclone, "local-runner replicate": local_runner}


def fill(client: Any, parts: int) -> str:
    """One object of so many parts of 64 MiB; answers its ETag."""
    client.create_bucket(Bucket="source")
    upload = client.create_multipart_upload(Bucket="source", Key=KEY)["UploadId"]
    done = []
    for number in range(1, parts + 1):
        part = client.upload_part(
            Bucket="source",
            Key=KEY,
            UploadId=upload,
            PartNumber=number,
            Body=os.urandom(MIB) * 64,
        )
        done.append({"PartNumber": number, "ETag": part["ETag"]})
    completed = client.complete_multipart_upload(
        Bucket="source", Key=KEY, UploadId=upload, MultipartUpload={"Parts": done}
    )
    return completed["ETag"]


def measure_streams(parts: int, rounds: int) -> dict[str, tuple[list[Usage], str]]:
    """For each program, what its rounds took, and whether its copy kept the ETag."""
    measured: dict[str, tuple[list[Usage], str]] = {name: ([], "") for name in TOOLS}
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        with ExitStack() as stack:
            source = stack.enter_context(minio("vendor", folder))
            destination = stack.enter_context(minio("customer", folder))
            etag = fill(source.client(), parts)
            client = destination.client()
            for number in range(rounds):
                for name, command in TOOLS.items():
                    bucket = f"copy-{len(name)}-{number}"
                    client.create_bucket(Bucket=bucket)
                    status, output, usage = run(*command(source, destination, bucket))
                    if status != 0:
                        raise Failure(f"{name} ended with {status}; it said:\n{output[-2000:]}")
                    copy = client.head_object(Bucket=bucket, Key=KEY)
                    if copy["ContentLength"] != parts * 64 * MIB:
                        raise Failure(f"{name} copied {copy['ContentLength']} bytes")
                    # Two cores and one disk: what a round wrote is gone before the next.
                    client.delete_object(Bucket=bucket, Key=KEY)
                    measured[name][0].append(usage)
                    measured[name] = (measured[name][0], "yes" if copy["ETag"] == etag else "no")
                    print(
                        f"round {number + 1}/{rounds}, {name}: {usage.seconds:.2f} s",
                        file=sys.stderr,
                        flush=True,
                    )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return measured
