# SPDX-License-Identifier: MIT
"""Signing one PUT with three signers: the same request, headers only, its body's hash given or of an empty body."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

ACCESS, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1"
HOST, PATH = "examplebucket.s3.amazonaws.com", "/network/prod/snapshots/2026-05-01T10%3A00%3A00.100000000Z.json.enc"
EMPTY = hashlib.sha256(b"").hexdigest()


def signer(name: str) -> Callable[[], object]:
    return {"unobin_s3": _own, "boto3": _botocore, "awscrt": _awscrt}[name]()


def _own() -> Callable[[], object]:
    import time

    from unobin_s3.aws.sigv4 import sign

    headers = {"if-none-match": "*"}
    return lambda: sign(
        method="PUT",
        host=HOST,
        path=PATH,
        query="",
        headers=headers,
        payload_hash=EMPTY,
        access_key_id=ACCESS,
        secret_access_key=SECRET,
        session_token=None,
        region=REGION,
        service="s3",
        now=time.time(),
    )


def _botocore() -> Callable[[], object]:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    auth = S3SigV4Auth(Credentials(ACCESS, SECRET), "s3", REGION)

    def sign() -> None:
        auth.add_auth(AWSRequest("PUT", f"https://{HOST}{PATH}", headers={"if-none-match": "*"}))

    return sign


def _awscrt() -> Callable[[], object]:
    from awscrt import auth, http

    provider = auth.AwsCredentialsProvider.new_static(ACCESS, SECRET)

    def sign() -> None:
        config = auth.AwsSigningConfig(
            algorithm=auth.AwsSigningAlgorithm.V4,
            signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=provider,
            region=REGION,
            service="s3",
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
            signed_body_value=EMPTY,
            signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )
        headers = http.HttpHeaders([("host", HOST), ("if-none-match", "*")])
        auth.aws_sign_request(http.HttpRequest("PUT", PATH, headers), config).result()

    return sign
