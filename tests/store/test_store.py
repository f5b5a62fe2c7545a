# SPDX-License-Identifier: MIT
"""The documented behaviour of Store, one test for each promise."""

from __future__ import annotations

import json
import logging
import shlex
import threading
from typing import Any

import pytest

from tests.store.conftest import MakeStore, QuickClock, client_of, snapshot, vouched
from unobin_s3 import (
    AccessDenied,
    ConfigurationError,
    DecryptionError,
    EnvelopeError,
    EnvKey,
    NoCurrentSnapshot,
    Noop,
    NotFound,
    PointerInvalid,
    PointerMissing,
    PointerMoved,
    S3Client,
    SnapshotFormatError,
    StateError,
    Store,
    seal,
)
from unobin_s3.cli.main import main
from unobin_s3.testing import Fault, S3Server

REV = "2026-05-01T10:00:00.000000001Z"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"client": None}, "client is required"),
        ({"bucket": ""}, "bucket is required"),
        ({"encrypter": None}, "encrypter is required"),
        ({"factory": ""}, "factory"),
        ({"stack": ""}, "stack"),
        ({"stack": "../x"}, "stack '../x'"),
        ({"factory": "a/snapshots"}, "snapshots"),
        ({"stack": "a//b"}, "empty segment"),
        ({"prefix": "a/../b"}, "prefix"),
    ],
)
def test_constructor_refuses(make: MakeStore, server: S3Server, missing: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make(**missing)
    assert server.requests == []


def test_layout_with_a_prefix(make: MakeStore, server: S3Server) -> None:
    store = make(prefix="team/a")
    rev = store.write(snapshot())
    store.set_current(rev)
    assert set(server.objects()) == {f"team/a/net/prod/snapshots/{rev}.json.enc", "team/a/net/prod/current"}


def test_layout_without_a_prefix(make: MakeStore, server: S3Server) -> None:
    rev = make().write(snapshot())
    assert set(server.objects()) == {f"net/prod/snapshots/{rev}.json.enc"}


def test_nothing_written_yet(make: MakeStore) -> None:
    with pytest.raises(NoCurrentSnapshot, match="s3://state/net/prod"):
        make().current()
    with pytest.raises(NoCurrentSnapshot):
        make().current_rev()


def test_write_and_read(make: MakeStore) -> None:
    store = make()
    written = snapshot(generated_at="2026-05-01T10:00:00Z")
    rev = store.write(written)
    assert store.get(rev) == written


def test_current_follows_the_pointer_and_not_the_writes(make: MakeStore, server: S3Server) -> None:
    store = make()
    first = store.write(snapshot("one"))
    store.set_current(first)
    assert server.objects()["net/prod/current"] == f"{first}\n".encode()
    store.write(snapshot("two"))
    assert store.current_rev() == first
    assert store.current() == snapshot("one")


def test_pointing_at_nothing_is_refused(make: MakeStore, server: S3Server) -> None:
    with pytest.raises(NotFound, match=f"set-current {REV}: there is no snapshot"):
        make().set_current(REV)
    assert server.objects() == {}


def test_delete_twice(make: MakeStore, server: S3Server) -> None:
    store = make()
    rev = store.write(snapshot())
    store.delete(rev)
    store.delete(rev)
    assert server.objects() == {}


def test_names_do_not_rest_on_the_clock(make: MakeStore, client: S3Client) -> None:
    clock = client.clock
    assert isinstance(clock, QuickClock)
    clock.frozen_ns = 1_777_629_600_000_000_001
    store = make(encrypter=Noop())
    assert [store.write(snapshot("same")) for _ in range(3)] == [REV, REV + "_1", REV + "_2"]


def test_a_hundred_names_and_no_more(make: MakeStore, client: S3Client, server: S3Server) -> None:
    clock = client.clock
    assert isinstance(clock, QuickClock)
    clock.frozen_ns = 1_777_629_600_000_000_001
    for suffix in ["", *(f"_{number}" for number in range(1, 100))]:
        server.put(f"net/prod/snapshots/{REV}{suffix}.json.enc", b"taken")
    with pytest.raises(StateError, match="no free revision name after 100 attempts"):
        make().write(snapshot())


def test_list_is_by_time_suffix_and_foreign_names_last(make: MakeStore, server: S3Server) -> None:
    revs = ["2026-05-01T10:00:00Z", "2026-05-01T10:00:00Z_2", "2026-05-01T10:00:00Z_10", "2026-05-01T10:00:00.1Z", "x"]
    for rev in reversed(revs):
        server.put(f"net/prod/snapshots/{rev}.json.enc", b"")
    server.put("net/prod/snapshots/readme.txt", b"")
    assert make().list() == revs


def test_sealed_with_the_env_key(make: MakeStore, server: S3Server) -> None:
    make().write(snapshot("clear value"))
    (body,) = server.objects().values()
    assert b"clear value" not in body
    envelope = json.loads(body)
    assert envelope["payload-type"] == "state"
    assert envelope["encrypter"] == {"name": "env-key", "body": {"env-var": "UB_STATE_KEY"}}


def test_kms_headers_on_every_put(make: MakeStore, server: S3Server) -> None:
    store = make(kms_key_id="key-1")
    with store.lock():
        store.set_current(store.write(snapshot()))
    puts = [record for record in server.requests if record.method == "PUT"]
    assert {record.key.rpartition("/")[2].partition("2")[0] for record in puts} == {"lock", "", "current"}
    for record in puts:
        assert record.headers["x-amz-server-side-encryption"] == "aws:kms"
        assert record.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-1"


def test_no_kms_headers_without_a_key(make: MakeStore, server: S3Server) -> None:
    make().write(snapshot())
    assert not [name for record in server.requests for name in record.headers if "encryption" in name]


def test_snapshots_are_created_conditionally(make: MakeStore, server: S3Server) -> None:
    make().write(snapshot())
    assert server.requests[-1].headers["if-none-match"] == "*"


# The pointer


@pytest.mark.parametrize(("body", "message"), [(b"", "is blank"), (b" \n\t", "is blank"), (b"a/../b\n", "no revision")])
def test_an_unusable_pointer_is_an_error(make: MakeStore, server: S3Server, body: bytes, message: str) -> None:
    server.put("net/prod/current", body)
    with pytest.raises(PointerInvalid, match=message) as caught:
        make().current()
    assert "set_current" in str(caught.value)


def test_a_pointer_to_nothing(make: MakeStore, server: S3Server) -> None:
    server.put("net/prod/current", b"2026-05-01T10:00:00Z\n")
    with pytest.raises(PointerInvalid, match="names 2026-05-01T10:00:00Z"):
        make().current()


def test_a_pointer_that_got_lost(make: MakeStore) -> None:
    store = make()
    store.write(snapshot())
    with pytest.raises(PointerMissing, match="no pointer"):
        store.current()
    with pytest.raises(NoCurrentSnapshot):
        make(allow_missing=True).current()


def test_the_fence_is_the_first_read_under_the_lock(make: MakeStore) -> None:
    store, other = make(), make()
    first = store.write(snapshot("first"))
    store.set_current(first)
    with store.lock():
        assert store.current_rev() == first
        mine = store.write(snapshot("mine"))
        theirs = other.write(snapshot("theirs"))
        other.set_current(theirs)
        with pytest.raises(PointerMoved) as read:
            store.current_rev()
        with pytest.raises(PointerMoved) as moved:
            store.set_current(mine)
    for caught in (read, moved):
        assert (caught.value.expected, caught.value.found) == (first, theirs)
    assert other.current() == snapshot("theirs")
    assert store.get(mine) == snapshot("mine")


def test_without_a_read_the_fence_begins_at_set_current(make: MakeStore) -> None:
    store = make()
    with store.lock() as lock:
        rev = store.write(snapshot())
        store.set_current(rev)
        assert lock.fence is not None and lock.fence.text == rev
        again = store.write(snapshot())
        store.set_current(again)
    assert store.current_rev() == again


def test_going_back_gives_the_pointer_bytes_it_never_had(make: MakeStore, server: S3Server) -> None:
    store = make()
    with store.lock():
        old = store.write(snapshot("old"))
        store.set_current(old)
        plain = server.objects()["net/prod/current"]
        store.set_current(store.write(snapshot("new")))
        store.set_current(old)
    body = server.objects()["net/prod/current"]
    assert body != plain
    assert body.startswith(plain) and body[len(plain) :].strip(b" \t") == b"\n"
    assert store.current_rev() == old


def test_expected_compares_without_a_lock(make: MakeStore) -> None:
    store = make()
    one, two = store.write(snapshot("one")), store.write(snapshot("two"))
    store.set_current(one, expected=None)
    with pytest.raises(PointerMoved) as caught:
        store.set_current(two, expected=None)
    assert (caught.value.expected, caught.value.found) == ("", one)
    store.set_current(two, expected=one)
    assert store.current_rev() == two


def test_a_pointer_that_was_written_but_not_answered(make: MakeStore, server: S3Server) -> None:
    store = make()
    with store.lock():
        store.set_current(store.write(snapshot("one")))
        rev = store.write(snapshot("two"))
        server.fault("PutObject /current", Fault(reset=True, applied=True))
        store.set_current(rev)
    assert store.current_rev() == rev


def test_a_store_without_conditional_put_of_the_pointer(
    make: MakeStore, server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    store = make()
    with store.lock():
        store.set_current(store.write(snapshot("one")))
        server.fault(lambda record: "if-match" in record.headers, Fault(501, "NotImplemented"), times=None)
        rev = store.write(snapshot("two"))
        with caplog.at_level(logging.WARNING):
            store.set_current(rev)
    assert "no conditional PUT" in caplog.text
    assert store.current_rev() == rev


def test_a_store_that_wants_etags_without_quotes(make: MakeStore, server: S3Server, client: S3Client) -> None:
    def quoted(record: Any) -> bool:
        return str(record.headers.get("if-match", "")).startswith('"') and record.method == "PUT"

    store = make()
    with store.lock():
        store.set_current(store.write(snapshot("one")))
        server.fault(quoted, Fault(412, "PreconditionFailed"), times=None)
        rev = store.write(snapshot("two"))
        store.set_current(rev)
        assert client.unquoted_etags
    assert store.current_rev() == rev


def test_a_bucket_that_denies_plain_puts_of_the_pointer(make: MakeStore, server: S3Server) -> None:
    store = make()
    one, two = store.write(snapshot("one")), store.write(snapshot("two"))
    store.set_current(one)

    def unconditional(record: Any) -> bool:
        return record.operation == "PutObject" and not {"if-match", "if-none-match"} & set(record.headers)

    server.fault(unconditional, Fault(403, "AccessDenied"), times=None)
    store.set_current(two)
    assert store.current_rev() == two


# What is refused


def test_wrong_key_names_the_object_and_the_variable(make: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make()
    rev = store.write(snapshot())
    monkeypatch.setenv("UB_STATE_KEY", "A" * 43 + "=")
    with pytest.raises(DecryptionError, match=r"sealed with env-key env-var UB_STATE_KEY") as caught:
        store.get(rev)
    assert f"s3://state/net/prod/snapshots/{rev}.json.enc" in str(caught.value)
    assert caught.value.rev == rev


@pytest.mark.parametrize(
    ("value", "message"),
    [(None, "is not set"), ("", "is not set"), ("QUJD" * 14, "decodes to 42 bytes"), ("?", "base64")],
)
def test_unusable_keys(
    make: MakeStore, server: S3Server, monkeypatch: pytest.MonkeyPatch, value: str | None, message: str
) -> None:
    if value is None:
        monkeypatch.delenv("UB_STATE_KEY")
    else:
        monkeypatch.setenv("UB_STATE_KEY", value)
    with pytest.raises(ConfigurationError, match=rf"UB_STATE_KEY.*{message}"):
        make().write(snapshot())
    assert server.requests == []


def test_truncated_envelope_and_foreign_payload(make: MakeStore, server: S3Server) -> None:
    store = make()
    rev = store.write(snapshot())
    (key,) = server.objects()
    server.put(key, server.objects()[key][:100])
    with pytest.raises(EnvelopeError, match=rev):
        store.get(rev)
    server.put(key, seal(b"{}", "plan", EnvKey("UB_STATE_KEY")))
    with pytest.raises(EnvelopeError, match="plan"):
        store.get(rev)


def test_another_stacks_snapshot(make: MakeStore, server: S3Server) -> None:
    rev = make().write(snapshot())
    (body,) = server.objects().values()
    server.put(f"net/test/snapshots/{rev}.json.enc", body)
    other = make(stack="test")
    with pytest.raises(StateError, match="is of stack 'prod', and this store is of 'test'"):
        other.get(rev)
    assert other.get(rev, any_stack=True) == snapshot()
    with pytest.raises(StateError, match="to be written"):
        other.write(snapshot())


def test_plaintext_beside_sealed_history(make: MakeStore) -> None:
    sealed = make()
    rev = sealed.write(snapshot())
    for pointed in (False, True):
        if pointed:
            sealed.set_current(rev)
        with pytest.raises(StateError, match="sealed with env-key"):
            make(encrypter=Noop()).write(snapshot())
    assert make(encrypter=Noop(), allow_plaintext=True).write(snapshot())


def test_reading_with_the_wrong_kind_of_encrypter(make: MakeStore) -> None:
    rev = make().write(snapshot())
    with pytest.raises(DecryptionError, match="env-key"):
        make(encrypter=Noop()).get(rev)


@pytest.mark.parametrize("rev", ["../x", "a/b", "", ".", "a\nb"])
def test_hostile_revisions_send_nothing(make: MakeStore, server: S3Server, rev: str) -> None:
    store = make()
    for call in (store.get, store.set_current, store.delete):
        with pytest.raises(ConfigurationError, match="revision"):
            call(rev)
    assert server.requests == []


def test_an_unencodable_value_names_its_place(make: MakeStore, server: S3Server) -> None:
    with pytest.raises(SnapshotFormatError, match=r"entries\[0\]\.outputs\.value"):
        make().write(snapshot(float("nan")))  # type: ignore[arg-type]
    assert server.requests == []


def test_damage_is_noticed_without_a_cipher(server: S3Server) -> None:
    client = client_of(server, checksum=True)
    store = Store(client, bucket="state", factory="net", stack="prod", encrypter=Noop())
    rev = store.write(snapshot())
    (body,) = server.objects().values()
    server.fault("GetObject", Fault(body=body.replace(b"e", b"f", 1)))
    with pytest.raises(Exception, match="damaged"):
        store.get(rev)
    client.close()


def test_no_bucket_no_right_wrong_secret(make: MakeStore, server: S3Server) -> None:
    with pytest.raises(NotFound, match=r"s3://nowhere/net/prod.*NoSuchBucket.*create the bucket"):
        make(bucket="nowhere", store_report=None).lock(timeout=0)
    server.add_user("LIMITED", "secret", deny=["s3:GetObject"])
    from unobin_s3 import Credentials

    limited = client_of(server, credentials=Credentials("LIMITED", "secret"))
    with pytest.raises(AccessDenied, match="s3:ListBucket"):
        make(client=limited, store_report=vouched(limited)).current()
    wrong = client_of(server, credentials=Credentials(server.access_key, "wrong-secret-value"))
    with pytest.raises(AccessDenied, match="check the secret access key") as caught:
        make(client=wrong, store_report=vouched(wrong)).current()
    assert "wrong-secret-value" not in repr(caught.value)
    limited.close()
    wrong.close()


def test_spill_keeps_what_could_not_be_uploaded(
    make: MakeStore, server: S3Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fault("PutObject", Fault(403, "AccessDenied"), times=None)
    store = make(spill=str(tmp_path))
    with pytest.raises(AccessDenied) as caught:
        store.write(snapshot())
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"unobin-s3 push {file} --bucket state --factory net --stack prod" in caught.value.__notes__[0]
    assert b"clear value" not in file.read_bytes()
    server._faults.clear()
    words = shlex.split(caught.value.__notes__[0].partition("upload it with: ")[2])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    assert main(words[1:]) == 0
    assert make().current() == snapshot()
    server.fault("PutObject", Fault(403, "AccessDenied"), times=None)
    plain = make(encrypter=Noop(), allow_plaintext=True, spill=str(tmp_path))
    with pytest.raises(AccessDenied) as caught:
        plain.write(snapshot())
    assert len(list(tmp_path.iterdir())) == 1
    assert "not kept" in caught.value.__notes__[0]


def test_threads_share_a_store(make: MakeStore) -> None:
    store = make()
    revs: list[str] = []
    threads = [threading.Thread(target=lambda: revs.append(store.write(snapshot()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(revs) == store.list() and len(set(revs)) == 8
