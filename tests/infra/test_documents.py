"""The commands in the documents and outputs exist, with the options that they are given."""

from __future__ import annotations

import json
import re
import shlex

import boto3
import pytest
import template
from botocore import xform_name
from policies import is_allowed
from samcli.commands.build.command import cli as sam_build
from samcli.commands.delete.command import cli as sam_delete
from samcli.commands.deploy.command import cli as sam_deploy
from template import ACCOUNT, REGION, ROOT
from test_stack import NEEDED, REFUSED, deploy, moto, stack  # noqa: F401

DOCUMENTS = ["infra/operating.md", "infra/cargo-lambda/README.md", "README.md", "README.fr.md"]
#: Of every command of the AWS CLI.
GLOBAL = {"region", "query", "output", "cli-read-timeout", "cli-binary-format", "cli-input-json"}
#: What the AWS CLI has beside the services' own operations.
CUSTOM = {("logs", "tail"): {"since", "filter-pattern"}, ("s3", "cp"): set()}
FILES = ROOT / "infra/cargo-lambda"


def commands(text: str, program: str) -> list[list[str]]:
    """The commands in a document: in its indented and fenced lines, and between backticks."""
    text = re.sub(r"\\\n\s*", " ", text)
    lines = re.findall(rf"^\s*({program} [^\n]*)", text, re.MULTILINE)
    inline = re.findall(rf"`({program} [^`]*)`", re.sub(r"\s*\n\s*", " ", text))
    return [shlex.split(line, comments=True) for line in [*lines, *inline]]


def options(command: list[str]) -> set[str]:
    return {word[2:].split("=")[0] for word in command if word.startswith("--")}


def check(command: list[str]) -> None:
    _, service, operation, *_ = command
    if (service, operation) in CUSTOM:
        unknown = options(command) - CUSTOM[service, operation] - GLOBAL
        assert not unknown, command
        return
    service = {"s3api": "s3"}.get(service, service)
    model = boto3.client(service, region_name=REGION).meta.service_model
    names = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in names, command
    shape = model.operation_model(names[operation]).input_shape
    known = {xform_name(name, "-"): name for name in shape.members}
    # A file that is written is the last word, and no option, of these.
    given = options(command)
    assert given <= set(known) | GLOBAL, (given - set(known) - GLOBAL, command)
    if "cli-input-json" not in given:
        needed = {name for name, member in known.items() if member in shape.required_members}
        written = {"outfile"} if operation in ("invoke", "get-object") else set()
        assert needed - written <= given, (needed - given, command)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_aws_command_in_the_documents_exists(document):
    found = commands((ROOT / document).read_text(), "aws")
    assert found
    for command in found:
        check(command)


@pytest.mark.parametrize("document", ["infra/operating.md", "samconfig.toml", "README.md"])
def test_every_sam_command_in_the_documents_exists(document):
    text = re.sub(r"^#", "", (ROOT / document).read_text(), flags=re.MULTILINE)
    found = commands(text.replace(" && ", "\n"), "sam")
    assert found
    known = {"build": sam_build, "deploy": sam_deploy, "delete": sam_delete}
    for _, name, *rest in found:
        options_of = {option for each in known[name].params for option in each.opts}
        given = {word for word in rest if word.startswith("--")}
        assert given <= options_of, (name, given - options_of)


def test_every_parameter_that_a_document_names_is_one_of_the_templates():
    parameters = set(template.source()["Parameters"])
    outputs = set(template.source()["Outputs"])
    text = (ROOT / "infra/operating.md").read_text()
    words = set(re.findall(r"(?<!s3:)\b[A-Z][a-z]+(?:[A-Z][A-Za-z]+)+\b", text))
    # Names that are S3's, Lambda's or the code's own.
    others = {
        *("OutputKey", "OutputValue", "LastModified", "VersionId"),
        *("OutOfMemory", "TooManyRequestsException", "GlacierJobParameters"),
        *("MariaDB", "MySQL", "PostgreSQL"),
        *errors_of_the_code(),
    }
    assert words - parameters - outputs <= others, words - parameters - outputs - others


def errors_of_the_code() -> set[str]:
    """The stable names under which a run can fail."""
    files = ("functions/copy/src/error.rs", "functions/replicator/src/secret.rs")
    code = "".join((ROOT / file).read_text() for file in files)
    names = set(re.findall(r'(?:=>|: &str =) "([A-Za-z0-9]+)"', code))
    return names | {"InvalidEvent", "InvalidConfiguration", "ListingFailed"}


def test_the_errors_that_are_explained_are_the_codes():
    text = (ROOT / "infra/operating.md").read_text()
    section = text.split("### `run-failed`")[1].split("###")[0]
    explained = set(re.findall(r"`([A-Z][A-Za-z]+)`(?=[^|]*\|[^|]*\|[^|]*\|)", section))
    assert len(explained) > 5
    assert explained <= errors_of_the_code(), explained - errors_of_the_code()


def test_the_ready_commands_of_a_stack_exist(stack):  # noqa: F811
    ready = {
        name: shlex.split(value)
        for name, value in stack.outputs().items()
        if name.endswith("Command")
    }
    assert {"DryRunCommand", "RunCommand", "LogCommand"} <= set(ready)
    for command in ready.values():
        check(command)
    for output, event in (("DryRunCommand", {"dry_run": True}), ("RunCommand", {})):
        payload = ready[output][ready[output].index("--payload") + 1]
        assert json.loads(payload) == event


def own(text: str) -> str:
    """The files' account and region, as the tests' stack has them."""
    return text.replace("111122223333", ACCOUNT)


def test_cargo_lambdas_role_may_what_the_stacks_role_may():
    statements = json.loads(own((FILES / "function-policy.json").read_text()))["Statement"]
    for cases, wanted in ((NEEDED, True), (REFUSED, False)):
        for right, resource in cases:
            resource = resource.format(to="my-company-backups")
            arn = resource if resource.startswith("arn:") else f"arn:aws:s3:::{resource}"
            assert is_allowed(statements, right, arn) == wanted, (right, arn)


def test_cargo_lambdas_schedules_ask_for_what_the_stacks_do(stack):  # noqa: F811
    scheduler = stack.client("scheduler")
    invoke = json.loads(own((FILES / "scheduler-policy.json").read_text()))["Statement"]
    for source in ("database", "filesystem"):
        # Its options are checked by botocore.
        written = json.loads(own((FILES / f"schedule-{source}.json").read_text()))
        scheduler.create_schedule(**{**written, "Name": f"by-cargo-lambda-{source}"})
        made = scheduler.get_schedule(Name=f"by-cargo-lambda-{source}")["Target"]
        stacks = scheduler.get_schedule(Name=f"replicator-{source}")["Target"]
        assert made["Input"] == stacks["Input"]
        assert made["RetryPolicy"] == stacks["RetryPolicy"]
        assert is_allowed(invoke, "lambda:InvokeFunction", made["Arn"])


def test_cargo_lambda_gives_the_templates_memory_time_and_settings():
    text = (ROOT / "functions/replicator/Cargo.toml").read_text()
    deploy_ = text.split("[package.metadata.lambda.deploy]", 1)[1]
    given = dict(re.findall(r"^(\w+) = (\d+)$", deploy_, re.MULTILINE))
    function = template.source()["Resources"]["Replicator"]["Properties"]
    defaults = template.with_defaults({})
    assert given["memory"] == defaults["MemorySize"]
    assert given["timeout"] == str(function["Timeout"])
    assert given["log_retention"] == defaults["LogRetentionDays"]
    settings = re.findall(r"^(\w+)=", (FILES / "settings.env").read_text(), re.MULTILINE)
    assert settings and set(settings) <= template.settings_read_by_the_code()
