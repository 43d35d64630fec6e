"""What `sam build` makes is small, starts, and copies when a schedule asks it to. The starts
are timed, and the times shown; they are not judged, for they are this machine's."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import runtime_api
import template
from measure import CACHE, peak_mib
from sim import client, s3_sim
from template import ROOT

DATABASE = "backup-my-environment-name"
TOOLS = Path(sys.executable).parent


@pytest.fixture(scope="session")
def artifact(tmp_path_factory) -> Path:
    """The folder that `sam deploy` would upload."""
    build = tmp_path_factory.mktemp("sam") / "build"
    # cargo-lambda and its linker, Zig, are in the tests' other environment.
    path = f"{CACHE / 'venv/bin'}:{TOOLS}:{os.environ['PATH']}"
    done = subprocess.run(
        [
            *(TOOLS / "sam", "build", "--build-dir", build),
            *("--parameter-overrides", "Architecture=x86_64"),
        ],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return build / "Replicator"


@pytest.fixture
def s3(tmp_path):
    with s3_sim(tmp_path, "--bucket", DATABASE, "--bucket", "my-company-backups") as address:
        yield client(address)


def environment(s3) -> dict[str, str]:
    """The template's own, on a server of this machine."""
    values = template.with_defaults(
        {
            "DatabaseBucket": DATABASE,
            "ExistingDestinationBucket": "my-company-backups",
            "NoticeTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms",
        }
    )
    written = template.translated("x86_64")
    resolver = template.Resolver(written["Conditions"], values, {})
    function = written["Resources"]["Replicator"]["Properties"]
    return {
        **resolver.value(function["Environment"]["Variables"]),
        "SOURCE_ENDPOINT_URL": s3.meta.endpoint_url,
        "DESTINATION_ENDPOINT_URL": s3.meta.endpoint_url,
        # There is no SNS here.
        "TOPIC_ARN": "",
        "AWS_REGION": template.REGION,
        "AWS_ACCESS_KEY_ID": "sim-access-key",
        "AWS_SECRET_ACCESS_KEY": "sim-secret-key",
    }


def scheduled_event(source: str) -> template.Json:
    schedule = template.translated("x86_64")["Resources"][f"Replicator{source}Schedule"]
    return json.loads(schedule["Properties"]["Target"]["Input"])


def test_the_artifact_is_small_and_is_what_lambda_starts(artifact, tmp_path, figure):
    assert [path.name for path in artifact.iterdir()] == ["bootstrap"]
    bootstrap = artifact / "bootstrap"
    assert os.access(bootstrap, os.X_OK)
    zipped = tmp_path / "replicator.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(bootstrap, "bootstrap")
    size = zipped.stat().st_size
    figure(f"the function, zipped: {size / 1024**2:.1f} MiB")
    assert size <= 10 * 1024 * 1024
    # Amazon Linux 2023 has glibc 2.34; a symbol of a newer one would keep it from starting.
    wanted = re.findall(rb"GLIBC_2\.(\d+)", bootstrap.read_bytes())
    assert wanted and max(map(int, wanted)) <= 34


def test_the_artifact_copies_what_a_schedule_asks_for(artifact, s3, tmp_path, figure):
    for night in range(1, 4):
        s3.put_object(Bucket=DATABASE, Key=f"2026-11-{night:02}.dump", Body=b"x" * night)
    log = tmp_path / "function.log"
    with runtime_api.started(artifact / "bootstrap", environment(s3), log) as function:
        report = function.invoke(scheduled_event("Database"))
        assert report.get("status") == "complete", report
        assert report["sources"][0]["copied"]["objects"] == 3, report
        keys = [
            object_["Key"]
            for object_ in s3.list_objects_v2(Bucket="my-company-backups")["Contents"]
            if not object_["Key"].startswith(".replicator/")
        ]
        assert keys == [f"database/2026-11-{night:02}.dump" for night in range(1, 4)]
        again = function.invoke({})
        assert again.get("status") == "complete", again
        assert again["sources"][0]["copied"]["objects"] == 0, again
        error = function.invoke(scheduled_event("Filesystem"))
        assert "FILESYSTEM_BUCKET" in error["errorMessage"], error
        figure(f"its peak memory, for three small objects: {peak_mib(function.process.pid):.0f} MiB")
    # As infra/operating.md's `aws logs tail --filter-pattern report` expects it: each line a
    # document of its own.
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any("report" in json.dumps(line) for line in lines)
    # As CloudWatch makes metrics of.
    metrics = [line for line in lines if "_aws" in line]
    assert {"database"} == {line["Source"] for line in metrics if "Source" in line}


def test_every_start_comes_to_ask_for_work(artifact, s3, tmp_path, figure):
    seconds = []
    for attempt in range(11):
        log = tmp_path / f"{attempt}.log"
        with runtime_api.started(artifact / "bootstrap", environment(s3), log) as function:
            seconds.append(function.initialisation)
    middle = statistics.median(seconds) * 1000
    figure(f"its initialisation: median {middle:.0f} ms, at best {min(seconds) * 1000:.0f} ms")
    assert len(seconds) == 11
