# SPDX-License-Identifier: MIT
"""The signer against two that nobody here wrote, botocore's and awscrt's, on thousands of nasty requests."""

from __future__ import annotations

import datetime
import hashlib
import random
import re
from unittest import mock

import pytest

from unobin_s3.aws import sigv4

auth = pytest.importorskip("botocore.auth")
crt = pytest.importorskip("awscrt.auth")
http = pytest.importorskip("awscrt.http")
awsrequest = pytest.importorskip("botocore.awsrequest")
botocore_credentials = pytest.importorskip("botocore.credentials")

S3_CASES = 3000
OTHER_CASES = 1000

NASTY = [
    *"aZ0 +%~'()*!&=?#;:@$,[]{}|\\^`\"<>\n\r\t\x01\x7f\ufeff\u2028._-/é", "  ", "%2F", "%20", "e\u0301",
    "日本", "😀", "/..", "/./", "...", "//", "/", "key", "snapshots", "2026-05-01T10:00:00Z",
]  # fmt: skip
HOSTS = [
    "bucket.s3.eu-central-1.amazonaws.com", "s3.amazonaws.com", "localhost:9000", "127.0.0.1:1", "[::1]:9000",
    "xn--bcher-kva.example", "minio.example.com:8443", "b.s3.cn-north-1.amazonaws.com.cn",
]  # fmt: skip
REGIONS = ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "auto", "garage", "RegionOne"]
VALUES = [
    "x",
    "",
    "*",
    '"d41d8cd9"',
    "  padded  ",
    "two  blanks",
    "tab\tinside",
    "a , b",
    "base64+/=",
    "x" * 300,
]
NAMES = [
    "content-type", "content-md5", "if-match", "if-none-match", "range", "x-amz-meta-a", "x-amz-meta-a-b",
    "x-amz-server-side-encryption", "x-amz-checksum-sha256", "x-amz-expected-bucket-owner",
]  # fmt: skip


class Case:
    """One request, made from one seed."""

    def __init__(self, seed: int, service: str = "s3") -> None:
        r = random.Random(f"{service}{seed}")
        self.service = service
        self.method = r.choice(["GET", "PUT", "HEAD", "DELETE", "POST"])
        self.host = r.choice(HOSTS)
        key = "".join(r.choices(NASTY, k=r.randrange(0, 12)))
        self.path = sigv4.quote("/" + key, "/")
        words = ["".join(r.choices(NASTY, k=r.randrange(1, 4))) for _ in range(6)]
        names = ["prefix", "list-type", "max-keys", "continuation-token", "lifecycle", *words]
        self.query = sigv4.canonical_query(
            [(r.choice(names), "".join(r.choices(NASTY, k=r.randrange(0, 5)))) for _ in range(r.randrange(0, 5))]
        )
        self.headers = {name: r.choice(VALUES) for name in r.sample(NAMES, r.randrange(0, 5))}
        self.body = r.randbytes(r.randrange(0, 50)) if self.method in ("PUT", "POST") else b""
        self.payload_hash = hashlib.sha256(self.body).hexdigest()
        self.access_key_id = r.choice(["AKIAIOSFODNN7EXAMPLE", "minio", "AK+/="])
        self.secret = r.choice(["wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "s", "sécret"])
        self.token = r.choice([None, None, "FwoGZXIvYXdzE//8=" * 20, "t+/="])
        self.region = r.choice(REGIONS)
        self.now = r.randrange(946684800, 4102444800)

    @property
    def url(self) -> str:
        return f"https://{self.host}{self.path}" + (f"?{self.query}" if self.query else "")

    @property
    def time(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.now, datetime.UTC)

    def ours(self) -> dict[str, str]:
        return sigv4.sign(
            method=self.method, host=self.host, path=self.path, query=self.query, headers=self.headers,
            payload_hash=self.payload_hash, access_key_id=self.access_key_id, secret_access_key=self.secret,
            session_token=self.token, region=self.region, service=self.service, now=self.now + 0.75,
        )  # fmt: skip

    def by_botocore(self) -> str:
        request = awsrequest.AWSRequest(self.method, self.url, dict(self.headers), self.body)
        request.context["payload_signing_enabled"] = True
        signer = auth.S3SigV4Auth if self.service == "s3" else auth.SigV4Auth
        key = botocore_credentials.Credentials(self.access_key_id, self.secret, self.token)
        with mock.patch.object(auth, "get_current_datetime", lambda: self.time):
            signer(key, self.service, self.region).add_auth(request)
        return str(request.headers["Authorization"])

    def by_awscrt(self) -> str:
        given = [("host", self.host), *self.headers.items()]
        target = self.url.removeprefix(f"https://{self.host}")
        request = http.HttpRequest(self.method, target, http.HttpHeaders(given))
        s3 = self.service == "s3"
        kind = crt.AwsSignedBodyHeaderType
        config = crt.AwsSigningConfig(
            algorithm=crt.AwsSigningAlgorithm.V4,
            signature_type=crt.AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=crt.AwsCredentialsProvider.new_static(self.access_key_id, self.secret, self.token),
            region=self.region,
            service=self.service,
            date=self.time,
            use_double_uri_encode=not s3,
            should_normalize_uri_path=not s3,
            signed_body_value=self.payload_hash,
            signed_body_header_type=kind.X_AMZ_CONTENT_SHA_256 if s3 else kind.NONE,
        )
        crt.aws_sign_request(request, config).result(10)
        return str(request.headers.get("Authorization"))


def parts(authorization: str) -> tuple[str, ...]:
    found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=(\S+), SignedHeaders=(\S+), Signature=(\w{64})", authorization)
    assert found is not None, authorization
    return found.groups()


@pytest.mark.parametrize("block", range(10))
def test_s3_as_botocore_and_awscrt(block: int) -> None:
    for seed in range(block, S3_CASES, 10):
        case = Case(seed)
        ours = parts(case.ours()["authorization"])
        assert ours == parts(case.by_botocore()), (seed, case.url, case.headers)
        assert ours == parts(case.by_awscrt()), (seed, case.url, case.headers)


@pytest.mark.parametrize("service", ["sts", "kms"])
def test_other_services_as_botocore_and_awscrt(service: str) -> None:
    for seed in range(OTHER_CASES):
        case = Case(seed, service)
        ours = parts(case.ours()["authorization"])
        assert ours == parts(case.by_botocore()), (seed, case.url, case.headers)
        assert ours == parts(case.by_awscrt()), (seed, case.url, case.headers)


def test_headers_come_back_as_botocore_sends_them() -> None:
    case = next(case for case in map(Case, range(100)) if case.token)
    request = awsrequest.AWSRequest(case.method, case.url, dict(case.headers), case.body)
    key = botocore_credentials.Credentials(case.access_key_id, case.secret, case.token)
    with mock.patch.object(auth, "get_current_datetime", lambda: case.time):
        auth.S3SigV4Auth(key, "s3", case.region).add_auth(request)
    theirs = {name.lower(): value for name, value in request.headers.items()}
    assert {name: theirs[name] for name in case.ours()} == case.ours()
