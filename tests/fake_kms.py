# SPDX-License-Identifier: MIT
"""KMS in memory, as a Transport: it unwraps only what it wrapped and always answers with the key's ARN."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable
from typing import Any

from unobin_s3.aws.credentials import Credentials
from unobin_s3.aws.transport import Request, Response
from unobin_s3.encrypters import KMS

ACCOUNT = "111122223333"
CREDENTIALS = Credentials("AKIDEXAMPLE", "planted-secret-key")


def arn_of(name: str, region: str = "us-east-1") -> str:
    return f"arn:aws:kms:{region}:{ACCOUNT}:{name if '/' in name else f'key/{name}'}"


class StillClock:
    """A clock that moves only when told to, or slept on."""

    def __init__(self) -> None:
        self.elapsed, self.wall = 0.0, 1_800_000_000.0

    def monotonic(self) -> float:
        return self.elapsed

    def time(self) -> float:
        return self.wall

    def sleep(self, seconds: float, cancel: object = None) -> None:
        self.elapsed += seconds
        self.wall += seconds

    def random(self) -> float:
        return 0.5


class FakeKMS:
    """Keys by ARN; `aliases` by alias ARN. `calls` records (operation, members); `plan` answers come first."""

    def __init__(self, *names: str) -> None:
        self.keys = {arn_of(name) for name in names}
        self.aliases: dict[str, str] = {}
        self.wrapped: dict[bytes, tuple[str, bytes]] = {}  # wrapped: (ARN, plaintext)
        self.next_data_keys: list[tuple[bytes, bytes]] = []  # (plaintext, wrapped)
        self.plan: list[Response | Exception] = []
        self.before: Callable[[str], object] = lambda operation: None
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[Request] = []
        self._lock = threading.Lock()

    def send(
        self, request: Request, *, connect: float, read: float, total: float, limit: int | None = None
    ) -> Response:
        operation = request.headers["x-amz-target"].removeprefix("TrentService.")
        self.before(operation)
        with self._lock:
            self.requests.append(request)
            members = json.loads(request.body)
            self.calls.append((operation, members))
            if self.plan:
                answer = self.plan.pop(0)
                if isinstance(answer, Exception):
                    raise answer
                return answer
            scope = re.search(r"Credential=[^/]+/\d{8}/([^/]+)/kms/aws4_request", request.headers["authorization"])
            region = scope[1] if scope else "unsigned"
            if request.host != f"kms.{region}.amazonaws.com":
                return failure("InvalidSignatureException", f"signed for {region}, sent to {request.host}")
            handler = self._generate if operation == "GenerateDataKey" else self._decrypt
            return handler(members, region)

    def close(self) -> None: ...

    def operations(self) -> list[str]:
        return [operation for operation, _ in self.calls]

    def _resolve(self, key_id: str, region: str) -> str:
        arn = key_id if key_id.startswith("arn:") else arn_of(key_id, region)
        arn = self.aliases.get(arn, arn)
        return arn if f":{region}:" in arn else ""

    def _generate(self, members: dict[str, Any], region: str) -> Response:
        arn = self._resolve(members["KeyId"], region)
        if arn not in self.keys:
            return failure("NotFoundException", f"Key '{members['KeyId']}' does not exist")
        number = len(self.wrapped)
        plaintext, wrapped = bytes([number] * 32), b"wrapped %d" % number
        if self.next_data_keys:
            plaintext, wrapped = self.next_data_keys.pop(0)
        self.wrapped[wrapped] = (arn, plaintext)
        return good(plaintext, arn, CiphertextBlob=_text(wrapped))

    def _decrypt(self, members: dict[str, Any], region: str) -> Response:
        arn = self._resolve(members["KeyId"], region)
        if arn not in self.keys:
            return failure("NotFoundException", f"Key '{members['KeyId']}' does not exist")
        wrapper, plaintext = self.wrapped.get(base64.b64decode(members["CiphertextBlob"]), ("", b""))
        if not wrapper:
            return failure("InvalidCiphertextException", "")
        if wrapper != arn:
            return failure("IncorrectKeyException", "The key ID in the request does not identify a CMK that can ...")
        return good(plaintext, arn)


def good(plaintext: bytes, arn: str, **more: object) -> Response:
    return answer(200, {"Plaintext": _text(plaintext), "KeyId": arn, **more})


def failure(code: str, message: str, status: int = 400) -> Response:
    return answer(status, {"__type": code, "message": message})


def answer(status: int, document: object) -> Response:
    return Response(status, {"x-amzn-requestid": "request-7"}, json.dumps(document).encode())


def encrypter(fake: FakeKMS, key_id: str = "abc", *, clock: StillClock | None = None, **more: Any) -> KMS:
    """A KMS encrypter that talks to `fake` by a clock that stands still."""
    settings: dict[str, Any] = {"region": "us-east-1", "credentials": CREDENTIALS, "transport": fake}
    made = KMS(key_id, **(settings | more))
    connect = made._data_keys._connect

    def connect_with_clock() -> Any:
        caller, endpoint = connect()
        caller.clock = clock or StillClock()  # type: ignore[assignment]
        return caller, endpoint

    made._data_keys._connect = connect_with_clock
    return made


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
