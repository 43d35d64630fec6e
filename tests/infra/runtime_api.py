"""Lambda's runtime API (2018-06-01), as far as a function needs it: the next invocation, and
what it says to it; and Lambda's promises about time: who is late is ended."""

from __future__ import annotations

import http.server
import itertools
import json
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

#: Seconds after which a function that says nothing is given up.
PATIENCE = 120
NUMBERS = itertools.count(1)


class Lambda:
    """One execution environment: a process, and what it asks and answers."""

    def __init__(self, process: subprocess.Popen[bytes], started: float, api: Api) -> None:
        self.process = process
        #: Seconds from the start of the process to its first request for work.
        self.initialisation = api.asked.get(timeout=PATIENCE) - started
        self._api = api

    def invoke(self, event: Any) -> Any:
        """The function's answer, or its error object."""
        return json.loads(self.answer(event, PATIENCE)[1])

    def answer(self, event: Any, seconds: float) -> tuple[bool, bytes]:
        """Whether it failed, and what it said; what Lambda says of one that died or was late."""
        deadline = time.time() + seconds
        self._api.events.put((event, deadline))
        while time.time() < deadline:
            try:
                return self._api.said.get(timeout=0.02)
            except queue.Empty:
                if self.process.poll() is not None:
                    return _error("Runtime.ExitError", f"exit status {self.process.returncode}")
        return _error("Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds")


def _error(kind: str, message: str) -> tuple[bool, bytes]:
    return True, json.dumps({"errorType": kind, "errorMessage": message}).encode()


class Service:
    """Lambda's Invoke: as many environments as there are events at once, each with a deadline.
    One that died or was late is not used again."""

    def __init__(
        self, bootstrap: Path, environment: dict[str, str], log: Path, seconds: float
    ) -> None:
        self._start = lambda: started(bootstrap, environment, log)
        self._seconds = seconds
        self._idle: queue.SimpleQueue[tuple[Lambda, ExitStack]] = queue.SimpleQueue()

    def invoke(self, event: Any, killed_after: float | None = None) -> tuple[bool, bytes]:
        """Whether it failed, and what it said. It may be killed after so many seconds."""
        try:
            function, stack = self._idle.get_nowait()
        except queue.Empty:
            stack = ExitStack()
            function = stack.enter_context(self._start())
        if killed_after is not None:
            threading.Timer(killed_after, function.process.kill).start()
        failed, said = function.answer(event, self._seconds)
        if killed_after is not None or (failed and json.loads(said)["errorType"].startswith(("Runtime.", "Sandbox."))):
            stack.close()
        else:
            self._idle.put((function, stack))
        return failed, said

    def close(self) -> None:
        while not self._idle.empty():
            self._idle.get()[1].close()


class Api(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.events: queue.Queue[tuple[Any, float]] = queue.Queue()
        self.asked: queue.Queue[float] = queue.Queue()
        self.said: queue.Queue[tuple[bool, bytes]] = queue.Queue()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def do_GET(self) -> None:
        self.server.asked.put(time.monotonic())
        event, deadline = self.server.events.get()
        self.answer(
            200,
            json.dumps(event).encode(),
            {
                "Lambda-Runtime-Aws-Request-Id": f"00000000-0000-4000-8000-{next(NUMBERS):012}",
                "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:replicator",
            },
        )

    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.said.put((self.path.endswith("/error"), said))
        self.answer(202, b"", {})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def started(bootstrap: Path, environment: dict[str, str], log: Path) -> Iterator[Lambda]:
    """The function, once it has asked for work; it is ended when the block is left."""
    api = Api()
    threading.Thread(target=api.serve_forever, daemon=True).start()
    environment = {
        **environment,
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}",
        "AWS_LAMBDA_FUNCTION_NAME": "replicator",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/replicator",
        "AWS_LAMBDA_LOG_STREAM_NAME": "test",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
    }
    with log.open("ab") as output:
        before = time.monotonic()
        process = subprocess.Popen([bootstrap], env=environment, stdout=output, stderr=output)
    try:
        yield Lambda(process, before, api)
    finally:
        process.kill()
        process.wait()
        api.shutdown()
        api.server_close()
