# SPDX-License-Identifier: MIT
"""The only loop and the only sleep: take credentials, sign, send, ask the policy, all within one deadline.

Each attempt is signed anew. Three things are put right once per call and then repeated at once: a clock that is off,
a session that has expired, and (through `correct`) a wrong region.
"""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

from ..errors import ConfigurationError, CredentialsError, OutcomeUnknown, ServiceError, TransportError, UnobinS3Error
from . import sigv4, xml
from .credentials import Credentials, CredentialSource
from .failure import MAYBE_SKEWED, MIN_SKEW, server_time, service_error
from .retry import Outcome, Repeat, next_delay, outcome_of
from .transport import Request, Response, Transport

_logger = logging.getLogger(__name__)

EMPTY_SHA256 = sha256(b"").hexdigest()
# What every store and proxy reads alike (RFC 9110, section 5.5, without obs-text).
_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+\0[\t\x20-\x7e]*")
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})


class Clock:
    """Time, waiting and randomness of the real world. A simulation hands in another one."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time_ns(self) -> int:
        return time.time_ns()

    def time(self) -> float:
        return self.time_ns() / 1e9

    def sleep(self, seconds: float, cancel: threading.Event | None = None) -> None:
        """Wait; a set `cancel` ends the wait early."""
        if cancel is not None:
            cancel.wait(seconds)
        else:
            time.sleep(seconds)

    def random(self) -> float:
        return random.random()  # noqa: S311 - jitter, not secrets

    def token(self, size: int) -> bytes:
        return os.urandom(size)


def read_xml_error(response: Response) -> xml.ErrorDocument | None:
    """The S3 or STS error document in this answer, if it is one."""
    return xml.parse_error(response.body) if response.body else None


class Answer(Enum):
    """What a good answer is. A portal or proxy that says 200 to everything is told by it."""

    DOCUMENT = "document"  # a body, which whoever asked reads strictly
    NOTHING = "nothing"  # no body, or at least an ETag beside it
    OBJECT = "object"  # an object: S3 gives each an ETag


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    """One API call, ready to be signed: `path` and `query` are exactly what is sent."""

    operation: str
    service: str
    region: str
    method: str
    scheme: str
    host: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    repeat: Repeat = Repeat.READ
    bucket: str = ""
    key: str = ""
    limit: int | None = None  # largest body of a good answer to read, in bytes
    answer: Answer = Answer.DOCUMENT
    checksum: bool = False  # have S3 keep the body's SHA-256 with the object
    read_error: Callable[[Response], xml.ErrorDocument | None] = read_xml_error

    @property
    def where(self) -> str:
        """The operation and its object, for messages."""
        return f"{self.operation} s3://{self.bucket}/{self.key}".rstrip("/") if self.bucket else self.operation


Correct = Callable[[Call, Response, "xml.ErrorDocument | None", float], Call | None]


class Caller:
    """Sends calls of one client. Safe to use from threads.

    `connect`, `read`: seconds for each attempt; `total`: seconds for a whole call when it brings no deadline.
    `correct` may answer a failed call with a better one (region), once for each call.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        credentials: CredentialSource | None,
        clock: Clock | None = None,
        connect: float = 5.0,
        read: float = 60.0,
        total: float = 120.0,
        correct: Correct | None = None,
    ) -> None:
        self.transport = transport
        self.credentials = credentials
        self.clock: Clock = clock or Clock()
        self.connect: float = connect
        self.read: float = read
        self.total: float = total
        self._correct = correct
        self._skew = 0.0  # seconds to add to our clock to get the service's

    def with_credentials(self, source: CredentialSource | None) -> Caller:
        """The same transport, clock and limits, signing with other credentials (None: unsigned)."""
        return Caller(
            transport=self.transport, credentials=source, clock=self.clock,
            connect=self.connect, read=self.read, total=self.total,
        )  # fmt: skip

    def deadline(self, seconds: float | None = None) -> float:
        """The moment (monotonic) `seconds` from now, by default the limit for one call."""
        return self.clock.monotonic() + (self.total if seconds is None else seconds)

    def send(self, call: Call, *, deadline: float | None = None) -> Response:
        """The good answer (2xx, right kind of document), or one exception of our tree.

        A write whose end stays unknown raises OutcomeUnknown. A definite refusal after an attempt that ended unknown
        carries `maybe_applied=True`: a 412 may then be this very call's own effect, and the caller must look.
        """
        end = self.deadline() if deadline is None else deadline
        seen = _Seen()
        try:
            return self._send(call, end, seen)
        except (CredentialsError, ConfigurationError) as failed:
            # Of a renewal between two attempts; the first one may have taken effect all the same.
            end_of_call = _final(call, failed, seen.maybe_applied)
            if end_of_call is failed:
                raise
            raise end_of_call from failed

    def _send(self, call: Call, end: float, seen: _Seen) -> Response:
        for name, value in call.headers.items():
            if not _HEADER.fullmatch(f"{name}\0{value}"):
                raise ConfigurationError(f"{call.where}: the header {name!r} has a line break or non-ASCII character")
        payload_hash = sha256(call.body).hexdigest() if call.body else EMPTY_SHA256
        attempt = 0
        error: ServiceError | TransportError | None = None
        while True:
            remaining = end - self.clock.monotonic()
            if remaining <= 0:
                raise _final(call, error or _out_of_time(call), seen.maybe_applied)
            attempt += 1
            seen.credentials = self.credentials.get() if self.credentials is not None else None
            seen.skew = self._skew
            outcome, response, document, error = self._attempt(call, seen.credentials, payload_hash, remaining)
            if error is None:
                return response
            seen.maybe_applied = seen.maybe_applied or outcome is Outcome.UNKNOWN
            if outcome is Outcome.REFUSED:
                better = self._corrected(call, response, document, seen, end)
                if better is not None:
                    call = better
                    continue
            remaining = end - self.clock.monotonic()
            delay = next_delay(outcome, call.repeat, attempt, remaining, self.clock.random())
            if delay is None:
                raise _final(call, error, seen.maybe_applied)
            _logger.info("%s: attempt %d ended %s, again in %.2f s", error, attempt, outcome.value, delay)
            self.clock.sleep(delay)

    def _attempt(
        self, call: Call, credentials: Credentials | None, payload_hash: str, remaining: float
    ) -> tuple[Outcome, Response, xml.ErrorDocument | None, ServiceError | TransportError | None]:
        try:
            response = self._exchange(call, credentials, payload_hash, remaining)
        except TransportError as lost:
            lost.operation, lost.bucket, lost.key = call.operation, call.bucket, call.key
            lost.args = (f"{call.where}: {lost.args[0]}",)
            return (Outcome.UNKNOWN if lost.sent else Outcome.NOT_SENT), _NO_RESPONSE, None, lost
        status = response.status
        if 200 <= status < 300 and _is_right(call, response):
            return Outcome.DONE, response, None, None
        document = call.read_error(response)
        outcome = outcome_of(status, document.code if document else ("InvalidResponse" if status < 300 else ""))
        if response.truncated and status < 300:
            outcome, document = (
                Outcome.REFUSED,
                xml.ErrorDocument("ResponseTooLarge", "the object is too large"),
            )
        error = service_error(
            operation=call.operation, bucket=call.bucket, key=call.key, method=call.method, region=call.region,
            response=response, document=document, now=self.clock.time(),
        )  # fmt: skip
        return outcome, response, document, error

    def probe(self, call: Call, *, deadline: float, halfway: Callable[[], None] | None = None) -> Response:
        """One attempt and its answer, whatever its status; nothing is repeated or corrected. Raises TransportError.

        `halfway` is called when half of the body has been sent, and the other half waits until it returns.
        """
        credentials = self.credentials.get() if self.credentials is not None else None
        remaining = max(0.001, deadline - self.clock.monotonic())
        return self._exchange(call, credentials, sha256(call.body).hexdigest(), remaining, halfway)

    def _exchange(
        self,
        call: Call,
        credentials: Credentials | None,
        payload_hash: str,
        remaining: float,
        halfway: Callable[[], None] | None = None,
    ) -> Response:
        headers = dict(call.headers)
        if call.checksum:
            headers["x-amz-checksum-sha256"] = b64encode(bytes.fromhex(payload_hash)).decode()
        if credentials is not None:
            headers |= self._signature(call, headers, credentials, payload_hash)
        target = f"{call.path}?{call.query}" if call.query else call.path
        request = Request(call.method, call.scheme, call.host, target, headers, call.body, halfway)
        return self.transport.send(request, connect=self.connect, read=self.read, total=remaining, limit=call.limit)

    def _signature(
        self, call: Call, headers: Mapping[str, str], credentials: Credentials, payload_hash: str
    ) -> dict[str, str]:
        return sigv4.sign(
            method=call.method,
            host=call.host,
            path=call.path,
            query=call.query,
            headers=headers,
            payload_hash=payload_hash,
            access_key_id=credentials.access_key_id,
            secret_access_key=credentials.secret_access_key,
            session_token=credentials.session_token,
            region=call.region,
            service=call.service,
            now=self.clock.time() + self._skew,
        )

    def _corrected(
        self, call: Call, response: Response, document: xml.ErrorDocument | None, seen: _Seen, end: float
    ) -> Call | None:
        """The call to send at once instead of giving up, if something about us was wrong and can be mended."""
        code, done = document.code if document else "", seen.corrected
        if code in _EXPIRED and seen.credentials is not None and self.credentials is not None and "session" not in done:
            done.add("session")
            if self.credentials.renew(seen.credentials) is not None:
                return call
        if response.status in (400, 403) and "clock" not in done and self._learn_skew(code, response, document, seen):
            done.add("clock")
            return call
        if self._correct is not None and "region" not in done:
            done.add("region")
            return self._correct(call, response, document, end)
        return None

    def _learn_skew(self, code: str, response: Response, document: xml.ErrorDocument | None, seen: _Seen) -> bool:
        """Take the offset from the answer's own clock. HEAD has no body, so a bare 403 is judged by Date alone.

        Compared with what this attempt was signed by: another thread may have learned the same meanwhile, and then
        this call must be signed again all the same (aws-sdk-js-v3#8005).
        """
        theirs = server_time(response, document)
        if theirs is None or (code and code not in MAYBE_SKEWED):
            return False
        skew = theirs - self.clock.time()
        if abs(skew - seen.skew) < MIN_SKEW:
            return False
        _logger.warning("this machine's clock is %.0f s off the service's; signing by the service's clock", -skew)
        self._skew = skew
        return True


class _Seen:
    """What one call went through so far."""

    def __init__(self) -> None:
        self.credentials: Credentials | None = None  # the last attempt's
        self.skew = 0.0  # the last attempt's
        self.maybe_applied = False
        self.corrected: set[str] = set()


def _is_right(call: Call, response: Response) -> bool:
    if response.truncated:
        return False
    unmarked = "etag" not in response.headers
    return not (unmarked and (call.answer is Answer.OBJECT or (call.answer is Answer.NOTHING and response.body)))


_NO_RESPONSE = Response(0, {}, b"")


def _out_of_time(call: Call) -> TransportError:
    return TransportError(
        f"{call.where}: the time limit passed before an attempt could be made",
        operation=call.operation, bucket=call.bucket, key=call.key, sent=False,
    )  # fmt: skip


def _final(call: Call, error: UnobinS3Error, maybe_applied: bool) -> UnobinS3Error:
    """What leaves the loop: reads and certain ends as they are, an uncertain write as OutcomeUnknown."""
    if call.repeat is Repeat.READ or not maybe_applied:
        return error
    if isinstance(error, ServiceError) and outcome_of(error.status, error.code) is Outcome.REFUSED:
        error.maybe_applied = True
        return error
    unknown = OutcomeUnknown(
        f"{error.args[0]}; it was sent and may have taken effect: read s3://{call.bucket}/{call.key} to find out",
        operation=call.operation, bucket=call.bucket, key=call.key, maybe_applied=True,
    )  # fmt: skip
    unknown.__cause__ = error
    return unknown
