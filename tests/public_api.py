# SPDX-License-Identifier: MIT
"""Every public name, used as its documentation says: a user's program, type-checked by mypy and pyright, and run.

It knows the package, httpx and the standard library only, so that it runs wherever the package does: from the built
wheel, with the oldest dependencies, on every Python. `python public_api.py` needs nothing but itself.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, assert_type

import httpx

from unobin_s3 import (
    KMS,
    UNSET,
    AccessDenied,
    Binding,
    ConditionalWritesUnsupported,
    ConfigurationError,
    Conflict,
    Credentials,
    CredentialsError,
    DecryptionError,
    Encrypter,
    Entry,
    EnvelopeError,
    EnvKey,
    FactoryInfo,
    LeaseUnsupported,
    Limits,
    Lock,
    LockCancelled,
    LockError,
    LockHeld,
    LockInfo,
    LockLost,
    NoCurrentSnapshot,
    Noop,
    NotFound,
    ObjectInfo,
    OutcomeUnknown,
    PointerInvalid,
    PointerMissing,
    PointerMoved,
    PreconditionFailed,
    S3Client,
    ServiceError,
    Snapshot,
    SnapshotFormatError,
    StateError,
    Store,
    StoreReport,
    Throttled,
    TransportError,
    UnobinS3Error,
    decode_snapshot,
    encode_snapshot,
    open_envelope,
    probe_store,
    seal,
    sort_revisions,
)
from unobin_s3.testing import Fault, RequestRecord, S3Server

KEY = base64.b64encode(bytes(range(32))).decode()


def expect(condition: bool, what: str = "") -> None:
    """Without `assert`, so that it also counts under -O."""
    if not condition:
        raise SystemExit(f"not as documented: {what}")


@contextmanager
def refused(kind: type[UnobinS3Error]) -> Generator[None]:
    try:
        yield
    except kind as error:
        explained(error)
    else:
        raise SystemExit(f"not as documented: no {kind.__name__}")


def explained(error: UnobinS3Error) -> str:
    """What each error says besides its message, and that it survives a trip to another process."""
    again = pickle.loads(pickle.dumps(error))
    expect((type(again), str(again), vars(again)) == (type(error), str(error), vars(error)), "errors pickle")
    match error:
        case ConfigurationError():
            value_error: ValueError = error
            return str(value_error)
        case ServiceError():
            facts = (error.status, error.code, error.request_id, error.operation, error.bucket, error.key)
            assert_type(facts, tuple[int, str, str, str, str, str])
        case TransportError():
            assert_type((error.sent, error.maybe_applied), tuple[bool, bool])
        case OutcomeUnknown():
            assert_type((error.id, error.maybe_applied, error.operation), tuple[str, bool, str])
        case PointerMoved():
            assert_type((error.expected, error.found), tuple[str, str])
        case SnapshotFormatError():
            assert_type(error.place, str)
        case StateError():
            assert_type((error.bucket, error.key, error.rev), tuple[str, str, str])
        case LockError():
            assert_type((error.bucket, error.key, error.id, error.who, error.since), tuple[str, str, str, str, str])
        case _:
            assert_type(error.args, tuple[Any, ...])
    return str(error)


TREE: Mapping[type[UnobinS3Error], tuple[type[UnobinS3Error], ...]] = {
    UnobinS3Error: (ConfigurationError, CredentialsError, TransportError, OutcomeUnknown, ServiceError),
    ServiceError: (NotFound, AccessDenied, PreconditionFailed, Conflict, Throttled),
    LockError: (LockHeld, LockCancelled, LockLost, LeaseUnsupported, ConditionalWritesUnsupported),
    StateError: (
        NoCurrentSnapshot, PointerMissing, PointerInvalid, PointerMoved, SnapshotFormatError, EnvelopeError,
        DecryptionError,
    ),
    LockHeld: (LockCancelled,),
}  # fmt: skip


def errors() -> None:
    for parent, children in TREE.items():
        for child in children:
            expect(issubclass(child, parent), child.__name__)
            expect("what happened" in explained(child("what happened")))


class Flipped:
    """An encrypter of the user's own; it fits the protocol by its shape."""

    name = "flipped"
    authenticates = False

    def encrypt(self, plaintext: bytes) -> bytes:
        return plaintext[::-1]

    def decrypt(self, blob: bytes) -> bytes:
        return blob[::-1]

    def describe(self) -> tuple[str, Mapping[str, object] | None]:
        return self.name, {"direction": "backwards"}


def snapshot(value: object = 1) -> Snapshot:
    binding = Binding(alias="aws", library_path="github.com/x/aws", kind="bucket")
    entry = Entry(
        address="resource.a", entry_kind="leaf", category="resource", binding=binding, schema_version=1,
        sensitive_inputs=["acl"], sensitive_outputs=["arn"], inputs={"acl": "private"}, outputs={"value": value},
        depends_on=[],
    )  # fmt: skip
    return Snapshot(
        factory=FactoryInfo(name="net", version="1.2.3", content_revision="abc"), stack="prod", entries=[entry],
        generated_at="2026-05-01T10:00:00Z", outputs={"n": 2**60},
    )  # fmt: skip


def stored_forms() -> None:
    data = encode_snapshot(snapshot())
    assert_type(data, bytes)
    read = decode_snapshot(data)
    assert_type(read, Snapshot)
    assert_type(read.find("resource.a"), Entry | None)
    expect(encode_snapshot(read) == data, "a snapshot read and written again")
    with refused(SnapshotFormatError):
        decode_snapshot(b"{}")
    encrypters: list[Encrypter] = [Noop(), EnvKey("PUBLIC_API_KEY", "PUBLIC_API_OLD_KEY"), Flipped()]
    for encrypter in encrypters:
        sealed = seal(data, "state", encrypter)
        assert_type(sealed, bytes)
        expect(assert_type(open_envelope(sealed, "state", encrypter), bytes) == data, encrypter.name)
        with refused(EnvelopeError):
            open_envelope(sealed, "plan", encrypter)
    with refused(DecryptionError):
        open_envelope(seal(data, "state", encrypters[1]), "state", EnvKey("PUBLIC_API_OTHER_KEY"))
    kms: Encrypter = KMS("alias/state", region="eu-west-1", older_keys=["alias/before"], config={"team": "net"})
    expect(kms.describe() == ("kms", {"team": "net", "key-id": "alias/state"}), "KMS describes itself")
    revisions = sort_revisions(["other", "2026-05-01T10:00:00.1Z_1", "2026-05-01T10:00:00.1Z"])
    expect(assert_type(revisions, list[str])[-1] == "other", "order of revisions")


class Rotating:
    """Credentials from somewhere of the user's own; the type is a protocol as well."""

    def __init__(self, server: S3Server) -> None:
        self._credentials = Credentials(server.access_key, server.secret_key, None, None)

    def get(self) -> Credentials:
        return self._credentials

    def renew(self, rejected: Credentials) -> Credentials | None:
        return None


def client_calls(server: S3Server) -> None:
    transport = httpx.HTTPTransport()
    client = S3Client(
        region=server.region, credentials=Rotating(server), endpoint_url=server.url, path_style=True,
        transport=transport, checksum=True, limits=Limits(connect=2.0, read=5.0, total=10.0),
        env={},
    )  # fmt: skip
    etag = assert_type(client.put_object("state", "a/b c", b"one", if_none_match=True, metadata={"by": "me"}), str)
    with refused(PreconditionFailed):
        client.put_object("state", "a/b c", b"two", if_none_match=True)
    client.put_object("state", "a/b c", b"two", if_match=etag)
    found: ObjectInfo = client.get_object("state", "a/b c", verify=True, limit=1000)
    assert_type((found.body, found.etag, found.metadata), tuple[bytes, str, dict[str, str]])
    assert_type((found.last_modified, found.date), tuple[datetime | None, datetime | None])
    expect(found.body == b"two" and client.head_object("state", "a/b c").etag == found.etag, "an object's trip")
    names = [item.key for item in client.list_objects_v2("state", "a/")]
    expect(assert_type(names, list[str]) == ["a/b c"], "a list")
    client.delete_object("state", "a/b c", if_match=found.etag)
    expect(list(client.delete_objects("state", ["a/b c"])) == [], "many deleted")
    with refused(NotFound):
        client.get_object("state", "a/b c")
    with refused(AccessDenied):
        other = Credentials(server.access_key, "another secret".replace(" ", "-"))
        S3Client(endpoint_url=server.url, region=server.region, credentials=other, env={}).head_bucket("state")
    client.close()
    transport.close()  # the user's own stays the user's to close


def locking(store: Store, second: Store) -> None:
    seen: list[LockInfo] = []
    lost: list[LockLost] = []
    with refused(NoCurrentSnapshot):
        store.current()
    with store.lock(timeout=5, poll=0.1, lease=30, heartbeat=False, on_lost=lost.append, who="me@here") as lock:
        assert_type(lock, Lock)
        assert_type((lock.info, lock.held), tuple[LockInfo, bool])
        lock.renew()
        expect(assert_type(lock.check(), LockInfo).beat == 1, "a renewal")
        with refused(LockHeld):
            second.lock(timeout=0, on_wait=seen.append)
        cancel = threading.Event()
        cancel.set()
        with refused(LockCancelled):
            second.lock(timeout=None, cancel=cancel)
        rev = assert_type(store.write(snapshot()), str)
        store.set_current(rev)
    expect(not lock.held and not lost and store.lock_info() is None, "released")
    taken = second.lock(timeout=0, handle_sigterm=False)
    info = assert_type(store.force_unlock(id=taken.info.id), LockInfo | None)
    expect(info is not None and info.id == taken.info.id, "forced")
    with refused(LockLost):
        taken.check()
    with refused(LockLost):
        taken.release()


def keeping(store: Store) -> None:
    first = assert_type(store.current_rev(), str)
    expect(assert_type(store.current(), Snapshot) == snapshot(), "what was written")
    second = store.write(snapshot("two"))
    store.set_current(second, expected=first)
    store.set_current(second, expected=UNSET)
    with refused(PointerMoved):
        store.set_current(second, expected=None)
    expect(assert_type(store.list(), list[str]) == [first, second], "history")
    expect(store.get(first, any_stack=True) == snapshot(), "an older one")
    store.delete(first)
    with refused(NotFound):
        store.get(first)
    expect((store.stack, store.current_rev()) == ("prod", second), "the pointer")


def whole(server: S3Server) -> None:
    keys = Credentials(server.access_key, server.secret_key)
    client = S3Client(endpoint_url=server.url, region=server.region, credentials=keys, env={})
    report = probe_store(client, "state", prefix="p")
    assert_type((report.exclusive, report.leases, report.failed()), tuple[bool, bool, str])
    kept = StoreReport.from_dict(json.loads(json.dumps(report.as_dict())))
    expect(kept.exclusive and kept.leases, "a report kept as JSON")

    def store(**more: Any) -> Store:
        encrypter = EnvKey("PUBLIC_API_KEY")
        return Store(client, bucket="state", factory="net", stack="prod", encrypter=encrypter, prefix="p", **more)

    locking(store(store_report=kept), store())
    keeping(store())
    with refused(ConfigurationError):
        Store(client, bucket="state", factory="", stack="prod", encrypter=Noop(), allow_plaintext=True)
    client.delete_object("state", "p/net/prod/current")
    with refused(PointerMissing):
        store().current()
    with refused(NoCurrentSnapshot):
        store(allow_missing=True).current()
    client.put_object("state", "p/net/prod/current", b"\n")
    with refused(PointerInvalid):
        store().current()
    server.fault("GetObject /current", Fault(reset=True), times=None)
    with refused(TransportError):
        quick = S3Client(endpoint_url=server.url, region=server.region, credentials=keys, limits=Limits(total=0.5))
        Store(quick, bucket="state", factory="net", stack="prod", encrypter=Noop(), prefix="p").current_rev()
    records: list[RequestRecord] = server.requests
    expect({record.bucket for record in records} == {"state"}, "the server's records")
    client.close()


def main() -> None:
    logging.getLogger("unobin_s3").addHandler(logging.NullHandler())  # the losses below are meant
    os.environ["PUBLIC_API_KEY"] = KEY
    os.environ["PUBLIC_API_OTHER_KEY"] = base64.b64encode(bytes(32)).decode()
    errors()
    stored_forms()
    for task in (client_calls, whole):
        with S3Server(bucket="state") as server:
            task(server)
    print("as documented")


if TYPE_CHECKING:

    def mistakes(store: Store, client: S3Client) -> None:
        """What a type checker must find. An ignored error that is none fails as unused."""
        store.lock(timeout="soon")  # type: ignore[arg-type]
        store.set_current(None)  # type: ignore[arg-type]
        store.set_current("rev", expected=1)  # type: ignore[arg-type]
        EnvKey(1)  # type: ignore[arg-type]
        Store(client, bucket="b", factory="f", stack="s")  # type: ignore[call-arg]
        Store(client, bucket="b", factory="f", stack="s", encrypter="key")  # type: ignore[arg-type]
        S3Client("eu-west-1")  # type: ignore[call-arg]
        client.put_object("b", "k", "text")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
