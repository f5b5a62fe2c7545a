# SPDX-License-Identifier: MIT
"""Each place where credentials are looked for, what it says when it has none, and what it says when it fails."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.aws import link_server
from tests.aws.link_server import Asked, Link, assumed_key, key_document
from unobin_s3.aws import metadata, profiles, providers
from unobin_s3.aws.caller import Caller
from unobin_s3.aws.credentials import Credentials, CredentialSource
from unobin_s3.aws.settings import Settings
from unobin_s3.aws.transport import HttpxTransport, Request, Response, Transport
from unobin_s3.errors import ConfigurationError, CredentialsError, TransportError, UnobinS3Error

NOW = datetime(2026, 5, 1, tzinfo=UTC).timestamp()
ROLE = "arn:aws:iam::123456789012:role/"


@pytest.fixture
def link() -> Iterator[Link]:
    with link_server.running(lambda asked: (404, b"")) as running:
        yield running


@pytest.fixture(scope="module")
def transport() -> Iterator[HttpxTransport]:
    transport = HttpxTransport({})
    yield transport
    transport.close()


class Here:
    """One environment with its files."""

    def __init__(self, folder: Path, transport: HttpxTransport, link: Link) -> None:
        self.folder, self.transport, self.link = folder, transport, link
        self.now = NOW
        self.env = {
            "AWS_CONFIG_FILE": str(folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_STS": link.url,
        }

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def chain(self, profile: str | None = None) -> CredentialSource:
        return providers.default_chain(
            self.env,
            profiles.load(self.env),
            profile,
            caller=Caller(transport=self.transport, credentials=None, total=5),
            transport=self.transport,
            now=lambda: self.now,
            region="eu-central-1",
        )

    def get(self, profile: str | None = None) -> Credentials:
        return self.chain(profile).get()

    def fails(self, kind: type[UnobinS3Error], profile: str | None = None) -> str:
        with pytest.raises(kind) as caught:
            self.get(profile)
        assert type(caught.value) is kind
        return str(caught.value)


@pytest.fixture
def here(tmp_path: Path, transport: HttpxTransport, link: Link) -> Here:
    return Here(tmp_path, transport, link)


# --- nothing anywhere ---


def test_nothing_anywhere_lists_every_source_and_why(here: Here) -> None:
    message = here.fails(CredentialsError)
    assert message.startswith("no AWS credentials found. Tried: environment variables (AWS_ACCESS_KEY_ID is not set); ")
    for part in (
        "web identity of the environment (AWS_WEB_IDENTITY_TOKEN_FILE is not set)",
        f"profile 'default' (it is not in {here.folder}/config (not there) or {here.folder}/credentials (not there))",
        "container credentials (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and ..._FULL_URI are not set)",
        "EC2 instance metadata (AWS_EC2_METADATA_DISABLED is true)",
    ):
        assert part in message


def test_a_profile_with_nothing_says_so_for_each_kind(here: Here) -> None:
    here.write("config", "[profile dev]\nregion = eu-west-1\n")
    message = here.fails(CredentialsError, "dev")
    for part in (
        "role of profile 'dev' (there is no role_arn",
        "web identity of profile 'dev' (web_identity_token_file is not set)",
        "keys of profile 'dev' in the credentials file (not there)",
        "credential_process of profile 'dev' (there is no credential_process)",
        "keys of profile 'dev' in the config file (there is no aws_access_key_id)",
    ):
        assert part in message
    assert "environment variables" not in message, "a profile given by argument leaves the environment out"


def test_nothing_is_read_or_sent_before_the_first_get(here: Here) -> None:
    here.env["AWS_ACCESS_KEY_ID"], here.env["AWS_SECRET_ACCESS_KEY"] = "AKID", "secret"
    here.write("config", "this is malformed")
    assert here.get().access_key_id == "AKID", "the environment serves, so the files stay unread"
    source = here.chain("dev")
    with pytest.raises(ConfigurationError, match="line 1"):
        source.get()
    assert here.link.asked == []


@pytest.mark.parametrize("remove", [["HOME"], ["HOME", "PATH", "USER"]])
def test_no_home_no_user_entry_isolated(remove: list[str], tmp_path: Path) -> None:
    """A uid without an entry, no HOME, a folder that cannot be written, python -I: only our own error."""
    script = (
        "import sys, os; sys.path.insert(0, sys.argv[1])\n"
        "from unobin_s3.aws.settings import Settings\n"
        "from unobin_s3.errors import CredentialsError\n"
        "os.setuid(54321) if os.getuid() == 0 else None\n"
        "try: Settings('s3', env=dict(os.environ)).credentials.get()\n"
        "except CredentialsError as error: print('refused:', error)\n"
    )
    tmp_path.chmod(0o555)
    env = {name: value for name, value in os.environ.items() if name not in remove and not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, os.getcwd()],
        env=env | {"AWS_EC2_METADATA_DISABLED": "true"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stdout.startswith("refused: no AWS credentials found"), done.stderr
    assert "~/.aws/config (HOME is not set)" in done.stdout


# --- environment ---


def test_environment(here: Here) -> None:
    here.env |= {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": ""}
    assert here.get() == Credentials("AKID", "secret")
    here.env["AWS_CREDENTIAL_EXPIRATION"] = "2026-05-01T01:00:00Z"
    assert here.get().expires_at == datetime(2026, 5, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY is not; set both or none"),
        ({"AWS_SECRET_ACCESS_KEY": "hunter2\n"}, "environment variables: secret_access_key "),
        ({"AWS_ACCESS_KEY_ID": "hunter2 "}, "environment variables: access_key_id "),
        ({"AWS_SESSION_TOKEN": "hunter2\r"}, "environment variables: session_token "),
        ({"AWS_CREDENTIAL_EXPIRATION": "hunter2"}, "not a time in ISO 8601"),
        ({"AWS_CREDENTIAL_EXPIRATION": "2026-05-01T00:00:00"}, "time zone"),
        ({"AWS_CREDENTIAL_EXPIRATION": "2026-04-01T00:00:00Z"}, "expired at 2026-04-01"),
    ],
)
def test_environment_that_cannot_be_used(here: Here, changes: dict[str, str], part: str) -> None:
    here.env |= {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"} | changes
    message = here.fails(CredentialsError)
    assert part in message and "hunter2" not in message


def test_expired_token_takes_up_what_changed_in_the_environment(here: Here) -> None:
    here.env |= {"AWS_ACCESS_KEY_ID": "AKID1", "AWS_SECRET_ACCESS_KEY": "secret"}
    source = here.chain()
    assert source.renew(source.get()) is None
    here.env["AWS_ACCESS_KEY_ID"] = "AKID2"
    assert source.get().access_key_id == "AKID1"
    renewed = source.renew(source.get())
    assert renewed is not None and renewed.access_key_id == "AKID2"


def test_expired_token_takes_up_what_changed_in_the_file(here: Here) -> None:
    here.write("credentials", "[default]\naws_access_key_id = A1\naws_secret_access_key = s\n")
    source = here.chain()
    first = source.get()
    here.write("credentials", "[default]\naws_access_key_id = A2\naws_secret_access_key = s\n")
    renewed = source.renew(first)
    assert renewed is not None and renewed.access_key_id == "A2"


def test_a_renewal_stays_with_the_source_that_served(here: Here) -> None:
    here.write("credentials", "[default]\naws_access_key_id = FILE\naws_secret_access_key = s\n")
    source = here.chain()
    first = source.get()
    here.env |= {"AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "secret"}
    assert source.renew(first) is None, "environment keys that came later are another identity"
    here.write("credentials", "[default]\nregion = x\n")
    with pytest.raises(CredentialsError, match="keys of profile 'default' in the credentials file"):
        source.renew(first)


# --- profiles ---


@pytest.mark.parametrize(
    ("section", "part"),
    [
        ("aws_access_key_id = A\n", "secret_access_key is empty"),
        ("aws_access_key_id =\naws_secret_access_key = hunter2\n", "access_key_id is empty"),
        ("aws_access_key_id = A\naws_secret_access_key = hunter2 # c\n", "secret_access_key is empty, or has a blank"),
        ("aws_access_key_id = A\naws_secret_access_key = hunter2\n  more\n", "or has a blank, line break"),
    ],
)
def test_keys_in_a_file_that_cannot_be_used(here: Here, section: str, part: str) -> None:
    path = here.write("credentials", f"[default]\n{section}")
    message = here.fails(CredentialsError)
    assert (
        f"keys of profile 'default' in the credentials file: {path}: " in message
        and part in message
        and "hunter2" not in message
    )


@pytest.mark.parametrize(
    "section",
    [
        "sso_account_id = 1\n",
        "sso_role_name = r\naws_access_key_id = A\naws_secret_access_key = s\n",
        "sso_session = s\nregion = x\n",
        "sso_start_url = s\n",
    ],
)
def test_single_sign_on_is_refused_by_name(here: Here, section: str) -> None:
    here.write("config", f"[profile dev]\n{section}")
    message = here.fails(ConfigurationError, "dev")
    assert "profile 'dev' uses IAM Identity Center (SSO)" in message
    assert "`aws configure export-credentials --profile dev --format env`" in message


def test_a_console_session_is_refused_by_name(here: Here) -> None:
    here.write("config", "[profile dev]\nlogin_session = arn:aws:iam::1:user/x\n")
    assert "console sign-in session" in here.fails(ConfigurationError, "dev")


def test_an_unknown_profile(here: Here) -> None:
    here.env["AWS_PROFILE"] = "gone"
    here.write("config", "[profile dev]\n")
    message = here.fails(ConfigurationError)
    assert "no profile 'gone'" in message and "they have: dev" in message


# --- credential_process ---


def process(here: Here, output: str, *, status: int = 0, stderr: str = "") -> None:
    here.write("out", output)
    here.write("err", stderr)
    script = here.write(
        "run.sh",
        f'cat "{here.folder}/out"; cat "{here.folder}/err" >&2; echo "$@" > "{here.folder}/args"; exit {status}\n',
    )
    here.write("config", f"[default]\ncredential_process = /bin/sh '{script}' \"two words\" $HOME;ls `id`\n")


def test_a_process_is_run_without_a_shell(here: Here) -> None:
    process(here, key_document("AKID", Version=1, SessionToken="tok").decode())
    assert here.get() == Credentials("AKID", "sAKID", "tok", datetime(2099, 1, 1, tzinfo=UTC))
    assert (here.folder / "args").read_text() == "two words $HOME;ls `id`\n"


def test_a_process_may_leave_out_token_and_end(here: Here) -> None:
    process(here, '{"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": "secret"}')
    assert here.get() == Credentials("AKID", "secret")


@pytest.mark.parametrize(
    ("output", "part"),
    [
        ('{"AccessKeyId": "A", "SecretAccessKey": "hunter2"}', "Version is not 1"),
        ('{"Version": 2, "AccessKeyId": "A", "SecretAccessKey": "hunter2"}', "Version is not 1"),
        ('{"Version": true, "AccessKeyId": "A", "SecretAccessKey": "hunter2"}', "Version is not 1"),
        ('{"Version": 1, "AccessKeyId": "A"}', "SecretAccessKey in the answer is missing"),
        ('{"Version": 1, "AccessKeyId": 7, "SecretAccessKey": "hunter2"}', "AccessKeyId in the answer is not a string"),
        ('{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "hunter2 "}', "secret_access_key"),
        ('{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "Expiration": "soon"}', "ISO 8601"),
        ('{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "Expiration": "2020-01-01T00:00:00Z"}', "expired"),
        ("hunter2", "not JSON"),
        ('["hunter2"]', "not a JSON object"),
        ("[" * 100_000, "not JSON"),
        ("", "not JSON"),
    ],
)
def test_a_process_that_prints_something_else(here: Here, output: str, part: str) -> None:
    process(here, output)
    message = here.fails(CredentialsError)
    assert part in message and "hunter2" not in message


def test_a_process_that_fails_is_quoted_shortened_and_printable(here: Here) -> None:
    process(here, "hunter2", status=3, stderr="no\x1b[31m ticket\nrun kinit " + "x" * 1000)
    message = here.fails(CredentialsError)
    assert (
        "credential_process of profile 'default': /bin/sh ended with status 3 and said: no [31m ticket run" in message
    )
    assert len(message) < 400 and message.isprintable() and "hunter2" not in message


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("/no/such/program --password hunter2", "/no/such/program cannot be run: No such file or directory"),
        ("/ --password hunter2", "/ cannot be run: Permission denied"),
        ('/bin/sh "hunter2', "unclosed quote"),
        ("", "the command is empty"),
    ],
)
def test_a_process_that_cannot_be_started(here: Here, command: str, part: str) -> None:
    here.write("config", f"[default]\ncredential_process = {command}\n")
    message = here.fails(CredentialsError)
    assert part in message and "hunter2" not in message


def test_a_process_that_hangs_is_stopped(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unobin_s3.aws.keys._PROCESS_SECONDS", 0.2)
    here.write("config", "[default]\ncredential_process = /bin/sleep 100\n")
    assert "/bin/sleep did not end within" in here.fails(CredentialsError)


# --- roles ---


def test_a_chain_of_roles_asks_from_the_inside_out(here: Here) -> None:
    here.link.answer = link_server.security_tokens
    here.write(
        "config",
        f"[profile outer]\nrole_arn = {ROLE}outer\nsource_profile = inner\nexternal_id = x/1\nduration_seconds = 900\n"
        f"[profile inner]\nrole_arn = {ROLE}inner\nsource_profile = base\nrole_session_name = me@home\n",
    )
    here.write("credentials", "[base]\naws_access_key_id = BASE\naws_secret_access_key = secret\n")
    inner = assumed_key("AssumeRole", f"{ROLE}inner", "BASE")
    assert here.get("outer").access_key_id == assumed_key("AssumeRole", f"{ROLE}outer", inner)
    first, second = (asked.body.decode() for asked in here.link.asked)
    assert "RoleSessionName=me%40home" in first and "ExternalId" not in first and "DurationSeconds" not in first
    assert f"RoleSessionName=unobin-s3-{int(NOW)}" in second
    assert "ExternalId=x%2F1" in second and "DurationSeconds=900" in second


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ("source_profile = dev\n", "circle: dev -> dev"),
        ("source_profile = b\n[profile b]\nrole_arn = r\nsource_profile = dev\n", "circle: dev -> b -> dev"),
        ("source_profile = gone\n", "no profile 'gone'"),
        ("", "needs one of source_profile and credential_source"),
        ("source_profile = b\ncredential_source = Environment\n", "needs one of source_profile and credential_source"),
        ("credential_source = Elsewhere\n", "must be one of Environment, EcsContainer, Ec2InstanceMetadata"),
        ("source_profile = b\nmfa_serial = arn\n", "mfa_serial; nobody can be asked"),
        ("source_profile = b\nduration_seconds = 1h\n", "duration_seconds of profile 'dev' is not a number"),
        ("source_profile = b\n[profile b]\nsso_account_id = 1\n", "profile 'b' uses IAM Identity Center"),
    ],
)
def test_roles_that_make_no_sense(here: Here, config: str, part: str) -> None:
    here.write("config", f"[profile dev]\nrole_arn = {ROLE}x\n{config}")
    assert part in here.fails(ConfigurationError, "dev")


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ("source_profile = b\n[profile b]\nregion = x\n", "source profile 'b' has no credentials: web identity of"),
        ("credential_source = Environment\n", "credential_source of profile 'dev' has nothing: environment variables"),
        ("credential_source = EcsContainer\n", "has nothing: container credentials"),
        ("credential_source = Ec2InstanceMetadata\n", "has nothing: EC2 instance metadata (AWS_EC2_METADATA_DISABLED"),
    ],
)
def test_roles_whose_source_has_nothing(here: Here, config: str, part: str) -> None:
    here.write("config", f"[profile dev]\nrole_arn = {ROLE}x\n{config}")
    assert part in here.fails(CredentialsError, "dev")


# --- web identity ---


def test_the_token_file_is_read_anew_at_every_renewal(here: Here) -> None:
    here.link.answer = link_server.security_tokens
    path = here.write("token", "one\n")
    here.env |= {"AWS_WEB_IDENTITY_TOKEN_FILE": path, "AWS_ROLE_ARN": f"{ROLE}x", "AWS_ROLE_SESSION_NAME": "s"}
    source = here.chain()
    assert source.get().access_key_id == assumed_key("AssumeRoleWithWebIdentity", f"{ROLE}x", "one")
    here.write("token", "two")
    renewed = source.renew(source.get())
    assert renewed is not None
    assert renewed.access_key_id == assumed_key("AssumeRoleWithWebIdentity", f"{ROLE}x", "two")
    assert all("authorization" not in asked.headers for asked in here.link.asked)


@pytest.mark.parametrize(
    ("content", "part"),
    [(None, "No such file or directory"), ("", "it is empty"), ("\n", "it is empty"), ("é", "not a text")],
)
def test_a_token_file_that_cannot_be_used(here: Here, content: str | None, part: str) -> None:
    path = str(here.folder / "token") if content is None else here.write("token", content)
    here.env |= {"AWS_WEB_IDENTITY_TOKEN_FILE": path, "AWS_ROLE_ARN": f"{ROLE}x"}
    message = here.fails(CredentialsError)
    assert f"{path} (AWS_WEB_IDENTITY_TOKEN_FILE)" in message and part in message


# --- container ---


def test_container_with_a_token_file_read_anew(here: Here) -> None:
    def answer(asked: Asked) -> tuple[int, bytes]:
        return 200, key_document("K" + asked.headers.get("authorization", "none").replace(" ", "-"))

    here.link.answer = answer
    path = here.write("token", "Basic one\n")
    here.env |= {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{here.link.url}/v1/credentials?a=b%20c",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": path,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "ignored",
    }
    source = here.chain()
    assert source.get().access_key_id == "KBasic-one" and source.get().session_token == "tKBasic-one"
    here.write("token", "Basic two")
    renewed = source.renew(source.get())
    assert renewed is not None and renewed.access_key_id == "KBasic-two"
    assert here.link.paths() == ["GET /v1/credentials?a=b%20c"] * 2
    del here.env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]
    assert here.get().access_key_id == "Kignored"


def machine(env: Mapping[str, str], transport: Transport, profile: Mapping[str, str] | None = None) -> metadata.Machine:
    return metadata.Machine(env, transport, lambda: NOW, profile or {})


class Recorder:
    """A transport that notes where a request would go."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def send(self, request: Request, **_limits: object) -> Response:
        self.seen.append(f"{request.scheme}://{request.host}{request.target}")
        return Response(200, {}, key_document("AKID"))

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("env", "goes_to"),
    [
        ({"RELATIVE_URI": "/v2/x?y=z"}, "http://169.254.170.2/v2/x?y=z"),
        ({"RELATIVE_URI": "//v2/x", "FULL_URI": "http://example.com/"}, "http://169.254.170.2//v2/x"),
        ({"FULL_URI": "http://169.254.170.2/a"}, "http://169.254.170.2/a"),
        ({"FULL_URI": "http://169.254.170.23/v1/credentials"}, "http://169.254.170.23/v1/credentials"),
        ({"FULL_URI": "http://[fd00:ec2::23]/v1/credentials"}, "http://[fd00:ec2::23]/v1/credentials"),
        ({"FULL_URI": "http://[FD00:EC2::23]:81"}, "http://[fd00:ec2::23]:81/"),
        ({"FULL_URI": "http://LOCALHOST:80/a#b"}, "http://localhost/a"),
        ({"FULL_URI": "http://127.9.9.9:8080/a"}, "http://127.9.9.9:8080/a"),
        ({"FULL_URI": "http://[::1]:8080/a"}, "http://[::1]:8080/a"),
        ({"FULL_URI": "https://example.com/a"}, "https://example.com/a"),
    ],
)
def test_container_hosts(env: dict[str, str], goes_to: str) -> None:
    transport = Recorder()
    found = machine({f"AWS_CONTAINER_CREDENTIALS_{k}": v for k, v in env.items()}, transport).container()
    assert isinstance(found, Credentials) and found.access_key_id == "AKID" and transport.seen == [goes_to]


@pytest.mark.parametrize(
    "env",
    [
        {"RELATIVE_URI": "@example.com/"},
        {"RELATIVE_URI": "v2/x"},
        {"RELATIVE_URI": "3/x"},
        {"RELATIVE_URI": "/../x"},
        {"FULL_URI": "http://example.com/"},
        {"FULL_URI": "http://169.254.169.254/"},
        {"FULL_URI": "http://169.254.170.2.example.com/"},
        {"FULL_URI": "http://localhost@example.com/"},
        {"FULL_URI": "http://user:hunter2@localhost/"},
        {"FULL_URI": "http://2130706433/"},
        {"FULL_URI": "ftp://localhost/"},
        {"FULL_URI": "http://localhost/a\nb"},
        {"FULL_URI": "http://localhost/a b"},
        {"FULL_URI": "http://localhost:x/"},
        {"FULL_URI": "http://[::1/"},
        {"FULL_URI": "http:///x"},
        {"FULL_URI": "/v2/x"},
    ],
)
def test_container_urls_that_are_refused(env: dict[str, str]) -> None:
    transport = Recorder()
    name, value = f"AWS_CONTAINER_CREDENTIALS_{next(iter(env))}", next(iter(env.values()))
    with pytest.raises(ConfigurationError, match=name) as caught:
        machine({name: value}, transport).container()
    assert transport.seen == [] and "hunter2" not in str(caught.value)


@pytest.mark.parametrize("token", ["one\ntwo", "one\r\ntwo", "one\x00"])
@pytest.mark.parametrize("kind", ["TOKEN", "TOKEN_FILE"])
def test_container_tokens_with_line_breaks_are_refused(here: Here, kind: str, token: str) -> None:
    value = here.write("token", token) if kind == "TOKEN_FILE" else token
    here.env |= {"AWS_CONTAINER_CREDENTIALS_FULL_URI": here.link.url, f"AWS_CONTAINER_AUTHORIZATION_{kind}": value}
    message = here.fails(CredentialsError)
    assert f"AWS_CONTAINER_AUTHORIZATION_{kind} has a line break" in message and here.link.asked == []


@pytest.mark.parametrize(
    ("status", "body", "part", "tries"),
    [
        (200, b"hunter2", "not JSON", 1),
        (200, key_document("A", Code="AccessDenied", Message="not\n you"), "AccessDenied: not you", 1),
        (200, key_document("A", Token=None), "Token in the answer is missing", 1),
        (200, key_document("A", expiration=""), "Expiration", 1),
        (400, json.dumps({"code": "InvalidToken", "message": "bad"}).encode(), "status 400, InvalidToken: bad", 1),
        (401, b"hunter2", "status 401", 1),
        (503, b"hunter2", "answered 503", 3),
        (200, b" " * 70_000, "too long", 3),
    ],
)
def test_container_answers_that_are_refused(here: Here, status: int, body: bytes, part: str, tries: int) -> None:
    here.link.answer = lambda asked: (status, body)
    here.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{here.link.url}/x"
    here.env["AWS_EC2_METADATA_DISABLED"] = "false"
    message = here.fails(CredentialsError)
    assert "container credentials: 127.0.0.1:" in message and part in message and "hunter2" not in message
    assert "Tried" not in message, "what is set up and fails ends the search"
    assert len(here.link.asked) == tries


# --- instance metadata ---


def on_an_instance(here: Here) -> None:
    here.link.answer = link_server.instance_metadata("AKIAINSTANCE")
    here.env["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = here.link.url + "/"
    del here.env["AWS_EC2_METADATA_DISABLED"]


def test_instance_metadata_by_version_2(here: Here) -> None:
    on_an_instance(here)
    assert here.get().access_key_id == "AKIAINSTANCE"
    assert here.link.paths() == [
        "PUT /latest/api/token",
        "GET /latest/meta-data/iam/security-credentials/",
        "GET /latest/meta-data/iam/security-credentials/the-role",
    ]
    assert machine(here.env, here.transport).region() == "eu-west-3"


def test_instance_metadata_that_is_late_is_used_on(here: Here, caplog: pytest.LogCaptureFixture) -> None:
    on_an_instance(here)
    usual = here.link.answer
    late = key_document("AKIALATE", expiration="2026-04-30T23:00:00Z")
    here.link.answer = lambda asked: (200, late) if asked.path.endswith("the-role") else usual(asked)
    with caplog.at_level(logging.WARNING):
        found = here.get()
    assert found.access_key_id == "AKIALATE" and "still gives credentials that expired" in caplog.text
    assert found.expires_at is not None and found.expires_at.timestamp() == NOW + 900


@pytest.mark.parametrize(
    ("path", "status", "body", "part"),
    [
        ("/latest/api/token", 403, b"", "answered 403 to /latest/api/token"),
        ("/latest/api/token", 500, b"", "answered 500"),
        ("security-credentials/", 404, b"", "no IAM role is attached"),
        ("security-credentials/", 200, b"", "no IAM role is attached"),
        ("security-credentials/", 200, b"..", "no IAM role is attached"),
        ("security-credentials/", 200, b"<html>", "no IAM role is attached"),
        ("the-role", 200, b"<html>", "role the-role: the answer is not JSON"),
        ("the-role", 200, key_document("A", Code="AssumeRoleUnauthorizedAccess", Message="m"), "UnauthorizedAccess: m"),
        ("the-role", 401, b"", "answered 401"),
    ],
)
def test_instance_metadata_that_has_none(here: Here, path: str, status: int, body: bytes, part: str) -> None:
    on_an_instance(here)
    usual = here.link.answer
    here.link.answer = lambda asked: (status, body) if asked.path.endswith(path) else usual(asked)
    message = here.fails(CredentialsError)
    assert "no AWS credentials found" in message and "EC2 instance metadata (" in message and part in message


class Silent:
    """A service that never answers: what a container sees when the hop limit is 1."""

    def __init__(self) -> None:
        self.limits: list[Mapping[str, object]] = []

    def send(self, request: Request, **limits: object) -> Response:
        self.limits.append(limits)
        raise TransportError(f"{request.method} http://{request.host}: no answer within the time limit")

    def close(self) -> None:
        pass


def test_no_answer_to_the_token_request_names_the_hop_limit() -> None:
    silent = Silent()
    with pytest.raises(metadata.NotOffered) as caught:
        machine({}, silent).instance()
    assert "PUT http://169.254.169.254: no answer within the time limit" in str(caught.value)
    assert "hop limit to 2" in str(caught.value) and "AWS_EC2_METADATA_DISABLED=true" in str(caught.value)
    assert [(one["connect"], one["read"]) for one in silent.limits] == [(1.0, 1.0)], "one second, one try"
    assert machine({}, silent).region() is None


def test_time_and_tries_can_be_set() -> None:
    silent = Silent()
    env = {"AWS_METADATA_SERVICE_TIMEOUT": "2.5", "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "3"}
    with pytest.raises(metadata.NotOffered):
        machine(env, silent).instance()
    assert [one["connect"] for one in silent.limits] == [2.5] * 3


@pytest.mark.parametrize(
    ("env", "host"),
    [
        ({}, "http://169.254.169.254"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"}, "http://[fd00:ec2::254]"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://[::1]:81/base/"}, "http://[::1]:81/base"),
    ],
)
def test_instance_metadata_endpoints(env: dict[str, str], host: str) -> None:
    transport = Recorder()
    with pytest.raises(metadata.NotOffered):
        machine(env, transport).instance()
    assert transport.seen[0] == f"{host}/latest/api/token"


def test_instance_metadata_settings_may_stand_in_the_profile() -> None:
    transport = Recorder()
    settings = {"ec2_metadata_service_endpoint": "http://127.0.0.1:99"}
    with pytest.raises(metadata.NotOffered):
        machine({}, transport, settings).instance()
    assert transport.seen[0] == "http://127.0.0.1:99/latest/api/token"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_METADATA_SERVICE_TIMEOUT", "0"),
        ("AWS_METADATA_SERVICE_TIMEOUT", "soon"),
        ("AWS_METADATA_SERVICE_TIMEOUT", "1e9"),
        ("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "-1"),
        ("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "1000"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "v7"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "localhost"),
    ],
)
def test_instance_metadata_settings_that_make_no_sense(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        machine({name: value}, Recorder()).instance()


@pytest.mark.parametrize("value", ["true", "TRUE", "True"])
def test_instance_metadata_that_is_switched_off_is_not_asked(value: str) -> None:
    transport = Recorder()
    assert machine({"AWS_EC2_METADATA_DISABLED": value}, transport).region() is None
    assert transport.seen == []


@contextmanager
def settings_of(env: dict[str, str]) -> Iterator[Settings]:
    settings = Settings("s3", env=env)
    yield settings
    for transport in (settings.transport, settings._direct):
        transport.close()


def test_metadata_never_goes_through_a_proxy_and_sts_does(here: Here) -> None:
    on_an_instance(here)
    usual = here.link.answer
    here.link.answer = lambda asked: (200, key_document("AKIACONTAINER")) if asked.path == "/c" else usual(asked)
    with link_server.running(link_server.security_tokens) as proxy:
        here.env |= dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), proxy.url)
        with settings_of(here.env) as settings:
            assert settings.credentials.get().access_key_id == "AKIAINSTANCE" and settings.region == "eu-west-3"
        with settings_of(here.env | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{here.link.url}/c"}) as settings:
            assert settings.credentials.get().access_key_id == "AKIACONTAINER"
        assert proxy.asked == [] and len(here.link.asked) == 6
        web = {"AWS_WEB_IDENTITY_TOKEN_FILE": here.write("token", "web"), "AWS_ROLE_ARN": f"{ROLE}x"}
        web |= {"AWS_ENDPOINT_URL_STS": "http://sts.example.com", "AWS_REGION": "eu-west-1"}
        with settings_of(here.env | web) as settings:
            served = settings.credentials.get()
        assert served.access_key_id == assumed_key("AssumeRoleWithWebIdentity", f"{ROLE}x", "web")
        assert proxy.paths() == ["POST http://sts.example.com/"]
