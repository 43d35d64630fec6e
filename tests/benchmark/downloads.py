"""Measures `local-runner download` beside s5cmd and rclone, from one MinIO to a directory in
memory, so that no disk decides: local-runner alone waits until its files are on the disk.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import Failure, Usage, free_port, release_binary, run, server, tool
from tools import IN_FLIGHT, REGION, s5cmd_binary

USER, PASSWORD = "benchmark", "benchmark-secret"
#: What is downloaded: a bucket's name, how many objects, and the bytes of each.
BUCKETS = {"large": (4, 256 << 20), "small": (5_000, 4 << 10)}
TITLE = {"large": "4 objects of 256 MiB", "small": "5,000 objects of 4 KiB"}
KEYS = {
    "AWS_ACCESS_KEY_ID": USER,
    "AWS_SECRET_ACCESS_KEY": PASSWORD,
    "AWS_REGION": REGION,
}
RCLONE = {
    "RCLONE_CONFIG": "/dev/null",
    "RCLONE_CONFIG_S3_TYPE": "s3",
    "RCLONE_CONFIG_S3_PROVIDER": "Minio",
    "RCLONE_CONFIG_S3_ACCESS_KEY_ID": USER,
    "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": PASSWORD,
    "RCLONE_CONFIG_S3_REGION": REGION,
}


def memory() -> str | None:
    """A file system in memory, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextmanager
def minio(folder: Path) -> Iterator[str]:
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"{endpoint}/minio/health/cluster", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    argv = [tool("bin/minio"), "server", "--quiet", "--address", f"127.0.0.1:{port}"]
    environment = {
        "HOME": str(folder),
        "MINIO_ROOT_USER": USER,
        "MINIO_ROOT_PASSWORD": PASSWORD,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    with server([*argv, folder / "data"], folder / "minio.log", environment, ready):
        yield endpoint


def fill(endpoint: str, folder: Path) -> None:
    """As S3 keeps objects: with the CRC64NVME that it computes where no other checksum came."""
    address = endpoint.replace("http://", f"http://{USER}:{PASSWORD}@")
    environment = {"HOME": str(folder), "MC_HOST_minio": address}
    for bucket, (objects, size) in BUCKETS.items():
        files = folder / bucket
        for number in range(objects):
            path = files / str(number % 10) / f"{number:05}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(size))
        for arguments in (
            ["mb", f"minio/{bucket}"],
            ["cp", "--recursive", "--checksum=CRC64NVME", f"{files}/", f"minio/{bucket}/"],
        ):
            argv = [tool("bin/mc"), "--quiet", "--config-dir", folder / "mc", *arguments]
            status, output, _ = run(argv, environment)
            if status != 0:
                raise Failure(f"mc {arguments[0]} ended with {status}; it said:\n{output[-2000:]}")
        shutil.rmtree(files)


def commands(endpoint: str, bucket: str, to: str) -> dict[str, tuple[list[str | Path], dict]]:
    return {
        "s5cmd cp": (
            [
                s5cmd_binary(),
                f"--endpoint-url={endpoint}",
                f"--numworkers={IN_FLIGHT}",
                "--log=error",
                "cp",
                f"s3://{bucket}/*",
                f"{to}/",
            ],
            KEYS,
        ),
        "local-runner download": (
            [
                release_binary("local-runner"),
                "download",
                "--quiet",
                f"--bucket={bucket}",
                f"--endpoint-url={endpoint}",
                f"--to={to}",
            ],
            KEYS,
        ),
        "rclone copy": (
            [
                tool("venv/bin/rclone"),
                "copy",
                f"s3:{bucket}",
                to,
                f"--s3-endpoint={endpoint}",
                "--s3-force-path-style",
                "--transfers=64",
                "--checkers=64",
                "--fast-list",
                "--use-server-modtime",
                "--s3-no-check-bucket",
                "--s3-no-head-object",
            ],
            RCLONE,
        ),
    }


def measure(rounds: int) -> Iterator[tuple[str, dict[str, list[Usage]]]]:
    """For each bucket its title, and what each program took in each round."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=memory()) as name:
        folder = Path(name)
        with minio(folder) as endpoint:
            fill(endpoint, folder)
            for bucket, (objects, size) in BUCKETS.items():
                measured: dict[str, list[Usage]] = {}
                for number in range(rounds):
                    to = folder / "to"
                    for program, (argv, environment) in commands(endpoint, bucket, str(to)).items():
                        to.mkdir()
                        status, output, usage = run(argv, environment)
                        files = [path for path in to.rglob("*") if path.is_file()]
                        if status != 0 or sum(f.stat().st_size for f in files) != objects * size:
                            raise Failure(f"{program} ended with {status}; it said:\n{output}")
                        shutil.rmtree(to)
                        measured.setdefault(program, []).append(usage)
                        print(
                            f"round {number + 1}/{rounds}, {program}: {usage.seconds:.2f} s",
                            file=sys.stderr,
                            flush=True,
                        )
                yield TITLE[bucket], measured
