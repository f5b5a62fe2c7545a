# SPDX-License-Identifier: MIT
"""The two KMS calls by themselves: what is sent, how strictly answers are read, and moto's KMS as a real peer."""

from __future__ import annotations

import base64
import json
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fake_kms import CREDENTIALS, FakeKMS, StillClock, answer, arn_of, good
from tests.servers.launch import Site
from unobin_s3.aws import kms
from unobin_s3.aws.caller import Caller
from unobin_s3.aws.credentials import Credentials, StaticSource
from unobin_s3.aws.endpoint import Endpoint, resolve
from unobin_s3.aws.transport import Response
from unobin_s3.encrypters import KMS
from unobin_s3.errors import AccessDenied, ConfigurationError, DecryptionError, NotFound, ServiceError

SECRET = b"planted-data-key-planted-data-ke"


def caller(fake: FakeKMS) -> Caller:
    return Caller(transport=fake, credentials=StaticSource(CREDENTIALS), clock=StillClock())  # type: ignore[arg-type]


@pytest.fixture
def fake() -> FakeKMS:
    return FakeKMS("abc")


@pytest.fixture
def endpoint() -> Endpoint:
    return resolve("kms", region="us-east-1", endpoint_url=None)


# --- requests ---


def test_a_request_is_json_1_1_and_signed_for_kms(fake: FakeKMS, endpoint: Endpoint) -> None:
    made = kms.generate_data_key(caller(fake), endpoint, "abc")
    assert kms.decrypt(caller(fake), endpoint, made.wrapped, "abc") == made
    for request, operation in zip(fake.requests, ("GenerateDataKey", "Decrypt"), strict=True):
        assert (request.method, request.scheme, request.host, request.target) == (
            "POST", "https", "kms.us-east-1.amazonaws.com", "/",
        )  # fmt: skip
        assert request.headers["content-type"] == "application/x-amz-json-1.1"
        assert request.headers["x-amz-target"] == f"TrentService.{operation}"
        assert "SignedHeaders=content-type;host;x-amz-date;x-amz-target" in request.headers["authorization"]
        assert "EncryptionContext" not in json.loads(request.body), "Go sends none, and could not open it"


def test_a_configured_endpoint_is_kept_and_signed_for_the_keys_region(fake: FakeKMS) -> None:
    configured = resolve("kms", region="us-east-1", endpoint_url="http://127.0.0.1:1/kms/")
    fake.plan = [good(bytes(32), arn_of("abc", "eu-west-1"), CiphertextBlob="AAAA")]
    kms.generate_data_key(caller(fake), configured, arn_of("abc", "eu-west-1"))
    assert (fake.requests[0].host, fake.requests[0].target) == ("127.0.0.1:1", "/kms/")
    assert "/eu-west-1/kms/aws4_request" in fake.requests[0].headers["authorization"]


def test_a_key_of_another_partition_is_refused_by_name(fake: FakeKMS, endpoint: Endpoint) -> None:
    with pytest.raises(ConfigurationError, match="'cn-north-1' is not in the partition aws"):
        kms.generate_data_key(caller(fake), endpoint, "arn:aws-cn:kms:cn-north-1:1:key/abc")
    assert fake.calls == []


@pytest.mark.parametrize(
    ("key_id", "region", "host"),
    [
        ("abc", "eu-west-1", "kms.eu-west-1.amazonaws.com"),
        ("alias/x", "eu-west-1", "kms.eu-west-1.amazonaws.com"),
        (arn_of("abc"), "eu-west-1", "kms.us-east-1.amazonaws.com"),
        (arn_of("alias/x"), None, "kms.us-east-1.amazonaws.com"),
        ("arn:aws-us-gov:kms:us-gov-west-1:1:key/mrk-1", None, "kms.us-gov-west-1.amazonaws.com"),
        ("arn:aws-cn:kms:cn-north-1:1:key/abc", None, "kms.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_region_comes_from_the_arn_first(fake: FakeKMS, key_id: str, region: str | None, host: str) -> None:
    _, endpoint = kms.connect(key_id, region, CREDENTIALS, None, None, fake)
    assert endpoint.host == host


# --- answers ---


def _with(name: str, value: object) -> dict[str, object]:
    document = {"Plaintext": base64.b64encode(SECRET).decode(), "KeyId": arn_of("abc"), "CiphertextBlob": "AAAA"}
    return document | {name: value}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        {},
        _with("Plaintext", None),
        _with("Plaintext", ""),
        _with("Plaintext", base64.b64encode(SECRET[:16]).decode()),
        _with("Plaintext", base64.b64encode(SECRET + b"x").decode()),
        _with("Plaintext", base64.b64encode(SECRET).decode() + "!"),
        _with("Plaintext", list(SECRET)),
        _with("CiphertextBlob", None),
        _with("CiphertextBlob", ""),
        _with("CiphertextBlob", "***"),
        _with("CiphertextBlob", base64.b64encode(bytes(6145)).decode()),
        _with("KeyId", None),
        _with("KeyId", ""),
        _with("KeyId", "abc"),
        _with("KeyId", arn_of("alias/x")),
        _with("KeyId", "arn:aws:s3:us-east-1:1:key/abc"),
    ],
)
def test_an_answer_that_is_no_data_key_is_refused(fake: FakeKMS, endpoint: Endpoint, document: object) -> None:
    fake.plan = [answer(200, document)]
    with pytest.raises(ServiceError, match="KMS key abc in us-east-1: the answer is not a data key") as caught:
        kms.generate_data_key(caller(fake), endpoint, "abc")
    assert caught.value.code == "InvalidResponse"
    shown = "".join(traceback.TracebackException.from_exception(caught.value).format())
    assert "planted" not in shown
    assert base64.b64encode(SECRET).decode() not in shown


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 60_000, b'{"Plaintext":'])
def test_a_body_that_is_no_json_is_refused(fake: FakeKMS, endpoint: Endpoint, body: bytes) -> None:
    fake.plan = [Response(200, {}, body)]
    with pytest.raises(ServiceError, match="not a data key; check the endpoint URL"):
        kms.generate_data_key(caller(fake), endpoint, "abc")


def test_decrypt_must_name_the_key_that_it_used(fake: FakeKMS, endpoint: Endpoint) -> None:
    fake.plan = [answer(200, {"Plaintext": base64.b64encode(SECRET).decode()})]
    with pytest.raises(ServiceError, match="not a data key"):
        kms.decrypt(caller(fake), endpoint, b"w", arn_of("abc"))


def test_decrypt_keeps_the_blob_it_was_given(fake: FakeKMS, endpoint: Endpoint) -> None:
    fake.plan = [good(SECRET, arn_of("abc"), CiphertextBlob="AAAA")]
    assert kms.decrypt(caller(fake), endpoint, b"w", "abc").wrapped == b"w"


@pytest.mark.parametrize(
    ("asked", "answered", "same"),
    [
        ("abc", arn_of("abc"), True),
        ("bc", arn_of("abc"), False),
        ("abc", arn_of("abcd"), False),
        (arn_of("abc"), arn_of("abc"), True),
        (arn_of("abc"), arn_of("other"), False),
        (arn_of("abc"), arn_of("abc").replace("1111", "2222"), False),
        ("alias/x", arn_of("other"), True),
        (arn_of("alias/x"), arn_of("other"), True),
        (arn_of("alias/x"), arn_of("other", "us-west-1"), False),
        (arn_of("alias/x"), arn_of("other").replace("1111", "2222"), False),
    ],
)
def test_the_answering_key_is_compared(
    fake: FakeKMS, endpoint: Endpoint, asked: str, answered: str, same: bool
) -> None:
    fake.plan = [good(SECRET, answered, CiphertextBlob="AAAA")]
    if same:
        assert kms.generate_data_key(caller(fake), endpoint, asked).key_arn == answered
        return
    with pytest.raises(ServiceError, match=f"answered with the key {answered}; another key") as caught:
        kms.generate_data_key(caller(fake), endpoint, asked)
    assert caught.value.code in kms.WRONG_KEY


@given(st.binary(max_size=60) | st.recursive(
    st.none() | st.text() | st.integers() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["__type", "message", "KeyId"]) | st.text(), inner),
    max_leaves=5,
).map(lambda value: json.dumps(value).encode()), st.sampled_from([200, 400, 403, 404]))  # fmt: skip
@settings(derandomize=True, max_examples=150)
def test_any_other_answer_is_a_service_error(body: bytes, status: int) -> None:
    fake = FakeKMS()
    fake.plan = [Response(status, {}, body)] * 1000
    with pytest.raises(ServiceError, match="KMS key abc in us-east-1: "):
        kms.generate_data_key(caller(fake), resolve("kms", region="us-east-1", endpoint_url=None), "abc")


def test_an_error_may_call_its_text_message_in_capitals(fake: FakeKMS, endpoint: Endpoint) -> None:
    fake.plan = [answer(400, {"__type": "UnrecognizedClientException", "Message": "The security token"})]
    with pytest.raises(ServiceError, match="400 UnrecognizedClientException: The security token"):
        kms.generate_data_key(caller(fake), endpoint, "abc")


def test_a_data_key_is_neither_shown_nor_pickled() -> None:
    key = kms.DataKey(SECRET, b"w", arn_of("abc"))
    assert "planted" not in repr(key) + str(key)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(key)


# --- moto's KMS ---


class Moto:
    def __init__(self, site: Site) -> None:
        self.site, self.client = site, site.boto3("kms")

    def new_key(self) -> str:
        return str(self.client.create_key()["KeyMetadata"]["Arn"])

    def encrypter(self, key_id: str, **more: Any) -> KMS:
        credentials = Credentials(self.site.access_key, self.site.secret_key)
        return KMS(key_id, region=self.site.region, credentials=credentials, endpoint_url=self.site.url, **more)


@pytest.fixture(scope="module")
def moto(servers: Callable[[str], Site]) -> Moto:
    return Moto(servers("moto"))


@pytest.mark.parametrize("form", ["id", "arn", "alias", "alias arn"])
def test_moto_seals_and_opens_by_every_kind_of_name(moto: Moto, form: str) -> None:
    arn = moto.new_key()
    alias = f"alias/{arn[-12:]}"
    moto.client.create_alias(AliasName=alias, TargetKeyId=arn)
    key_id = {
        "id": arn.rpartition("/")[2], "arn": arn, "alias": alias, "alias arn": f"{arn.rpartition(':')[0]}:{alias}",
    }[form]  # fmt: skip
    writer = moto.encrypter(key_id)
    blob = writer.encrypt(b"state")
    assert writer.describe() == ("kms", {"key-id": arn})
    assert moto.encrypter(key_id).decrypt(blob) == b"state"
    wrapped = base64.b64decode(json.loads(blob)["encrypted-key"])
    theirs = moto.client.decrypt(CiphertextBlob=wrapped)
    assert theirs["KeyId"] == arn
    assert len(theirs["Plaintext"]) == 32


def test_moto_unwraps_what_boto3_generated(moto: Moto) -> None:
    arn = moto.new_key()
    theirs = moto.client.generate_data_key(KeyId=arn, KeySpec="AES_256")
    caller, endpoint = moto.encrypter(arn)._data_keys._connect()
    assert kms.decrypt(caller, endpoint, theirs["CiphertextBlob"], arn).plaintext == theirs["Plaintext"]


def test_moto_refuses_a_foreign_key_and_we_name_ours(moto: Moto) -> None:
    ours, foreign = moto.new_key(), moto.new_key()
    blob = moto.encrypter(foreign).encrypt(b"planted")
    with pytest.raises(
        (AccessDenied, DecryptionError), match=ours
    ):  # moto says AccessDenied where KMS says IncorrectKey
        moto.encrypter(ours).decrypt(blob)
    assert moto.encrypter(ours, older_keys=[foreign]).decrypt(blob) == b"planted"


def test_moto_tampered_and_truncated_blobs_name_the_key(moto: Moto) -> None:
    key = moto.new_key()
    blob = moto.encrypter(key).encrypt(b"state")
    document = json.loads(blob)
    wrapped = bytearray(base64.b64decode(document["encrypted-key"]))
    wrapped[-1] ^= 1
    payload = bytearray(base64.b64decode(document["payload"]))
    payload[-1] ^= 1
    for changes in (
        {"encrypted-key": base64.b64encode(wrapped).decode()},
        {"payload": base64.b64encode(payload).decode()},
        {"payload": base64.b64encode(payload[:20]).decode()},
    ):
        with pytest.raises(DecryptionError, match=key):
            moto.encrypter(key).decrypt(json.dumps(document | changes).encode())
    with pytest.raises(DecryptionError, match="cut short"):
        moto.encrypter(key).decrypt(blob[:-1])


def test_moto_states_of_a_key_are_told_apart(moto: Moto) -> None:
    key = moto.new_key()
    blob = moto.encrypter(key).encrypt(b"x")
    with pytest.raises(NotFound, match=r"KMS key alias/none in us-east-1: .*check key_id and region"):
        moto.encrypter("alias/none").encrypt(b"x")
    elsewhere = key.replace(f":{moto.site.region}:", ":eu-west-1:")
    with pytest.raises(NotFound, match=f"KMS key {elsewhere} in eu-west-1: .*check key_id and region"):
        moto.encrypter(elsewhere).encrypt(b"x")
    assert moto.encrypter(key).decrypt(blob) == b"x"
