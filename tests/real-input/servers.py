"""The servers that the real-input check runs on: each in a folder of its own, bound to the
loopback interface, and ended when its `with` block is left."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import boto3
from botocore.config import Config
from measure import Argv, Failure, Usage, free_port, peak_mib, release_binary, server, tool

REGION = "us-east-1"
ACCESS_KEY = "minio-root"
SECRET_KEY = "minio-root-secret"


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@dataclass
class Minio:
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, connections: int = 64):  # noqa: ANN201 (boto3's types are made at run time)
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
            config=Config(max_pool_connections=connections, s3={"addressing_style": "path"}),
        )

    def requests(self) -> Counter[str]:
        """Requests by S3 operation since the server's start, as MinIO itself counts them."""
        url = f"{self.endpoint}/minio/metrics/v3/api/requests"
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read().decode()
        counts: Counter[str] = Counter()
        for line in text.splitlines():
            if line.startswith("minio_api_requests_total{") and 'type="s3"' in line:
                name = re.search(r'name="([^"]+)"', line)
                if name:
                    counts[name[1]] += int(float(line.rsplit(" ", 1)[1]))
        return counts


@contextlib.contextmanager
def minio(folder: Path) -> Iterator[Minio]:
    minio_ = Minio(free_port())
    log = folder / "minio.log"
    environment = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "MINIO_ROOT_USER": ACCESS_KEY,
        "MINIO_ROOT_PASSWORD": SECRET_KEY,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        # The counters are read without a token: the server listens on loopback only.
        "MINIO_PROMETHEUS_AUTH_TYPE": "public",
    }
    argv: Argv = [tool("bin/minio"), "server", "--quiet", "--address", f"127.0.0.1:{minio_.port}"]

    def ready() -> bool:
        with contextlib.suppress(OSError, urllib.error.URLError):
            url = f"{minio_.endpoint}/minio/health/cluster"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return answer.status == 200
        return False

    with server([*argv, folder / "s3"], log, environment, ready):
        yield minio_


@dataclass
class MariaDb:
    socket: Path

    def sql(self, text: str) -> None:
        done = subprocess.run(
            [
                "mariadb",
                f"--socket={self.socket}",
                "--user=root",
                "--default-character-set=utf8mb4",
            ],
            input=text.encode(),
            capture_output=True,
        )
        if done.returncode:
            raise Failure(f"MariaDB refused a statement: {done.stderr.decode(errors='replace')}")

    @contextlib.contextmanager
    def dump(self, *arguments: str) -> Iterator[IO[bytes]]:
        """What mariadb-dump writes, as it writes it; that it fails is a failure here."""
        child = subprocess.Popen(
            [
                "mariadb-dump",
                f"--socket={self.socket}",
                "--user=root",
                "--single-transaction",
                "--quick",
                "--routines",
                "--triggers",
                "--default-character-set=utf8mb4",
                "--max-allowed-packet=256M",
                *arguments,
            ],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        try:
            yield child.stdout
        finally:
            child.stdout.close()
            status = child.wait()
        if status:
            raise Failure(f"mariadb-dump {' '.join(arguments)} ended with {status}")


@contextlib.contextmanager
def mariadb(folder: Path) -> Iterator[MariaDb]:
    """A private server on a Unix socket, tuned for filling it fast, not for keeping it."""
    data = folder / "mariadb"
    # A socket's path may have about a hundred bytes; a temporary folder's is short.
    database = MariaDb(folder / "db.sock")
    user = ["--user=root"] if os.geteuid() == 0 else []
    made = subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
            *user,
        ],
        capture_output=True,
    )
    if made.returncode:
        raise Failure(f"mariadb-install-db: {made.stderr.decode(errors='replace')[-2000:]}")
    log = folder / "mariadb.log"
    argv: Argv = [
        "mariadbd",
        "--no-defaults",
        f"--datadir={data}",
        f"--socket={database.socket}",
        f"--pid-file={folder / 'mariadb.pid'}",
        "--skip-networking",
        "--skip-log-bin",
        "--character-set-server=utf8mb4",
        "--max-allowed-packet=256M",
        "--innodb-buffer-pool-size=512M",
        "--innodb-log-file-size=512M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-doublewrite=OFF",
        *user,
    ]

    def ready() -> bool:
        ping = ["mariadb-admin", f"--socket={database.socket}", "--user=root", "ping"]
        return subprocess.run(ping, capture_output=True).returncode == 0

    with server(argv, log, dict(os.environ), ready):
        yield database


@dataclass
class Lambda:
    port: int
    emulator: subprocess.Popen[bytes]
    function: subprocess.Popen[bytes]
    log: Path

    def invoke(self, event: object) -> tuple[dict, Usage]:
        """The function's answer, and what this invocation took."""
        before = self._cpu_seconds()
        started = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self._post, event)
            while not answer.done():
                if self.function.poll() is not None:
                    # The emulator would wait for another function; without it, it cannot.
                    self.emulator.terminate()
                    raise Failure(
                        f"the function ended with {self.function.returncode}{self._log()}"
                    )
                wait([answer], 0.1)
        seconds = time.monotonic() - started
        usage = Usage(seconds, self._cpu_seconds() - before, peak_mib(self.function.pid))
        return answer.result(), usage

    def _post(self, event: object) -> dict:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/2015-03-31/functions/replicator/invocations",
            json.dumps(event).encode(),
            {"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=3600) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            raise Failure(f"the Lambda answered {error.code}: {said}{self._log()}") from None

    def _log(self) -> str:
        return f"\nits log ends:\n{self.log.read_text(errors='replace')[-3000:]}"

    def _cpu_seconds(self) -> float:
        # The fields after the command's name, which may itself hold spaces.
        fields = Path(f"/proc/{self.function.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def function(folder: Path, environment: dict[str, str]) -> Iterator[Lambda]:
    """The release binary `replicator` behind `cargo lambda watch`."""
    port = free_port()
    # cargo-lambda asks cargo about the package it is started in; this one has nothing to build.
    project = folder / "lambda"
    (project / "src").mkdir(parents=True)
    (project / "src" / "main.rs").write_text("fn main() {}\n")
    (project / "Cargo.toml").write_text(
        '[package]\nname = "replicator"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n'
    )
    emulator_log = folder / "emulator.log"
    emulator: Argv = [
        tool("venv/bin/cargo-lambda"),
        "lambda",
        "watch",
        "--only-lambda-apis",
        "--invoke-address=127.0.0.1",
        f"--invoke-port={port}",
    ]
    log = folder / "function.log"
    variables = {
        # With its scheme: an address that has a path is no URI without one.
        "AWS_LAMBDA_RUNTIME_API": f"http://127.0.0.1:{port}/.rt/replicator",
        "AWS_LAMBDA_FUNCTION_NAME": "replicator",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        **environment,
    }
    with server(emulator, emulator_log, dict(os.environ), lambda: listens(port), project) as watch:
        with server([release_binary("replicator")], log, variables, lambda: True) as child:
            yield Lambda(port, watch, child, log)
