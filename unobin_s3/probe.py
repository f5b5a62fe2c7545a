# SPDX-License-Identifier: MIT
"""Does this store exclude? The check before the first lock on a host that is not Amazon's, and the full report.

Two creates one after the other prove little: OpenStack Swift looks for the object when a PUT begins and renames it in
when it ends, so it refuses the second of two sequential creates and accepts both of two simultaneous ones. A create
that is held back half-way while another goes through whole shows that in every run. Passing is evidence, not proof.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import weakref
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from .aws.s3 import S3Client
from .aws.transport import Response
from .errors import (
    ConditionalWritesUnsupported,
    ConfigurationError,
    LeaseUnsupported,
    ServiceError,
    TransportError,
    UnobinS3Error,
)
from .state.layout import join

_logger = logging.getLogger(__name__)

_ROUNDS = 3
_WAIT = 2.0  # seconds that the second create may take while the first is held back; a store may make it wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question to the store. `passed` None: it could not be asked, or the answer does not matter for safety."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReport:
    """What a store did when it was tried. Keep it as JSON (`as_dict`, `from_dict`) and hand it to `Store`.

    `exclusive`: it may hold locks. `leases`: locks with a lease too. It speaks for one host and bucket, at one time:
    turning on bucket versioning, for one, makes Ceph stop excluding.
    """

    host: str
    bucket: str
    exclusive: bool
    leases: bool
    checks: tuple[Check, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Plain data for json.dumps."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> StoreReport:
        """The inverse of `as_dict`. Raises ConfigurationError for anything else."""
        try:
            checks = data["checks"]
            listed = tuple(Check(**check) for check in checks)  # type: ignore[attr-defined]
            report = cls(**{**data, "checks": listed})  # type: ignore[arg-type]
            if type(report.exclusive) is not bool or type(report.leases) is not bool:
                raise TypeError("exclusive and leases are true or false")
        except (KeyError, TypeError) as error:
            raise ConfigurationError(f"this is not a store report: {error}") from error
        return report

    def failed(self) -> str:
        """What the store did wrong, for messages."""
        return "; ".join(f"{check.name}: {check.detail}" for check in self.checks if check.passed is False)


def probe_store(client: S3Client, bucket: str, prefix: str = "", *, kms_key_id: str | None = None) -> StoreReport:
    """Try everything that matters on scratch keys `<prefix>/probe-<32 hex>`, and delete them.

    Needs s3:PutObject, GetObject and DeleteObject below the prefix. On a versioned bucket delete markers stay. Raises
    the client's errors when the bucket cannot be used at all; whatever else the store does is in the report.
    """
    trial = _Trial(client, bucket, prefix, kms_key_id)
    exclusion, lease = trial.exclusion(), trial.conditions()
    exclusive = all(check.passed for check in exclusion)
    return StoreReport(
        host=client.settings.endpoint.host,
        bucket=bucket,
        exclusive=exclusive,
        leases=exclusive and all(check.passed for check in lease),
        checks=(*exclusion, *lease, *trial.others()),
    )


_proven: weakref.WeakKeyDictionary[S3Client, dict[str, StoreReport]] = weakref.WeakKeyDictionary()


def require_exclusion(
    client: S3Client,
    bucket: str,
    directory: str,
    *,
    lease: bool,
    report: StoreReport | None,
    kms_key_id: str | None,
) -> None:
    """Return if this store may hold a lock (with a lease, if asked for); raise what it did otherwise.

    Amazon's hosts are believed, a report that speaks for this host and bucket is believed, and any other store is
    tried once for each client and bucket. Raises ConditionalWritesUnsupported or LeaseUnsupported.
    """
    if client.is_amazon:
        return
    if report is None:
        known = _proven.setdefault(client, {})
        report = known.get(bucket)
        if report is None or (lease and not report.leases and not _asked_for_leases(report)):
            report = known[bucket] = _proof(client, bucket, directory, kms_key_id, lease=lease)
    elif (report.host, report.bucket) != (client.settings.endpoint.host, bucket):
        raise ConfigurationError(
            f"the store report speaks for {report.host}/{report.bucket}, not for "
            f"{client.settings.endpoint.host}/{bucket}; make a new one with probe_store"
        )
    if not report.exclusive:
        raise ConditionalWritesUnsupported(
            f"{report.host} cannot keep two writers of bucket {bucket} apart, so it cannot hold a lock: "
            f"{report.failed()}",
            bucket=bucket, key=directory,
        )  # fmt: skip
    if lease and not report.leases:
        raise LeaseUnsupported(
            f"{report.host} cannot hold a lease in bucket {bucket}; use a lock without one: {report.failed()}",
            bucket=bucket, key=directory,
        )  # fmt: skip


def _asked_for_leases(report: StoreReport) -> bool:
    return any(check.name.startswith("If-Match") for check in report.checks)


def _proof(client: S3Client, bucket: str, directory: str, kms_key_id: str | None, *, lease: bool) -> StoreReport:
    trial = _Trial(client, bucket, directory, kms_key_id)
    exclusion = trial.exclusion()
    exclusive = all(check.passed for check in exclusion)
    conditions = trial.conditions() if lease and exclusive else []
    return StoreReport(
        host=client.settings.endpoint.host,
        bucket=bucket,
        exclusive=exclusive,
        leases=bool(conditions) and all(check.passed for check in conditions),
        checks=(*exclusion, *conditions),
    )


class _Trial:
    """The checks, each on a scratch key of its own."""

    def __init__(self, client: S3Client, bucket: str, directory: str, kms_key_id: str | None) -> None:
        self._client, self._bucket, self._directory = client, bucket, directory
        self._sse: dict[str, str] = {}
        if kms_key_id:
            self._sse["x-amz-server-side-encryption"] = "aws:kms"
            self._sse["x-amz-server-side-encryption-aws-kms-key-id"] = kms_key_id

    def exclusion(self) -> list[Check]:
        """Stops at the first failure: a store that fails one has failed."""
        with self._scratch() as key:
            checks = [self._half_sent(key)]
            if checks[0].passed:
                again = self._put(key, b"again", {"if-none-match": "*"})
                checks.append(_check("create of an existing key", again.status == 412, f"answered {again.status}"))
        for _ in range(_ROUNDS):
            if not all(check.passed for check in checks):
                break
            with self._scratch() as key:
                checks.append(self._race(key))
        return checks

    def _half_sent(self, key: str) -> Check:
        """Create A is held back half-way, create B is sent whole, then A goes on: exactly one may succeed."""
        second: list[int] = []

        def send_second() -> None:
            try:
                second.append(self._put(key, b"B" * 64, {"if-none-match": "*"}, seconds=_WAIT).status)
            except TransportError:
                second.append(0)  # it was made to wait for A, which is fine

        first = self._put(key, b"A" * 64, {"if-none-match": "*"}, halfway=send_second).status
        if first in (401, 403, 404) or (first >= 500 and first != 501):
            # No right, no bucket, no service: the ordinary call says so by an ordinary error.
            self._client.put_object(self._bucket, key, b"A", if_none_match=True)
        won = [_won(first), *map(_won, second)]
        detail = f"the held-back create answered {first}, the other {second[0] if second else 'nothing'}"
        # Neither won only when the one that had to wait is the winner: its answer was not waited for.
        return _check("create against a half-sent create", sum(won) == 1 or (0 in second and first == 412), detail)

    def _race(self, key: str) -> Check:
        """Two creates at the same moment: for proxies that hold bodies back until they are whole."""
        start = threading.Barrier(2)
        statuses: list[int] = []

        def create(body: bytes) -> None:
            start.wait(10)
            try:
                statuses.append(self._put(key, body, {"if-none-match": "*"}).status)
            except TransportError:
                statuses.append(0)

        threads = [threading.Thread(target=create, args=(body,), daemon=True) for body in (b"1", b"2")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return _check("simultaneous creates", sum(map(_won, statuses)) == 1, f"answered {sorted(statuses)}")

    def conditions(self) -> list[Check]:
        """If-Match on PUT and DELETE, wrong and right: what leases and owner-safe releases rest on."""
        with self._scratch() as key:
            etag = self._put(key, b"one", {}).headers.get("etag", "")
            wrong = self._put(key, b"two", {"if-match": '"00000000000000000000000000000000"'}).status
            right = self._put(key, b"three", {"if-match": etag})
            bare = self._put(key, b"four", {"if-match": etag.strip('"')}).status if right.status == 412 else 0
            quoting = " (right, in quotes); without them " + str(bare) if bare else ""
            checks = [
                _check("If-Match with a wrong ETag on PUT", wrong == 412, f"answered {wrong}"),
                _check(
                    "If-Match with the right ETag on PUT",
                    _won(right.status),
                    f"answered {right.status}{quoting}",
                ),
            ]
        with self._scratch() as key:
            etag = self._put(key, b"one", {}).headers.get("etag", "")
            wrong = self._send("DELETE", key, {"if-match": '"00000000000000000000000000000000"'}).status
            there = self._send("HEAD", key, {}).status == 200
            kept = "kept it" if there else "deleted it all the same"
            checks.append(
                _check(
                    "If-Match with a wrong ETag on DELETE",
                    wrong == 412 and there,
                    f"answered {wrong} and {kept}",
                )
            )
            if there:
                gone = self._send("DELETE", key, {"if-match": etag}).status
                there = self._send("HEAD", key, {}).status == 200
                checks.append(
                    _check("If-Match with the right ETag on DELETE", _won(gone) and not there, f"answered {gone}")
                )
        return checks

    def others(self) -> list[Check]:
        """What an operator wants to know, and locks do not depend on."""
        checks = []
        with self._scratch() as key:
            wrong = b64encode(hashlib.sha256(b"other").digest()).decode()
            status = self._put(key, b"body", {"x-amz-checksum-sha256": wrong}).status
            checks.append(_note("verifies SHA-256 checksums", status == 400, f"a wrong one answered {status}"))
            answer = self._put(key, b"body", {})
            echo = answer.headers.get("x-amz-server-side-encryption", "none reported")
            checks.append(_note("server-side encryption", None, echo))
            info = self._client.head_object(self._bucket, key)
            if info.date is None:
                checks.append(_note("clock", False, "answers have no usable Date header"))
            else:
                skew = info.date.timestamp() - self._client.clock.time()
                checks.append(_note("clock", abs(skew) < 60, f"{skew:+.0f} s from this machine's"))
        try:
            versioning = self._client.get_bucket_versioning(self._bucket) or "off"
        except UnobinS3Error as error:
            versioning = f"not known ({getattr(error, 'code', '') or type(error).__name__})"
        checks.append(_note("bucket versioning", None, versioning))
        return checks

    def _put(
        self,
        key: str,
        body: bytes,
        headers: dict[str, str],
        *,
        halfway: Callable[[], None] | None = None,
        seconds: float = 10.0,
    ) -> Response:
        return self._client.attempt(
            "PUT", self._bucket, key, headers=headers | self._sse, body=body, halfway=halfway, seconds=seconds
        )

    def _send(self, method: str, key: str, headers: dict[str, str]) -> Response:
        return self._client.attempt(method, self._bucket, key, headers=headers)

    @contextmanager
    def _scratch(self) -> Iterator[str]:
        """A key that nobody else uses, deleted on the way out; one that cannot be deleted is named in the log."""
        key = join(self._directory, f"probe-{self._client.clock.token(16).hex()}")
        try:
            yield key
        finally:
            try:
                self._client.delete_object(self._bucket, key)
            except (ServiceError, TransportError) as error:
                _logger.warning("the scratch object s3://%s/%s is left behind: %s", self._bucket, key, error)


def _won(status: int) -> bool:
    return 200 <= status < 300


def _check(name: str, passed: bool, detail: str) -> Check:
    return Check(name=name, passed=passed, detail=detail)


def _note(name: str, good: bool | None, detail: str) -> Check:
    """Something that is good to know: never a failure."""
    return Check(name=name, passed=True if good else None, detail=detail)
