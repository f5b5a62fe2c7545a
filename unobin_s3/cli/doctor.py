# SPDX-License-Identifier: MIT
"""Whether all is in place: doctor asks for credentials, clock, rights one by one, the key, the state and whether the
store excludes; policy says which rights a kind of work needs, as an IAM policy, and sends nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from .. import errors
from ..aws.kms import key_region
from ..aws.s3 import ObjectInfo
from ..errors import AccessDenied, ConfigurationError, UnobinS3Error
from ..probe import StoreReport, probe_store
from ..state.layout import Layout
from . import screen, settings
from .change import code_of
from .screen import say

_LOOKS = {True: ("ok", ""), False: ("FAILED", screen.RED), None: ("-", "")}
_MAX_SKEW = 300.0  # seconds; S3 refuses requests from 15 minutes on


def doctor(options: Any) -> int:
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
        clock = f"this machine's clock is {skew:+.0f} s off the store's"
        if abs(skew) > _MAX_SKEW:
            raise errors.ServiceError(f"{clock}; set it")
        return f"{bucket} is there; {clock}"

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
            with suppress(errors.NotFound):
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
            raise errors.DecryptionError("what was sealed does not open")
        name, config = encrypter.describe()
        return " ".join([name, *(f"{member} {text}" for member, text in (config or {}).items()), "seals and opens"])

    def _state(self) -> str:
        try:
            rev = self._store.current_rev()
            opened = ", and the key opens it" if self._encrypter and self._store.get(rev) else ""
        except errors.NoCurrentSnapshot:
            return "nothing was written yet"
        lock = self._store.lock_info()
        return f"{rev} is current{opened}; {f'locked {lock.described()}' if lock else 'not locked'}"

    def _probe(self) -> str:
        place = self._place
        report = probe_store(self._client, place.bucket, place.layout.directory, kms_key_id=place.kms_key_id)
        self.report, host = report, report.host
        for check in report.checks:
            self._add(check.name, check.passed, check.detail, 7)
        if report.leases:
            fit = f"FIT for locks and leases: in every trial {host} kept two writers apart. It is evidence, not proof."
        elif report.exclusive:
            fit = f"FIT for locks, but not for leases: {host} fails {report.failed()}."
        else:
            fit = f"UNFIT: {host} let two writers create one object, so a lock on it is worth nothing."
        self.verdict = fit
        return "tried; the verdict is below" if report.exclusive else "it must not hold locks"


def policy(options: Any) -> None:
    options.factory, options.stack = settings.need(options, "factory"), settings.need(options, "stack")
    layout = Layout(settings.value(options, "prefix") or "", options.factory, options.stack)
    region = settings.value(options, "region") or "*"
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    bucket = f"arn:{partition}:s3:::{settings.need(options, 'bucket')}"
    statements = [*_bucket_rights(options.mode, bucket, layout), *_key_rights(options, partition, region)]
    made = {"Version": "2012-10-17", "Statement": statements}
    if not screen.document(options, "state-policy", {"mode": options.mode, "policy": made}):
        say(screen.json_text(made, indent=2))


def _allow(sid: str, actions: list[str], resource: object, condition: object = None) -> dict[str, object]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
    return statement if condition is None else {**statement, "Condition": condition}


def _bucket_rights(mode: str, bucket: str, layout: Layout) -> Iterable[dict[str, object]]:
    # ${*} is a star in which IAM sees no wildcard.
    directory = re.sub(r"[*?$]", r"${\g<0>}", layout.directory)
    names = ("lock", "current", "probe-*", "snapshots/*")
    lock, pointer, probe, snapshots = (f"{bucket}/{directory}/{name}" for name in names)
    # IfExists: GetObject carries no prefix, and needs this right all the same to tell absent from forbidden.
    prefixes = [f"{directory}/snapshots/*", f"{directory}/probe-*"]
    yield _allow("List", ["s3:ListBucket"], bucket, {"StringLikeIfExists": {"s3:prefix": prefixes}})
    yield _allow("Read", ["s3:GetObject"], [f"{bucket}/{directory}/*"])
    if mode == "write":
        yield _allow("Write", ["s3:PutObject"], [pointer, snapshots])
    if mode == "gc":  # taking over a lease writes the pointer anew
        yield _allow("Fence", ["s3:PutObject"], [pointer])
        yield _allow("Delete", ["s3:DeleteObject"], [snapshots])
    if mode != "read":
        yield _allow("Lock", ["s3:PutObject", "s3:DeleteObject"], [lock, probe])


def _key_rights(options: Any, partition: str, region: str) -> Iterable[dict[str, object]]:
    """The client's own keys (--kms, --older-key) and the key of the store (--kms-key-id)."""
    making = [] if options.mode == "read" else ["kms:GenerateDataKey"]
    kind, keys = settings.chosen_key(options) or ("", [])
    for index, key in enumerate(keys if kind == "kms" and options.mode != "gc" else ()):
        yield _key_right(f"Seal{index}", ["kms:Decrypt", *(making if index == 0 else [])], key, partition, region)
    if store_key := settings.value(options, "kms-key-id"):
        via = f"s3.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"
        condition = {"StringLike": {"kms:ViaService": via}}
        yield _key_right("StoreKey", ["kms:Decrypt", *making], store_key, partition, region, condition)


def _key_right(
    sid: str, actions: list[str], key: str, partition: str, region: str, condition: dict[str, Any] | None = None
) -> dict[str, object]:
    if key_region(key) is None and not re.fullmatch(r"(alias/)?[A-Za-z0-9/_-]+", key):
        raise ConfigurationError(f"{key!r} is not the id, alias or ARN of a KMS key")
    keys = f"arn:{partition}:kms:{key_region(key) or region}:*:key/"
    if alias := re.search(r"(?:^|:)(alias/.+)", key):  # IAM knows keys by their id; an alias is a condition
        named = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias[1]}}
        return _allow(sid, actions, f"{keys}*", {**(condition or {}), **named})
    return _allow(sid, actions, key if key.startswith("arn:") else keys + key, condition)
