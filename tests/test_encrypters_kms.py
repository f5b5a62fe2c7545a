# SPDX-License-Identifier: MIT
"""KMS over a fake service: the Go tool's blob, how many calls are made, how long keys live, what is refused."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import signal
import threading
import tracemalloc
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fake_kms import CREDENTIALS, FakeKMS, StillClock, arn_of, encrypter, failure, good
from tests.test_encrypters_env import NONCE, VECTOR_BLOB, VECTOR_PLAINTEXT
from unobin_s3 import encrypters
from unobin_s3.encrypters import KMS, EnvKey
from unobin_s3.errors import (
    AccessDenied,
    ConfigurationError,
    DecryptionError,
    NotFound,
    ServiceError,
    Throttled,
    TransportError,
)
from unobin_s3.state.envelope import open_envelope, seal

# Vector `kms` of the Go original (Go 1.26.2): the payload is the vector `env-key`, under the same 32 counted bytes.
DATA_KEY = bytes(range(32))
WRAPPED = bytes.fromhex("fbfffe0001")
VECTOR = b'{"version":1,"encrypted-key":"+//+AAE=","payload":"' + base64.b64encode(VECTOR_BLOB) + b'"}'


@pytest.fixture
def fake() -> FakeKMS:
    fake = FakeKMS("abc", "other")
    fake.aliases[arn_of("alias/state")] = arn_of("abc")
    return fake


# --- the blob ---


def test_opens_what_the_go_tool_sealed(fake: FakeKMS) -> None:
    fake.wrapped[WRAPPED] = (arn_of("abc"), DATA_KEY)
    assert encrypter(fake, arn_of("abc")).decrypt(VECTOR) == VECTOR_PLAINTEXT
    assert fake.calls == [("Decrypt", {"CiphertextBlob": "+//+AAE=", "KeyId": arn_of("abc")})]


def test_seals_as_the_go_tool_given_its_key_and_nonce(fake: FakeKMS, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.next_data_keys = [(DATA_KEY, WRAPPED)]
    monkeypatch.setattr("secrets.token_bytes", lambda size: NONCE[:size])
    assert encrypter(fake).encrypt(VECTOR_PLAINTEXT) == VECTOR
    assert fake.calls == [("GenerateDataKey", {"KeyId": "abc", "KeySpec": "AES_256"})]


def test_the_envelope_around_it_is_gos_and_names_the_arn(fake: FakeKMS, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.next_data_keys = [(DATA_KEY, WRAPPED)]
    monkeypatch.setattr("secrets.token_bytes", lambda size: NONCE[:size])
    sealed = seal(VECTOR_PLAINTEXT, "state", encrypter(fake, "alias/state"))
    assert sealed == (
        b'{\n  "envelope-version": 1,\n  "payload-type": "state",\n  "encrypter": {\n    "name": "kms",\n'
        b'    "body": {\n      "key-id": "arn:aws:kms:us-east-1:111122223333:key/abc"\n    }\n  },\n'
        b'  "ciphertext": "' + base64.b64encode(VECTOR) + b'"\n}\n'
    )
    assert open_envelope(sealed, "state", encrypter(fake)) == VECTOR_PLAINTEXT


@pytest.mark.parametrize("body", [b"", b"x", b"yy", b"\x00" * 100_000])
def test_round_trip_with_a_fresh_nonce_each_time(fake: FakeKMS, body: bytes) -> None:
    kms = encrypter(fake)
    first, second = kms.encrypt(body), kms.encrypt(body)
    assert encrypter(fake).decrypt(first) == encrypter(fake).decrypt(second) == body
    assert json.loads(first)["encrypted-key"] == json.loads(second)["encrypted-key"]
    assert json.loads(first)["payload"][:16] != json.loads(second)["payload"][:16]


def test_other_spellings_of_the_json_are_read_as_go_reads_them(fake: FakeKMS) -> None:
    fake.wrapped[WRAPPED] = (arn_of("abc"), DATA_KEY)
    document = json.loads(VECTOR)
    payload = document["payload"]
    spellings = (
        json.dumps(document, indent=2) + "\n",
        json.dumps(dict(reversed(document.items()))),
        json.dumps({**document, "later": [1, None]}),
        json.dumps({"VERSION": 1, "Encrypted-Key": "+//+AAE=", "payload": payload}),
        json.dumps({**document, "payload": payload[:10] + "\r\n" + payload[10:]}),
        VECTOR.decode().replace("+//+AAE=", "\\u002b\\/\\/+AAE="),
    )
    for spelling in spellings:
        assert encrypter(fake).decrypt(spelling.encode()) == VECTOR_PLAINTEXT


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"garbage",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b"[" * 100_000,
        b'{"version":' + b"1" * 5000 + b"}",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf" + VECTOR,
        VECTOR + b"x",
        VECTOR[:-1],
        VECTOR[:-2],
        VECTOR[:-3],
        VECTOR[:40],
        VECTOR.replace(b"1,", b"1.0,", 1),
        VECTOR.replace(b"1,", b"true,", 1),
        VECTOR.replace(b"1,", b'"1",', 1),
        VECTOR.replace(b"1,", b"null,", 1),
        VECTOR.replace(b'"+//+AAE="', b'"+//+AAE"'),
        VECTOR.replace(b'"+//+AAE="', b'"-__-AAE="'),
        VECTOR.replace(b'"+//+AAE="', b'"\\u00e9"'),
        VECTOR.replace(b'"+//+AAE="', b"null"),
        VECTOR.replace(b'"+//+AAE="', b'""'),
        VECTOR.replace(b'"+//+AAE="', b'"' + base64.b64encode(bytes(6145)) + b'"'),
        b'{"version":1,"encrypted-key":"AAAA","payload":null}',
    ],
)
def test_what_is_no_blob_is_refused_before_any_call(fake: FakeKMS, blob: bytes) -> None:
    with pytest.raises(DecryptionError, match=r"^kms encrypter: "):
        encrypter(fake).decrypt(blob)
    assert fake.calls == []


@pytest.mark.parametrize("version", [0, 2, 99, -1])
def test_another_version_is_named(fake: FakeKMS, version: int) -> None:
    with pytest.raises(DecryptionError, match=f"unsupported version {version} \\(this build expects 1\\)"):
        encrypter(fake).decrypt(VECTOR.replace(b"1,", b"%d," % version, 1))


@pytest.mark.parametrize("size", [0, 11, 12, 27])
def test_a_short_payload_names_the_key(fake: FakeKMS, size: int) -> None:
    fake.wrapped[WRAPPED] = (arn_of("abc"), DATA_KEY)
    blob = b'{"version":1,"encrypted-key":"+//+AAE=","payload":"' + base64.b64encode(VECTOR_BLOB[:size]) + b'"}'
    with pytest.raises(DecryptionError, match=rf"ciphertext shorter than nonce.*{size} bytes.*{arn_of('abc')}"):
        encrypter(fake).decrypt(blob)


def test_every_changed_byte_is_noticed_and_the_key_named(fake: FakeKMS) -> None:
    kms = encrypter(fake, arn_of("abc"))
    blob = kms.encrypt(b"state")
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises(DecryptionError):
            kms.decrypt(bytes(changed))
    payload = blob.rindex(b'"payload":"') + 20
    with pytest.raises(DecryptionError, match=f"message authentication failed.*{arn_of('abc')}"):
        kms.decrypt(blob[:payload] + (b"B" if blob[payload : payload + 1] == b"A" else b"A") + blob[payload + 1 :])


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=3
)
BLOBS = (
    st.binary(max_size=100)
    | st.builds(lambda cut, more: VECTOR[:cut] + more, st.integers(0, len(VECTOR)), st.binary(max_size=4))
    | st.builds(
        lambda document: json.dumps(document).encode(),
        st.fixed_dictionaries({"version": st.just(1) | ANY_JSON, "encrypted-key": ANY_JSON, "payload": ANY_JSON}),
    )
    | st.builds(
        lambda key, payload: encrypters._kms_blob(_Passing(), key, b"", payload),  # type: ignore[arg-type]
        st.binary(max_size=40) | st.just(WRAPPED),
        st.binary(max_size=60),
    )
)


class _Passing:
    def encrypt(self, nonce: bytes, plaintext: bytes, more: None) -> bytes:
        return plaintext


@given(BLOBS.filter(lambda blob: blob != VECTOR))
@settings(derandomize=True, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_any_other_blob_is_a_decryption_error_and_nothing_else(blob: bytes) -> None:
    fake = FakeKMS("abc")
    fake.wrapped[WRAPPED] = (arn_of("abc"), DATA_KEY)
    with pytest.raises(DecryptionError):
        encrypter(fake).decrypt(blob)


# --- how many calls ---


def test_many_writes_cost_one_call_and_reading_them_none(fake: FakeKMS) -> None:
    kms = encrypter(fake)
    blobs = [kms.encrypt(b"%d" % number) for number in range(100)]
    assert [kms.decrypt(blob) for blob in blobs] == [b"%d" % number for number in range(100)]
    assert fake.operations() == ["GenerateDataKey"]


def test_three_blobs_under_one_data_key_cost_one_decrypt(fake: FakeKMS) -> None:
    writer, reader = encrypter(fake), encrypter(fake)
    for blob in [writer.encrypt(b"x") for _ in range(3)]:
        reader.decrypt(blob)
    assert fake.operations() == ["GenerateDataKey", "Decrypt"]


def _at_once(count: int, work: Callable[[], object], all_started: threading.Event) -> None:
    started, failed = threading.Semaphore(0), []

    def run() -> None:
        started.release()
        try:
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for _ in threads:
        started.acquire()
    all_started.set()
    for thread in threads:
        thread.join(20)
    assert failed == []


def _wait_for(event: threading.Event, operation: str) -> None:
    assert event.wait(20)


def test_eight_threads_at_once_cost_one_call_each_way(fake: FakeKMS) -> None:
    blob = encrypter(fake).encrypt(b"x")
    fake.calls.clear()
    kms = encrypter(fake)
    works: list[Callable[[], object]] = [lambda: kms.encrypt(b"y"), lambda: kms.decrypt(blob)]
    for work in works:
        all_started = threading.Event()
        fake.before = partial(_wait_for, all_started)
        _at_once(8, work, all_started)
    assert fake.operations() == ["GenerateDataKey", "Decrypt"]


def test_eight_threads_and_a_key_for_three_messages_never_exceed_it(fake: FakeKMS) -> None:
    kms = encrypter(fake, max_messages=3)
    blobs: list[bytes] = []
    _at_once(8, lambda: blobs.extend(kms.encrypt(b"x") for _ in range(6)), threading.Event())
    used = [json.loads(blob)["encrypted-key"] for blob in blobs]
    assert len(used) == 48
    assert len(set(used)) == len(fake.calls) == 16
    assert {used.count(key) for key in used} == {3}


def test_a_slow_read_stalls_no_writer_that_has_its_key(fake: FakeKMS) -> None:
    blob, kms = encrypter(fake).encrypt(b"x"), encrypter(fake)
    kms.encrypt(b"first")
    asked, go = threading.Event(), threading.Event()

    def hold(operation: str) -> None:
        asked.set()
        assert go.wait(20)

    fake.before = hold
    reader = threading.Thread(target=kms.decrypt, args=(blob,))
    reader.start()
    assert asked.wait(20)
    kms.encrypt(b"second")  # would never end if it waited for the reader
    go.set()
    reader.join(20)
    assert fake.operations() == ["GenerateDataKey", "GenerateDataKey", "Decrypt"]


def test_waiting_for_another_thread_has_an_end(fake: FakeKMS, monkeypatch: pytest.MonkeyPatch) -> None:
    kms = encrypter(fake)
    monkeypatch.setattr("unobin_s3.datakeys._PATIENCE", 0.0)
    with kms._data_keys._ask, pytest.raises(TransportError, match="another thread") as caught:
        kms.encrypt(b"x")
    assert not caught.value.sent
    kms.encrypt(b"x")


def test_a_failed_call_leaves_no_lock_behind(fake: FakeKMS) -> None:
    kms = encrypter(fake)
    fake.plan = [failure("DisabledException", "disabled")]
    with pytest.raises(ServiceError, match="enable it"):
        kms.encrypt(b"x")
    assert kms.decrypt(kms.encrypt(b"x")) == b"x"


# --- how long keys live ---


def test_a_data_key_ends_after_its_messages(fake: FakeKMS) -> None:
    kms = encrypter(fake, max_messages=3)
    blobs = [kms.encrypt(b"x") for _ in range(7)]
    assert fake.operations() == ["GenerateDataKey"] * 3
    assert [kms.decrypt(blob) for blob in blobs] == [b"x"] * 7
    assert fake.operations() == ["GenerateDataKey"] * 3, "own writes under earlier keys cost nothing either"


@pytest.mark.parametrize("frozen", ["elapsed", "wall", ""])
def test_a_data_key_ends_after_its_age_by_either_clock(fake: FakeKMS, frozen: str) -> None:
    clock = StillClock()
    kms = encrypter(fake, clock=clock, max_age=3600)
    blob = kms.encrypt(b"x")

    def move(seconds: float) -> None:
        for name in {"elapsed", "wall"} - {frozen}:
            setattr(clock, name, getattr(clock, name) + seconds)

    move(3599)
    kms.encrypt(b"x")
    kms.decrypt(blob)
    assert fake.operations() == ["GenerateDataKey"]
    move(1)
    kms.encrypt(b"x")
    kms.decrypt(blob)
    assert fake.operations() == ["GenerateDataKey", "GenerateDataKey", "Decrypt"]
    kms.decrypt(blob)
    assert len(fake.calls) == 3


def test_reading_own_writes_ends_with_the_age_too(fake: FakeKMS) -> None:
    clock = StillClock()
    kms = encrypter(fake, clock=clock)
    blob = kms.encrypt(b"x")
    clock.sleep(3600)
    fake.keys.clear()  # the right to the key was withdrawn meanwhile
    with pytest.raises(NotFound):
        kms.decrypt(blob)
    with pytest.raises(NotFound):
        kms.encrypt(b"x")


def test_a_clock_set_back_does_not_lengthen_a_life(fake: FakeKMS) -> None:
    clock = StillClock()
    kms = encrypter(fake, clock=clock)
    kms.encrypt(b"x")
    clock.wall -= 86400
    clock.elapsed += 3600
    kms.encrypt(b"x")
    assert len(fake.calls) == 2


def test_the_time_a_call_takes_counts_as_age(fake: FakeKMS) -> None:
    clock = StillClock()
    kms = encrypter(fake, clock=clock, max_age=100)
    fake.before = lambda operation: clock.sleep(60)
    kms.encrypt(b"x")
    clock.sleep(41)
    kms.encrypt(b"x")
    assert len(fake.calls) == 2


def test_unwrapped_keys_are_few_and_the_least_used_goes_first(fake: FakeKMS) -> None:
    writer = encrypter(fake, max_messages=1)
    blobs = [writer.encrypt(b"x") for _ in range(33)]
    reader = encrypter(fake)
    own = reader.encrypt(b"own")
    for blob in blobs[:32]:
        reader.decrypt(blob)
    fake.calls.clear()
    reader.decrypt(blobs[0])
    reader.decrypt(own)
    assert fake.calls == [], "own writes stay readable however many others were read"
    reader.decrypt(blobs[32])
    reader.decrypt(blobs[0])
    assert fake.operations() == ["Decrypt"]
    reader.decrypt(blobs[1])
    assert fake.operations() == ["Decrypt", "Decrypt"]
    assert len(reader._data_keys._opened) == 32


def test_defaults_are_an_hour_and_a_million_messages(fake: FakeKMS) -> None:
    kms = encrypter(fake)
    assert (kms._data_keys._max_age, kms._data_keys._max_messages) == (3600.0, 2**20)


# --- which key ---


def test_describe_gives_the_configured_id_and_then_the_arn(fake: FakeKMS) -> None:
    config = {"aws": {"region": "us-east-1"}, "key-id": "ignored"}
    kms = encrypter(fake, "alias/state", config=config)
    assert kms.describe() == ("kms", {"aws": {"region": "us-east-1"}, "key-id": "alias/state"})
    kms.encrypt(b"x")
    assert kms.describe() == ("kms", {"aws": {"region": "us-east-1"}, "key-id": arn_of("abc")})
    assert config["key-id"] == "ignored"
    assert (kms.name, kms.authenticates) == ("kms", True)
    assert fake.calls == [("GenerateDataKey", {"KeyId": "alias/state", "KeySpec": "AES_256"})]


@pytest.mark.parametrize("key_id", ["abc", arn_of("abc"), "alias/state", arn_of("alias/state")])
def test_the_key_is_pinned_however_it_is_named(fake: FakeKMS, key_id: str) -> None:
    foreign = encrypter(fake, "other").encrypt(b"planted")
    own = encrypter(fake, key_id).encrypt(b"own")
    reader = encrypter(fake, key_id)
    assert reader.decrypt(own) == b"own"
    with pytest.raises(DecryptionError, match=rf"decrypt data key: KMS key {key_id} in us-east-1: .*another key"):
        reader.decrypt(foreign)
    assert fake.calls[-1][1]["KeyId"] == key_id


@pytest.mark.parametrize("key_id", ["abc", arn_of("abc"), arn_of("alias/state")])
def test_a_service_that_ignores_the_pin_is_found_out(fake: FakeKMS, key_id: str) -> None:
    blob = encrypter(fake).encrypt(b"x")
    foreign = arn_of("other").replace("111122223333", "999999999999")
    fake.plan = [good(bytes(32), foreign)]
    with pytest.raises(DecryptionError, match=f"was answered with the key {foreign}"):
        encrypter(fake, key_id).decrypt(blob)


def test_older_keys_are_tried_in_order_and_then_remembered(fake: FakeKMS) -> None:
    old = encrypter(fake, "other").encrypt(b"old")
    kms = encrypter(fake, "abc", older_keys=["missing", arn_of("other")])
    fake.calls.clear()
    assert kms.decrypt(old) == kms.decrypt(old) == b"old"
    assert [members["KeyId"] for _, members in fake.calls] == ["abc", "missing", arn_of("other")]
    kms.encrypt(b"new")
    assert kms.describe()[1] == {"key-id": arn_of("abc")}


def test_no_key_fits_names_them_all(fake: FakeKMS) -> None:
    blob = encrypter(fake).encrypt(b"x")
    fake.wrapped.clear()
    with pytest.raises(DecryptionError, match=r"KMS key abc in .*KMS key other in .*older_keys"):
        encrypter(fake, "abc", older_keys="other").decrypt(blob)


def test_a_missing_right_is_what_is_reported_when_no_key_fits(fake: FakeKMS) -> None:
    blob = encrypter(fake, "other").encrypt(b"x")
    fake.plan = [failure("IncorrectKeyException", ""), failure("AccessDeniedException", "not authorized")]
    with pytest.raises(AccessDenied, match=r"KMS key other in us-east-1: .*allow kms:Decrypt"):
        encrypter(fake, "abc", older_keys=("other",)).decrypt(blob)


def test_keys_of_other_regions_are_asked_there(fake: FakeKMS) -> None:
    far = arn_of("abc", "eu-west-1")
    fake.keys.add(far)
    blob = encrypter(fake, far).encrypt(b"far")
    assert fake.requests[-1].host == "kms.eu-west-1.amazonaws.com"
    assert encrypter(fake, "other", older_keys=[far]).decrypt(blob) == b"far"
    assert [request.host for request in fake.requests[1:]] == [
        "kms.us-east-1.amazonaws.com",
        "kms.eu-west-1.amazonaws.com",
    ]
    assert encrypter(fake, far, region=None).decrypt(blob) == b"far", "an ARN needs no region besides"


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        ("AccessDeniedException", AccessDenied, "allow kms:GenerateDataKey"),
        ("NotFoundException", NotFound, "check key_id and region"),
        ("DisabledException", ServiceError, "enable it"),
        ("KMSInvalidStateException", ServiceError, "scheduled for deletion"),
        ("com.amazonaws.kms#InvalidKeyUsageException", ServiceError, "use a symmetric one"),
        ("ThrottlingException", Throttled, "quota of KMS requests"),
    ],
)
def test_refusals_name_the_key_and_what_to_do(fake: FakeKMS, code: str, kind: type[ServiceError], advice: str) -> None:
    fake.plan = [failure(code, "The text of KMS")] * 1000
    with pytest.raises(
        kind, match=rf"^KMS key alias/x in us-east-1: .*The text of KMS.*request-7.*; .*{advice}"
    ) as caught:
        encrypter(fake, "alias/x").encrypt(b"x")
    assert caught.value.code == code.rpartition("#")[2]
    assert (caught.value.operation, caught.value.status) == ("GenerateDataKey", 400)


def test_throttling_while_reading_is_not_a_matter_of_keys(fake: FakeKMS) -> None:
    blob = encrypter(fake).encrypt(b"x")
    fake.plan = [failure("ThrottlingException", "slow down")] * 1000
    with pytest.raises(Throttled):
        encrypter(fake, older_keys=["other"]).decrypt(blob)
    assert {members["KeyId"] for _, members in fake.calls} == {"abc"}


def test_a_short_throttle_is_waited_out(fake: FakeKMS) -> None:
    fake.plan = [failure("ThrottlingException", "slow down")] * 3
    assert encrypter(fake).encrypt(b"x")
    assert len(fake.calls) == 4


# --- arguments, secrets, processes ---


@pytest.mark.parametrize("key_id", ["", None, b"abc", 7])
def test_a_key_id_is_required(key_id: object) -> None:
    with pytest.raises(ConfigurationError, match="kms encrypter: key-id is required"):
        KMS(key_id)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="every older key"):
        KMS("abc", older_keys=[key_id])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:s3:::bucket",
        "arn:aws:kms:us-east-1:1:key",
        "arn:aws:kms::1:key/abc",
        "arn:aws:kms:us-east-1.evil.example:1:key/abc",
        "arn:aws:kms:us-east-1:1:grant/abc",
        "arn:aws:kms:us-east-1:1:key/abc\n",
    ],
)
def test_an_arn_of_something_else_is_refused_at_once(arn: str) -> None:
    with pytest.raises(ConfigurationError, match="is not the ARN of a KMS key or alias"):
        KMS(arn)
    with pytest.raises(ConfigurationError, match="is not the ARN of a KMS key or alias"):
        KMS("abc", older_keys=[arn])


@pytest.mark.parametrize(
    "limits",
    [{"max_age": 0}, {"max_age": -1}, {"max_age": float("inf")}, {"max_age": float("nan")},
     {"max_messages": 0}, {"max_messages": 2**32 + 1}],
)  # fmt: skip
def test_limits_cannot_be_switched_off(limits: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="max_age must be positive seconds, max_messages 1 to"):
        KMS("abc", **limits)  # type: ignore[arg-type]


def test_making_one_sends_and_reads_nothing(fake: FakeKMS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unobin_s3.aws.kms.Settings", None)
    assert repr(encrypter(fake, older_keys=["other"])) == "KMS('abc')"


def test_no_key_or_secret_is_shown_or_pickled(fake: FakeKMS) -> None:
    kms = encrypter(fake, credentials=CREDENTIALS)
    fake.next_data_keys = [(b"planted-data-key-planted-data-ke", b"w")]
    kms.encrypt(b"x")
    kept = next(iter(kms._data_keys._opened.values()))
    for shown in (repr(kms), repr(vars(kms)), repr(vars(kms._data_keys)), repr(kept), repr(kept.cipher)):
        assert "planted" not in shown
    for copier in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            copier(kms)


def test_a_forked_child_is_not_stopped_by_locks_it_inherited(fake: FakeKMS) -> None:
    kms = encrypter(fake)
    blob = kms.encrypt(b"x")
    with kms._data_keys._lock, kms._data_keys._ask:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            fake._lock = threading.Lock()
            os._exit(0 if kms.decrypt(blob) == b"x" and encrypter(fake).decrypt(kms.encrypt(b"y")) == b"y" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# Sealing costs the ciphertext and the result; b2a_base64 asks for twice its input and gives back what it does not
# need. Opening costs the decoded text (KMS only) and the result.
@pytest.mark.parametrize(("make", "copies"), [(encrypter, 3), (lambda fake: EnvKey("V"), 2)])
def test_large_bodies_are_not_copied_needlessly(
    fake: FakeKMS, monkeypatch: pytest.MonkeyPatch, make: Callable[[FakeKMS], KMS | EnvKey], copies: int
) -> None:
    monkeypatch.setenv("V", base64.b64encode(DATA_KEY).decode())
    sealer, size = make(fake), 8 * 2**20
    body = bytes(size)
    small = sealer.encrypt(b"x")
    sealer.decrypt(small)
    tracemalloc.start()
    try:
        blob = sealer.encrypt(body)
        sealing = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        assert sealer.decrypt(blob) == body
        opening = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert sealing < copies * size + 2**17
    assert opening < (copies - 1) * size + 2**17
