"""template.yaml, as CloudFormation reads it: parameters and Rules judged, SAM translated,
conditions and functions resolved. What this does not know it refuses, rather than guess."""

from __future__ import annotations

import copy
import functools
import json
import re
from pathlib import Path
from typing import Any

import tomlkit
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"

STACK = "replicator"
ACCOUNT = "123456789012"
REGION = "eu-west-1"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": STACK,
    "AWS::URLSuffix": "amazonaws.com",
}
NO_VALUE = object()

Parameters = dict[str, str]
Json = Any


@functools.cache
def source() -> Json:
    """template.yaml as written, its short forms (!Ref) as long ones. Not to be changed."""
    return json.loads(json.dumps(yaml_parse(TEMPLATE.read_text())))


@functools.cache
def translated(architecture: str = "arm64") -> Json:
    """The template without SAM in it. Not to be changed."""
    template = copy.deepcopy(source())
    # What `sam package` does.
    for resource, uri, key in (
        ("Replicator", "CodeUri", "replicator.zip"),
        ("StateMachine", "DefinitionUri", "state-machine.asl.json"),
    ):
        template["Resources"][resource]["Properties"][uri] = {"Bucket": "code", "Key": key}
    given = {name: str(of.get("Default", "")) for name, of in template["Parameters"].items()}
    given["Architecture"] = architecture
    return json.loads(json.dumps(Translator({}, Parser()).translate(template, given)))


def refusals(given: Parameters) -> list[str]:
    """What CloudFormation would say instead of deploying with these parameters."""
    template = source()
    values = with_defaults(given)
    said = [
        f"{name} {of.get('ConstraintDescription', 'has a wrong value')}"
        for name, of in template["Parameters"].items()
        if not _is_allowed(of, values[name])
    ]
    said += [f"{name} is no parameter" for name in given if name not in template["Parameters"]]
    resolve = Resolver({}, values, {})
    for rule in template["Rules"].values():
        if resolve.condition(rule.get("RuleCondition", True)):
            said += [
                assertion["AssertDescription"]
                for assertion in rule["Assertions"]
                if not resolve.condition(assertion["Assert"])
            ]
    return said


def with_defaults(given: Parameters) -> Parameters:
    parameters = source()["Parameters"]
    return {name: str(given.get(name, of.get("Default"))) for name, of in parameters.items()}


def _is_allowed(parameter: Json, value: str) -> bool:
    allowed = parameter.get("AllowedValues")
    if allowed is not None and value not in map(str, allowed):
        return False
    if "AllowedPattern" in parameter and not re.fullmatch(parameter["AllowedPattern"], value):
        return False
    if parameter["Type"] == "Number":
        return value.isdecimal() and (
            parameter.get("MinValue", 0) <= int(value) <= parameter.get("MaxValue", int(value))
        )
    return True


class Resolver:
    """Resolves values of a translated template, given what its resources are called."""

    def __init__(self, conditions: Json, values: Parameters, resources: dict[str, Json]) -> None:
        self.conditions = conditions
        self.values = values
        #: Of each resource what Ref answers, under "Ref", and its attributes.
        self.resources = resources

    def condition(self, of: Json) -> bool:
        if isinstance(of, bool):
            return of
        if isinstance(of, str):
            return self.condition(self.conditions[of])
        [(function, argument)] = of.items()
        match function:
            case "Condition":
                return self.condition(argument)
            case "Fn::Not":
                return not self.condition(argument[0])
            case "Fn::And":
                return all([self.condition(each) for each in argument])
            case "Fn::Or":
                return any([self.condition(each) for each in argument])
            case "Fn::Equals":
                left, right = map(self.value, argument)
                return str(left) == str(right)
        raise NotImplementedError(function)

    def value(self, of: Json) -> Json:
        if isinstance(of, list):
            values = [self.value(each) for each in of]
            return [value for value in values if value is not NO_VALUE]
        if not isinstance(of, dict):
            return of
        if len(of) == 1:
            [(function, argument)] = of.items()
            match function:
                case "Ref":
                    return self.reference(argument)
                case "Fn::GetAtt":
                    if isinstance(argument, str):
                        argument = argument.split(".", 1)
                    return self.resources[argument[0]][argument[1]]
                case "Fn::If":
                    return self.value(argument[1 if self.condition(argument[0]) else 2])
                case "Fn::Join":
                    return argument[0].join(map(str, self.value(argument[1])))
                case "Fn::Sub":
                    return self.substitute(argument)
            if function.startswith("Fn::"):
                raise NotImplementedError(function)
        values = {name: self.value(each) for name, each in of.items()}
        return {name: value for name, value in values.items() if value is not NO_VALUE}

    def reference(self, name: str) -> Json:
        if name == "AWS::NoValue":
            return NO_VALUE
        for known in (PSEUDO, self.values):
            if name in known:
                return known[name]
        return self.resources[name]["Ref"]

    def substitute(self, argument: Json) -> str:
        text, more = argument if isinstance(argument, list) else (argument, {})

        def put(match: re.Match[str]) -> str:
            name = match[1]
            if name in more:
                return str(self.value(more[name]))
            return str(self.value({"Fn::GetAtt": name} if "." in name else {"Ref": name}))

        return re.sub(r"\$\{([^!}]+)\}", put, text)


def definition(substitutions: Json) -> Json:
    """The state machine, with the values that its names have in the template."""
    text = (ROOT / source()["Resources"]["StateMachine"]["Properties"]["DefinitionUri"]).read_text()
    named = set(re.findall(r"\$\{(\w+)\}", text))
    assert named == set(substitutions), named ^ set(substitutions)
    return json.loads(re.sub(r"\$\{(\w+)\}", lambda match: str(substitutions[match[1]]), text))


def profiles() -> dict[str, Parameters]:
    """The parameters of each profile in samconfig.toml."""
    config = tomlkit.parse((ROOT / "samconfig.toml").read_text()).unwrap()
    found = {}
    for name, commands in config.items():
        if isinstance(commands, dict):
            overrides = commands["deploy"]["parameters"]["parameter_overrides"]
            found[name] = dict(each.split("=", 1) for each in overrides)
    return found


def settings_read_by_the_code() -> set[str]:
    """The names of the environment that the engine and the function read."""
    engine = (ROOT / "functions/copy/src/settings.rs").read_text()
    function = (ROOT / "functions/replicator/src/main.rs").read_text()
    own = re.findall(r'env::var\("([A-Z_]+)"\)', function)
    return set(re.findall(r'lookup\("([A-Z_]+)"\)', engine)) | set(own)

