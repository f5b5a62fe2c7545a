# SPDX-License-Identifier: MIT
"""doctor: each missing right is named by its IAM action, and a store that cannot exclude is called unfit."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.cli.conftest import KEYS, Bench, Done, checked, variables
from tests.servers.launch import Site, fresh_bucket
from unobin_s3 import StoreReport
from unobin_s3.testing import Fault

RIGHTS = ["s3:ListBucket", "s3:PutObject", "s3:GetObject", "s3:DeleteObject"]


def _missing(document: dict[str, Any]) -> list[str]:
    return [check["action"] for check in document["checks"] if check["action"]]


def _check(done: Done, name: str) -> dict[str, Any]:
    (found,) = [check for check in done.document["checks"] if check["name"] == name]
    return dict(found)


def test_all_is_well(bench: Bench) -> None:
    (rev,) = bench.write("a")
    before = bench.server.objects()
    found = bench.run.json("doctor")
    assert found["ok"] and found["verdict"].startswith("FIT for locks and leases") and not _missing(found)
    details = {check["name"]: check["detail"] for check in found["checks"]}
    assert details["credentials"].startswith("key ...TING from environment variables; for http")
    assert "us-east-1" in details["credentials"] and f"{rev} is current, and the key opens it" in details["state"]
    assert details["key"] == "env-key env-var UB_STATE_KEY seals and opens" and details["bucket versioning"] == "off"
    assert StoreReport.from_dict(found["store-report"]).leases
    assert bench.server.objects() == before
    assert "FAILED" not in bench.run("doctor").out


@pytest.mark.parametrize("right", RIGHTS)
def test_a_missing_right_is_named(bench: Bench, right: str) -> None:
    bench.server.add_user("AKIDWEAK", "weak-secret-key", deny={right})
    weak = {"AWS_ACCESS_KEY_ID": "AKIDWEAK", "AWS_SECRET_ACCESS_KEY": "weak-secret-key"}
    done = bench.run("doctor", "--json", **weak)
    assert (done.code, _missing(done.document)) == (1, [right])
    assert done.document["store-report"] is None
    assert f"; missing: {right}" in bench.run("doctor", **weak).out


@pytest.mark.parametrize("right", RIGHTS)
def test_a_missing_right_is_named_on_ministack(bench: Bench, servers: Callable[[str], Site], right: str) -> None:
    site = fresh_bucket(servers("ministack"), f"doctor-{right[3:].lower()}")
    with closing(site.boto3("iam")) as iam:
        user = f"lacks-{right[3:]}"
        iam.create_user(UserName=user)
        statements = [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "Action": right, "Resource": "*"},
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=user, PolicyName="most", PolicyDocument=policy)
        key = iam.create_access_key(UserName=user)["AccessKey"]
    env = variables(site.url, key["AccessKeyId"], key["SecretAccessKey"], site.bucket)
    done = bench.run("doctor", "--json", **env)
    assert (done.code, _missing(done.document)) == (1, [right])


def test_two_missing_rights(bench: Bench) -> None:
    """Without the right to list, a refused read of what is absent tells nothing: it is not blamed."""
    bench.server.add_user("AKIDWEAK", "weak-secret-key", deny={"s3:ListBucket", "s3:PutObject"})
    done = bench.run("doctor", "--json", AWS_ACCESS_KEY_ID="AKIDWEAK", AWS_SECRET_ACCESS_KEY="weak-secret-key")
    assert _missing(done.document) == ["s3:ListBucket", "s3:PutObject"]
    assert _check(done, "right to read")["ok"] is None


def test_read_only_writes_nothing(bench: Bench) -> None:
    bench.write("a")
    bench.server.reset_requests()
    found = bench.run.json("doctor", "--read-only")
    assert found["ok"] and found["store-report"] is None
    assert {record.method for record in bench.server.requests} == {"GET", "HEAD"}


def test_a_store_that_does_not_exclude(bench: Bench) -> None:
    bench.server.fault("PutObject", Fault(ignore=("if-none-match",)), times=None)
    done = bench.run("doctor", "--json")
    assert done.code == 7 and done.document["verdict"].startswith("UNFIT")
    assert bench.run("gc", "--keep", "1").code in (5, 7)
    text = bench.run("doctor").out
    assert "FAILED  simultaneous" in text or "FAILED  create" in text
    assert "it must not hold locks" in text and "UNFIT" in text


def test_a_store_without_conditional_deletes(bench: Bench) -> None:
    bench.server.fault("DeleteObject", Fault(ignore=("if-match",)), times=None)
    done = bench.run("doctor", "--json")
    assert done.document["verdict"].startswith("FIT for locks, but not for leases") and done.code == 7
    assert bench.run("lock", "--lease", "30", "--", "true").code == 125


def test_a_wrong_key(bench: Bench) -> None:
    bench.write("a")
    done = bench.run("doctor", "--json", UB_STATE_KEY=KEYS["NEW_KEY"])
    assert done.code == 6 and _check(done, "key")["ok"] and "another key" in _check(done, "state")["detail"]
    done = bench.run("doctor", "--json", UB_STATE_KEY="short")
    assert done.code == 6 and not _check(done, "key")["ok"]


def test_what_comes_first_ends_it(bench: Bench) -> None:
    done = bench.run("doctor", "--json", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert done.code == 1 and [check["name"] for check in done.document["checks"]] == ["credentials"]
    done = bench.run("doctor", "--json", UNOBIN_S3_BUCKET="nowhere")
    assert done.code == 5 and "404" in _check(done, "bucket")["detail"]
    done = bench.run("doctor", "--json", UNOBIN_S3_ENDPOINT_URL="http://127.0.0.1:1")
    assert done.code == 1 and "127.0.0.1:1" in _check(done, "bucket")["detail"]


def test_a_clock_that_is_off(bench: Bench) -> None:
    import time

    bench.server.now = lambda: time.time() - 600
    done = bench.run("doctor", "--json")
    assert "+60" in _check(done, "bucket")["detail"] and "set it" in done.out and done.code == 1


@pytest.mark.parametrize("mode", ["read", "write", "gc"])
def test_policies(bench: Bench, mode: str) -> None:
    names = {
        "UNOBIN_S3_PREFIX": "a*b",
        "UNOBIN_S3_ENCRYPTER": "kms:alias/state,1234-abcd",
        "UNOBIN_S3_KMS_KEY_ID": "k1",
    }
    found = bench.run.json("policy", "--mode", mode, **names)["policy"]
    assert json.loads(bench.run("policy", "--mode", mode, **names).out) == found
    allowed = {(action, str(one["Resource"])) for one in found["Statement"] for action in one["Action"]}
    actions = {action for action, _ in allowed}
    wanted = {"read": set(), "write": {"s3:PutObject", "s3:DeleteObject"}, "gc": {"s3:PutObject", "s3:DeleteObject"}}
    assert {action for action in actions if action.startswith("s3:")} == {"s3:ListBucket", "s3:GetObject"} | wanted[
        mode
    ]
    deletes = [resource for action, resource in allowed if action == "s3:DeleteObject"]
    assert any("snapshots" in resource for resource in deletes) == (mode == "gc")
    assert all(
        "arn:aws:s3:::state/a${*}b/net/prod/" in resource
        for action, resource in allowed
        if action[:6] in ("s3:Put", "s3:Del")
    )
    aliased = [one for one in found["Statement"] if "kms:ResourceAliases" in str(one)]
    assert len(aliased) == (0 if mode == "gc" else 1)
    assert bench.run("policy", UNOBIN_S3_ENCRYPTER="kms:no key").code == 2


def test_the_policies_are_enough(bench: Bench, servers: Callable[[str], Site]) -> None:
    """On a server that checks them: what a mode is for works under its policy, and a write does not under `read`."""
    site = fresh_bucket(servers("ministack"), "policies")
    names = variables(site.url, site.access_key, site.secret_key, site.bucket)
    assert bench.run("push", _file(bench), **names).code == 0

    def acting(mode: str) -> dict[str, str]:
        policy = bench.run("policy", "--mode", mode, **names).out
        with closing(site.boto3("iam")) as iam:
            iam.create_user(UserName=f"only-{mode}")
            iam.put_user_policy(UserName=f"only-{mode}", PolicyName="only", PolicyDocument=policy)
            key = iam.create_access_key(UserName=f"only-{mode}")["AccessKey"]
        return variables(site.url, key["AccessKeyId"], key["SecretAccessKey"], site.bucket)

    read, write, gc = acting("read"), acting("write"), acting("gc")
    for command in (["status"], ["list"], ["pull"], ["doctor", "--read-only"]):
        assert bench.run(*command, **read).code == 0, command
    assert bench.run("push", _file(bench), **read).code == 1
    assert bench.run("push", _file(bench), **write).code == 0
    assert bench.run("reencrypt", "--to-env-key", "NEW_KEY", **write).code == 0
    assert bench.run("gc", "--keep", "1", "--grace", "0", **write).code == 1
    done = bench.run("gc", "--keep", "1", "--grace", "0", "--json", **gc)
    assert done.code == 0 and checked(done.document)["kept"] == 1


def _file(bench: Bench) -> str:
    import tempfile
    from pathlib import Path

    from tests.cli.conftest import snapshot
    from unobin_s3 import encode_snapshot

    path = Path(tempfile.mkdtemp()) / "state.json"
    path.write_bytes(encode_snapshot(snapshot()))
    return str(path)
