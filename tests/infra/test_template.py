"""What is wrong is refused before anything is made, and the template and the code agree."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import template
from measure import CACHE
from template import ACCOUNT, REGION, ROOT, TEMPLATE, refusals

TOOLS = Path(sys.executable).parent
MACHINE_CALLS = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:replicator"
GOOD = {"DatabaseBucket": "backup-my-environment-name", "NoticeEmail": "backups@example.com"}

#: Read by the code, and absent from the template.
LEFT_OUT = {
    "SOURCE_ACCESS_KEY_ID": "whoever may see the function's configuration would see the key",
    "SOURCE_SECRET_ACCESS_KEY": "likewise",
    "DESTINATION_ENDPOINT_URL": "the destination of a stack is on AWS",
    "TAGS": "its default does what can be done",
    "ANNOTATIONS": "likewise",
    "MEMORY_LIMIT_MIB": "its default fits in the least memory that the function may be given",
}


def run(*command: str | Path) -> str:
    environment = {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}"}
    done = subprocess.run(
        [TOOLS / command[0], *command[1:]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_sam_finds_the_template_valid():
    assert "is a valid SAM Template" in run("sam", "validate", "--lint")


def test_cfn_lint_finds_nothing():
    assert run("cfn-lint", TEMPLATE) == ""


def test_the_state_machine_is_valid_in_amazon_states_language(tmp_path):
    path = tmp_path / "state-machine.json"
    values = {"Partition": "aws", "Function": MACHINE_CALLS, "MaxConcurrency": 4}
    path.write_text(json.dumps(template.definition(values)))
    validator = CACHE / "infra-node/node_modules/.bin/asl-validator"
    assert "is valid" in run(validator, "--json-path", path)
    # It does find what is wrong.
    path.write_text(path.read_text().replace('"Next": "Close"', '"Next": "Closed"'))
    with pytest.raises(AssertionError, match="Closed"):
        run(validator, "--json-path", path)


def checkov(path: Path) -> dict[str, set[tuple[str, str]]]:
    answer = run(
        *("checkov", "--soft-fail", "--skip-download", "--framework", "cloudformation"),
        *("--output", "json", "--file", path),
    )
    results = json.loads(answer)["results"]
    return {
        which: {(check["check_id"], check["resource"]) for check in results[f"{which}_checks"]}
        for which in ("passed", "failed", "skipped")
    }


def test_checkov_finds_nothing_but_what_is_skipped_with_a_reason(tmp_path):
    found = checkov(TEMPLATE)
    assert found["failed"] == set()
    assert len(found["passed"]) > 20, "it looked at the template"
    # A skip that nothing needs any more is taken out.
    bare = copy.deepcopy(template.source())
    for resource in bare["Resources"].values():
        skips = resource.get("Metadata", {}).pop("checkov", {}).get("skip", [])
        assert all(len(skip["comment"]) > 20 for skip in skips), skips
    path = tmp_path / "template.json"
    path.write_text(json.dumps(bare))
    assert checkov(path)["failed"] == found["skipped"]


def test_every_profile_to_copy_is_accepted():
    profiles = template.profiles()
    assert {"default", "vendor-keys", "existing-bucket"} <= set(profiles)
    for name, parameters in profiles.items():
        assert refusals(parameters) == [], name


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"DatabaseBucket": ""}, "Nothing to copy"),
        ({"FilesystemBucket": GOOD["DatabaseBucket"]}, "are the same. Give one"),
        ({"FilesystemBucket": "files", "FilesystemPrefix": "database/"}, "overwrite each other"),
        ({"FilesystemBucket": "files", "FilesystemPrefix": ""}, "bucket's root"),
        ({"ExistingDestinationBucket": GOOD["DatabaseBucket"]}, "one of the vendor's buckets"),
        (
            {
                "ExistingDestinationBucket": "mine",
                "ObjectLockMode": "GOVERNANCE",
                "ObjectLockDays": "30",
            },
            "Object Lock on ExistingDestinationBucket",
        ),
        ({"ExistingDestinationBucket": "mine", "ArchiveAfterDays": "30"}, "ArchiveAfterDays is for"),
        ({"DestinationRegion": "eu-west-3"}, "for an ExistingDestinationBucket"),
        ({"DestinationBucketOwner": "111122223333"}, "for an ExistingDestinationBucket"),
        ({"ObjectLockMode": "COMPLIANCE"}, "go together"),
        ({"ObjectLockDays": "30"}, "go together"),
        (
            {
                "MakeSourceCredentialsSecret": "true",
                "SourceCredentialsSecretArn": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:keys-AbCdEf",
            },
            "both given",
        ),
        ({"Transfer": "server-side", "MakeSourceCredentialsSecret": "true"}, "never uses"),
        (
            {
                "Transfer": "server-side",
                "SourceCredentialsSecretArn": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:keys-AbCdEf",
            },
            "never uses",
        ),
        (
            {"Transfer": "server-side", "SourceEndpointUrl": "https://s3.example.com"},
            "copies nothing from another server",
        ),
        ({"SourceEndpointUrl": "https://s3.example.com"}, "needs the vendor's keys"),
        (
            {"ExistingDestinationBucket": "mine", "DestinationRegion": "eu-west-3"},
            "region and account alone",
        ),
        (
            {"ExistingDestinationBucket": "mine", "DestinationBucketOwner": "111122223333"},
            "region and account alone",
        ),
        ({"NoticeEmail": ""}, "Somebody must hear"),
        ({"NoticeTopicArn": "arn:aws:sns:eu-west-1:111122223333:alarms"}, "Somebody must hear"),
    ],
)
def test_a_wrong_combination_is_refused_with_a_sentence(wrong, sentence):
    assert any(sentence in said for said in refusals({**GOOD, **wrong})), refusals({**GOOD, **wrong})


def test_every_rule_refuses_something():
    cases = next(
        mark.args[1]
        for mark in test_a_wrong_combination_is_refused_with_a_sentence.pytestmark
        if mark.name == "parametrize"
    )
    said = {sentence for wrong, _ in cases for sentence in refusals({**GOOD, **wrong})}
    rules = template.source()["Rules"].values()
    known = {each["AssertDescription"] for rule in rules for each in rule["Assertions"]}
    assert known <= said, known - said


KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:vendor/keys-AbCdEf"
BUCKETS = (["my-company-backups", "a.b", "x" * 63], ["ab", "Upper", "x" * 64, "x--x-s3", "-a-", "a_b"])
SCHEDULES = (
    ["cron(0 3 * * ? *)", "cron(0/15 8-18 ? * MON-FRI *)", "rate(1 day)", "rate(12 hours)"],
    ["", "0 3 * * *", "cron(0 3 * * ?)", "rate(0 days)", "rate(2 weeks)", "cron(0 3 * * ? *) "],
)
ZONES = (["UTC", "Europe/Paris", "America/Argentina/Buenos_Aires"], ["", "Europe/", "+01:00"])
PREFIXES = (["", "database/", "a/b.c/d_e-f/"], ["database", "/", "a//", ".replicator/", "a*/", "a b/"])
REGIONS = (["", "eu-west-1", "us-gov-west-1"], ["Europe", "eu-west", "eu-west-1a"])
ACCOUNTS = (["", "012345678901"], ["1234", "1234-5678-9012", "x" * 12])
HOURS = (["2", "26", "168"], ["1", "169", "-3", "a day"])
VALUES = {
    "DatabaseBucket": BUCKETS,
    "FilesystemBucket": BUCKETS,
    "ExistingDestinationBucket": BUCKETS,
    "SourceRegion": REGIONS,
    "DestinationRegion": REGIONS,
    "SourceBucketOwner": ACCOUNTS,
    "DestinationBucketOwner": ACCOUNTS,
    "SourceKmsKeyArn": (["", KEY], ["alias/aws/s3", KEY.replace("key/", "alias/"), KEY + "*"]),
    "KmsKeyArn": (["", KEY], ["alias/aws/s3", KEY.replace("key/", "alias/"), KEY + "*"]),
    "SourceEndpointUrl": (
        ["", "https://s3.example.com", "https://s3.example.com:9000/"],
        ["http://s3.example.com", "s3.example.com", "https://s3.example.com/bucket"],
    ),
    "MakeSourceCredentialsSecret": (["true", "false"], ["yes", ""]),
    "SourceCredentialsSecretArn": (["", SECRET], ["vendor/keys", SECRET[:-7], SECRET + "*"]),
    "Transfer": (["auto", "server-side", "stream"], ["", "copy"]),
    "DatabaseSchedule": SCHEDULES,
    "FilesystemSchedule": SCHEDULES,
    "DatabaseTimeZone": ZONES,
    "FilesystemTimeZone": ZONES,
    "ScheduleState": (["ENABLED", "DISABLED"], ["", "on"]),
    "DatabasePrefix": PREFIXES,
    "FilesystemPrefix": PREFIXES,
    "StorageClass": (["", "STANDARD_IA"], ["standard", "EXPRESS_ONEZONE"]),
    "OlderVersionsDays": (["1", "3650"], ["0", "3651", ""]),
    "ArchiveAfterDays": (["0", "30", "9999"], ["1", "29", "10000", ""]),
    "ArchiveStorageClass": (["GLACIER_IR", "DEEP_ARCHIVE"], ["", "STANDARD"]),
    "ObjectLockMode": (["NONE", "COMPLIANCE"], ["", "compliance"]),
    "ObjectLockDays": (["0", "3650"], ["-1", "3651"]),
    "NoticeEmail": (["", "backups@example.com"], ["backups", "a b@example.com", "a@example"]),
    "NoticeTopicArn": (["", "arn:aws:sns:eu-west-1:111122223333:a"], ["alarms", "arn:aws:sns"]),
    "DatabaseDumpHours": (["2", "8760"], ["1", "8761", "a day"]),
    "DatabaseSuccessHours": HOURS,
    "FilesystemSuccessHours": HOURS,
    "LogRetentionDays": (["90", "3653"], ["0", "91"]),
    "Architecture": (["arm64", "x86_64"], ["", "amd64"]),
    "MemorySize": (["256", "10240"], ["128", "10241"]),
    "MaxInFlight": (["1", "10000"], ["0", "10001"]),
    "HandOver": (["true", "false"], ["1", ""]),
    "MaxConcurrency": (["1", "1000"], ["0", "1001", ""]),
}


def test_every_parameter_takes_good_values_and_refuses_bad_ones():
    parameters = template.source()["Parameters"]
    assert set(VALUES) == set(parameters)
    for name, (good, bad) in VALUES.items():
        about = re.compile(rf"{name} (must|has)")
        for value in good:
            assert not [said for said in refusals({name: value}) if about.match(said)], (name, value)
        for value in bad:
            assert [said for said in refusals({name: value}) if about.match(said)], (name, value)
        assert len(parameters[name]["Description"]) > 20, name


def test_every_parameter_is_in_a_group_and_is_used():
    written = template.source()
    groups = written["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(written["Parameters"])
    used = json.dumps([written["Resources"], written["Conditions"]])
    for name in written["Parameters"]:
        assert f'"Ref": "{name}"' in used or f"${{{name}}}" in used, name


def test_the_template_sets_what_the_code_reads_and_nothing_else():
    function = template.source()["Resources"]["Replicator"]["Properties"]
    sets = set(function["Environment"]["Variables"])
    reads = template.settings_read_by_the_code()
    assert sets <= reads, f"nobody reads {sets - reads}"
    assert reads - sets == set(LEFT_OUT), reads - sets


def test_the_template_speaks_the_codes_defaults():
    defaults = template.with_defaults({})
    engine = "".join(
        (ROOT / "functions/copy/src" / name).read_text() for name in ("settings.rs", "plan.rs")
    )
    for parameter in ("DatabasePrefix", "FilesystemPrefix"):
        assert f'unwrap_or("{defaults[parameter]}")' in engine, parameter
    assert f"return Ok({defaults['MaxInFlight']})" in engine
