# SPDX-License-Identifier: MIT
"""The shared files as configparser, and so botocore, reads them; what is malformed is named by its line."""

from __future__ import annotations

import configparser
import os
import random
import re
from pathlib import Path

import botocore.configloader
import botocore.exceptions
import pytest

from tests.aws.leaks import shown
from unobin_s3.aws import profiles
from unobin_s3.errors import ConfigurationError


class Files:
    """Both files in a folder, and an environment that points at them."""

    def __init__(self, folder: Path) -> None:
        self.config, self.credentials = folder / "config", folder / "credentials"
        self.env = {
            "AWS_CONFIG_FILE": str(self.config),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials),
        }

    def write(self, config: str | bytes = b"", credentials: str | bytes = b"") -> profiles.Profiles:
        for path, text in ((self.config, config), (self.credentials, credentials)):
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        return profiles.load(self.env)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


CONFIG = """\
# a comment
[default]
region = eu-central-1
; another
[profile dev]
region=eu-west-1
role_arn : arn:aws:iam::1:role/x = y
s3 =
    addressing_style = path
    payload_signing_enabled=true
services = local
output =

[profile "two words"]
  region = us-east-2
  output = json

[profile 'single']
Region = us-west-1
[plain]
region = nowhere
[services local]
s3 =
  endpoint_url = http://127.0.0.1:9000
sts =
  endpoint_url = http://127.0.0.1:9001
[sso-session x]
sso_region = eu-west-1
"""


def test_the_dialect(files: Files) -> None:
    found = files.write(CONFIG, "[dev]\naws_access_key_id = AKID\nregion = eu-west-9\n[only here]\nregion = x\n")
    assert found.settings("default") == {"region": "eu-central-1"}
    assert found.settings("dev") == {
        "region": "eu-west-9",  # the credentials file wins
        "role_arn": "arn:aws:iam::1:role/x = y",
        "services": "local",
        "output": "",
        "aws_access_key_id": "AKID",
    }
    assert found.nested("dev", "s3") == {"addressing_style": "path", "payload_signing_enabled": "true"}
    assert (
        found.nested("dev", "region") == {} and found.nested("default", "s3") == {} and found.nested(None, "s3") == {}
    )
    assert found.settings("two words") == {"region": "us-east-2", "output": "json"}
    assert found.settings("single") == {"region": "us-west-1"}
    assert found.settings("only here") == {"region": "x"}
    assert found.services("dev") == {
        "s3": {"endpoint_url": "http://127.0.0.1:9000"},
        "sts": {"endpoint_url": "http://127.0.0.1:9001"},
    }
    assert found.services("default") == {} and found.services(None) == {} and found.settings(None) == {}


@pytest.mark.parametrize("name", ["plain", "nope", "profile dev", "local", "services local"])
def test_an_unknown_profile_names_what_there_is(files: Files, name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        files.write(CONFIG).settings(name)
    message = str(caught.value)
    assert repr(name) in message and str(files.config) in message and str(files.credentials) in message
    assert "default, dev, single, two words" in message


def test_a_services_section_that_is_not_there_is_named(files: Files) -> None:
    with pytest.raises(ConfigurationError, match="services 'gone'"):
        files.write("[default]\nservices = gone\n").services("default")


def test_the_active_profile(files: Files) -> None:
    found = files.write("[default]\n")
    assert found.active({}) == "default"
    assert found.active({"AWS_PROFILE": "a"}) == "a"
    assert found.active({"AWS_PROFILE": "a", "AWS_DEFAULT_PROFILE": "b"}) == "b", "as botocore"
    assert found.active({"AWS_PROFILE": "a"}, "c") == "c"
    assert found.active({"AWS_PROFILE": "", "AWS_DEFAULT_PROFILE": ""}, "") == "default"
    assert files.write("[profile x]\n").active({}) is None


def test_nothing_is_read_before_it_is_asked_for(files: Files) -> None:
    found = files.write("malformed")
    with pytest.raises(ConfigurationError):
        found.active({})


def test_it_is_read_once_until_forgotten(files: Files) -> None:
    found = files.write("[default]\nregion = a\n")
    assert found.settings("default") == {"region": "a"}
    files.write("[default]\nregion = b\n")
    assert found.settings("default") == {"region": "a"}
    found.forget()
    assert found.settings("default") == {"region": "b"}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_marks(files: Files, newline: str, mark: bytes) -> None:
    found = files.write(mark + CONFIG.replace("\n", newline).encode())
    assert found.settings("two words") == {"region": "us-east-2", "output": "json"}
    assert found.nested("dev", "s3")["addressing_style"] == "path"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("region = a\n", 1, "section"),
        ("\n# x\n[default]\nhunter2\n", 4, "name = value"),
        ("[default\n", 1, "section"),
        ("[default]\na = 1\n[profile x\n", 3, "name = value"),
        ("[default]\na = 1\nA = 2\n", 3, "before"),
        ("[default]\n[x]\n[default]\n", 3, "before"),
        ("[default]\ns3 =\n  hunter2\n", 3, "nested"),
        ("[default]\n= hunter2\n", 2, "name = value"),
        ("[default]\n[]\n", 2, "name = value"),
    ],
)
@pytest.mark.parametrize("which", ["config", "credentials"])
def test_a_malformed_file_is_named_with_the_line_and_never_quoted(
    files: Files, which: str, text: str, line: int, reason: str
) -> None:
    found = files.write(**{which: text})
    with pytest.raises(ConfigurationError) as caught:
        found.settings("default")
    assert f"{getattr(files, which)}, line {line}: " in str(caught.value) and reason in str(caught.value)
    assert "hunter2" not in shown(caught.value)
    with pytest.raises(botocore.exceptions.ConfigParseError):
        botocore.configloader.load_config(str(getattr(files, which)))


def test_bytes_that_are_no_text_are_named_with_the_line(files: Files) -> None:
    with pytest.raises(ConfigurationError, match="line 3: not UTF-8"):
        files.write(b"[default]\nregion = a\nkey = \xff\n").settings("default")


def test_missing_files_are_no_error(tmp_path: Path) -> None:
    found = profiles.load({"AWS_CONFIG_FILE": str(tmp_path / "a"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "b")})
    assert found.active({}) is None
    assert found.places == f"{tmp_path}/a (not there) or {tmp_path}/b (not there)"


def test_no_home_is_no_error() -> None:
    found = profiles.load({})
    assert found.active({}) is None and "HOME is not set" in found.places


def test_empty_variables_mean_no_file(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "AWS_CONFIG_FILE": "", "AWS_SHARED_CREDENTIALS_FILE": ""}
    assert profiles.load(env).active({}) is None


@pytest.mark.parametrize("home", ["HOME", "USERPROFILE"])
def test_home_and_variables_are_filled_in(tmp_path: Path, home: str) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = a\n")
    (tmp_path / "mine").write_text("[x]\nregion = b\n")
    env = {home: str(tmp_path), "WHERE": str(tmp_path), "AWS_SHARED_CREDENTIALS_FILE": "${WHERE}/mine"}
    found = profiles.load(env)
    assert found.settings("default") == {"region": "a"} and found.settings("x") == {"region": "b"}
    assert profiles.load(env | {"AWS_CONFIG_FILE": "$WHERE/mine"}).config.path == f"{tmp_path}/mine"


@pytest.mark.skipif(os.geteuid() == 0 and not hasattr(os, "seteuid"), reason="root reads everything")
def test_an_unreadable_file_is_a_reason(files: Files, tmp_path: Path) -> None:
    found = files.write("[default]\nregion = a\n", "[x]\naws_access_key_id = a\n")
    files.credentials.chmod(0)
    tmp_path.chmod(0o755)
    uid = os.geteuid()
    if uid == 0:
        for folder in [tmp_path, *tmp_path.parents][:-2]:
            folder.chmod(folder.stat().st_mode | 0o055)
        os.seteuid(65534)
    try:
        assert found.settings("default") == {"region": "a"}
        with pytest.raises(ConfigurationError, match=r"credentials \(cannot be read: Permission denied\)"):
            found.settings("x")
    finally:
        if uid == 0:
            os.seteuid(uid)


def test_folders_pipes_and_bad_paths_are_reasons(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    env = {"AWS_CONFIG_FILE": str(tmp_path), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "pipe")}
    assert profiles.load(env).places.count("not a regular file") == 2
    env = {"AWS_CONFIG_FILE": "a\0b", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null/x"}
    assert "bad path" in profiles.load(env).places and "not there" in profiles.load(env).places


def test_secrets_are_masked_in_dumps(files: Files) -> None:
    found = files.write(credentials="[x]\naws_secret_access_key = hunter2\naws_session_token = hunter2\n")
    assert found.settings("x")["aws_secret_access_key"] == "hunter2"
    assert "hunter2" not in f"{found.settings('x')!r} {found.credentials!r} {found!r} {vars(found)!r}"


LINES = [
    "[default]", "[profile a]", "[profile b]", "[ profile]", "[other]", "[services s]", "[DEFAULT]", "[profile 'c']",
    "region = x", "Region=y", "k : v", "k2", "s3 =", "  a = b", "  c", "    d=e", "\tt = u", "# no", "  ; no", "",
    "   ", "= v", "x = # kept", "y = a ; kept", "[default] ; tail", "z =", "role_arn = arn:aws:iam::1:role/x",
]  # fmt: skip


def test_random_files_are_read_as_botocore_reads_them(tmp_path: Path) -> None:
    """600 files of shuffled lines: the same profiles and members, or both refuse."""
    generator = random.Random(20260501)
    files = Files(tmp_path)
    refused = 0
    for _ in range(600):
        text = "\n".join(generator.choices(LINES, k=generator.randint(1, 9)))
        found = files.write(text)
        try:
            theirs = botocore.configloader.load_config(str(files.config))
        except (botocore.exceptions.ConfigParseError, configparser.Error):
            refused += 1
            with pytest.raises(ConfigurationError):
                found.active({})
            continue
        # configparser keeps blank lines inside a long value; no setting has any use for them.
        theirs = eval(re.sub(r"(\\n)+", r"\\n", repr(theirs)))
        assert found.config.profiles == theirs["profiles"], text
        assert found.config.services == theirs["services"], text
    assert 100 < refused < 550
