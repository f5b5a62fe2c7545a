# SPDX-License-Identifier: MIT
"""Every stage of the signer against the worked examples of AWS, and the rules those examples do not show."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from unobin_s3.aws import sigv4

EXAMPLES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "sigv4_examples.json").read_text())["header"]
EMPTY = hashlib.sha256(b"").hexdigest()
MAY_2013 = 1369353600.0  # 20130524T000000Z
# AWS, "Deriving the signing key", https://docs.aws.amazon.com/IAM/latest/UserGuide/signing-elements.html
DERIVED = "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"

each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])


def headers_of(example: dict[str, Any]) -> dict[str, str]:
    given = {name.lower(): value for name, value in example["headers"]}
    digest = hashlib.sha256(example["body"].encode()).hexdigest()
    return given | {
        "host": example["host"],
        "x-amz-content-sha256": digest,
        "x-amz-date": example["timestamp"],
    }


def scope_of(example: dict[str, Any]) -> str:
    return f"{example['timestamp'][:8]}/{example['region']}/{example['service']}/aws4_request"


def signed(**changes: Any) -> dict[str, str]:
    arguments: dict[str, Any] = {
        "method": "PUT", "host": "bucket.example.com", "path": "/key", "query": "", "headers": {},
        "payload_hash": EMPTY, "access_key_id": "AKID", "secret_access_key": "secret", "session_token": None,
        "region": "us-east-1", "service": "s3", "now": MAY_2013,
    }  # fmt: skip
    return sigv4.sign(**arguments | changes)


def signed_names(answer: dict[str, str]) -> list[str]:
    return answer["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")


@each_example
def test_canonical_request(example: dict[str, Any]) -> None:
    headers = headers_of(example)
    query = sigv4.canonical_query([(name, value) for name, value in example["query"]])
    canonical, names = sigv4.canonical_request(
        example["method"], sigv4.quote(example["path"], "/"), query, headers, headers["x-amz-content-sha256"]
    )
    assert canonical == example["expect"]["canonical_request"]
    assert names == example["expect"]["signed_headers"]
    assert hashlib.sha256(canonical.encode()).hexdigest() == example["published"]["canonical_request_sha256"]


@each_example
def test_string_to_sign(example: dict[str, Any]) -> None:
    expect = example["expect"]
    found = sigv4.string_to_sign(example["timestamp"], scope_of(example), expect["canonical_request"])
    assert found == expect["string_to_sign"]


def test_signing_key_is_the_published_one() -> None:
    key = sigv4.signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam")
    assert key.hex() == DERIVED


@each_example
def test_signature(example: dict[str, Any]) -> None:
    secret = example["credentials"]["secret_key"]
    key = sigv4.signing_key(secret, example["timestamp"][:8], example["region"], example["service"])
    assert sigv4.signature(key, example["expect"]["string_to_sign"]) == example["published"]["signature"]


@pytest.mark.parametrize(
    "example", [e for e in EXAMPLES if e["name"] != "PUT Object"], ids=lambda example: example["name"]
)
def test_whole_header(example: dict[str, Any]) -> None:
    """All but PUT Object, which signs the Date header; it is composed of its stages above."""
    answer = signed(
        method=example["method"],
        host=example["host"],
        path=sigv4.quote(example["path"], "/"),
        query=sigv4.canonical_query([(name, value) for name, value in example["query"]]),
        headers={name.lower(): value for name, value in example["headers"]},
        access_key_id=example["credentials"]["access_key"],
        secret_access_key=example["credentials"]["secret_key"],
    )
    assert answer == {
        "authorization": example["expect"]["authorization"],
        "x-amz-date": example["timestamp"],
        "x-amz-content-sha256": EMPTY,
    }


def test_quote_escapes_all_but_the_unreserved() -> None:
    kept = "ABCXYZabcxyz0189-._~"
    assert sigv4.quote(kept) == kept
    assert sigv4.quote("a b+c/d%2F\n\x7fé😀") == "a%20b%2Bc%2Fd%252F%0A%7F%C3%A9%F0%9F%98%80"
    assert sigv4.quote("a/b c", "/") == "a/b%20c"
    assert sigv4.quote("!\"#$&'()*,:;<=>?@[\\]^`{|}") == (
        "%21%22%23%24%26%27%28%29%2A%2C%3A%3B%3C%3D%3E%3F%40%5B%5C%5D%5E%60%7B%7C%7D"
    )


def test_quote_refuses_a_lone_surrogate() -> None:
    with pytest.raises(UnicodeEncodeError):
        sigv4.quote("a\ud800b")


def test_query_is_sorted_by_encoded_name_then_value() -> None:
    pairs = [("b", "2"), ("a", "~"), ("a", "z"), ("a-", "1"), ("é", ""), ("a", " ="), ("B", "x")]
    assert sigv4.canonical_query(pairs) == "%C3%A9=&B=x&a=%20%3D&a=z&a=~&a-=1&b=2"
    assert sigv4.canonical_query([]) == ""


def test_values_lose_outer_blanks_and_inner_runs() -> None:
    canonical, names = sigv4.canonical_request("GET", "/", "", {"b": "  x \t  y ", "a": ""}, "-")
    assert canonical == "GET\n/\n\na:\nb:x y\n\na;b\n-"
    assert names == "a;b"
    for value in ("x y ", " x y", "x\ty", "x  y"):
        assert sigv4.canonical_request("GET", "/", "", {"a": value}, "-")[0] == "GET\n/\n\na:x y\n\na\n-"
    for value in ("x ", " x", "x\t"):
        assert sigv4.canonical_request("GET", "/", "", {"a": value}, "-")[0] == "GET\n/\n\na:x\n\na\n-"


def test_only_what_the_service_acts_upon_is_signed() -> None:
    answer = signed(
        headers={
            "accept": "*/*", "accept-encoding": "gzip", "user-agent": "x", "content-length": "3",
            "expect": "x", "content-type": "a/b", "content-md5": "x", "if-match": "x", "if-none-match": "*",
            "range": "x", "x-amz-meta-a": "1", "x-amzn-trace-id": "no", "x-other": "no",
        },
        session_token="token",
    )  # fmt: skip
    assert signed_names(answer) == [
        "content-md5", "content-type", "host", "if-match", "if-none-match", "range",
        "x-amz-content-sha256", "x-amz-date", "x-amz-meta-a", "x-amz-security-token",
    ]  # fmt: skip
    assert answer["x-amz-security-token"] == "token"


def test_no_token_header_without_a_token() -> None:
    for absent in (None, ""):
        assert "x-amz-security-token" not in signed(session_token=absent)


def test_a_stale_date_in_the_headers_is_replaced() -> None:
    assert signed(headers={"x-amz-date": "20000101T000000Z"}) == signed()


def test_other_services_have_no_payload_header_and_sign_a_normalised_path_encoded_twice() -> None:
    plain = signed(service="sts", path="/a/b%2520c/")
    assert "x-amz-content-sha256" not in plain
    for same in ("//a/./x/../b%2520c/", "/a//b%2520c/", "/../a/b%2520c/"):
        assert signed(service="sts", path=same) == plain
    assert signed(service="sts", path="/a/b%2520c") != plain
    assert signed(service="sts", path="/") == signed(service="sts", path="/a/..")


def test_s3_signs_the_path_as_it_is() -> None:
    paths = ["/a", "/a/", "//a", "/a//b", "/a%2Fb", "/a/b", "/%2E", "/%2E%2E/a", "/"]
    assert len({signed(path=path)["authorization"] for path in paths}) == len(paths)


def test_the_time_is_utc_and_whole_seconds() -> None:
    assert signed(now=0.0)["x-amz-date"] == "19700101T000000Z"
    assert signed(now=1709164799.999)["x-amz-date"] == "20240228T235959Z"
    assert signed(now=1709164800)["x-amz-date"] == "20240229T000000Z"
    assert signed(now=4102444799.5)["x-amz-date"] == "20991231T235959Z"


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"}, {"host": "bucket.example.com:443"}, {"path": "/Key"}, {"query": "a="},
        {"headers": {"if-match": '"x"'}}, {"payload_hash": "0" * 64}, {"access_key_id": "AKIE"},
        {"secret_access_key": "Secret"}, {"session_token": "t"}, {"region": "us-east-2"}, {"service": "sts"},
        {"now": MAY_2013 + 1}, {"now": MAY_2013 + 86400},
    ],
    ids=str,
)  # fmt: skip
def test_everything_given_is_under_the_signature(change: dict[str, Any]) -> None:
    assert signed(**change)["authorization"] != signed()["authorization"]


def test_the_key_cache_stays_small_and_right_under_threads() -> None:
    right = {str(n): sigv4.signing_key.__wrapped__(f"s{n}", "20260101", "eu-west-1", "s3") for n in range(40)}
    wrong: list[str] = []

    def work() -> None:
        for n in [*range(40)] * 5:
            if sigv4.signing_key(f"s{n}", "20260101", "eu-west-1", "s3") != right[str(n)]:
                wrong.append(str(n))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sigv4.signing_key.cache_info().currsize <= 8
