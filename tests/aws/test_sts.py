# SPDX-License-Identifier: MIT
"""Roles assumed at real servers, requests as botocore writes them, and sessions that end while 64 threads work."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import boto3
import botocore.config
import pytest
from botocore.args import LEGACY_GLOBAL_STS_REGIONS

from tests.aws import link_server
from tests.aws.link_server import Asked, Link, key_document
from tests.servers.launch import Site
from unobin_s3.aws import endpoint, profiles, providers, sts
from unobin_s3.aws.caller import Call, Caller
from unobin_s3.aws.credentials import Credentials, CredentialSource
from unobin_s3.aws.transport import HttpxTransport
from unobin_s3.errors import AccessDenied, ConfigurationError, CredentialsError

ROLE = "arn:aws:iam::123456789012:role/state"
MEMBERS = {"RoleArn": ROLE, "RoleSessionName": "me@home, +=x"}
BASE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "token/+=")


@pytest.fixture
def link() -> Iterator[Link]:
    with link_server.running(link_server.security_tokens) as running:
        yield running


@pytest.fixture
def caller() -> Iterator[Caller]:
    transport = HttpxTransport({})
    yield Caller(transport=transport, credentials=None, total=10)
    transport.close()


def at(url: str) -> endpoint.Endpoint:
    return endpoint.resolve("sts", region="eu-west-1", endpoint_url=url)


def form(asked: Asked) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(asked.body.decode(), strict_parsing=True).items()}


def test_assume_role_asks_what_botocore_asks(link: Link, caller: Caller) -> None:
    ours = sts.assume(caller, at(link.url), BASE, {**MEMBERS, "ExternalId": "a/b c:d", "DurationSeconds": "900"})
    client = boto3.client(
        "sts",
        region_name="eu-west-1",
        endpoint_url=link.url,
        aws_access_key_id=BASE.access_key_id,
        aws_secret_access_key=str(BASE.secret_access_key),
        aws_session_token=str(BASE.session_token),
    )
    theirs = client.assume_role(
        RoleArn=ROLE, RoleSessionName=MEMBERS["RoleSessionName"], ExternalId="a/b c:d", DurationSeconds=900
    )["Credentials"]
    client.close()
    assert ours.access_key_id == theirs["AccessKeyId"] and ours.secret_access_key == theirs["SecretAccessKey"]
    assert ours.session_token == theirs["SessionToken"] and ours.expires_at == theirs["Expiration"]
    first, second = link.asked
    assert form(first) == form(second) and (first.method, first.path) == (second.method, second.path) == ("POST", "/")
    for name in ("content-type", "x-amz-security-token"):
        assert first.headers[name] == second.headers[name]
    scope = re.compile(
        r"Credential=AKIDEXAMPLE/\d{8}/eu-west-1/sts/aws4_request, SignedHeaders=content-type;host;x-amz"
    )
    assert scope.search(first.headers["authorization"]) and scope.search(second.headers["authorization"])


def test_web_identity_asks_what_botocore_asks_and_signs_nothing(link: Link, caller: Caller) -> None:
    ours = sts.assume(
        caller, at(link.url), None, {**MEMBERS, "WebIdentityToken": "eyJ.a-b.c_d", "DurationSeconds": None}
    )
    unsigned = botocore.config.Config(signature_version=botocore.UNSIGNED)
    client = boto3.client("sts", region_name="eu-west-1", endpoint_url=link.url, config=unsigned)
    theirs = client.assume_role_with_web_identity(WebIdentityToken="eyJ.a-b.c_d", **MEMBERS)
    client.close()
    assert ours.access_key_id == theirs["Credentials"]["AccessKeyId"]
    first, second = link.asked
    assert form(first) == form(second)
    assert not {"authorization", "x-amz-security-token", "x-amz-date"} & first.headers.keys()


FIPS = {"AWS_USE_FIPS_ENDPOINT": "true"}
LEGACY = {"AWS_STS_REGIONAL_ENDPOINTS": "legacy"}


@pytest.mark.parametrize(
    ("region", "url", "env", "profile", "expected"),
    [
        ("eu-west-1", None, {}, {}, "https://sts.eu-west-1.amazonaws.com eu-west-1"),
        ("cn-north-1", None, {}, {}, "https://sts.cn-north-1.amazonaws.com.cn cn-north-1"),
        (None, None, {}, {}, "https://sts.amazonaws.com us-east-1"),
        ("us-east-1", None, LEGACY | FIPS, {}, "https://sts-fips.us-east-1.amazonaws.com us-east-1"),
        ("eu-west-1", None, {}, {"use_dualstack_endpoint": "true"}, "https://sts.eu-west-1.api.aws eu-west-1"),
        ("eu-west-1", None, LEGACY, {}, "https://sts.amazonaws.com us-east-1"),
        ("eu-west-1", None, {}, {"sts_regional_endpoints": "legacy"}, "https://sts.amazonaws.com us-east-1"),
        ("eu-south-1", None, LEGACY, {}, "https://sts.eu-south-1.amazonaws.com eu-south-1"),
        ("eu-west-1", "http://127.0.0.1:9/sts", LEGACY, {}, "http://127.0.0.1:9 eu-west-1"),
    ],
)  # fmt: skip
def test_where_sts_is(
    region: str | None, url: str | None, env: dict[str, str], profile: dict[str, str], expected: str
) -> None:
    found = sts.endpoint_for(region, url, env, profile)
    assert f"{found.scheme}://{found.host} {found.region}" == expected


def test_legacy_regions_are_botocores() -> None:
    legacy = set()
    for region in boto3.session.Session().get_available_regions("sts"):
        if sts.endpoint_for(region, None, LEGACY, {}).host == "sts.amazonaws.com":
            legacy.add(region)
    assert legacy == set(LEGACY_GLOBAL_STS_REGIONS) - {"aws-global"}


def test_an_unknown_way_to_choose_the_endpoint_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="AWS_STS_REGIONAL_ENDPOINTS must be regional or legacy, not 'x'"):
        sts.endpoint_for("eu-west-1", None, {"AWS_STS_REGIONAL_ENDPOINTS": "x"}, {})


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("", "not"),
        ("<html></html>", "not the promised document"),
        ("<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>", "Credentials"),
        (
            (
                "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId></Credentials>"
                "</AssumeRoleResult></AssumeRoleResponse>"
            ),
            "the answer has no Expiration, SecretAccessKey, SessionToken",
        ),
        (link_server.security_tokens, "the expiration is not a time"),
    ],
)
def test_answers_that_are_refused(
    link: Link, caller: Caller, body: str | Callable[[Asked], tuple[int, bytes]], part: str
) -> None:
    if callable(body):
        usual = body
        link.answer = lambda asked: (200, usual(asked)[1].replace(b"2099-01-01T00:00:00Z", b"soon"))
    else:
        text = body.encode()
        link.answer = lambda asked: (200, text)
    with pytest.raises(CredentialsError, match=part) as caught:
        sts.assume(caller, at(link.url), BASE, MEMBERS)
    assert str(caught.value).startswith("AssumeRole at 127.0.0.1:")


def test_a_refusal_is_told_with_role_profile_and_reason(link: Link, caller: Caller, tmp_path: Path) -> None:
    link.answer = lambda asked: (
        403,
        (
            b'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
            b"<Code>AccessDenied</Code><Message>User is not authorized</Message></Error>"
            b"<RequestId>r-1</RequestId></ErrorResponse>"
        ),
    )
    (tmp_path / "config").write_text(f"[profile x]\nrole_arn = {ROLE}\ncredential_source = Environment\n")
    env = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL_STS": link.url}
    with pytest.raises(CredentialsError) as caught:
        chain(env | {"AWS_CONFIG_FILE": f"{tmp_path}/config"}, caller, "x").get()
    assert f"role {ROLE} of profile 'x': AssumeRole: 403 AccessDenied: User is not authorized" in str(caught.value)
    assert "r-1" in str(caught.value)
    cause = caught.value.__cause__
    assert isinstance(cause, AccessDenied) and cause.code == "AccessDenied" and cause.request_id == "r-1"


def chain(env: dict[str, str], caller: Caller, profile: str | None = None) -> CredentialSource:
    found = profiles.load(env)
    return providers.default_chain(
        env, found, profile, caller=caller, transport=caller.transport, now=caller.clock.time, region="eu-west-1"
    )


REAL = "arn:aws:iam::000000000000:role/"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
TRUST = {"Effect": "Allow", "Principal": "*", "Action": ["sts:AssumeRole", "sts:AssumeRoleWithWebIdentity"]}


@pytest.fixture(params=["moto", "ministack"])
def real(request: pytest.FixtureRequest, servers: Callable[[str], Site], tmp_path: Path) -> tuple[Site, dict[str, str]]:
    """A server with roles, and an environment whose profiles want them."""
    site = servers(request.param)
    iam = site.boto3("iam")
    for role in ("outer", "inner", "web"):
        if role not in {one["RoleName"] for one in iam.list_roles()["Roles"]}:
            trust = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust)
            iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
    iam.close()
    (tmp_path / "config").write_text(
        f"[profile outer]\nrole_arn = {REAL}outer\nsource_profile = inner\nrole_session_name = s1\n"
        f"[profile inner]\nrole_arn = {REAL}inner\nsource_profile = base\nduration_seconds = 1800\n"
        f"[profile web]\nrole_arn = {REAL}web\nweb_identity_token_file = {tmp_path}/token\n"
        f"[profile denied]\nrole_arn = {REAL}gone\nsource_profile = base\n"
    )
    (tmp_path / "token").write_text("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln")
    (tmp_path / "credentials").write_text(
        f"[base]\naws_access_key_id = {site.access_key}\naws_secret_access_key = {site.secret_key}\n"
    )
    return site, {
        "AWS_CONFIG_FILE": f"{tmp_path}/config",
        "AWS_SHARED_CREDENTIALS_FILE": f"{tmp_path}/credentials",
        "AWS_ENDPOINT_URL_STS": site.url,
    }


@pytest.mark.parametrize("profile", ["inner", "outer", "web"])
def test_roles_at_a_real_server(real: tuple[Site, dict[str, str]], profile: str, caller: Caller) -> None:
    """A role, a role of a role, and a web identity; what comes out is whom the server says it is."""
    site, env = real
    found = chain(env, caller, profile).get()
    assert found.session_token and found.expires_at is not None
    assert found.expires_at > datetime.now(UTC) + timedelta(minutes=10)
    identity = boto3.client(
        "sts",
        region_name=site.region,
        endpoint_url=site.url,
        aws_access_key_id=found.access_key_id,
        aws_secret_access_key=str(found.secret_access_key),
        aws_session_token=str(found.session_token),
    )
    assert f"/{profile}/" in identity.get_caller_identity()["Arn"]
    identity.close()


def test_a_role_that_iam_denies(real: tuple[Site, dict[str, str]], caller: Caller) -> None:
    site, env = real
    if site.name == "moto":
        return  # it denies nothing
    with pytest.raises(CredentialsError, match=f"role {REAL}gone of profile 'denied': AssumeRole: 403 AccessDenied"):
        chain(env, caller, "denied").get()


class Service:
    """A container endpoint that hands out K1, K2, ..., and an S3 that refuses those that have expired."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.issued, self.expired, self.refused = 0, 0, 0

    def expire(self) -> None:
        self.expired = self.issued

    def answer(self, asked: Asked) -> tuple[int, bytes]:
        with self.lock:
            if asked.path == "/container":
                self.issued += 1
                return 200, key_document(f"K{self.issued}")
            number = int(re.findall(r"Credential=K(\d+)/", asked.headers["authorization"])[0])
            if number <= self.expired:
                self.refused += 1
                return 400, b"<Error><Code>ExpiredToken</Code><Message>over</Message></Error>"
            return 200, b"ok"


def test_64_threads_whose_session_ends_renew_once_each_time_and_no_call_fails(link: Link, caller: Caller) -> None:
    """The expiry says valid until 2099; the service ends the session between two calls of every thread."""
    service = Service()
    link.answer = service.answer
    source = chain({"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{link.url}/container"}, caller)
    signed = caller.with_credentials(source)
    host = link.url.removeprefix("http://")
    call = Call(operation="GetObject", service="s3", region="x", method="GET", scheme="http", host=host, path="/b/k")
    between = threading.Barrier(64, action=service.expire, timeout=60)
    answers: list[bytes] = []

    def work() -> None:
        for _ in range(4):
            answers.extend(signed.send(call).body for _ in range(2))
            between.wait()

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [b"ok"] * (64 * 4 * 2)
    assert service.issued == 4, "the first set, and one renewal for each of the three sessions that ended"
    assert 3 <= service.refused <= 3 * 64
