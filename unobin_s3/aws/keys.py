# SPDX-License-Identifier: MIT
"""Credentials that lie ready on this machine: in the environment, a profile's keys, a program's output.

No requests here; roles and metadata services are in roles.py and metadata.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ConfigurationError, CredentialsError
from .credentials import Credentials, Secret, parsed
from .metadata import NotOffered, credentials_in, short
from .profiles import IniFile, Profiles

_PROCESS_SECONDS = 60.0  # as in the Go SDK
_SSO = frozenset({"sso_account_id", "sso_role_name", "sso_session", "sso_start_url"})
_OWN = frozenset({"aws_access_key_id", "aws_secret_access_key", "credential_process"})


class Environment:
    """AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_CREDENTIAL_EXPIRATION."""

    name = "environment variables"

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def load(self) -> Credentials:
        key, secret = self._env.get("AWS_ACCESS_KEY_ID"), Secret(self._env.get("AWS_SECRET_ACCESS_KEY", ""))
        if not key:
            raise NotOffered("AWS_ACCESS_KEY_ID is not set")
        if not secret:
            raise CredentialsError("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not; set both or none")
        # The older name first, as botocore does.
        token = Secret(self._env.get("AWS_SECURITY_TOKEN") or self._env.get("AWS_SESSION_TOKEN") or "")
        found = parsed(key, secret, token, self._env.get("AWS_CREDENTIAL_EXPIRATION"))
        if isinstance(found, str):
            raise CredentialsError(f"the AWS_... keys in the environment cannot be used: {found}")
        return found


class Keys:
    """Keys that stand in one of the two files; both halves must be in the same one."""

    def __init__(self, profiles: Profiles, profile: str, which: str) -> None:
        self._profiles, self._profile, self._which = profiles, profile, which
        self.name = f"keys of profile {profile!r} in the {which} file"

    def load(self) -> Credentials:
        file: IniFile = getattr(self._profiles, self._which)
        section = {k: v for k, v in file.profiles.get(self._profile, {}).items() if isinstance(v, str)}
        if "aws_access_key_id" not in section:
            raise NotOffered(file.state or "there is no aws_access_key_id")
        found = parsed(
            section["aws_access_key_id"],
            section.get("aws_secret_access_key", ""),
            section.get("aws_security_token", section.get("aws_session_token")),
            None,
        )
        if isinstance(found, str):
            raise CredentialsError(f"profile {self._profile!r} in {file.path}: {found}")
        return found


class Refused:
    """Kinds of profiles that are not supported: named, never passed over to another identity."""

    def __init__(self, profiles: Profiles, profile: str) -> None:
        self._profiles, self._profile = profiles, profile
        self.name = f"sign-in sessions of profile {profile!r}"

    def load(self) -> Credentials:
        settings = self._profiles.settings(self._profile)
        alone = not _OWN & settings.keys()
        if "sso_account_id" in settings or "sso_role_name" in settings or (alone and _SSO & settings.keys()):
            raise ConfigurationError(self._advice("IAM Identity Center (SSO)"))
        in_credentials_file = self._profiles.credentials.profiles.get(self._profile, {})
        if "login_session" in settings and "aws_access_key_id" not in in_credentials_file:
            raise ConfigurationError(self._advice("a console sign-in session"))
        raise NotOffered("it has none")

    def _advice(self, what: str) -> str:
        return (
            f"profile {self._profile!r} uses {what}, which is not supported here; run `aws configure "
            f"export-credentials --profile {self._profile} --format env` and use what it prints"
        )


class Process:
    """The `credential_process` of a profile, run without a shell."""

    def __init__(self, profiles: Profiles, profile: str) -> None:
        self._profiles, self._profile = profiles, profile
        self.name = f"credential_process of profile {profile!r}"

    def load(self) -> Credentials:
        command = self._profiles.settings(self._profile).get("credential_process")
        if command is None:
            raise NotOffered("there is no credential_process")
        outcome = _run(command)
        if isinstance(outcome, str):
            raise CredentialsError(f"{self.name}: {outcome}")
        return outcome


def _run(command: str) -> Credentials | str:
    """The credentials that the program prints, or what went wrong, without its arguments and output."""
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
