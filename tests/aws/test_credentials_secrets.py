# SPDX-License-Identifier: MIT
"""Secrets are planted everywhere they can come from, and then looked for everywhere they could show.

Looked at: texts, attributes and arguments of errors, their causes and contexts, the locals of every frame that a
report of them could dump (ours and the libraries'), log records of all loggers, and dumps of our own objects.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import pprint
import socket
import string
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.aws import link_server
from tests.aws.leaks import shown
from tests.aws.link_server import Asked, Link, key_document
from unobin_s3.aws import profiles, providers
from unobin_s3.aws.caller import Caller
from unobin_s3.aws.credentials import CachedSource, Credentials, CredentialSource, Secret, StaticSource
from unobin_s3.aws.transport import HttpxTransport
from unobin_s3.errors import UnobinS3Error

PLANTED = "wJalrXUtnFEMIplanted"


@pytest.fixture
def link() -> Iterator[Link]:
    with link_server.running(lambda asked: (404, b"")) as running:
        yield running


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.fixture
def here(tmp_path: Path, link: Link) -> Iterator[Here]:
    here = Here(tmp_path, link)
    yield here
    here.transport.close()


class Here:
    def __init__(self, folder: Path, link: Link) -> None:
        self.folder, self.link, self.transport = folder, link, HttpxTransport({})
        self.env = {
            "AWS_CONFIG_FILE": str(folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_STS": link.url,
        }

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def process(self, script: str) -> None:
        path = self.write("run.sh", script)
        self.write("config", f"[default]\ncredential_process = /bin/sh {path} --password {PLANTED}\n")

    def keys(self, key: str = "AKID", secret: str = PLANTED, token: str = "t" + PLANTED, **more: str) -> None:
        self.env |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token} | more

    def role(self) -> None:
        self.write("config", "[default]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = base\n")
        lines = f"aws_access_key_id = AKID\naws_secret_access_key = {PLANTED}\naws_session_token = t{PLANTED}\n"
        self.write("credentials", f"[base]\n{lines}")

    def web_identity(self) -> None:
        path = self.write("token", PLANTED)
        self.env |= {"AWS_WEB_IDENTITY_TOKEN_FILE": path, "AWS_ROLE_ARN": "arn:aws:iam::1:role/x"}

    def container(self, status: int, body: bytes) -> None:
        self.link.answer = lambda asked: (status, body)
        self.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{self.link.url}/x"
        self.env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = PLANTED

    def instance(self, body: bytes) -> None:
        usual = link_server.instance_metadata("AKID")

        def answer(asked: Asked) -> tuple[int, bytes]:
            if asked.path == "/latest/api/token":
                return 200, PLANTED.encode()
            asked.headers["x-aws-ec2-metadata-token"] = "session"
            return (200, body) if asked.path.endswith("the-role") else usual(asked)

        self.link.answer = answer
        self.env |= {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.link.url}

    def chain(self) -> CredentialSource:
        caller = Caller(transport=self.transport, credentials=None, total=0.5)
        found = profiles.load(self.env)
        now = caller.clock.time
        return providers.default_chain(
            self.env, found, None, caller=caller, transport=self.transport, now=now, region="eu-west-1"
        )


def sts_says(status: int, body: str) -> Callable[[Here], object]:
    def arrange(here: Here) -> None:
        here.link.answer = lambda asked: (status, body.encode())

    return arrange


def no_answer(here: Here) -> None:
    """A port where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    here.env["AWS_ENDPOINT_URL_STS"] = here.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url


def both(*steps: Callable[[Here], object]) -> Callable[[Here], object]:
    def arrange(here: Here) -> None:
        for step in steps:
            step(here)

    return arrange


STS_OK = (
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>"
    f"{PLANTED}</SecretAccessKey>%s</Credentials></AssumeRoleResult></AssumeRoleResponse>"
)
STS_ERROR = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"

FAILURES: dict[str, Callable[[Here], object]] = {
    "environment, line feed": lambda here: here.keys(secret=PLANTED + "\n"),
    "environment, token": lambda here: here.keys(token=PLANTED + " "),
    "environment, half": lambda here: here.keys(key="A", secret="", token=PLANTED),
    "environment, expired": lambda here: here.keys(AWS_CREDENTIAL_EXPIRATION="2020-01-01T00:00Z"),
    "file, blank": lambda here: here.write(
        "config", f"[default]\naws_access_key_id = A\naws_secret_access_key = {PLANTED} x\n"
    ),
    "file, malformed": lambda here: here.write("config", f"[default]\naws_secret_access_key {PLANTED}\n"),
    "process, no JSON": lambda here: here.process(f"echo {PLANTED}"),
    "process, no version": lambda here: here.process(f'echo \'{{"SecretAccessKey": "{PLANTED}"}}\''),
    "process, fails": lambda here: here.process(f"echo {PLANTED}; exit 1"),
    "process, bad time": lambda here: here.process(
        f'echo \'{{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "{PLANTED}", "Expiration": "{PLANTED}"}}\''
    ),
    "process, hangs": lambda here: here.process(f"echo {PLANTED}; exec sleep 100"),
    "container, no JSON": lambda here: here.container(200, PLANTED.encode()),
    "container, refuses": lambda here: here.container(401, PLANTED.encode()),
    "container, down": lambda here: here.container(503, PLANTED.encode()),
    "container, incomplete": lambda here: here.container(200, key_document(PLANTED, Token=None)),
    "container, line break": lambda here: here.container(200, key_document(PLANTED, Token=PLANTED + "\n")),
    "container, no answer": both(lambda here: here.container(200, b""), no_answer),
    "container, bad token": both(
        lambda here: here.container(200, b""),
        lambda here: here.env.update(AWS_CONTAINER_AUTHORIZATION_TOKEN=f"{PLANTED}\n{PLANTED}"),
    ),
    "container, password in URL": lambda here: here.env.update(
        AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://u:{PLANTED}@localhost/"
    ),
    "instance, no JSON": lambda here: here.instance(PLANTED.encode()),
    "instance, incomplete": lambda here: here.instance(key_document(PLANTED, Expiration=None)),
    "role, denied": both(Here.role, sts_says(403, STS_ERROR)),
    "role, incomplete": both(Here.role, sts_says(200, STS_OK % "")),
    "role, malformed": both(Here.role, sts_says(200, f"<AssumeRoleResponse>{PLANTED}")),
    "role, bad token": both(
        Here.role,
        sts_says(200, STS_OK % f"<SessionToken>{PLANTED} x</SessionToken><Expiration>2099-01-01Z</Expiration>"),
    ),
    "role, no answer": both(Here.role, no_answer),
    "web identity, denied": both(Here.web_identity, sts_says(400, STS_ERROR)),
    "web identity, beside keys": both(lambda here: here.keys(key=""), Here.web_identity, sts_says(400, STS_ERROR)),
    "web identity, no answer": both(Here.web_identity, no_answer),
}


@pytest.mark.parametrize("name", FAILURES)
def test_no_failure_shows_a_secret(
    name: str, here: Here, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unobin_s3.aws.keys._PROCESS_SECONDS", 0.3)
    FAILURES[name](here)
    source = here.chain()
    with pytest.raises(UnobinS3Error) as caught:
        source.get()
    assert PLANTED not in shown(caught.value)
    assert PLANTED not in log.text and not any(PLANTED in repr(vars(record)) for record in log.records)
    assert PLANTED not in dump(source)


def dump(thing: object, seen: set[int] | None = None) -> str:
    """What a debugger's or an error reporter's look into an object's attributes shows."""
    seen = set() if seen is None else seen
    if id(thing) in seen or not type(thing).__module__.startswith("unobin_s3"):
        return repr(thing) if type(thing) is not dict else ""
    seen.add(id(thing))
    names = getattr(type(thing), "__slots__", None) or list(getattr(thing, "__dict__", {}))
    return "\n".join([repr(thing), *(dump(getattr(thing, name), seen) for name in names if name != "env")])


@pytest.mark.parametrize("kind", ["keys", "role", "container", "instance"])
def test_no_success_shows_a_secret(kind: str, here: Here, log: pytest.LogCaptureFixture) -> None:
    end = "<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>"
    arrange: dict[str, Callable[[Here], object]] = {
        "keys": Here.keys,
        "role": both(Here.role, sts_says(200, STS_OK % end)),
        "container": lambda here: here.container(200, key_document(PLANTED, AccessKeyId="AKID")),
        "instance": lambda here: here.instance(key_document(PLANTED, AccessKeyId="AKID")),
    }
    arrange[kind](here)
    source = here.chain()
    assert PLANTED in source.get().secret_access_key
    assert source.renew(Credentials("other", "other")) is source.get()
    assert PLANTED not in log.text and "come from" in log.text
    assert PLANTED[:-4] not in dump(source)


def test_a_value_shows_itself_nowhere() -> None:
    found = Credentials("AKIAIOSFODNN7EXAMPLE", PLANTED, "t" + PLANTED)
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s %r %s", (found, found, [found]), None)
    texts = [repr(found), str(found), f"{found}", f"{found!r:>200}", format(found), pprint.pformat([found])]
    texts += [string.Template("$x").substitute(x=found), pprint.pformat(dataclasses.asdict(found)), repr(dir(found))]
    texts += [record.getMessage(), repr(record.args), repr(vars(StaticSource(found))), repr({"h": found.session_token})]
    texts += [repr([getattr(found, field.name) for field in dataclasses.fields(found)]), repr(copy.copy(found))]
    assert [text for text in texts if PLANTED in text] == []
    assert "...MPLE" in repr(found) and "IOSFODNN" not in repr(found)


def test_a_refused_value_shows_itself_nowhere() -> None:
    for values in (("AKID", PLANTED + "\n"), ("AKID", "s", PLANTED + "\n")):
        with pytest.raises(UnobinS3Error) as caught:
            Credentials(*values)
        assert PLANTED not in shown(caught.value)


def test_a_failed_renewal_in_a_thread_shows_nothing(log: pytest.LogCaptureFixture) -> None:
    """What a thread's excepthook is given, for an error with a valid set at hand and one without."""
    calls: list[int] = []

    def load() -> Credentials:
        calls.append(1)
        secret = Secret(PLANTED)
        if len(calls) > 1:
            raise RuntimeError(f"{len(secret)} characters refused")
        return Credentials("AKID", secret, None, None)

    source = CachedSource(load, lambda: 0.0)
    first = source.get()
    errors: list[BaseException | None] = []
    hook, threading.excepthook = threading.excepthook, lambda args: errors.append(args.exc_value)
    try:
        thread = threading.Thread(target=source.renew, args=(first,))
        thread.start()
        thread.join(10)
    finally:
        threading.excepthook = hook
    assert len(errors) == 1 and PLANTED not in shown(errors[0]) + log.text
