# SPDX-License-Identifier: MIT
"""`S3Client()` finds region, endpoint, style, flags and trust where the AWS SDKs do, and opens no file without need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.aws.scripted import KEYS, OK, Scripted
from unobin_s3 import ConfigurationError, Credentials, CredentialsError, S3Client
from unobin_s3.aws.endpoint import Endpoint
from unobin_s3.aws.settings import Limits, Settings
from unobin_s3.aws.transport import HttpxTransport

OFFLINE = {"AWS_EC2_METADATA_DISABLED": "true"}


class Home:
    """A folder with both shared files, and environments that point at it."""

    def __init__(self, folder: Path) -> None:
        self.config, self.credentials = folder / "config", folder / "credentials"

    def env(self, config: str = "", credentials: str = "", **more: str) -> dict[str, str]:
        self.config.write_text(config)
        self.credentials.write_text(credentials)
        files = {"AWS_CONFIG_FILE": str(self.config), "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials)}
        return {**OFFLINE, **files, **more}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def endpoint(env: Mapping[str, str], **more: Any) -> Endpoint:
    return S3Client(env=env, **more).settings.endpoint


# Everything at once


def test_a_user_with_working_settings(home: Home) -> None:
    env = home.env(
        "[default]\nregion = eu-central-1\n[profile work]\nregion = us-west-2\ns3 =\n  addressing_style = path\n",
        "[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = s\n",
        AWS_PROFILE="work",
    )
    client = S3Client(env=env)
    assert client.settings.region == "us-west-2" and client.is_amazon and client.sends_checksum
    assert client.settings.endpoint.locate("bucket", "k").host == "s3.us-west-2.amazonaws.com"
    assert client.settings.credentials.get().access_key_id == "AKIDWORK"


def test_the_environment_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_REGION": "eu-north-1", "AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = S3Client()
    assert client.settings.region == "eu-north-1"
    assert client.settings.credentials.get().access_key_id == "AKIDENV"


# Region


@pytest.mark.parametrize(
    ("argument", "env", "profile", "region"),
    [
        ("a-arg-1", {"AWS_REGION": "b-env-1", "AWS_DEFAULT_REGION": "c-def-1"}, "d-file-1", "a-arg-1"),
        (None, {"AWS_REGION": "b-env-1", "AWS_DEFAULT_REGION": "c-def-1"}, "d-file-1", "b-env-1"),
        (None, {"AWS_DEFAULT_REGION": "c-def-1"}, "d-file-1", "c-def-1"),
        (None, {"AWS_REGION": ""}, "d-file-1", "d-file-1"),
    ],
)
def test_region(home: Home, argument: str | None, env: dict[str, str], profile: str, region: str) -> None:
    settings = home.env(f"[default]\nregion = {profile}\n", **env)
    assert endpoint(settings, region=argument).region == region


def test_no_region_at_all(home: Home) -> None:
    client = S3Client(env=home.env())
    with pytest.raises(ConfigurationError, match=r"no AWS region is set; pass region=.*AWS_REGION.*~/\.aws/config"):
        client.get_object("bucket", "k")


def test_another_store_needs_no_region(home: Home) -> None:
    assert endpoint(home.env(), endpoint_url="http://127.0.0.1:9").region == "us-east-1"
    assert endpoint(home.env("[default]\nregion = garage\n"), endpoint_url="http://127.0.0.1:9").region == "garage"


def test_an_odd_region(home: Home) -> None:
    for region in ("EU", "eu-west-1\n", "evil.example/", "a" * 64):
        with pytest.raises(ConfigurationError, match="is not the name of an AWS region"):
            endpoint(home.env(), region=region)


# Endpoint

SECTIONS = """[default]
region = eu-west-1
services = mine
endpoint_url = http://profile.example
[services mine]
s3 =
  endpoint_url = http://services.example
"""


@pytest.mark.parametrize(
    ("env", "more", "host"),
    [
        ({"AWS_ENDPOINT_URL_S3": "http://s3.example"}, {"endpoint_url": "http://arg.example"}, "arg.example"),
        ({"AWS_ENDPOINT_URL_S3": "http://s3.example", "AWS_ENDPOINT_URL": "http://all.example"}, {}, "s3.example"),
        ({"AWS_ENDPOINT_URL": "http://all.example"}, {}, "all.example"),
        ({}, {}, "services.example"),
        ({"AWS_ENDPOINT_URL_S3": ""}, {}, "services.example"),
        ({"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, {}, "s3.eu-west-1.amazonaws.com"),
    ],
)
def test_endpoint(home: Home, env: dict[str, str], more: dict[str, Any], host: str) -> None:
    found = endpoint(home.env(SECTIONS, **env), **more)
    assert found.host == host and found.configured == (not host.endswith("amazonaws.com"))


def test_the_profiles_own_endpoint(home: Home) -> None:
    config = "[default]\nendpoint_url = http://profile.example:9000/base\n"
    found = endpoint(home.env(config))
    assert found.locate("bucket", "k").path == "/base/bucket/k" and found.host == "profile.example:9000"


@pytest.mark.parametrize("service", ["sts", "kms"])
def test_other_services_have_their_own(home: Home, service: str) -> None:
    config = SECTIONS + f"{service} =\n  endpoint_url = http://{service}.example\n"
    assert Settings(service, env=home.env(config)).endpoint.host == f"{service}.example"


# Style and flags


@pytest.mark.parametrize(
    ("style", "host"),
    [("path", "s3.eu-west-1.amazonaws.com"), ("virtual", "bucket.s3.eu-west-1.amazonaws.com"),
     ("auto", "bucket.s3.eu-west-1.amazonaws.com"), (None, "bucket.s3.eu-west-1.amazonaws.com")],
)  # fmt: skip
def test_addressing_style(home: Home, style: str | None, host: str) -> None:
    block = f"s3 =\n  addressing_style = {style}\n" if style else ""
    env = home.env(f"[default]\nregion = eu-west-1\n{block}")
    assert endpoint(env).locate("bucket").host == host
    assert endpoint(env, path_style=True).locate("bucket").host == "s3.eu-west-1.amazonaws.com"
    assert endpoint(env, path_style=False).locate("bucket").host == "bucket.s3.eu-west-1.amazonaws.com"


def test_virtual_hosts_of_a_configured_endpoint(home: Home) -> None:
    config = "[default]\nendpoint_url = http://store.example\ns3 =\n  addressing_style = virtual\n"
    assert endpoint(home.env(config)).locate("bucket").host == "bucket.store.example"
    assert endpoint(home.env(), endpoint_url="http://store.example").locate("bucket").host == "store.example"


@pytest.mark.parametrize("name", ["use_accelerate_endpoint", "use_arn_region"])
def test_what_is_not_supported_is_refused_by_name(home: Home, name: str) -> None:
    for value in ("true", "True", "1"):
        env = home.env(f"[default]\nregion = eu-west-1\ns3 =\n  {name} = {value}\n")
        with pytest.raises(ConfigurationError, match=f"asks for s3 {name}, which is not supported here"):
            endpoint(env)
    assert endpoint(home.env(f"[default]\nregion = eu-west-1\ns3 =\n  {name} = false\n")).host


def test_an_odd_style(home: Home) -> None:
    with pytest.raises(ConfigurationError, match="addressing_style must be auto, path or virtual, not 'pth'"):
        endpoint(home.env("[default]\nregion = eu-west-1\ns3 =\n  addressing_style = pth\n"))


FLAGS = {"dualstack": "use_dualstack_endpoint", "fips": "use_fips_endpoint"}


@pytest.mark.parametrize("flag", FLAGS)
def test_flags(home: Home, flag: str) -> None:
    name = FLAGS[flag]
    host = {
        "dualstack": "s3.dualstack.eu-west-1.amazonaws.com", "fips": "s3-fips.eu-west-1.amazonaws.com",
    }[flag]  # fmt: skip
    plain = "s3.eu-west-1.amazonaws.com"
    config = "[default]\nregion = eu-west-1\n"
    on = {f"AWS_{name.upper()}": "true"}
    assert endpoint(home.env(config, **on)).host == host
    assert endpoint(home.env(config + f"{name} = TRUE\n")).host == host
    assert endpoint(home.env(config), **{flag: True}).host == host
    assert endpoint(home.env(config, **on), **{flag: False}).host == plain
    assert endpoint(home.env(config + f"{name} = true\n", **{f"AWS_{name.upper()}": "false"})).host == plain
    assert endpoint(home.env(config)).host == plain
    for odd in ("yes", "2"):
        with pytest.raises(ConfigurationError, match=f"{name} .AWS_{name.upper()}. must be true or false, not '{odd}'"):
            endpoint(home.env(config, **{f"AWS_{name.upper()}": odd}))


def test_dual_stack_in_the_s3_block(home: Home) -> None:
    env = home.env("[default]\nregion = eu-west-1\ns3 =\n  use_dualstack_endpoint = true\n")
    assert endpoint(env).host == "s3.dualstack.eu-west-1.amazonaws.com"
    assert Settings("kms", env=env).endpoint.host == "kms.eu-west-1.amazonaws.com"


def test_flags_do_not_go_with_a_configured_endpoint(home: Home) -> None:
    env = home.env(AWS_USE_FIPS_ENDPOINT="true", AWS_ENDPOINT_URL="http://store.example")
    with pytest.raises(ConfigurationError, match="cannot be combined with an endpoint URL"):
        endpoint(env)
    assert endpoint(home.env(AWS_USE_FIPS_ENDPOINT="true"), endpoint_url="http://store.example").host


# Files that do not serve


def test_no_home_and_nothing_else() -> None:
    client = S3Client(env={**OFFLINE, "AWS_REGION": "eu-west-1"})
    assert client.settings.endpoint.host == "s3.eu-west-1.amazonaws.com"
    with pytest.raises(CredentialsError, match=r"HOME is not set"):
        client.get_object("bucket", "k")


@pytest.mark.parametrize("kind", ["folder", "fifo", "loop", "unreadable"])
def test_files_that_cannot_be_read(home: Home, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "odd"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.write_text("[default]\nregion = eu-west-1\n")
        path.chmod(0)
        if os.access(path, os.R_OK):
            path = Path("/proc/1/mem")  # for root, which may read anything else
    env = {**home.env(), "AWS_CONFIG_FILE": str(path), "AWS_REGION": "eu-west-1"}
    client = S3Client(env=env)
    assert client.settings.endpoint.region == "eu-west-1"
    with pytest.raises(CredentialsError, match=str(path)):
        client.settings.credentials.get()


def test_a_malformed_file_is_named_with_its_line(home: Home) -> None:
    env = home.env("[default]\nregion = eu-west-1\nplanted-secret\n")
    with pytest.raises(ConfigurationError, match=r"config, line 3: ") as caught:
        S3Client(env=env)
    assert "planted" not in str(caught.value)


def test_an_unknown_profile(home: Home) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no profile 'nope' in .*they have: default, work"):
        S3Client(env=home.env("[default]\n[profile work]\n", AWS_PROFILE="nope"))
    with pytest.raises(ConfigurationError, match="no profile 'nope'"):
        S3Client(env=home.env("[default]\n"), profile="nope")


# Trust


@pytest.mark.parametrize(
    ("more", "env", "profile", "bundle"),
    [
        ({"ca_bundle": "/arg"}, {"AWS_CA_BUNDLE": "/env"}, "/file", "/arg"),
        ({}, {"AWS_CA_BUNDLE": "/env"}, "/file", "/env"),
        ({}, {}, "/file", "/file"),
    ],
)
def test_the_ca_bundle(home: Home, more: dict[str, Any], env: dict[str, str], profile: str, bundle: str) -> None:
    client = S3Client(env=home.env(f"[default]\nregion = x-y-1\nca_bundle = {profile}\n", **env), **more)
    client.settings.credentials = client.caller.credentials = Settings("s3", credentials=KEYS, env={}).credentials
    with pytest.raises(ConfigurationError, match=f"the CA certificates in {bundle} cannot be read"):
        client.get_object("bucket", "k")


# Arguments


def test_limits() -> None:
    service = Scripted(OK)
    limits = Limits(connect=1, read=2, total=3)
    client = S3Client(region="x-y-1", credentials=KEYS, transport=service, limits=limits, clock=service.clock, env={})
    client.head_object("bucket", "k")
    assert service.limits == [{"connect": 1, "read": 2, "total": 3, "limit": None}]
    assert client.clock is service.clock


def test_what_can_be_a_transport() -> None:
    class Own(httpx.BaseTransport): ...

    assert isinstance(Settings("s3", transport=Own(), env={}, credentials=KEYS).transport, HttpxTransport)
    service = Scripted(OK)
    assert Settings("s3", transport=service, env={}, credentials=KEYS).transport is service
    with httpx.Client() as client, pytest.raises(ConfigurationError, match=r"BaseTransport \(not a Client"):
        Settings("s3", transport=client, env={})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="BaseTransport"):
        Settings("s3", transport=object(), env={})  # type: ignore[arg-type]


def test_a_source_of_ones_own() -> None:
    class Own:
        def get(self) -> Credentials:
            return KEYS

        def renew(self, rejected: Credentials) -> Credentials | None:
            return None

    own = Own()
    assert Settings("s3", credentials=own, env={}).credentials is own


# What is opened

WATCH = """
import os, sys
opened = []
sys.addaudithook(lambda event, arguments: event == "open" and opened.append(str(arguments[0])))
from unobin_s3 import Credentials, S3Client
client = S3Client(region="us-east-1", credentials=Credentials("a", "b"), endpoint_url="http://127.0.0.1:1")
assert client.settings.endpoint.host == "127.0.0.1:1" and client.settings.credentials.get()
if len(sys.argv) > 1:
    S3Client(region="us-east-1", credentials=Credentials("a", "b")).settings.endpoint
code = (".py", ".pyc", ".so", ".pth")
print([path for path in opened if not path.endswith(code) and not os.path.isdir(path)])
"""


@pytest.mark.parametrize("more", [[], ["files"]])
def test_with_everything_given_no_file_is_opened(home: Home, more: list[str]) -> None:
    env = home.env("[default]\n", "[default]\n", PATH=os.environ["PATH"], AWS_PROFILE="nope" if not more else "default")
    # The import system's own files end in .py, .pyc or .so, but for what it writes: nothing, by -B.
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCH, *more],
        env=env,
        capture_output=True,
        text=True,
        cwd=os.getcwd(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    opened = [path for path in eval(done.stdout) if "pyvenv.cfg" not in path]
    assert opened == ([str(home.config), str(home.credentials)] if more else [])
