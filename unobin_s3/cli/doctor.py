# SPDX-License-Identifier: MIT
"""The doctor command: credentials, clock, rights one by one, the key, the state, and whether this store excludes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..encrypters import Encrypter
from ..errors import (
    AccessDenied,
    DecryptionError,
    LockError,
    NoCurrentSnapshot,
    NotFound,
    ServiceError,
    TransportError,
    UnobinS3Error,
)
from ..place import Place
from ..probe import StoreReport, probe_store
from ..store import Store
from . import screen, settings
from .main import code_of
from .screen import say

_WORDS = {True: ("ok", screen.GREEN), False: ("FAILED", screen.RED), None: ("-", "")}
_MAX_SKEW = 300.0  # seconds; S3 refuses requests from 15 minutes on


def add(commands: Any) -> None:
    """Add `doctor` to the command line."""
    parser = settings.command(
        commands, "doctor", _doctor, settings.place, settings.key, example="doctor --env-key UB_STATE_KEY"
    )
    parser.add_argument("--read-only", action="store_true", help="write nothing: no probe, and no look at write rights")


@dataclass(frozen=True, slots=True)
class _Finding:
    """`ok` None: it could not be asked, or does not matter. `action`: the IAM action that is missing."""

    name: str
    ok: bool | None
    detail: str
    action: str = ""
    code: int = 1  # the exit code that it asks for when it failed


def _doctor(options: Any) -> int:
    """Check everything that work on this stack needs, and say what is missing.

    Credentials and where they come from, endpoint, clock, each right with the IAM action that is missing, the key, the
    current snapshot, and the store itself: does it keep two writers apart? Writes scratch objects <stack>/probe-<hex>
    and deletes them. Ends with 7 when the store must not hold locks, with 6 when the key does not open the current
    snapshot, and with 1 when anything else failed.
    """
    store = settings.store(options, opens=settings.encrypter(options) or False)
    found = _Examination(options, store)
    found.run()
    failed = [finding.code for finding in found.findings if finding.ok is False]
    if options.json:
        checks = [
            {"name": one.name, "ok": one.ok, "detail": one.detail, "action": one.action or None}
            for one in found.findings
        ]
        members = {"ok": not failed, "checks": checks, "verdict": found.verdict}
        report = found.report.as_dict() if found.report else None
        screen.document(options, "state-doctor", {**members, "store-report": report})
    else:
        width = max(len(one.name) for one in found.findings)
        for one in found.findings:
            word, colour = _WORDS[one.ok]
            hint = f"; missing: {one.action}" if one.action else ""
            say(
                screen.clean(f"{word:6}  {one.name.ljust(width)}  {one.detail}{hint}"),
                colour if one.ok is False else "",
            )
        say(screen.clean(found.verdict), screen.RED if failed else screen.GREEN)
    return max(failed, default=0)


class _Examination:
    def __init__(self, options: Any, store: Store) -> None:
        self._options, self._store, self._place = options, store, store.place
        self.findings: list[_Finding] = []
        self.report: StoreReport | None = None
        self.verdict = "The store was not tried."

    def run(self) -> None:
        """All checks; without credentials or a bucket the later ones make no sense."""
        settings_ = self._place.client.settings
        if not self._check("credentials", lambda: _credentials(settings_)):
            return
        endpoint = settings_.endpoint
        self._add("endpoint", True, f"{endpoint.scheme}://{endpoint.host}, region {endpoint.region}")
        if not self._check("bucket and clock", self._bucket):
            return
        rights = _Rights(self._place, self.findings)
        whole = rights.run(write=not self._options.read_only)
        self._check("versioning", self._versioning, matters=False)
        encrypter = settings.encrypter(self._options)
        if encrypter is not None:
            self._check("key", lambda: _key(encrypter), code=6)
        self._check("state", lambda: self._state(opens=encrypter is not None))
        if self._options.read_only or not whole:
            self.verdict += " It needs the rights to write." if not whole else " --read-only was given."
        else:
            self._check("store", self._probe)

    def _add(self, name: str, ok: bool | None, detail: str, code: int = 1) -> None:
        self.findings.append(_Finding(name, ok, detail, code=code))

    def _check(self, name: str, ask: Callable[[], str], *, code: int = 0, matters: bool = True) -> bool:
        try:
            self._add(name, True, ask())
        except UnobinS3Error as error:
            self._add(name, False if matters else None, str(error), code or code_of(error))
            return False
        return True

    def _bucket(self) -> str:
        place = self._place
        try:
            headers = place.client.head_bucket(place.bucket, deadline=place.deadline())
        except AccessDenied:
            return "not to be looked at without s3:ListBucket; see below"
        from ..aws.s3 import ObjectInfo

        date = ObjectInfo(b"", headers).date
        if date is None:
            return f"{place.bucket} is there; the answer has no date"
        skew = place.client.clock.time() - date.timestamp()
        if abs(skew) > _MAX_SKEW:
            raise ServiceError(f"this machine's clock is {skew:+.0f} s off the store's; set it")
        return f"{place.bucket} is there; this machine's clock is {skew:+.0f} s off the store's"

    def _versioning(self) -> str:
        state = self._place.client.get_bucket_versioning(self._place.bucket)
        return (
            f"{state}: old locks, pointers and deleted snapshots stay as versions"
            if state == "Enabled"
            else state or "off"
        )

    def _state(self, *, opens: bool) -> str:
        try:
            rev = self._store.current_rev()
            if opens:
                self._store.get(rev)
        except NoCurrentSnapshot:
            return "nothing was written yet"
        lock = self._store.lock_info()
        held = f"; locked {lock.described()}" if lock else "; not locked"
        return f"{rev} is current{', and the key opens it' if opens else ''}{held}"

    def _probe(self) -> str:
        place = self._place
        self.report = found = probe_store(
            place.client, place.bucket, place.layout.directory, kms_key_id=place.kms_key_id
        )
        self.verdict = _verdict(found)
        for check in found.checks:
            if check.passed is not None or check.name == "server-side encryption":
                self._add(f"store: {check.name}", check.passed, check.detail, 7)
        if not found.exclusive:
            raise LockError(f"two writers can hold its lock at once: {found.failed()}")
        return "keeps two writers apart"


def _verdict(report: StoreReport) -> str:
    if not report.exclusive:
        return f"UNFIT: {report.host} let two writers create one object, so it must not hold locks."
    if not report.leases:
        return f"FIT for locks, but not for leases, on {report.host}: {report.failed()}."
    return (
        f"FIT for locks and leases: every trial on {report.host} kept two writers apart. That is evidence, not proof."
    )


def _credentials(found: Any) -> str:
    credentials = found.credentials.get()
    ends = f", until {credentials.expires_at:%Y-%m-%dT%H:%M:%SZ}" if credentials.expires_at else ""
    return (
        f"key ...{credentials.access_key_id[-4:]} from {getattr(found.credentials, 'origin', '') or 'elsewhere'}{ends}"
    )


def _key(encrypter: Encrypter) -> str:
    if encrypter.decrypt(encrypter.encrypt(b"probe")) != b"probe":
        raise DecryptionError("what was sealed does not open")
    name, config = encrypter.describe()
    return " ".join([name, *(f"{member} {text}" for member, text in (config or {}).items()), "seals and opens"])


class _Rights:
    """One request for each right, on keys that nobody uses, so that only the right decides how it ends."""

    def __init__(self, place: Place, findings: list[_Finding]) -> None:
        self._place, self._findings = place, findings
        self._scratch = f"{place.layout.directory}/probe-{place.client.clock.token(16).hex()}"

    def run(self, *, write: bool) -> bool:
        """Whether all that was asked for is there."""
        place = self._place
        client, bucket, key = place.client, place.bucket, self._scratch
        listed = self._ask("list", "s3:ListBucket", lambda: next(client.list_objects_v2(bucket, key, max_keys=1), None))
        if not write:
            return self._read(listed, written=False) and listed
        written = self._ask("write", "s3:PutObject", lambda: place.put(key, b"probe", place.deadline()))
        read = self._read(listed, written=written)
        deleted = self._ask("delete", "s3:DeleteObject", lambda: client.delete_object(bucket, key))
        if written and not deleted:
            self._findings.append(_Finding("scratch object", None, f"left behind: {place.url(key)}"))
        return listed and written and read and deleted

    def _read(self, listed: bool, *, written: bool) -> bool:
        """An absent object answers 403 as well where s3:ListBucket is missing; then a refusal tells nothing."""

        def get() -> object:
            try:
                return self._place.client.head_object(self._place.bucket, self._scratch)
            except NotFound:
                return None

        return self._ask("read", "s3:GetObject", get, tells=listed or written)

    def _ask(self, name: str, action: str, request: Callable[[], object], *, tells: bool = True) -> bool:
        try:
            request()
        except AccessDenied as denied:
            kms = " (or kms:GenerateDataKey on the store's key)" if "kms" in str(denied).lower() else ""
            if tells:
                self._findings.append(_Finding(f"right to {name}", False, str(denied), action + kms))
            else:
                self._findings.append(_Finding(f"right to {name}", None, f"not known: {denied}"))
            return False
        except (ServiceError, TransportError) as error:
            self._findings.append(_Finding(f"right to {name}", False, str(error)))
            return False
        self._findings.append(_Finding(f"right to {name}", True, action))
        return True
