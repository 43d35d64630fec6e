"""The commands of README.md run as they stand, at the cost that it tells."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import boto3
import pytest
from measure import free_port, release_binary, tool
from sim import s3_sim
from template import ROOT
from test_documents import commands
from test_readme import ENGLISH, blocks, table_of, tables

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


def test_the_demonstration_prints_what_is_shown():
    def timeless(text: str) -> str:
        return re.sub(r"in [\d.]+ s:", "in … s:", text)

    printed = local_runner("demo").stdout
    first, rest = block("2. A night later").split("(…)\n")
    assert first in printed
    assert timeless(rest) in timeless(printed)


def test_every_setting_is_a_flag_unless_the_page_says_otherwise():
    flags = local_runner("replicate", "--help").stdout
    for names, meaning, _ in table_of(ENGLISH, "DATABASE_BUCKET"):
        for name in re.findall(r"`(\w+)`", names):
            flag = f"--{name.lower().replace('_', '-')} "
            none = "no flag" in meaning or meaning.startswith("of the function")
            assert (flag in flags) != none, name


def block(holding: str) -> str:
    """The one block of the page that holds this."""
    [found] = [block for block in blocks(ENGLISH) if holding in block]
    return found


def shell(script: str, folder: Path, **environment: str) -> str:
    """What a shell prints that runs the page's lines in a folder of its own; none may fail."""
    programs = release_binary("local-runner").parent
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env={"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(folder), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def as_a_user(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "sim-access-key",
        "AWS_SECRET_ACCESS_KEY": "sim-secret-key",
    }


def test_the_commands_on_minio_run_as_they_stand(tmp_path):
    for program in ("bin/minio", "bin/mc"):
        tool(program)
    shutil.copy(ROOT / "Cargo.lock", tmp_path)
    (tmp_path / "target").symlink_to(release_binary("local-runner").parents[1])
    script = block("minio server").replace(":9000", f":{free_port()}")
    cache = {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME") if name in os.environ}
    printed = shell(script, tmp_path, **cache)
    assert "would copy  1" in printed and "copied  1" in printed
    assert printed.count("verified by ETag") == 1


def test_the_commands_by_hand_and_those_without_the_vendor_run(endpoint, tmp_path):
    user = as_a_user(endpoint)
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=user["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=user["AWS_SECRET_ACCESS_KEY"],
    )
    dump = "2026/11/shop-2026-11-20.sql.gz"
    s3.put_object(Bucket="backup-my-environment-name", Key=dump, Body=b"a dump")
    s3.put_object(Bucket="backup-fs-my-environment-name", Key="invoices/1.pdf", Body=b"an invoice")

    by_hand = block("local-runner doctor").split("\n")
    assert by_hand[0].startswith("cargo build") and by_hand[1].startswith("export PATH")
    printed = shell("\n".join(by_hand[2:]), tmp_path, **user)
    assert "every one of the 2 objects is at the destination" in printed

    for bucket, key in (
        ("backup-my-environment-name", dump),
        ("backup-fs-my-environment-name", "invoices/1.pdf"),
    ):
        s3.delete_object(Bucket=bucket, Key=key)
    assert dump in shell(block("local-runner ls"), tmp_path, **user)
    shell(block("local-runner download"), tmp_path, **user)
    assert (tmp_path / "restored/invoices/1.pdf").read_bytes() == b"an invoice"
    assert "There is nothing to delete" in shell(block("local-runner rotate"), tmp_path, **user)


@pytest.fixture
def endpoint(tmp_path: Path):
    arguments = []
    for name in (
        *("empty", "my-company-backups"),
        *("backup-my-environment-name", "backup-fs-my-environment-name"),
    ):
        arguments += ["--bucket", name]
    for name, count, prefix in (
        ("vendor", OBJECTS, ""),
        ("vendor-next-day", OBJECTS * 101 // 100, ""),
        ("copied", OBJECTS, "database/"),
    ):
        keys = f"pattern=sequential,count={count},size=4096,prefix={prefix}"
        arguments += ["--generate", f"{name}:{keys}"]
    with s3_sim(tmp_path, *arguments) as address:
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
            **as_a_user(endpoint),
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        # A tenth more LIST requests than keys need are allowed; Lambda's time is in the table.
        cost = report["cost_usd"] + report["forecast_usd"]
        assert float(told) == pytest.approx(cost, rel=0.12), (source, destination)
