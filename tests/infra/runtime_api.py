"""Lambda's runtime API (2018-06-01), as far as a function needs it: the next invocation, and
what it says to it."""

from __future__ import annotations

import http.server
import json
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Seconds after which a function that says nothing is given up.
PATIENCE = 120
REQUEST_ID = "00000000-0000-4000-8000-000000000001"


class Lambda:
    """One execution environment: a process, and what it asks and answers."""

    def __init__(self, process: subprocess.Popen[bytes], started: float, api: Api) -> None:
        self.process = process
        #: Seconds from the start of the process to its first request for work.
        self.initialisation = api.asked.get(timeout=PATIENCE) - started
        self._api = api

    def invoke(self, event: Any) -> Any:
        """The function's answer, or its error object."""
        self._api.events.put(event)
        return json.loads(self._api.said.get(timeout=PATIENCE))


class Api(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.events: queue.Queue[Any] = queue.Queue()
        self.asked: queue.Queue[float] = queue.Queue()
        self.said: queue.Queue[bytes] = queue.Queue()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def do_GET(self) -> None:
        self.server.asked.put(time.monotonic())
        event = self.server.events.get(timeout=PATIENCE)
        deadline = int((time.time() + PATIENCE) * 1000)
        self.answer(
            200,
            json.dumps(event).encode(),
            {
                "Lambda-Runtime-Aws-Request-Id": REQUEST_ID,
                "Lambda-Runtime-Deadline-Ms": str(deadline),
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:replicator",
            },
        )

    def do_POST(self) -> None:
        self.server.said.put(self.rfile.read(int(self.headers["Content-Length"])))
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
