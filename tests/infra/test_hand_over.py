"""A run that an invocation has no time for, finished by the state machine of the template: moto
interprets it, and the release binary is what it invokes."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests
import runtime_api
import template
from botocore.exceptions import ClientError
from measure import release_binary
from moto.server import ThreadedMotoServer
from sim import client, s3_sim
from stack import MACHINE, Stack

FILESYSTEM = "backup-fs-my-environment-name"
DESTINATION = "my-company-backups"
KEYS = 1_200
#: Seconds of an invocation.
SECONDS = 2.0
#: Milliseconds of a copy: an invocation has time for a few pieces, or for a part of one.
QUICK, SLOW = 20, 200


class Doorway(http.server.ThreadingHTTPServer):
    """What moto's interpreter takes for AWS: behind it are the function, and the S3 that the
    function writes to."""

    daemon_threads = True

    def __init__(self, service: runtime_api.Service, s3: Any) -> None:
        super().__init__(("127.0.0.1", 0), Passage)
        self.service, self.s3 = service, s3
        self.invocations: Counter[str] = Counter()
        #: Asked before each: an HTTP status to refuse it with, or after how many seconds to
        #: kill the function.
        self.trouble: Callable[[str, int], int | float | None] = lambda event, nth: None
        self.lock = threading.Lock()


class Passage(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Doorway

    def do_POST(self) -> None:
        assert re.fullmatch(r"/2015-03-31/functions/[^/]+/invocations", self.path), self.path
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        [named] = event.values()
        with self.server.lock:
            self.server.invocations[named] += 1
            trouble = self.server.trouble(named, self.server.invocations[named])
        if isinstance(trouble, int):
            body = json.dumps({"Message": "Rate Exceeded."}).encode()
            return self.answer(trouble, body, {"X-Amzn-ErrorType": "TooManyRequestsException"})
        failed, said = self.server.service.invoke(event, trouble)
        self.answer(200, said, {"X-Amz-Function-Error": "Unhandled"} if failed else {})

    def do_GET(self) -> None:
        bucket, key = urllib.parse.unquote(self.path.lstrip("/")).split("/", 1)
        try:
            body = self.server.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError:
            return self.answer(403, b"<Error><Code>AccessDenied</Code></Error>", {})
        self.answer(200, body, {})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("X-Amzn-RequestId", "00000000-0000-4000-8000-000000000000")
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class World:
    """A vendor's bucket that takes many invocations, and the stack that copies it."""

    def __init__(self, doorway: Doorway, stack: Stack, counters: str) -> None:
        self.doorway, self.stack, self.s3 = doorway, stack, doorway.s3
        self._counters = counters

    def invoke(self) -> Any:
        """By a schedule."""
        failed, said = self.doorway.service.invoke({"sources": ["filesystem"]})
        assert not failed, said
        return json.loads(said)

    def finish(self) -> Any:
        """The execution's end."""
        machine = self.stack.client("stepfunctions")
        [started] = machine.list_executions(stateMachineArn=MACHINE)["executions"]
        until = time.monotonic() + 300
        while time.monotonic() < until:
            execution = machine.describe_execution(executionArn=started["executionArn"])
            if execution["status"] != "RUNNING":
                return execution
            time.sleep(0.1)
        raise AssertionError(machine.get_execution_history(executionArn=started["executionArn"]))

    def report(self) -> Any:
        """The only one that is kept."""
        listed = self.s3.list_objects_v2(Bucket=DESTINATION, Prefix=".replicator/reports/")
        [key] = [
            each["Key"]
            for each in listed.get("Contents", [])
            if re.search(r"/\d{4}-[^/]*\.json$", each["Key"])
        ]
        return json.loads(self.s3.get_object(Bucket=DESTINATION, Key=key)["Body"].read())

    def copies(self) -> set[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=DESTINATION, Prefix="filesystem/"
        )
        return {each["Key"] for page in pages for each in page.get("Contents", [])}

    def sent(self, operation: str) -> int:
        with urllib.request.urlopen(self._counters) as answer:
            return json.load(answer).get(operation, 0)


@pytest.fixture
def world(request, tmp_path, monkeypatch):
    with contextlib.ExitStack() as ends:
        s3 = _s3(tmp_path, ends, getattr(request, "param", QUICK))
        moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        ends.callback(moto.stop)
        aws = "http://{}:{}".format(*moto.get_host_and_port())
        requests.post(f"{aws}/moto-api/reset", timeout=30).raise_for_status()
        stack = Stack(
            aws,
            {
                "FilesystemBucket": FILESYSTEM,
                "ExistingDestinationBucket": DESTINATION,
                "MaxConcurrency": "3",
                "NoticeEmail": "backups@example.com",
            },
        )
        _interpret(aws, stack)
        ends.callback(_set, aws, False)
        function = stack.client("lambda").get_function_configuration(FunctionName="replicator")
        environment = {
            **function["Environment"]["Variables"],
            "DESTINATION_BUCKET_OWNER": "",
            "SOURCE_ENDPOINT_URL": s3.meta.endpoint_url,
            "DESTINATION_ENDPOINT_URL": s3.meta.endpoint_url,
            "AWS_ENDPOINT_URL_SFN": aws,
            "AWS_ENDPOINT_URL_SNS": aws,
            "AWS_REGION": template.REGION,
            "AWS_ACCESS_KEY_ID": "sim-access-key",
            "AWS_SECRET_ACCESS_KEY": "sim-secret-key",
            "MAX_IN_FLIGHT": "2",
        }
        service = runtime_api.Service(
            release_binary("replicator"), environment, tmp_path / "function.log", SECONDS
        )
        ends.callback(service.close)
        doorway = Doorway(service, s3)
        threading.Thread(target=doorway.serve_forever, daemon=True).start()
        ends.callback(doorway.shutdown)
        # Where moto's interpreter finds AWS.
        monkeypatch.setenv("MOTO_PORT", str(doorway.server_port))
        yield World(doorway, stack, f"{s3.meta.endpoint_url}/_sim/counters")


def _s3(tmp_path, ends: contextlib.ExitStack, copy: int) -> Any:
    address = s3_sim(
        tmp_path,
        *("--copy-ms", str(copy)),
        *("--generate", f"{FILESYSTEM}:pattern=hex,count={KEYS},size=10"),
        *("--bucket", DESTINATION),
    )
    return client(ends.enter_context(address))


def _interpret(aws: str, stack: Stack) -> None:
    """Gives the deployed state machine to moto's interpreter. Its pauses become seconds, and the
    percentage what moto's grammar knows; all else is as it is deployed."""
    deployed = stack.client("stepfunctions").describe_state_machine(stateMachineArn=MACHINE)
    definition = deployed["definition"]
    definition = re.sub(r'"IntervalSeconds": \d+', '"IntervalSeconds": 1', definition)
    definition = re.sub(r'"BackoffRate": \d+', '"BackoffRate": 1', definition)
    definition = re.sub(r'("ToleratedFailurePercentage": \d+)', r"\1.0", definition)
    _set(aws, True)
    stack.client("stepfunctions").create_state_machine(
        name=deployed["name"], definition=definition, roleArn=deployed["roleArn"]
    )


def _set(aws: str, interprets: bool) -> None:
    config = {"stepfunctions": {"execute_state_machine": interprets}}
    requests.post(f"{aws}/moto-api/config", json=config, timeout=30).raise_for_status()


@pytest.mark.parametrize("world", [SLOW], indirect=True)
def test_a_run_that_takes_many_invocations_is_finished_in_pieces(world, figure):
    answer = world.invoke()
    [source] = answer["sources"]
    assert source["handed_over"]["pieces"] > 3, answer
    # A schedule that comes meanwhile leaves the run alone.
    assert world.invoke()["status"] == "HeldByAnother"
    execution = world.finish()
    assert execution["status"] == "SUCCEEDED", execution
    report = world.report()
    assert report["status"] == "complete", report
    # A copy that was dropped at a deadline may have arrived all the same.
    [source] = report["sources"]
    assert source["copied"]["objects"] + source["unchanged"]["objects"] == KEYS, source
    assert source["copied"]["objects"] >= 0.9 * KEYS, source
    assert len(world.copies()) == KEYS
    pieces = [count for name, count in world.doorway.invocations.items() if "/" in name]
    figure(f"a run handed over: {len(pieces)} pieces, {sum(pieces)} invocations")
    assert max(pieces) > 1, "some piece took more than one round"
    sent = world.sent("CopyObject")
    assert sent <= 1.1 * KEYS, "nothing else was copied twice"
    # The lease is let go: the next run finds nothing to do.
    again = world.invoke()
    assert again["status"] == "complete" and "handed_over" not in again["sources"][0], again
    assert world.sent("CopyObject") == sent


@pytest.mark.parametrize("world", [SLOW], indirect=True)
def test_a_function_that_dies_or_is_throttled_in_a_piece_is_invoked_again(world):
    def trouble(event: str, nth: int) -> int | float | None:
        # Refused, killed at once, killed in the midst.
        return {"1": 429, "2": 0.0, "3": 0.7}.get(event.rpartition("/")[2]) if nth == 1 else None

    world.doorway.trouble = trouble
    world.invoke()
    execution = world.finish()
    assert execution["status"] == "SUCCEEDED", execution
    assert world.report()["status"] == "complete"
    assert len(world.copies()) == KEYS


def test_a_piece_that_always_fails_is_told_and_left_to_the_next_run(world):
    def trouble(event: str, nth: int) -> int | float | None:
        return 0.0 if event.endswith("/2") else None

    world.doorway.trouble = trouble
    world.invoke()
    execution = world.finish()
    assert execution["status"] == "FAILED", execution
    assert execution["error"] == "PiecesLeft", execution
    report = world.report()
    assert report["status"] == "stopped", report
    [left] = report["sources"][0]["handed_over"]["left"]
    assert left["piece"].endswith("/2") and left["because"], left
    done = len(world.copies())
    assert 0.9 * KEYS < done < KEYS, "all other pieces were copied"
    # The lease is let go, and the next run copies the rest.
    assert world.invoke()["status"] == "complete"
    assert len(world.copies()) == KEYS


def test_a_list_that_cannot_be_read_leaves_the_run_to_the_next_one(world):
    class Refusing:
        def get_object(self, **_: Any) -> None:
            raise ClientError({}, "GetObject")

    world.doorway.s3 = Refusing()
    world.invoke()
    execution = world.finish()
    assert execution["status"] == "FAILED" and execution["error"] == "PiecesLeft", execution
    assert world.report()["status"] == "stopped"
    # The lease is let go.
    world.doorway.s3 = world.s3
    assert "sources" in world.invoke()
