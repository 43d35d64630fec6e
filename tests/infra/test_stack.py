"""What a deployment makes, read back: schedules, rights, the bucket, the alarms."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import requests
import template
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from policies import is_allowed
from stack import MACHINE, SECRET, Stack
from template import ACCOUNT, REGION, ROOT

DATABASE = "backup-my-environment-name"
FILESYSTEM = "backup-fs-my-environment-name"
SOURCE_KEY = f"arn:aws:kms:{REGION}:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/9876abcd-12ab-34cd-56ef-1234567890ab"
EXECUTION = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:replicator/a"
BOTH = {
    "DatabaseBucket": DATABASE,
    "FilesystemBucket": FILESYSTEM,
    "DatabaseSchedule": "cron(15 2 * * ? *)",
    "DatabaseTimeZone": "Europe/Paris",
    "FilesystemSchedule": "rate(6 hours)",
    "NoticeEmail": "backups@example.com",
}


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def deploy(moto):
    requests.post(f"{moto}/moto-api/reset", timeout=30).raise_for_status()
    return lambda **parameters: Stack(moto, {**BOTH, **parameters})


@pytest.fixture
def stack(deploy):
    return deploy()


def bucket(stack: Stack) -> str:
    return stack.outputs()["DestinationBucketName"]


def schedule(stack: Stack, source: str) -> template.Json:
    return stack.client("scheduler").get_schedule(Name=f"replicator-{source}")


def test_each_source_is_asked_for_at_its_own_time(stack):
    database, filesystem = schedule(stack, "database"), schedule(stack, "filesystem")
    for of, source in ((database, "database"), (filesystem, "filesystem")):
        assert json.loads(of["Target"]["Input"]) == {"sources": [source]}
        assert of["State"] == "ENABLED"
        assert of["Target"]["Arn"].endswith(":function:replicator")
        assert of["Target"]["DeadLetterConfig"]["Arn"].startswith("arn:aws:sqs:")
    assert database["ScheduleExpression"] == "cron(15 2 * * ? *)"
    assert database["ScheduleExpressionTimezone"] == "Europe/Paris"
    assert filesystem["ScheduleExpression"] == "rate(6 hours)"
    assert filesystem["ScheduleExpressionTimezone"] == "UTC"


def test_a_source_that_is_not_there_is_neither_scheduled_nor_watched(deploy):
    stack = deploy(FilesystemBucket="")
    assert schedule(stack, "database")["State"] == "ENABLED"
    assert schedule(stack, "filesystem")["State"] == "DISABLED"
    assert "replicator-no-successful-filesystem-run" not in alarms(stack)
    role = stack.role_statements("FunctionRole")
    assert not is_allowed(role, "s3:ListBucket", f"arn:aws:s3:::{FILESYSTEM}")
    assert not is_allowed(role, "s3:PutObject", f"arn:aws:s3:::{bucket(stack)}/filesystem/x")
    assert "StatementForFilesystemBucket" not in stack.outputs()


def test_a_pause_stops_the_schedules_and_the_alarms_on_missing_runs(deploy):
    stack = deploy(ScheduleState="DISABLED")
    assert {schedule(stack, of)["State"] for of in ("database", "filesystem")} == {"DISABLED"}
    for source in ("database", "filesystem"):
        assert not alarms(stack)[f"replicator-no-successful-{source}-run"]["ActionsEnabled"]
    assert alarms(stack)["replicator-run-failed"]["ActionsEnabled"]


def test_the_schedules_may_invoke_the_function_and_nothing_else(stack):
    role = stack.role_statements("SchedulerRole")
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
    assert is_allowed(role, "lambda:InvokeFunction", f"{function}:replicator")
    assert not is_allowed(role, "lambda:InvokeFunction", f"{function}:another")
    assert not is_allowed(role, "lambda:UpdateFunctionCode", f"{function}:replicator")
    assert is_allowed(role, "sqs:SendMessage", stack.resolver.resources["FailureQueue"]["Arn"])


def test_each_role_is_taken_by_its_service_alone(stack):
    for role, service in (
        ("FunctionRole", "lambda"),
        ("SchedulerRole", "scheduler"),
        ("StateMachineRole", "states"),
    ):
        name = stack.resolver.resources[role]["Ref"]
        trust = stack.client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        [statement] = trust["Statement"]
        assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
        assert statement["Action"] == "sts:AssumeRole"
        # Another account's schedule or state machine that was given the role may not use it.
        if service != "lambda":
            assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def may(stack: Stack, action: str, resource: str) -> bool:
    resource = resource.format(to=bucket(stack))
    arn = resource if resource.startswith("arn:") else f"arn:aws:s3:::{resource}"
    return is_allowed(stack.role_statements("FunctionRole"), action, arn)


#: Every request that the engine sends, by the right that S3 asks of it.
NEEDED = [
    *[("s3:ListBucket", name) for name in (DATABASE, FILESYSTEM, "{to}")],
    *[("s3:GetObject", f"{name}/any/key") for name in (DATABASE, FILESYSTEM)],
    *[
        (right, f"{name}/any/key")
        for right in ("s3:GetObjectTagging", "s3:GetObjectAnnotation", "s3:ListObjectAnnotations")
        for name in (DATABASE, FILESYSTEM)
    ],
    ("s3:ListBucketMultipartUploads", "{to}"),
    *[
        (right, f"{{to}}/{key}")
        for key in ("database/2026/x.dump", "filesystem/var/www", ".replicator/lease")
        for right in (
            "s3:PutObject",
            "s3:PutObjectTagging",
            "s3:PutObjectAnnotation",
            "s3:GetObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        )
    ],
]

REFUSED = [
    # No backup is undone.
    *[
        (right, f"{{to}}/{key}")
        for key in ("database/2026/x.dump", "filesystem/var/www", ".replicator/lease", "other")
        for right in (
            "s3:DeleteObject",
            "s3:DeleteObjectVersion",
            "s3:DeleteObjectTagging",
            "s3:BypassGovernanceRetention",
            "s3:PutObjectAcl",
            "s3:RestoreObject",
        )
    ],
    *[
        (right, "{to}")
        for right in (
            "s3:DeleteBucket",
            "s3:DeleteBucketPolicy",
            "s3:PutBucketPolicy",
            "s3:PutBucketVersioning",
            "s3:PutBucketAcl",
            "s3:PutBucketPublicAccessBlock",
            "s3:PutBucketObjectLockConfiguration",
            "s3:PutLifecycleConfiguration",
            "s3:PutEncryptionConfiguration",
            "s3:PutReplicationConfiguration",
        )
    ],
    # Nothing is written beside the prefixes, or at the vendor.
    ("s3:PutObject", "{to}/other"),
    ("s3:PutObject", "{to}/databases/x"),
    ("s3:GetObject", "{to}/payroll.xlsx"),
    *[
        (right, f"{name}/any/key")
        for name in (DATABASE, FILESYSTEM)
        for right in ("s3:PutObject", "s3:DeleteObject", "s3:PutObjectTagging")
    ],
    # Nobody else's.
    ("s3:ListBucket", "another-bucket"),
    ("s3:GetObject", "another-bucket/key"),
    ("s3:ListAllMyBuckets", "arn:aws:s3:::*"),
    ("kms:Decrypt", KEY),
    ("kms:Decrypt", SOURCE_KEY),
    ("secretsmanager:GetSecretValue", SECRET),
    ("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:replicator"),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/any"),
    ("logs:CreateLogGroup", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/replicator"),
    ("logs:PutLogEvents", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/another:log-stream:x"),
]


#: Rights on the buckets that the engine asks for elsewhere than in a run.
FOR_PEOPLE = {
    "s3:GetBucketVersioning",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetEncryptionConfiguration",
    "s3:ListBucketVersions",
}


def test_the_rights_are_those_of_the_engines_requests():
    code = (ROOT / "functions/copy/src/operation.rs").read_text()
    asked = set(re.findall(r'=> "(s3:\w+)"', code.split("pub fn right(self)")[1]))
    assert len(asked) > 5
    # S3 asks for it with a copy or an upload that has tags.
    asked.add("s3:PutObjectTagging")
    assert {right for right, _ in NEEDED} == asked - FOR_PEOPLE


def test_the_function_may_copy_and_log(stack):
    refused = [case for case in NEEDED if not may(stack, *case)]
    assert refused == []
    log = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/replicator:log-stream:2026/x"
    assert may(stack, "logs:PutLogEvents", log) and may(stack, "logs:CreateLogStream", log)
    assert may(stack, "sqs:SendMessage", stack.resolver.resources["FailureQueue"]["Arn"])


def test_the_function_may_delete_nothing_and_change_no_bucket(stack):
    allowed = [case for case in REFUSED if may(stack, *case)]
    assert allowed == []


def test_what_undoes_a_backup_is_refused_whatever_else_is_granted(stack):
    everything = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    role = stack.role_statements("FunctionRole") + everything
    object_, itself = f"arn:aws:s3:::{bucket(stack)}/database/x", f"arn:aws:s3:::{bucket(stack)}"
    assert is_allowed(role, "s3:GetBucketPolicy", itself)
    for right in ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"):
        assert not is_allowed(role, right, object_), right
    for right in (
        "s3:DeleteBucket",
        "s3:PutBucketPolicy",
        "s3:DeleteBucketPolicy",
        "s3:PutBucketVersioning",
        "s3:PutBucketObjectLockConfiguration",
        "s3:PutLifecycleConfiguration",
    ):
        assert not is_allowed(role, right, itself), right


def test_every_allowance_names_its_resources(deploy):
    stack = deploy(SourceKmsKeyArn=SOURCE_KEY, KmsKeyArn=KEY, MakeSourceCredentialsSecret="true")
    for role in ("FunctionRole", "SchedulerRole", "StateMachineRole"):
        for statement in stack.role_statements(role):
            resources = statement["Resource"]
            for arn in resources if isinstance(resources, list) else [resources]:
                assert arn.count(":") >= 5 and arn != "*", statement
                assert not arn.endswith(":::*"), statement
            actions = statement["Action"]
            for action in actions if isinstance(actions, list) else [actions]:
                assert "*" not in action or statement["Effect"] == "Deny", statement


def test_keys_of_kms_and_the_secret_are_readable_when_they_are_given(deploy):
    stack = deploy(
        SourceKmsKeyArn=SOURCE_KEY, KmsKeyArn=KEY, MakeSourceCredentialsSecret="true"
    )
    assert may(stack, "kms:Decrypt", SOURCE_KEY)
    assert not may(stack, "kms:GenerateDataKey", SOURCE_KEY)
    assert may(stack, "kms:Decrypt", KEY) and may(stack, "kms:GenerateDataKey", KEY)
    assert may(stack, "secretsmanager:GetSecretValue", SECRET)
    assert not may(stack, "secretsmanager:PutSecretValue", SECRET)
    assert variables(stack)["SOURCE_CREDENTIALS_SECRET"] == SECRET
    assert variables(stack)["KMS_KEY_ID"] == KEY
    secret = stack.client("secretsmanager").get_secret_value(SecretId="SourceCredentials")
    assert json.loads(secret["SecretString"]) == {"access_key_id": "", "secret_access_key": ""}
    put = shlex.split(stack.outputs()["PutSourceCredentialsCommand"])
    assert put[:3] == ["aws", "secretsmanager", "put-secret-value"] and SECRET in put


def test_a_secret_that_is_there_already_is_used(deploy):
    arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:vendor-AbCdEf"
    stack = deploy(SourceCredentialsSecretArn=arn)
    assert may(stack, "secretsmanager:GetSecretValue", arn)
    assert variables(stack)["SOURCE_CREDENTIALS_SECRET"] == arn
    assert "SourceCredentials" not in stack.properties


def variables(stack: Stack) -> dict[str, str]:
    configuration = stack.client("lambda").get_function_configuration(FunctionName="replicator")
    return configuration["Environment"]["Variables"]


def test_the_function_is_told_of_the_buckets(stack):
    told = variables(stack)
    assert told["DATABASE_BUCKET"] == DATABASE and told["FILESYSTEM_BUCKET"] == FILESYSTEM
    assert told["DESTINATION_BUCKET"] == bucket(stack)
    assert told["DESTINATION_BUCKET_OWNER"] == ACCOUNT
    function = stack.client("lambda").get_function(FunctionName="replicator")
    assert function["Configuration"]["Timeout"] == 900
    assert stack.properties["Replicator"]["Architectures"] == ["arm64"]
    # A new account has none to reserve, and a hand-over needs more than one.
    assert "Concurrency" not in function


def test_the_function_is_made_for_the_processor_that_is_asked_for(deploy):
    stack = deploy(Architecture="x86_64")
    assert stack.properties["Replicator"]["Architectures"] == ["x86_64"]


def test_a_run_is_handed_over_to_the_stacks_own_state_machine(deploy):
    stack = deploy(MaxConcurrency="16")
    [machine] = stack.client("stepfunctions").list_state_machines()["stateMachines"]
    assert variables(stack)["STATE_MACHINE_ARN"] == machine["stateMachineArn"]
    assert machine["name"] == "replicator"
    made = stack.client("stepfunctions").describe_state_machine(
        stateMachineArn=machine["stateMachineArn"]
    )
    definition = json.loads(made["definition"])
    pieces = definition["States"]["Pieces"]
    assert pieces["MaxConcurrency"] == 16
    assert pieces["ToleratedFailurePercentage"] == 100
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:replicator"
    for task in (pieces["ItemProcessor"]["States"]["Copy"], definition["States"]["Close"]):
        assert task["Parameters"]["FunctionName"] == function
        # Longer than the function may run, lest two invocations have one piece.
        assert task["TimeoutSeconds"] > stack.properties["Replicator"]["Timeout"]
    assert made["roleArn"] == stack.resolver.resources["StateMachineRole"]["Arn"]
    role = stack.role_statements("FunctionRole")
    assert is_allowed(role, "states:StartExecution", MACHINE)
    assert not is_allowed(role, "states:StartExecution", f"{MACHINE}-of-another")
    assert not is_allowed(role, "states:StopExecution", EXECUTION)
    alarm = alarms(stack)["replicator-hand-over-failed"]
    assert alarm["Dimensions"] == [{"Name": "StateMachineArn", "Value": MACHINE}]


def test_the_state_machine_may_run_pieces_and_nothing_else(deploy):
    stack = deploy(KmsKeyArn=KEY)
    role, to = stack.role_statements("StateMachineRole"), f"arn:aws:s3:::{bucket(stack)}"
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
    for action, resource, wanted in (
        ("lambda:InvokeFunction", f"{function}:replicator", True),
        ("lambda:InvokeFunction", f"{function}:another", False),
        ("s3:GetObject", f"{to}/.replicator/runs/a/pieces.json", True),
        ("s3:GetObject", f"{to}/.replicator/reports/latest.html", False),
        ("s3:GetObject", f"{to}/database/x", False),
        ("s3:PutObject", f"{to}/.replicator/runs/a/pieces.json", False),
        ("s3:ListBucket", to, False),
        ("kms:Decrypt", KEY, True),
        ("kms:GenerateDataKey", KEY, False),
        ("states:StartExecution", MACHINE, True),
        ("states:StartExecution", f"{MACHINE}-of-another", False),
        ("states:DescribeExecution", EXECUTION, True),
        ("states:StopExecution", EXECUTION, True),
        ("states:StopExecution", EXECUTION.replace("replicator", "another"), False),
    ):
        assert is_allowed(role, action, resource) == wanted, (action, resource)


def test_a_stack_can_do_without_a_state_machine(deploy):
    stack = deploy(HandOver="false")
    assert variables(stack)["STATE_MACHINE_ARN"] == ""
    assert not {"StateMachine", "StateMachineRole"} & set(stack.properties)
    assert "replicator-hand-over-failed" not in alarms(stack)
    assert not may(stack, "states:StartExecution", MACHINE)

def test_failed_runs_are_tried_again_and_then_kept_in_the_queue(stack):
    config = stack.client("lambda").get_function_event_invoke_config(FunctionName="replicator")
    assert config["MaximumRetryAttempts"] == 2
    assert config["MaximumEventAgeInSeconds"] == 5400
    queue = stack.resolver.resources["FailureQueue"]
    assert config["DestinationConfig"]["OnFailure"]["Destination"] == queue["Arn"]
    attributes = stack.client("sqs").get_queue_attributes(
        QueueUrl=queue["Ref"], AttributeNames=["All"]
    )["Attributes"]
    assert attributes["MessageRetentionPeriod"] == "1209600"
    statements = json.loads(attributes["Policy"])["Statement"]
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for tls in ("true", "false"):
        context = {"aws:SecureTransport": tls}
        allowed = is_allowed([*statements, allow], "sqs:SendMessage", queue["Arn"], **context)
        assert allowed == (tls == "true")
    assert stack.properties["FailureQueue"]["SqsManagedSseEnabled"] is True


def test_the_bucket_that_the_stack_makes_is_private_versioned_and_kept(stack):
    made = stack.properties["DestinationBucket"]
    assert made["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(made["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(made["PublicAccessBlockConfiguration"]) == 4
    assert encryption(made) == {"SSEAlgorithm": "AES256"}
    assert "ObjectLockEnabled" not in made
    name = bucket(stack)
    policy = stack.client("s3").get_bucket_policy(Bucket=name)["Policy"]
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    statements = [*json.loads(policy)["Statement"], everything]
    for resource in (f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/database/x"):
        for tls in ("true", "false"):
            context = {"aws:SecureTransport": tls}
            allowed = is_allowed(statements, "s3:GetObject", resource, **context)
            assert allowed == (tls == "true")
    rules = lifecycle(made)
    assert set(rules) == {"AbortIncompleteUploads", "DropOlderVersions"}
    aborted = rules["AbortIncompleteUploads"]["AbortIncompleteMultipartUpload"]
    assert aborted == {"DaysAfterInitiation": 7}
    older = rules["DropOlderVersions"]
    assert older["NoncurrentVersionExpiration"] == {"NoncurrentDays": "90"}
    # The newest version of anything is never dropped.
    assert not any(name.startswith("Expiration") for rule in rules.values() for name in rule)
    for resource in ("DestinationBucket", "DestinationBucketPolicy"):
        of = stack.template["Resources"][resource]
        assert of["DeletionPolicy"] == of["UpdateReplacePolicy"] == "Retain"


def encryption(made: template.Json) -> template.Json:
    [rule] = made["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    return rule["ServerSideEncryptionByDefault"]


def lifecycle(made: template.Json) -> dict[str, template.Json]:
    return {rule["Id"]: rule for rule in made["LifecycleConfiguration"]["Rules"]}


def test_the_bucket_takes_a_lock_an_archive_and_a_key(deploy):
    stack = deploy(
        ObjectLockMode="COMPLIANCE",
        ObjectLockDays="30",
        ArchiveAfterDays="60",
        ArchiveStorageClass="DEEP_ARCHIVE",
        OlderVersionsDays="400",
        KmsKeyArn=KEY,
    )
    made = stack.properties["DestinationBucket"]
    assert made["ObjectLockEnabled"] is True
    retention = made["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert retention == {"Mode": "COMPLIANCE", "Days": "30"}
    rules = lifecycle(made)
    assert rules["Archive"]["Transitions"] == [
        {"TransitionInDays": "60", "StorageClass": "DEEP_ARCHIVE"}
    ]
    older = rules["DropOlderVersions"]
    assert older["NoncurrentVersionExpiration"] == {"NoncurrentDays": "400"}
    assert encryption(made) == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}


def test_an_existing_bucket_is_used_and_left_as_it_is(deploy):
    stack = deploy(
        ExistingDestinationBucket="my-company-backups",
        DestinationRegion="eu-west-3",
        HandOver="false",
    )
    assert "DestinationBucket" not in stack.properties
    assert "DestinationBucketPolicy" not in stack.properties
    assert variables(stack)["DESTINATION_BUCKET"] == "my-company-backups"
    assert variables(stack)["DESTINATION_REGION"] == "eu-west-3"
    assert may(stack, "s3:PutObject", "my-company-backups/database/x")
    assert not may(stack, "s3:DeleteObject", "my-company-backups/database/x")
    with pytest.raises(ClientError):
        stack.client("s3").head_bucket(Bucket="my-company-backups")


def test_the_vendors_statements_grant_what_the_function_needs_there(deploy):
    stack = deploy(SourceKmsKeyArn=SOURCE_KEY)
    outputs = stack.outputs()
    for name, output in (
        (DATABASE, "StatementForDatabaseBucket"),
        (FILESYSTEM, "StatementForFilesystemBucket"),
    ):
        statement = json.loads(outputs[output])
        assert statement["Principal"] == {"AWS": outputs["FunctionRoleArn"]}
        # S3 refuses a bucket policy that names another bucket.
        for right, resource in NEEDED:
            inside = resource.partition("/")[0] == name
            allowed = is_allowed([statement], right, f"arn:aws:s3:::{resource}")
            assert allowed == inside, (output, right, resource)
        for right in ("s3:PutObject", "s3:DeleteObject", "s3:PutObjectTagging"):
            assert not is_allowed([statement], right, f"arn:aws:s3:::{name}/any/key")
    key = json.loads(outputs["StatementForSourceKmsKey"])
    assert is_allowed([key], "kms:Decrypt", SOURCE_KEY)
    assert not is_allowed([key], "kms:Encrypt", SOURCE_KEY)


def alarms(stack: Stack) -> dict[str, template.Json]:
    found = stack.client("cloudwatch").describe_alarms()["MetricAlarms"]
    return {alarm["AlarmName"]: alarm for alarm in found}


def test_every_alarm_tells_somebody_and_is_explained(stack):
    [topic] = stack.client("sns").list_topics()["Topics"]
    explained = (ROOT / "infra/operating.md").read_text()
    assert len(alarms(stack)) == 9
    for name, alarm in alarms(stack).items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic["TopicArn"]], name
        assert alarm["ActionsEnabled"], name
        assert len(alarm["AlarmDescription"]) > 50, name
        assert f"`{name.removeprefix('replicator-')}`" in explained, name
    subscriptions = stack.client("sns").list_subscriptions()["Subscriptions"]
    assert [each["Endpoint"] for each in subscriptions] == ["backups@example.com"]


def test_a_topic_that_is_there_already_is_told(deploy):
    arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"
    stack = deploy(NoticeEmail="", NoticeTopicArn=arn)
    assert stack.client("sns").list_topics()["Topics"] == []
    assert {tuple(alarm["AlarmActions"]) for alarm in alarms(stack).values()} == {(arn,)}
    assert variables(stack)["TOPIC_ARN"] == arn
    assert may(stack, "sns:Publish", arn)


def test_alarms_may_publish_to_the_topic_and_use_its_key(stack):
    topic = stack.client("sns").list_topics()["Topics"][0]["TopicArn"]
    attributes = stack.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    policy = json.loads(attributes["Policy"])["Statement"]
    key = stack.properties["TopicKey"]["KeyPolicy"]["Statement"]
    for account in (ACCOUNT, "111122223333"):
        context = {"aws:SourceAccount": account, "aws:SecureTransport": "true"}

        def by_cloudwatch(statements, action, resource, context=context):
            known = [
                statement
                for statement in statements
                if statement["Principal"] in ("*", {"Service": "cloudwatch.amazonaws.com"})
            ]
            return is_allowed(known, action, resource, **context)

        assert by_cloudwatch(policy, "sns:Publish", topic) == (account == ACCOUNT)
        for right in ("kms:Decrypt", "kms:GenerateDataKey"):
            assert by_cloudwatch(key, right, KEY) == (account == ACCOUNT)


def test_no_run_at_all_is_an_alarm(deploy):
    stack = deploy(DatabaseSuccessHours="50")
    for source, hours in (("database", 50), ("filesystem", 26)):
        alarm = alarms(stack)[f"replicator-no-successful-{source}-run"]
        assert alarm["TreatMissingData"] == "breaching"
        assert alarm["Period"] * alarm["EvaluationPeriods"] == hours * 3600
        assert {"Name": "Source", "Value": source} in alarm["Dimensions"]


def test_a_vendor_whose_dumps_stop_is_an_alarm_and_so_is_an_object_that_failed(deploy):
    stack = deploy(DatabaseDumpHours="30")
    age = alarms(stack)["replicator-newest-dump-too-old"]
    assert age["Threshold"] == 30
    assert age["ComparisonOperator"] == "GreaterThanThreshold"
    [hours] = [metric for metric in age["Metrics"] if metric["ReturnData"]]
    [seconds] = [metric for metric in age["Metrics"] if not metric["ReturnData"]]
    assert hours["Expression"] == f"{seconds['Id']} / 3600"
    assert seconds["MetricStat"]["Metric"]["MetricName"] == "NewestDumpAge"
    for source in ("database", "filesystem"):
        failed = alarms(stack)[f"replicator-{source}-objects-failed"]
        assert (failed["MetricName"], failed["Threshold"]) == ("ObjectsFailed", 1)
        assert {"Name": "Source", "Value": source} in failed["Dimensions"]


def test_the_function_may_send_notices_to_its_topic_alone(stack):
    [topic] = stack.client("sns").list_topics()["Topics"]
    role = stack.role_statements("FunctionRole")
    assert variables(stack)["TOPIC_ARN"] == topic["TopicArn"]
    assert is_allowed(role, "sns:Publish", topic["TopicArn"])
    assert not is_allowed(role, "sns:Publish", f"arn:aws:sns:{REGION}:{ACCOUNT}:another")
    # The topic is encrypted: who publishes needs its key.
    key = stack.resolver.resources["TopicKey"]["Arn"]
    assert is_allowed(role, "kms:GenerateDataKey", key)
    assert is_allowed(role, "kms:Decrypt", key)


def emitted() -> dict[str, bool]:
    """The metrics that the function writes, and whether by source."""
    code = (ROOT / "functions/replicator/src/metrics.rs").read_text()
    of_source = code.index("fn of_source")
    names = re.finditer(r'\("(\w+)", "(?:Count|Bytes|Seconds|None)"', code)
    return {name[1]: name.start() > of_source for name in names}


def test_alarms_and_dashboard_show_metrics_that_the_function_writes(stack):
    written = emitted()
    documented = (ROOT / "infra/metrics.md").read_text()
    assert set(written) == set(re.findall(r"^\| `(\w+)`", documented, re.MULTILINE))
    dashboard = stack.client("cloudwatch").get_dashboard(DashboardName="replicator")
    widgets = json.loads(dashboard["DashboardBody"])["widgets"]
    own = [
        metric
        for widget in widgets
        for metric in widget["properties"].get("metrics", [])
        if metric[0] == "Replicator"
    ]
    assert {metric[1] for metric in own} == set(written) - {"RequestCost"}
    for metric in own:
        assert metric[2:4] == ["FunctionName", "replicator"], metric
        assert (metric[4] == "Source") == written[metric[1]], metric
    [shown] = [widget for widget in widgets if widget["type"] == "alarm"]
    assert set(shown["properties"]["alarms"]) == {
        alarm["AlarmArn"] for alarm in alarms(stack).values()
    }
    for name, alarm in alarms(stack).items():
        if alarm.get("Namespace") == "Replicator":
            assert written[alarm["MetricName"]], name
