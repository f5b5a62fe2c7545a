# SPDX-License-Identifier: MIT
"""The doctor command: credentials, clock, rights one by one, the key, the state, and whether this store excludes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..aws.s3 import ObjectInfo
from ..errors import AccessDenied, DecryptionError, NoCurrentSnapshot, NotFound, ServiceError, UnobinS3Error
from ..probe import StoreReport, probe_store
from . import screen, settings
from .change import code_of
from .screen import say

_LOOKS = {True: ("ok", ""), False: ("FAILED", screen.RED), None: ("-", "")}
_MAX_SKEW = 300.0  # seconds; S3 refuses requests from 15 minutes on


def doctor(options: Any) -> int:
    """Ask everything, then print all answers."""
    found = _Examination(options)
    found.run()
    report = found.report.as_dict() if found.report else None
    members = {"ok": not found.failed, "checks": found.checks, "verdict": found.verdict, "store-report": report}
    if not screen.document(options, "state-doctor", members):
        width = max(len(check["name"]) for check in found.checks)
        for check in found.checks:
            word, colour = _LOOKS[check["ok"]]
            hint = f"; missing: {check['action']}" if check["action"] else ""
            say(screen.clean(f"{word:6}  {check['name'].ljust(width)}  {check['detail']}{hint}"), colour)
        say(screen.clean(found.verdict), screen.RED if found.failed else screen.GREEN)
    return found.failed


class _Examination:
    """`checks`: `ok` None = it could not be asked, or does not matter; `failed`: the highest exit code of one, or 0."""

    def __init__(self, options: Any) -> None:
        self._options, self._encrypter = options, settings.encrypter(options)
        self._store = settings.store(options, self._encrypter)
        self._place, self._client = self._store.place, self._store.place.client
        self.checks: list[dict[str, Any]] = []
        self.failed = 0
        self.report: StoreReport | None = None
        self.verdict = "The store itself was not tried."

    def run(self) -> None:
        """All checks; without credentials or a bucket the later ones make no sense."""
        if not self._check("credentials", self._credentials) or not self._check("bucket", self._bucket):
            return
        rights = self._rights()
        if self._encrypter is not None:
            self._check("key", self._key, code=6)
        self._check("state", self._state)
        if rights and not self._options.read_only:
            self._check("store", self._probe, code=7)

    def _add(self, name: str, ok: bool | None, detail: str, code: int = 1, action: str | None = None) -> None:
        self.checks.append({"name": name, "ok": ok, "detail": detail, "action": action})
        self.failed = max(self.failed, code if ok is False else 0)

    def _check(self, name: str, ask: Callable[[], str], *, code: int = 0) -> bool:
        try:
            self._add(name, True, ask())
        except UnobinS3Error as error:
            self._add(name, False, str(error), code or code_of(error))
            return False
        return True

    def _credentials(self) -> str:
        source, endpoint = self._client.settings.credentials, self._client.settings.endpoint
        found = source.get()
        ends = f", until {found.expires_at:%Y-%m-%dT%H:%M:%SZ}" if found.expires_at else ""
        where = f"key ...{found.access_key_id[-4:]} from {getattr(source, 'origin', '') or 'elsewhere'}{ends}"
        return f"{where}; for {endpoint.scheme}://{endpoint.host}, region {endpoint.region}"

    def _bucket(self) -> str:
        bucket = self._place.bucket
        try:
            date = ObjectInfo(b"", self._client.head_bucket(bucket)).date
        except AccessDenied:
            return f"{bucket}: not to be looked at without s3:ListBucket, see below"
        if date is None:
            return f"{bucket} is there; its answer has no date"
        skew = self._client.clock.time() - date.timestamp()
        if abs(skew) > _MAX_SKEW:
            raise ServiceError(f"this machine's clock is {skew:+.0f} s off the store's; set it")
        return f"{bucket} is there; this machine's clock is {skew:+.0f} s off the store's"

    def _rights(self) -> bool:
        """One request for each, on a key that nobody uses, so that only the right decides how it ends."""
        place, client, bucket = self._place, self._client, self._place.bucket
        key = f"{place.layout.directory}/probe-{client.clock.token(16).hex()}"
        listed = self._right("list", "s3:ListBucket", lambda: next(client.list_objects_v2(bucket, key), None))
        written = deleted = False
        if not self._options.read_only:
            written = self._right("write", "s3:PutObject", lambda: place.put(key, b"probe", place.deadline()))
        # Where s3:ListBucket is missing an absent object answers 403 as well, which then tells nothing.
        tells = listed or written
        read = self._right("read", "s3:GetObject", lambda: client.head_object(bucket, key), tells=tells)
        if not self._options.read_only:
            deleted = self._right("delete", "s3:DeleteObject", lambda: client.delete_object(bucket, key))
            if written and not deleted:
                self._add("scratch", None, f"left behind: {place.url(key)}")
        return listed and written and read and deleted

    def _right(self, name: str, action: str, request: Callable[[], object], *, tells: bool = True) -> bool:
        name = f"right to {name}"
        try:
            with suppress(NotFound):
                request()
            self._add(name, True, action)
            return True
        except AccessDenied as denied:
            kms = " (or a KMS right on the store's key)" if "kms" in str(denied).lower() else ""
            self._add(name, False if tells else None, str(denied), action=action + kms if tells else None)
        except UnobinS3Error as error:
            self._add(name, False, str(error))
        return False

    def _key(self) -> str:
        encrypter = self._encrypter
        if encrypter is None or encrypter.decrypt(encrypter.encrypt(b"probe")) != b"probe":
            raise DecryptionError("what was sealed does not open")
        name, config = encrypter.describe()
        return " ".join([name, *(f"{member} {text}" for member, text in (config or {}).items()), "seals and opens"])

    def _state(self) -> str:
        try:
            rev = self._store.current_rev()
            opened = ", and the key opens it" if self._encrypter and self._store.get(rev) else ""
        except NoCurrentSnapshot:
            return "nothing was written yet"
        lock = self._store.lock_info()
        return f"{rev} is current{opened}; {f'locked {lock.described()}' if lock else 'not locked'}"

    def _probe(self) -> str:
        place = self._place
        report = probe_store(self._client, place.bucket, place.layout.directory, kms_key_id=place.kms_key_id)
        self.report, host = report, report.host
        for check in report.checks:
            self._add(check.name, check.passed, check.detail, 7)
        fit = f"FIT for locks and leases: in every trial {host} kept two writers apart. That is evidence, not proof."
        if not report.leases:
            fit = f"FIT for locks, but not for leases: {host} fails {report.failed()}."
        unfit = f"UNFIT: {host} let two writers create one object, so a lock on it is worth nothing."
        self.verdict = fit if report.exclusive else unfit
        return "tried; the verdict is below" if report.exclusive else "it must not hold locks"
