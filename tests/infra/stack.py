"""The template, deployed on moto: an AWS in memory.

moto's CloudFormation makes the types that it knows, and resolves their conditions and
functions itself. The other types are made through their own APIs, from what
template.Resolver makes of them; both are read back with boto3.
"""

from __future__ import annotations

import copy
import io
import json
import zipfile
from typing import Any

import boto3
import template
from template import ACCOUNT, REGION, STACK, Json, Parameters, Resolver

BY_CLOUDFORMATION = {
    "AWS::IAM::Role",
    "AWS::KMS::Key",
    "AWS::Lambda::Function",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
}
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:SourceCredentials-AbCdEf"


MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STACK}"


class Stack:
    def __init__(self, endpoint: str, given: Parameters) -> None:
        assert template.refusals(given) == []
        self.endpoint = endpoint
        self.values = template.with_defaults(given)
        self.template = copy.deepcopy(template.translated(self.values["Architecture"]))
        resources = self.template["Resources"]
        before = Resolver(self.template["Conditions"], self.values, {})
        resources = {
            name: resource
            for name, resource in resources.items()
            if before.condition(resource.get("Condition", True))
        }
        self._create(resources)
        names = self._names(resources)
        self.resolver = Resolver(self.template["Conditions"], self.values, names)
        #: Every resource's properties, resolved.
        self.properties = {
            name: self.resolver.value(resource.get("Properties", {}))
            for name, resource in resources.items()
        }
        for name, resource in resources.items():
            if resource["Type"] == "AWS::IAM::Role":
                self._give_policies(names[name]["Ref"], self.properties[name]["Policies"])
            elif resource["Type"] not in BY_CLOUDFORMATION:
                self._make(resource["Type"], self.properties[name])

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="moto",
            aws_secret_access_key="moto",
        )

    def outputs(self) -> dict[str, str]:
        return {
            name: self.resolver.value(output["Value"])
            for name, output in self.template["Outputs"].items()
            if self.resolver.condition(output.get("Condition", True))
        }

    def role_statements(self, role: str) -> list[Json]:
        """What a role's policies say, as IAM has them."""
        iam = self.client("iam")
        name = self.resolver.resources[role]["Ref"]
        assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
        statements = []
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            statements += document["Statement"]
        return statements

    def _create(self, resources: dict[str, Json]) -> None:
        self.client("s3").create_bucket(
            Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("bootstrap", "")
        self.client("s3").put_object(Bucket="code", Key="replicator.zip", Body=code.getvalue())
        kept = {
            name: resource
            for name, resource in resources.items()
            if resource["Type"] in BY_CLOUDFORMATION
        }
        text = json.dumps(
            {
                **{key: self.template[key] for key in ("Parameters", "Conditions")},
                "AWSTemplateFormatVersion": "2010-09-09",
                "Resources": kept,
            }
        )
        # The only resource that a role names and that moto's CloudFormation cannot make.
        text = text.replace('{"Ref": "SourceCredentials"}', json.dumps(SECRET))
        self.client("cloudformation").create_stack(
            StackName=STACK,
            TemplateBody=text,
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in self.values.items()
            ],
        )

    def _names(self, resources: dict[str, Json]) -> dict[str, Json]:
        """What Ref and Fn::GetAtt answer for each resource."""
        cloudformation = self.client("cloudformation")
        made = {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in cloudformation.describe_stack_resources(StackName=STACK)[
                "StackResources"
            ]
        }
        names = {}
        for logical, resource in resources.items():
            name = made.get(logical, logical)
            alarm = resource.get("Properties", {}).get("AlarmName", {}).get("Fn::Sub", "")
            alarm = alarm.replace("${AWS::StackName}", STACK)
            queue = name.rsplit("/", 1)[-1]
            arn = {
                "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{name}",
                "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}",
                "AWS::S3::Bucket": f"arn:aws:s3:::{name}",
                "AWS::KMS::Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}",
                "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
                "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{alarm}",
                "AWS::StepFunctions::StateMachine": MACHINE,
            }.get(resource["Type"])
            names[logical] = {"Ref": name, "Arn": arn, "QueueName": queue}
        if "SourceCredentials" in names:
            names["SourceCredentials"]["Ref"] = SECRET
        if "StateMachine" in names:
            names["StateMachine"]["Ref"] = MACHINE
        if "Dashboard" in names:
            names["Dashboard"]["Ref"] = STACK
        return names

    def _give_policies(self, role: str, policies: list[Json]) -> None:
        """Again, for moto's IAM reads them, and its CloudFormation does not."""
        for policy in policies:
            self.client("iam").put_role_policy(
                RoleName=role,
                PolicyName=policy["PolicyName"],
                PolicyDocument=json.dumps(policy["PolicyDocument"]),
            )

    def _make(self, kind: str, properties: Json) -> None:
        """Makes what moto's CloudFormation cannot; botocore checks names and types."""
        match kind:
            case "AWS::Scheduler::Schedule":
                self.client("scheduler").create_schedule(**properties)
            case "AWS::CloudWatch::Alarm":
                for number in ("Period", "EvaluationPeriods", "Threshold"):
                    if number in properties:
                        properties[number] = int(properties[number])
                for metric in properties.get("Metrics", []):
                    metric["ReturnData"] = metric["ReturnData"] in (True, "true")
                    if "MetricStat" in metric:
                        metric["MetricStat"]["Period"] = int(metric["MetricStat"]["Period"])
                self.client("cloudwatch").put_metric_alarm(**properties)
            case "AWS::CloudWatch::Dashboard":
                self.client("cloudwatch").put_dashboard(**properties)
            case "AWS::S3::BucketPolicy":
                policy = json.dumps(properties["PolicyDocument"])
                self.client("s3").put_bucket_policy(Bucket=properties["Bucket"], Policy=policy)
            case "AWS::SQS::QueuePolicy":
                for queue in properties["Queues"]:
                    policy = json.dumps(properties["PolicyDocument"])
                    self.client("sqs").set_queue_attributes(
                        QueueUrl=queue, Attributes={"Policy": policy}
                    )
            case "AWS::SNS::TopicPolicy":
                for topic in properties["Topics"]:
                    self.client("sns").set_topic_attributes(
                        TopicArn=topic,
                        AttributeName="Policy",
                        AttributeValue=json.dumps(properties["PolicyDocument"]),
                    )
            case "AWS::SNS::Subscription":
                self.client("sns").subscribe(**properties)
            case "AWS::SecretsManager::Secret":
                self.client("secretsmanager").create_secret(Name="SourceCredentials", **properties)
            case "AWS::StepFunctions::StateMachine":
                definition = template.definition(properties["DefinitionSubstitutions"])
                self.client("stepfunctions").create_state_machine(
                    name=properties["StateMachineName"],
                    definition=json.dumps(definition),
                    roleArn=properties["RoleArn"],
                )
            case "AWS::Lambda::EventInvokeConfig":
                properties.pop("Qualifier")
                self.client("lambda").put_function_event_invoke_config(**properties)
            case _:
                raise NotImplementedError(kind)
