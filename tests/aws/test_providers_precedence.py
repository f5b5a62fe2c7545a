# SPDX-License-Identifier: MIT
"""botocore is the oracle: the same environment, files and arguments choose the same keys and the same region.

Every combination is run through both. REASONS lists where they differ on purpose, and the test fails just as well when
a listed difference is none.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import botocore.exceptions
import botocore.handlers
import botocore.loaders
import botocore.session
import pytest

from tests.aws import link_server
from unobin_s3.aws.settings import Settings
from unobin_s3.errors import UnobinS3Error


def keys(name: str, token: str = "") -> str:
    lines = f"aws_access_key_id = AKIA{name}\naws_secret_access_key = s{name}\n"
    return lines + (f"aws_session_token = {token}\n" if token else "")


ENVIRONMENTS: dict[str, dict[str, str]] = {
    "no keys": {"AWS_DEFAULT_REGION": "eu-central-1"},
    "keys": {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "sENV"},
    "keys and token": {
        "AWS_ACCESS_KEY_ID": "AKIAENV",
        "AWS_SECRET_ACCESS_KEY": "sENV",
        "AWS_SESSION_TOKEN": "tENV",
        "AWS_DEFAULT_REGION": "ap-south-1",
    },
    "both token names": {
        "AWS_ACCESS_KEY_ID": "AKIAENV",
        "AWS_SECRET_ACCESS_KEY": "sENV",
        "AWS_SESSION_TOKEN": "new",
        "AWS_SECURITY_TOKEN": "old",
    },
    "empty token": {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "sENV", "AWS_SESSION_TOKEN": ""},
    "no secret": {"AWS_ACCESS_KEY_ID": "AKIAENV"},
    "no key id": {"AWS_SECRET_ACCESS_KEY": "sENV", "AWS_SESSION_TOKEN": "tENV"},
    "web identity": {
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "TOKEN",
        "AWS_ROLE_ARN": "ROLE/env",
    },
    "web identity without role": {"AWS_WEB_IDENTITY_TOKEN_FILE": "TOKEN"},
    "role without web identity": {"AWS_ROLE_ARN": "ROLE/env"},
    "container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "LINK/container", "AWS_DEFAULT_REGION": "eu-west-2"},
    "instance": {
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "LINK",
        "AWS_EC2_METADATA_DISABLED": "false",
    },
}
HALF_WEB_IDENTITIES = ("web identity without role", "role without web identity")
# (argument, AWS_PROFILE, AWS_DEFAULT_PROFILE)
SELECTIONS: dict[str, tuple[str | None, str | None, str | None]] = {
    "none": (None, None, None),
    "AWS_PROFILE": (None, "dev", None),
    "AWS_DEFAULT_PROFILE": (None, "gone", "dev"),
    "argument": ("dev", "gone", None),
    "unknown": (None, "gone", None),
    "empty": (None, "", None),
}
SESSION = "[sso-session s]\nsso_region = eu-west-1\nsso_start_url = https://x.awsapps.com/start\n"
FILES: dict[str, tuple[str, str]] = {
    "none": ("", ""),
    "keys in credentials": (
        "[default]\nregion = us-west-1\n[profile dev]\nregion = us-west-2\n",
        f"[default]\n{keys('CREDDEF')}[dev]\n{keys('CREDDEV', 'tDEV')}",
    ),
    "keys in config": (f"[default]\n{keys('CONFDEF')}[profile dev]\n{keys('CONFDEV')}region = us-west-2\n", ""),
    "keys in both": (
        f"[default]\n{keys('CONFDEF', 'tCONF')}[profile dev]\n{keys('CONFDEV', 'tCONF')}",
        f"[default]\n{keys('CREDDEF')}[dev]\n{keys('CREDDEV')}",
    ),
    "keys split over both": (
        "[default]\naws_access_key_id = AKIACONF\n[profile dev]\naws_access_key_id = AKIACONF\n",
        "[default]\naws_secret_access_key = sCRED\n[dev]\naws_secret_access_key = sCRED\n",
    ),
    "key id only": ("", "[default]\naws_access_key_id = AKIACRED\n[dev]\naws_access_key_id = AKIACRED\n"),
    "process": (
        "[default]\ncredential_process = PROCESS DEF\n[profile dev]\ncredential_process = PROCESS DEV\n",
        "",
    ),
    "process and keys in config": (f"[profile dev]\ncredential_process = PROCESS DEV\n{keys('CONFDEV')}", ""),
    "process and keys in credentials": (
        "[profile dev]\ncredential_process = PROCESS DEV\n",
        f"[dev]\n{keys('CREDDEV')}",
    ),
    "role of keys": (
        (
            "[default]\nrole_arn = ROLE/def\nsource_profile = base\n[profile dev]\nrole_arn = ROLE/dev\n"
            "source_profile = base\nregion = us-east-2\n"
        ),
        f"[base]\n{keys('BASE')}",
    ),
    "role of own keys": (
        f"[profile dev]\nrole_arn = ROLE/dev\nsource_profile = dev\n{keys('CONFDEV')}",
        "",
    ),
    "role of a role": (
        (
            "[profile dev]\nrole_arn = ROLE/dev\nsource_profile = middle\n"
            "[profile middle]\nrole_arn = ROLE/middle\nsource_profile = base\n"
        ),
        f"[base]\n{keys('BASE')}",
    ),
    "role of a role with keys": (
        (
            "[profile dev]\nrole_arn = ROLE/dev\nsource_profile = middle\n"
            f"[profile middle]\nrole_arn = ROLE/middle\nsource_profile = base\n{keys('MIDDLE')}"
        ),
        f"[base]\n{keys('BASE')}",
    ),
    "role of a process": (
        (
            "[profile dev]\nrole_arn = ROLE/dev\nsource_profile = base\n"
            "[profile base]\ncredential_process = PROCESS BASE\n"
        ),
        "",
    ),
    "role of the environment": (
        "[profile dev]\nrole_arn = ROLE/dev\ncredential_source = Environment\n",
        "",
    ),
    "role of the container": (
        "[profile dev]\nrole_arn = ROLE/dev\ncredential_source = EcsContainer\n",
        "",
    ),
    "role of the instance": (
        "[profile dev]\nrole_arn = ROLE/dev\ncredential_source = Ec2InstanceMetadata\n",
        "",
    ),
    "role of nothing": ("[profile dev]\nrole_arn = ROLE/dev\n", ""),
    "role of two": (
        "[profile dev]\nrole_arn = ROLE/dev\nsource_profile = base\ncredential_source = Environment\n",
        f"[base]\n{keys('BASE')}",
    ),
    "role of an unknown source": (
        "[profile dev]\nrole_arn = ROLE/dev\ncredential_source = environment\n",
        "",
    ),
    "role of an unknown profile": ("[profile dev]\nrole_arn = ROLE/dev\nsource_profile = x\n", ""),
    "role of an empty profile": (
        "[profile dev]\nrole_arn = ROLE/dev\nsource_profile = x\n[profile x]\nregion = a\n",
        "",
    ),
    "role in a circle": (
        "[profile dev]\nrole_arn = ROLE/dev\nsource_profile = b\n[profile b]\nsource_profile = dev\nrole_arn = ROLE/\n",
        "",
    ),
    "role in a circle with keys": (
        (
            "[profile dev]\nrole_arn = ROLE/dev\nsource_profile = b\n"
            f"[profile b]\nrole_arn = ROLE/b\nsource_profile = dev\n{keys('CONFB')}"
        ),
        "",
    ),
    "web identity": ("[profile dev]\nrole_arn = ROLE/dev\nweb_identity_token_file = TOKEN\n", ""),
    "web identity and keys": (
        f"[profile dev]\nrole_arn = ROLE/dev\nweb_identity_token_file = TOKEN\n{keys('CONFDEV')}",
        "",
    ),
    "web identity without role": ("[profile dev]\nweb_identity_token_file = TOKEN\n", f"[dev]\n{keys('CREDDEV')}"),
    "role of a web identity": (
        (
            "[profile dev]\nrole_arn = ROLE/dev\nsource_profile = web\n"
            "[profile web]\nrole_arn = ROLE/web\nweb_identity_token_file = TOKEN\n"
        ),
        "",
    ),
    "single sign-on": (f"{SESSION}[profile dev]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n", ""),
    "single sign-on and keys": (
        "[profile dev]\nsso_account_id = 1\nsso_role_name = r\nsso_start_url = x\nsso_region = y\n",
        f"[dev]\n{keys('CREDDEV')}",
    ),
    "sign-on session alone": (f"{SESSION}[profile dev]\nsso_session = s\nregion = us-west-2\n", ""),
    "sign-on session and keys": (f"{SESSION}[profile dev]\nsso_session = s\n", f"[dev]\n{keys('CREDDEV')}"),
    "region only": ("[default]\nregion = us-west-1\n[profile dev]\nregion = us-west-2\n", ""),
    "malformed": ("[default]\nwhat is this\n", f"[default]\n{keys('CREDDEF')}[dev]\n{keys('CREDDEV')}"),
}


@dataclass(frozen=True)
class Case:
    environment: str
    selection: str
    files: str


def cases() -> list[Case]:
    """Every pair of environment, selection and files in some case; with UNOBIN_S3_ALL_SETTINGS=1 the whole product."""
    if os.environ.get("UNOBIN_S3_ALL_SETTINGS") == "1":
        return [Case(*names) for names in product(ENVIRONMENTS, SELECTIONS, FILES)]
    pairs = product(enumerate(ENVIRONMENTS), enumerate(FILES))
    selections = list(SELECTIONS)
    return [Case(env, selections[(i + j) % len(selections)], files) for (i, env), (j, files) in pairs]


@dataclass(frozen=True)
class Place:
    """Everything the placeholders stand for."""

    folder: Path
    link: link_server.Link

    def filled(self, text: str) -> str:
        for name, value in (
            ("ROLE/", "arn:aws:iam::123456789012:role/"),
            ("TOKEN", f"{self.folder}/token"),
            ("LINK", self.link.url),
            ("PROCESS", f"{self.folder}/process"),
        ):
            text = text.replace(name, value)
        return text

    def environment(self, case: Case) -> dict[str, str]:
        env = {name: self.filled(value) for name, value in ENVIRONMENTS[case.environment].items()}
        _, profile, default_profile = SELECTIONS[case.selection]
        for name, value in (("AWS_PROFILE", profile), ("AWS_DEFAULT_PROFILE", default_profile)):
            if value is not None:
                env[name] = value
        for name, text in zip(("config", "credentials"), FILES[case.files], strict=True):
            path = self.folder / f"{name} {case.files}"
            if not path.exists():
                path.write_text(self.filled(text))
        env |= {
            "AWS_CONFIG_FILE": str(self.folder / f"config {case.files}"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / f"credentials {case.files}"),
            "AWS_ENDPOINT_URL_STS": self.link.url,
            "PATH": os.defpath,
        }
        return {"AWS_EC2_METADATA_DISABLED": "true"} | env


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("aws")
    (folder / "token").write_text("web-token")
    process = folder / "process"
    process.write_text(
        '#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "AKIAPROC\'"$1"\'", "SecretAccessKey": "sPROC"}\'\n'
    )
    process.chmod(0o755)
    instance = link_server.instance_metadata("AKIAINSTANCE")

    def answer(asked: link_server.Asked) -> tuple[int, bytes]:
        if asked.path == "/container":
            return 200, link_server.key_document("AKIACONTAINER")
        return link_server.security_tokens(asked) if asked.method == "POST" else instance(asked)

    with link_server.running(answer) as link:
        yield Place(folder, link)


Chosen = tuple[str | None, str | None, str | None]  # access key ("refused", or None for nothing), token, region


def botocore_chooses(loader: botocore.loaders.Loader, profile: str | None) -> Chosen:
    session = botocore.session.Session(profile=profile, include_builtin_handlers=False)
    session.register_component("data_loader", loader)
    # The only one of botocore's handlers that matters here; registering all of them takes 25 ms each time.
    session.register("choose-signer.sts.AssumeRoleWithWebIdentity", botocore.handlers.disable_signing)
    try:
        found = session.get_credentials()
        frozen = None if found is None else found.get_frozen_credentials()
        region = session.get_config_variable("region")
    except (
        botocore.exceptions.BotoCoreError,
        botocore.exceptions.ClientError,
        botocore.exceptions.ParamValidationError,
    ):
        return "refused", None, None
    return (None, None, region) if frozen is None else (frozen.access_key, frozen.token or None, region)


def we_choose(env: dict[str, str], profile: str | None) -> Chosen:
    try:
        settings = Settings("s3", profile=profile, env=env)
        found = settings.credentials.get()
    except UnobinS3Error as error:
        nothing = "no AWS credentials found" in str(error)
        return (None if nothing else "refused"), None, _region(settings) if nothing else None
    return found.access_key_id, found.session_token, _region(settings)


def _region(settings: Settings) -> str | None:
    try:
        return settings.endpoint.region
    except UnobinS3Error as error:
        return None if "no AWS region" in str(error) else "refused"


REASONS = {
    "empty": "an empty AWS_PROFILE counts as not set, as all empty variables do here; botocore looks for profile ''",
    "sign-on": "a profile that only signs on is refused by name; botocore goes on and acts as the machine",
    "no region": "without a region botocore does not sign for STS at an endpoint URL; here it is signed for us-east-1",
    "mixed": "botocore mixes role and token file from environment and profile; here both come from one place",
}


def difference(case: Case, ours: Chosen, theirs: Chosen) -> str | None:
    """Which of the reasons explains that ours and botocore's choice differ; None: they must not."""
    if case.selection == "empty" and theirs[0] == "refused":
        return "empty"
    if case.files == "sign-on session alone" and ours[0] == "refused":
        return "sign-on"
    if case.files.startswith("role") and ours[2] is None and theirs[0] == "refused":
        return "no region"
    if case.files.startswith("web identity") and case.environment in HALF_WEB_IDENTITIES:
        return "mixed"
    return None


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_choice_is_botocores_or_has_a_reason(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    table = cases()
    for name in list(os.environ):
        monkeypatch.delenv(name)
    loader = botocore.loaders.create_loader()
    wrong: list[str] = []
    used: set[str] = set()
    for case in table:
        env, argument = place.environment(case), SELECTIONS[case.selection][0]
        with monkeypatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            theirs = botocore_chooses(loader, argument)
        ours = we_choose(env, argument)
        if ours != theirs:
            reason = difference(case, ours, theirs)
            used.add(reason or "")
            if reason is None:
                wrong.append(f"{case}: ours {ours}, botocore's {theirs}")
    gc.collect()  # botocore leaves sockets open; their warnings belong to this test
    assert len(table) >= 200
    assert not wrong, f"{len(wrong)} of {len(table)}:\n" + "\n".join(wrong)
    assert used == set(REASONS), "a listed difference is none"
