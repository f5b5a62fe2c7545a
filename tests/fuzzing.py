# SPDX-License-Identifier: MIT
"""Everything that reads bytes somebody else may have written, each as a function of bytes.

A target raises nothing for any input, good or bad: what the code under it may raise is caught, and anything else,
like a broken promise about what was read, comes out. Hypothesis (tests/test_fuzz.py) and atheris (tests/long/fuzz.py)
run the same targets, from the same `SEEDS`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from contextlib import suppress

from tests.aws.scripted import KEYS, Scripted, ScriptedClock, amazon
from unobin_s3 import (
    KMS,
    ConfigurationError,
    DecryptionError,
    EnvelopeError,
    EnvKey,
    Limits,
    Noop,
    OutcomeUnknown,
    PointerInvalid,
    S3Client,
    ServiceError,
    SnapshotFormatError,
    Store,
    UnobinS3Error,
    decode_snapshot,
    encode_snapshot,
    open_envelope,
    seal,
    sort_revisions,
)
from unobin_s3.aws import credentials, endpoint, kms, metadata, profiles, xml
from unobin_s3.aws.caller import Caller
from unobin_s3.aws.credentials import StaticSource
from unobin_s3.aws.transport import Response
from unobin_s3.holder import LockInfo, decode_lock, encode_lock
from unobin_s3.place import Place
from unobin_s3.pointer import Pointer, plain, tailed
from unobin_s3.state import gojson, revision
from unobin_s3.state.envelope import read_envelope
from unobin_s3.state.layout import Layout

VARIABLE = "UB_FUZZED_KEY"
os.environ[VARIABLE] = base64.b64encode(bytes(32)).decode()
PLACE = Place(amazon(Scripted(Response(404, {}, b""))), "bucket", Layout("", "f", "s"))
TARGETS: dict[str, Callable[[bytes], None]] = {}
SEEDS: dict[str, list[bytes]] = {}


def target(*seeds: bytes) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    def add(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
        TARGETS[function.__name__] = function
        SEEDS[function.__name__] = list(seeds)
        return function

    return add


def check(promise: object, what: str) -> None:
    if not promise:
        raise AssertionError(what)


def text_of(data: bytes) -> str:
    """Any str, lone surrogates included."""
    return data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace") if _passes(data) else repr(data)


def _passes(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


# XML

CONTENTS = (
    b"<Contents><Key>p/a%20b+c</Key><LastModified>2026-05-01T10:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>"
    b"<Size>12</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
LIST = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Name>b</Name><Prefix>p/</Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType>"
    b"<IsTruncated>true</IsTruncated><NextContinuationToken>t+/=</NextContinuationToken>%s</ListBucketResult>"
)
ERROR = (
    b"<Error><Code>NoSuchKey</Code><Message>m</Message><Region>eu-west-1</Region><RequestId>R</RequestId>"
    b"<ServerTime>2026-11-18T11:26:40Z</ServerTime></Error>"
)
DOCTYPE = b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult>&b;</ListBucketResult>'


@target(LIST % (CONTENTS * 2), LIST % b"", LIST % CONTENTS.replace(b"&quot;", b"'"), DOCTYPE, ERROR)
def list_page(data: bytes) -> None:
    try:
        page = xml.parse_list(data, "p/")
    except ServiceError as error:
        check(error.code == "InvalidResponse" and len(str(error)) < 1000, "an error of another kind")
        return
    for item in page.objects:
        check(item.key.startswith("p/") and item.size >= 0, "an object that was not asked for")
        item.key.encode()
    check(page.next_token is None or page.next_token, "an empty token")


@target(ERROR, b"<ErrorResponse>" + ERROR + b"<RequestId>R</RequestId></ErrorResponse>", b"<html/>", DOCTYPE)
def error_document(data: bytes) -> None:
    found = xml.parse_error(data)
    if found is not None:
        check(found.code and all(text.isprintable() for text in found), "control characters in an error")


@target(
    b"<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code><Message>m</Message></Error></DeleteResult>",
    b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    b"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId></Credentials></AssumeRoleResult>"
    b"</AssumeRoleResponse>",
)
def other_documents(data: bytes) -> None:
    for read in (
        xml.parse_deleted,
        xml.parse_versioning,
        lambda body: xml.fields(body, "AssumeRoleResponse", "AssumeRoleResult", "Credentials"),
    ):
        with suppress(ServiceError):
            read(data)


# What is stored

SNAPSHOT = (
    b'{\n  "format-version": 1,\n  "factory": {\n    "name": "f",\n    "version": "1",\n    "content-revision": ""\n'
    b'  },\n  "stack": "s",\n  "generated-at": "2026-05-01T10:00:00.1+02:00",\n  "entries": [\n    {\n'
    b'      "address": "resource.a",\n      "entry-kind": "leaf",\n      "category": "resource",\n'
    b'      "binding": {"alias": "a", "kind": "b"},\n      "schema-version": 0,\n'
    b'      "inputs": {"n": 9007199254740993, "f": 1e21, "x": [null, true, "\\ud83d\\ude00"]},\n'
    b'      "outputs": {},\n      "depends-on": ["resource.b"],\n      "new-member": 1\n    }\n  ],\n'
    b'  "outputs": {"a": {"$sensitive": true}}\n}\n'
)
ENVELOPE = seal(SNAPSHOT, "state", Noop())
LOCK = b'{"id":"0123456789abcdef","who":"u@h","created":"2026-05-01T10:00:00Z","lease":60,"beat":3,"run-url":"u"}'


@target(SNAPSHOT, SNAPSHOT.replace(b"\n", b"").replace(b"  ", b""), b"null", b"{}", b'{"format-version":2}')
def snapshot(data: bytes) -> None:
    try:
        found = decode_snapshot(data)
    except SnapshotFormatError as error:
        check(str(error).startswith("snapshot: "), "an error that does not say of what")
        return
    try:
        again = encode_snapshot(found)
    except SnapshotFormatError as error:
        check("nested too deeply" in str(error), "what was read cannot be written")
        return
    check(decode_snapshot(again) == found and encode_snapshot(decode_snapshot(again)) == again, "no fixed point")


@target(ENVELOPE, ENVELOPE.replace(b"noop", b"env-key"), b'{"envelope-version":1,"ciphertext":[1,2]}', b"null")
def envelope(data: bytes) -> None:
    with suppress(EnvelopeError):
        read_envelope(data)
    for encrypter in (Noop(), EnvKey(VARIABLE)):
        try:
            check(isinstance(open_envelope(data, "state", encrypter), bytes), "no bytes")
            check(not encrypter.authenticates, "a forged envelope opened")
        except (EnvelopeError, DecryptionError):
            pass


@target(
    LOCK, b"{}", b"null", b'{"id":1,"lease":1e3,"beat":-1}', b'{"id":"","who":"\\ud800","lease":9223372036854775808}'
)
def lock_body(data: bytes) -> None:
    found = decode_lock(data, etag='"e"')
    check(found.lease is None or 10 <= found.lease <= 86400, "a lease out of range")
    check(not found.expired and found.age is None, "an age without dates")
    found.described().encode()
    check(decode_lock(encode_lock(found.renewed())).beat == found.beat + 1 or found.lease is None, "a beat lost")
    if found != LockInfo(etag='"e"'):
        same = decode_lock(encode_lock(found), etag='"e"')
        check((same.id, same.who, same.lease) == (found.id, found.who, found.lease), "a lock changed")


@target(b"2026-05-01T10:00:00.1Z\n", tailed("2026-05-01T10:00:00.1Z", b"abcde"), b"", b" \n", b"../x", b"\xff")
def pointer(data: bytes) -> None:
    found = Pointer(data, '"e"')
    try:
        rev = found.rev(PLACE)
    except PointerInvalid as error:
        check(len(str(error)) < 1000, "a long error")
        return
    check(rev is not None and Pointer(plain(rev), "e").rev(PLACE) == rev, "a name that does not come back")
    check(Pointer(tailed(found.text, b"\x00\xff\x55\xaa\x0f"), "e").rev(PLACE) == rev, "a tail that is not trimmed")
    check(PLACE.layout.rev_of(PLACE.layout.snapshot(rev or "")) == rev, "a revision that its key does not give back")


@target(b"2026-05-01T10:00:00.1Z\02026-05-01T10:00:00Z_2\0x", b"2026-02-30T25:61:61.123456789123+24:00_99999999999")
def revisions(data: bytes) -> None:
    revs = text_of(data).split("\0")
    ordered = sort_revisions(revs)
    check(sorted(ordered) == sorted(revs) and sort_revisions(ordered) == ordered, "no order")
    for rev in revs:
        parsed = revision.parse_revision(rev)
        if parsed is not None and parsed[0] >= 0:
            with suppress(ValueError):  # beyond the year 9999 at UTC
                check(revision.parse_revision(revision.make_revision(*parsed)) == parsed, "another instant")
        with suppress(ConfigurationError):
            revision.check_revision(rev)
            rev.encode()
        PLACE.layout.rev_of(f"f/s/snapshots/{rev}.json.enc")


@target(b'{"a":[1,-0,1.5e300,"\\u2028<>&\\ud800",null,true],"a":{}}', b"[" * 50, b"9" * 400, b'"\\ud83d\\ude00\xff"')
def go_json(data: bytes) -> None:
    try:
        value = gojson.loads(data)
    except gojson.JSONError:
        return
    for indent in (True, False):
        with suppress(gojson.JSONError):  # what can be read may be nested too deeply to be written
            written = gojson.dumps(value, indent=indent)
            check(gojson.dumps(gojson.loads(written), indent=indent) == written, "no fixed point")


# Blobs


@target(EnvKey(VARIABLE).encrypt(b"clear"), bytes(12), bytes(28), b"")
def env_key_blob(data: bytes) -> None:
    with suppress(DecryptionError):
        check(EnvKey(VARIABLE).decrypt(data) == b"clear", "a forged blob opened")


KEY_ARN = "arn:aws:kms:eu-west-1:111122223333:key/k"
DATA_KEY = b'{"KeyId":"%s","Plaintext":"%s","CiphertextBlob":"AAAA"}' % (KEY_ARN.encode(), base64.b64encode(bytes(32)))


def key_service() -> KMS:
    return KMS(KEY_ARN, credentials=KEYS, transport=Scripted(Response(200, {}, DATA_KEY)))


@target(key_service().encrypt(b"clear"), b"", b"\x00\x01", b"\x01\x00\x04AAAA" + bytes(40))
def kms_blob(data: bytes) -> None:
    with suppress(DecryptionError, EnvelopeError, ServiceError):
        check(key_service().decrypt(data) == b"clear", "a forged blob opened")


@target(DATA_KEY, b'{"__type":"x#ThrottlingException","message":"m"}', b"[]", b'{"KeyId":1}')
def kms_answer(data: bytes) -> None:
    where = endpoint.resolve("kms", region="eu-west-1", endpoint_url=None)
    for status in (200, 400):
        service = Scripted(Response(status, {}, data), clock=ScriptedClock(0.5), takes=0.1)
        caller = Caller(transport=service, credentials=StaticSource(KEYS), clock=service.clock, total=5.0)
        with suppress(UnobinS3Error):
            check(len(kms.generate_data_key(caller, where, KEY_ARN).plaintext) == 32, "a key of another length")
        with suppress(UnobinS3Error):
            check(len(kms.decrypt(caller, where, b"AAA", KEY_ARN).plaintext) == 32, "a key of another length")


# Answers over HTTP: status, headers and a body, for every operation

ANSWER = b'200\netag: "e"\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\ndate: Sun, 06 Nov 1994 08:49:37 GMT\n\n'
OPERATIONS: list[Callable[[S3Client], object]] = [
    lambda client: client.put_object("bucket", "k", b"x", if_none_match=True),
    lambda client: client.put_object("bucket", "k", b"x"),
    lambda client: client.get_object("bucket", "k", verify=True, limit=1000),
    lambda client: client.head_object("bucket", "k"),
    lambda client: client.delete_object("bucket", "k", if_match='"e"', once=True),
    lambda client: client.delete_objects("bucket", ["k"]),
    lambda client: list(client.list_objects_v2("bucket", "p/")),
    lambda client: client.head_bucket("bucket"),
]


def answers(data: bytes) -> list[Response]:
    """Answers parted by form feeds: a status line, header lines, an empty line, a body."""
    found = []
    for part in data.split(b"\f")[:6]:
        head, _, body = part.partition(b"\n\n")
        status, *lines = head.decode("latin-1").split("\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        number = int(status) if status.isascii() and status.isdigit() and len(status) == 3 else 200
        found.append(Response(number, headers, body))
    return found


@target(
    ANSWER, ANSWER + SNAPSHOT, b"400\n\n" + ERROR, b"301\nx-amz-bucket-region: us-west-2\n\n\f" + ANSWER,
    b"403\ndate: Sun, 06 Nov 99999999999999999999 08:49:37 GMT\n\n\f" + ANSWER, b"200\n\n" + LIST % CONTENTS,
    b"307\nlocation: https://bucket.s3.us-west-2.amazonaws.com/k\n\n\f" + ANSWER, b"503\n\n\f412\n\n",
    b"200\n\n" + ERROR,
    b"403\ndate: Sun, 06 Nov 0001 08:49:37 +2359\n\n\f" + ANSWER,
)  # fmt: skip
def http_answers(data: bytes) -> None:
    for operation in OPERATIONS:
        service = Scripted(*answers(data), clock=ScriptedClock(0.5), takes=0.1)
        client = amazon(service, limits=Limits(total=5.0))
        try:
            found = operation(client)
        except UnobinS3Error as error:
            check("planted" not in str(error), "a secret in an error")
            unknown = isinstance(error, OutcomeUnknown)
            check(
                not unknown or any(request.method in ("PUT", "DELETE", "POST") for request in service.sent), "unknown"
            )
        else:
            for name in ("date", "last_modified", "etag", "metadata"):
                getattr(found, name, None)
        check(service.clock.elapsed <= 12.0, "the time limit was not kept")
        check(all(host.endswith(".amazonaws.com") for host in service.hosts), "a request went elsewhere")


@target(ANSWER + LOCK, ANSWER + b"2026-05-01T10:00:00Z\n", b"404\n\n" + ERROR, ANSWER + ENVELOPE)
def store_answers(data: bytes) -> None:
    """The whole store on a service that answers anything."""
    for use in (
        Store.current,
        Store.lock_info,
        Store.list,
        Store.force_unlock,
        lambda store: store.lock(timeout=0, at_exit=False),
    ):
        service = Scripted(*answers(data), clock=ScriptedClock(0.5), takes=0.1)
        client = amazon(service, limits=Limits(total=5.0))
        store = Store(client, bucket="bucket", factory="f", stack="s", encrypter=Noop())
        with suppress(UnobinS3Error):
            use(store)
        check(service.clock.elapsed <= 60.0, "the time limit was not kept")


# Settings


@target(
    b"[default]\nregion = eu-west-1\ns3 =\n  addressing_style = path\n[profile a b]\nx: y\n  z\n# c\n", b"\xff", b"["
)
def shared_file(data: bytes) -> None:
    with suppress(profiles._Malformed):
        profiles._parse(data)


@target(b"https://user@[::1%25eth0]:443/a/../b?c#d", "http://ä.example:0/%2e%2E".encode(), b"http://[", b"arn:aws:s3:x")
def names(data: bytes) -> None:
    text = text_of(data)
    url, _, rest = text.partition("\n")
    bucket, _, key = rest.partition("\n")
    for region, given in ((text[:70], None), (None, url), ("eu-west-1", None)):
        with suppress(ConfigurationError):
            found = endpoint.resolve("s3", region=region, endpoint_url=given)
            where = found.locate(bucket or "bucket", key or text)
            check(where.path.isascii() and where.host.isascii() and " " not in where.path + where.host, "not encoded")
            check("/../" not in f"{where.path}/" and "/./" not in f"{where.path}/", "a dot segment")


@target(
    b'{"AccessKeyId":"A","SecretAccessKey":"S","Token":"T","Expiration":"2026-05-01T10:00:00Z","Code":"Success"}',
    b'{"Version":1,"AccessKeyId":"A","SecretAccessKey":"S"}', b'{"Code":"AssumeRoleUnauthorizedAccess"}', b"[[[",
)  # fmt: skip
def machine_credentials(data: bytes) -> None:
    found = metadata.credentials_in(data, session="Token")
    check(isinstance(found, str | credentials.Credentials), "neither credentials nor a reason")
