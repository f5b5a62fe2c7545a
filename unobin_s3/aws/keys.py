# SPDX-License-Identifier: MIT
"""Credentials that lie ready on this machine: in the environment, a profile's keys, a program's output. No requests.

A text in place of credentials says why those that are there cannot be used: returned, so that no traceback holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from ..errors import ConfigurationError
from .credentials import Credentials, Secret, parsed
from .metadata import NotOffered, credentials_in, short
from .profiles import IniFile, Profiles

_PROCESS_SECONDS = 60.0  # as in the Go SDK
_SSO = frozenset({"sso_account_id", "sso_role_name", "sso_session", "sso_start_url"})
_OWN = frozenset({"aws_access_key_id", "aws_secret_access_key", "credential_process"})


def environment(env: Mapping[str, str]) -> Credentials | str:
    """AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_CREDENTIAL_EXPIRATION."""
    key, secret = env.get("AWS_ACCESS_KEY_ID"), Secret(env.get("AWS_SECRET_ACCESS_KEY", ""))
    if not key:
        raise NotOffered("AWS_ACCESS_KEY_ID is not set")
    if not secret:
        return "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not; set both or none"
    # The older name first, as botocore does.
    token = Secret(env.get("AWS_SECURITY_TOKEN") or env.get("AWS_SESSION_TOKEN") or "")
    return parsed(key, secret, token, env.get("AWS_CREDENTIAL_EXPIRATION"))


def in_file(file: IniFile, profile: str) -> Credentials | str:
    """Keys that stand in one of the two files; both halves must be in the same one."""
    section = {name: value for name, value in file.profiles.get(profile, {}).items() if isinstance(value, str)}
    if "aws_access_key_id" not in section:
        raise NotOffered(file.state or "there is no aws_access_key_id")
    token = section.get("aws_security_token", section.get("aws_session_token"))
    found = parsed(section["aws_access_key_id"], section.get("aws_secret_access_key", ""), token, None)
    return f"{file.path}: {found}" if isinstance(found, str) else found


def refused(profiles: Profiles, profile: str) -> NoReturn:
    """Kinds of profiles that are not supported: named, never passed over to another identity."""
    settings, what = profiles.settings(profile), ""
    if {"sso_account_id", "sso_role_name"} & settings.keys() or (_SSO & settings.keys() and not _OWN & settings.keys()):
        what = "IAM Identity Center (SSO)"
    elif "login_session" in settings and "aws_access_key_id" not in profiles.credentials.profiles.get(profile, {}):
        what = "a console sign-in session"
    if not what:
        raise NotOffered("it has none")
    raise ConfigurationError(
        f"profile {profile!r} uses {what}, which is not supported here; run `aws configure "
        f"export-credentials --profile {profile} --format env` and use what it prints"
    )


def process(settings: Mapping[str, str]) -> Credentials | str:
    """What the `credential_process` of a profile prints, run without a shell. Its arguments are not repeated."""
    command = settings.get("credential_process")
    if command is None:
        raise NotOffered("there is no credential_process")
    import shlex  # seldom needed
    import subprocess

    try:
        arguments = shlex.split(command)
        done = subprocess.run(  # noqa: S603 - running this command is what the user asked for
            arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROCESS_SECONDS, check=False
        )
    except OSError as error:
        return f"{arguments[0]} cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{arguments[0]} did not end within {_PROCESS_SECONDS:.0f} s"
    except (ValueError, IndexError):
        return "the command is empty or has an unclosed quote"
    if done.returncode != 0:
        said = short(done.stderr.decode("utf-8", "replace")) or "nothing"
        return f"{arguments[0]} ended with status {done.returncode} and said: {said}"
    return credentials_in(done.stdout, session="SessionToken", version=1)
