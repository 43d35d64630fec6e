"""s3-sim, the S3 in memory, as a process; and a client of its."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import template
from measure import free_port, release_binary, server


@contextmanager
def s3_sim(folder: Path, *arguments: str) -> Iterator[str]:
    """Yields its address."""
    address = f"http://127.0.0.1:{(port := free_port())}"

    def ready() -> bool:
        try:
            return urllib.request.urlopen(f"{address}/_sim/counters").status == 200
        except urllib.error.URLError:
            return False

    argv = [release_binary("s3-sim"), "--port", str(port), *arguments]
    with server(argv, folder / "s3-sim.log", dict(os.environ), ready):
        yield address


def client(address: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name=template.REGION,
        aws_access_key_id="sim-access-key",
        aws_secret_access_key="sim-secret-key",
    )
