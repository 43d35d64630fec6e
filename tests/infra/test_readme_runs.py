"""What README.md has local-runner do, the release binary does, at the cost that is told."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from measure import free_port, release_binary, server
from template import ROOT
from test_documents import commands
from test_readme import ENGLISH, blocks, tables

OBJECTS = 100_000


def local_runner(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [release_binary("local-runner"), *args],
        env={"PATH": os.environ["PATH"], **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_local_runner_takes_every_command_of_the_documents():
    texts = [*blocks(ENGLISH), *blocks((ROOT / "infra/operating.md").read_text())]
    found = [command for text in texts for command in commands(text, "local-runner")]
    # With --help it is asked what it would take, and does nothing else.
    assert len({command[1] for command in found}) > 6
    for command in found:
        done = local_runner(*command[1:], "--help")
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr}"


@pytest.fixture
def endpoint(tmp_path: Path):
    address = f"http://127.0.0.1:{(port := free_port())}"
    argv = [release_binary("s3-sim"), "--port", str(port), "--bucket", "empty"]
    for name, count, prefix in (
        ("vendor", OBJECTS, ""),
        ("vendor-next-day", OBJECTS * 101 // 100, ""),
        ("copied", OBJECTS, "database/"),
    ):
        argv += ["--generate", f"{name}:pattern=sequential,count={count},size=4096,prefix={prefix}"]

    def ready() -> bool:
        try:
            return urllib.request.urlopen(f"{address}/_sim/counters").status == 200
        except urllib.error.URLError:
            return False

    with server(argv, tmp_path / "s3-sim.log", dict(os.environ), ready):
        yield address


def test_the_costs_are_those_of_runs(endpoint):
    rows = [row for table in tables(ENGLISH) for row in table]
    [[_, first, _, same, some, _]] = [row for row in rows if row[0] == f"{OBJECTS:,}"]
    for told, source, destination in (
        (first, "vendor", "empty"),
        (same, "vendor", "copied"),
        (some, "vendor-next-day", "copied"),
    ):
        done = local_runner(
            *("replicate", "--dry-run", "--json", "--quiet"),
            *("--database-bucket", source, "--destination-bucket", destination),
            AWS_ENDPOINT_URL=endpoint,
            AWS_REGION="us-east-1",
            AWS_ACCESS_KEY_ID="sim-access-key",
            AWS_SECRET_ACCESS_KEY="sim-secret-key",
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        # A tenth more LIST requests than keys need are allowed; Lambda's time is in the table.
        cost = report["cost_usd"] + report["forecast_usd"]
        assert float(told) == pytest.approx(cost, rel=0.12), (source, destination)
