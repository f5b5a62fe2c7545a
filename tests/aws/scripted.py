# SPDX-License-Identifier: MIT
"""A service that answers by a script, a clock that moves only when told to, and credentials that count renewals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from unobin_s3 import Credentials, S3Client
from unobin_s3.aws.caller import Call, Clock
from unobin_s3.aws.transport import Request, Response

START = 1_795_000_000.0  # unix seconds
KEYS = Credentials("AKIDSCRIPTED", "planted-secret-key", "planted-session-token")
SECRETS = ("planted-secret-key", "planted-session-token")
OK = Response(200, {"etag": '"e"'}, b"")


class ScriptedClock(Clock):
    """Starts at START; sleeping moves it and is written down. `dice` is what random() gives."""

    def __init__(self, dice: float = 0.5) -> None:
        self.elapsed, self.dice, self.wall_offset = 0.0, dice, 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed

    def time_ns(self) -> int:
        return int((START + self.elapsed + self.wall_offset) * 1e9)

    def sleep(self, seconds: float, cancel: threading.Event | None = None) -> None:
        self.slept.append(seconds)
        self.elapsed += seconds

    def random(self) -> float:
        return self.dice


Answer = Response | Exception | Callable[[Request], Response]


class Scripted:
    """A Transport. Each request gets the next answer, the last one again and again; each takes `takes` seconds."""

    def __init__(self, *answers: Answer, clock: ScriptedClock | None = None, takes: float = 0.0) -> None:
        self.answers, self.clock, self.takes = list(answers), clock or ScriptedClock(), takes
        self.sent: list[Request] = []
        self.limits: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def send(self, request: Request, **limits: Any) -> Response:
        with self._lock:
            self.sent.append(request)
            self.limits.append(limits)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            self.clock.elapsed += min(self.takes, limits["total"])
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    def close(self) -> None: ...

    @property
    def hosts(self) -> list[str]:
        return [request.host for request in self.sent]

    @property
    def scopes(self) -> list[str]:
        """`region` of each signature."""
        return [request.headers["authorization"].split("/")[2] for request in self.sent]

    @property
    def stamps(self) -> list[str]:
        return [request.headers["x-amz-date"] for request in self.sent]


@dataclass
class Renewing:
    """A source whose every renewal gives a new key; None when `left` of them are used up."""

    left: int = 1
    renewals: int = 0
    fails: Exception | None = None

    def get(self) -> Credentials:
        return Credentials(f"AKID{self.renewals}", *SECRETS)

    def renew(self, rejected: Credentials) -> Credentials | None:
        if self.fails is not None:
            raise self.fails
        if self.renewals == self.left:
            return None
        self.renewals += 1
        return self.get()


def error(status: int, code: str, headers: Mapping[str, str] | None = None, **fields: str) -> Response:
    """An error document of S3."""
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in {"Code": code, **fields}.items())
    return Response(status, headers or {}, f"<Error>{inner}</Error>".encode())


def bare(status: int, **headers: str) -> Response:
    """An answer to HEAD: headers alone, `_` for `-`."""
    return Response(status, {name.replace("_", "-"): text for name, text in headers.items()}, b"")


def dated(response: Response, unix: float) -> Response:
    return Response(response.status, {**response.headers, "date": formatdate(unix, usegmt=True)}, response.body)


def call(**more: Any) -> Call:
    usual: dict[str, Any] = {
        "operation": "GetObject", "service": "s3", "region": "eu-west-1", "method": "GET", "scheme": "https",
        "host": "b.s3.eu-west-1.amazonaws.com", "path": "/k", "bucket": "b", "key": "k",
    }  # fmt: skip
    return Call(**(usual | more))


def amazon(transport: Scripted, **more: Any) -> S3Client:
    """A client of Amazon's own hosts in eu-west-1, whose answers are the script's."""
    usual: dict[str, Any] = {"region": "eu-west-1", "credentials": KEYS, "clock": transport.clock, "env": {}}
    return S3Client(transport=transport, **(usual | more))
