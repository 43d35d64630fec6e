"""README.md and README.fr.md say the same, and what they say is so."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from textwrap import dedent

import pytest
import template
import tomlkit
from template import ROOT
from test_documents import commands, errors_of_the_code
from test_stack import deploy, moto, stack  # noqa: F401

ENGLISH = (ROOT / "README.md").read_text()
FRENCH = (ROOT / "README.fr.md").read_text()
#: A name of the template's, alone or with its value.
PARAMETER = r'"?([A-Z][a-z]+(?:[A-Z][A-Za-z]*)*)(?:=\w+")?'
BOTH = pytest.mark.parametrize("text", [ENGLISH, FRENCH], ids=["english", "french"])


def blocks(text: str) -> list[str]:
    """The code of fenced blocks, and of indented ones, without its comments."""
    fenced = re.findall(r"^ *```\w*\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?<=\n\n)(?:    .*\n(?:\n(?=    ))?)+", prose)
    return [dedent(re.sub(r"\s+# .*", "", block)).strip() for block in [*fenced, *indented]]


def tables(text: str) -> list[list[list[str]]]:
    """Of each table its rows, of each row its cells; the heads are left out."""
    found = re.findall(r"(?:^ *\|.*\|\n)+", text, re.MULTILINE)
    return [
        [[cell.strip() for cell in row.strip(" |").split(" | ")] for row in table.splitlines()[2:]]
        for table in found
    ]


def spans(text: str) -> list[str]:
    """The code between backticks, outside of blocks; in the order of the alphabet."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return sorted(set(re.findall(r"`([^`\n]+)`", prose)))


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", text)


def table_of(text: str, name: str) -> list[list[str]]:
    """The table whose first row is of `name`."""
    [table] = [table for table in tables(text) if table[0][0].startswith(f"`{name}`")]
    return table


def test_both_have_the_same_chapters():
    assert re.findall(r"^#+(?= )", ENGLISH, re.M) == re.findall(r"^#+(?= )", FRENCH, re.M)


def test_both_have_the_same_commands_and_outputs():
    assert len(blocks(ENGLISH)) > 15
    assert blocks(ENGLISH) == blocks(FRENCH)


def test_both_name_the_same_things():
    assert spans(ENGLISH) == spans(FRENCH)
    assert [len(table) for table in tables(ENGLISH)] == [len(table) for table in tables(FRENCH)]
    for english, french in zip(tables(ENGLISH), tables(FRENCH), strict=True):
        names = [re.findall(r"`[^`]+`", row[0]) for row in english]
        assert names == [re.findall(r"`[^`]+`", row[0]) for row in french]


def test_both_lead_to_the_same_pages():
    def neutral(targets: list[str]) -> list[str]:
        return [target.replace(".fr.", ".").replace("/fr_fr/", "/") for target in targets]

    assert neutral(links(ENGLISH)) == neutral(links(FRENCH))


@BOTH
def test_every_page_that_is_led_to_exists(text):
    inside = [target for target in links(text) if not target.startswith("https://")]
    assert len(inside) > 5
    for target in inside:
        assert (ROOT / target).exists(), target


@BOTH
def test_every_setting_is_explained_and_no_other(text):
    rows = table_of(text, "DATABASE_BUCKET")
    explained = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert len(explained) == len(set(explained))
    # In README.md and in README.fr.md.
    assert set(explained) == template.settings_read_by_the_code()


@BOTH
def test_every_parameter_and_output_that_is_named_is_the_templates(text):
    named = {found[1] for span in spans(text) if (found := re.fullmatch(PARAMETER, span))}
    written = template.source()
    known = {*written["Parameters"], *written["Outputs"], *errors_of_the_code(), "Principal"}
    assert len(named) > 8
    assert named <= known, named - known


@BOTH
def test_every_status_and_every_line_of_a_report_is_the_codes(text):
    engine = (ROOT / "functions/copy/src/report.rs").read_text()
    [enum] = re.findall(r"pub enum Status \{(.*?)\n\}", engine, re.DOTALL)
    statuses = re.findall(r"^    (\w+),", enum, re.MULTILINE)
    snake = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in statuses}
    assert {row[0].strip("`") for row in table_of(text, "complete")} == snake

    printed = "".join(
        path.read_text() for path in (ROOT / "functions/local-runner/src/report").glob("*.rs")
    )
    printed += (ROOT / "functions/local-runner/src/report.rs").read_text()
    lines = table_of(text, "listed")
    for name in (name for row in lines for name in re.findall(r"`([^`]+)`", row[0])):
        assert f'"{name}"' in printed, name


@BOTH
def test_the_profiles_are_samconfigs(text):
    profiles = tomlkit.parse((ROOT / "samconfig.toml").read_text())
    told = {row[0].strip("`") for row in table_of(text, "default")}
    assert told == set(profiles) - {"version"}


@BOTH
def test_the_tools_to_install_are_those_that_the_tests_use(text):
    pinned = "".join(
        (ROOT / "tests" / file).read_text()
        for file in ("requirements.txt", "infra/requirements.txt")
    )
    [install] = commands(text, "~/replicator-tools/bin/pip")
    assert len(install) == 5
    for package in install[2:]:
        assert f"{package}\n" in pinned, package


@BOTH
def test_the_vendors_statement_is_the_stacks(text, stack):  # noqa: F811
    written = [json.loads(block) for block in blocks(text) if block.startswith('{"Sid"')]
    made = json.loads(stack.outputs()["StatementForDatabaseBucket"])
    assert len(written) == 1
    for statement in (*written, made):
        statement["Principal"] = "the role"
    assert written == [made]


@BOTH
def test_the_rights_for_a_role_of_ones_own_are_the_stacks(text):
    [own] = [json.loads(block) for block in blocks(text) if block.startswith('{"Effect"')]
    [policy] = template.source()["Resources"]["FunctionRole"]["Properties"]["Policies"]
    granted = [
        action
        for statement in policy["PolicyDocument"]["Statement"]
        if statement.get("Sid") in ("ListDestination", "WriteDestination")
        for action in statement["Action"]
    ]
    assert sorted(own["Action"]) == sorted(granted)


def price(operation: str) -> float:
    """USD a request, as the report counts it."""
    code = (ROOT / "functions/copy/src/operation.rs").read_text()
    [body] = re.findall(r"pub fn price\(self\) -> f64 \{(.*?)\n    \}\n", code, re.DOTALL)
    arms = dict(re.findall(r"([\w:| \n]+?) => ([\d.]+)", body))
    [arm] = [arm for arm in arms if operation in arm] or [arm for arm in arms if arm.strip() == "_"]
    return float(arms[arm]) / 1_000


#: Lambda on arm64 in us-east-1, USD a GB-second. Source: AWS Lambda pricing, November 2026.
GB_SECOND = 0.0000133334
#: Of a whole processor, measured: what copying an object takes, and what listing a key does.
COPY_SECONDS, KEY_SECONDS = 0.00023, 0.00001


def lambda_seconds(copies: float, keys: float) -> float:
    # A whole processor is 1,769 MB.
    memory = int(template.with_defaults({})["MemorySize"])
    return (copies * COPY_SECONDS + keys * KEY_SECONDS) / (memory / 1_769)


def run_cost(copies: float, keys: float) -> float:
    memory = int(template.with_defaults({})["MemorySize"])
    requests = copies * price("CopyObject") + keys / 1_000 * price("ListObjectsV2")
    return requests + lambda_seconds(copies, keys) * memory / 1_024 * GB_SECOND


def two_digits(value: float) -> str:
    digits = 1 - math.floor(math.log10(value))
    rounded = round(value, digits)
    return f"{rounded:.{max(digits, 0)}f}"


def duration(seconds: float) -> str:
    for unit, length in (("h", 3_600), ("min", 60)):
        if seconds >= length:
            value = seconds / length
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{seconds:.0f} s"


def test_the_cost_of_a_request_is_what_the_page_counts_on():
    assert price("CopyObject") == price("ListObjectsV2") == 0.005 / 1_000
    assert "0.005 for 1,000 LIST or COPY requests" in ENGLISH.replace("\n", " ")
    for text in (ENGLISH, FRENCH):
        assert f"{GB_SECOND:.10f}".replace(".", ",") in text.replace(".", ",")


@BOTH
def test_the_costs_are_computed(text):
    [table] = [table for table in tables(text) if len(table[0]) == 6]
    for objects, *cells in table:
        objects = int(re.sub(r"\D", "", objects))
        some = run_cost(objects / 100, 2 * objects)
        # French has a comma where English has a point.
        assert [cell.replace(",", ".") for cell in cells] == [
            two_digits(run_cost(objects, objects)),
            duration(lambda_seconds(objects, objects)),
            two_digits(run_cost(0, 2 * objects)),
            two_digits(some),
            two_digits(30 * some),
        ], objects


@BOTH
def test_the_alarms_to_pay_for_are_counted(text):
    resources = template.source()["Resources"].values()
    alarms = [each for each in resources if each["Type"] == "AWS::CloudWatch::Alarm"]
    assert re.findall(r"(\d+) alarme?s", text) == [str(len(alarms))]


def test_the_pictures_differ_in_their_words_alone():
    files = ("overview.svg", "overview.fr.svg")
    pictures = [ElementTree.parse(ROOT / "infra" / file) for file in files]
    english, french = (list(picture.getroot().iter()) for picture in pictures)
    name = "{http://www.w3.org/2000/svg}"
    for one, other in zip(english, french, strict=True):
        assert (one.tag, one.attrib) == (other.tag, other.attrib)
        if one.tag in (f"{name}title", f"{name}desc", f"{name}text"):
            assert one.text and other.text
        else:
            assert one.text == other.text
