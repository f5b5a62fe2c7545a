# SPDX-License-Identifier: MIT
"""What a profile can offer, and roles assumed at STS with other keys or with a web identity token."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..errors import ConfigurationError, CredentialsError, ServiceError, TransportError
from . import endpoint, sts
from .caller import Caller
from .credentials import Credentials
from .keys import Environment, Keys, Process, Refused
from .metadata import Container, Instance, NotOffered, read_token
from .profiles import Profiles
from .transport import Transport


class Source(Protocol):
    """One place. `load` raises NotOffered when nothing is set up there, another error when it fails."""

    @property
    def name(self) -> str: ...

    def load(self) -> Credentials: ...


@dataclass(frozen=True, slots=True, repr=False)
class World:
    """What the sources look at. Not shown in dumps: `env` holds secrets."""

    env: Mapping[str, str]
    profiles: Profiles
    caller: Caller
    transport: Transport
    now: Callable[[], float]
    region: str | None

    def instance(self, profile: str | None) -> Instance:
        return Instance(self.env, self.transport, self.now, lambda: self.profiles.settings(profile))

    def session_name(self, wanted: str | None) -> str:
        return wanted or f"unobin-s3-{int(self.now())}"

    def sts(self, profile: str | None) -> endpoint.Endpoint:
        settings = self.profiles.settings(profile)
        url = endpoint.endpoint_url_from("sts", self.env, settings, self.profiles.services(profile))
        return sts.endpoint_for(self.region or settings.get("region"), url, self.env, settings)


def first(sources: Iterable[Source], nothing: str) -> tuple[Credentials, Source]:
    reasons: dict[str, list[str]] = {}
    for source in sources:
        try:
            return source.load(), source
        except NotOffered as reason:
            reasons.setdefault(str(reason), []).append(source.name)
    tried = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
    raise CredentialsError(nothing + tried)


def of_profile(world: World, profile: str) -> Iterable[Source]:
    """What one profile can offer besides a role, in botocore's order (ProfileProviderBuilder.providers)."""
    yield WebIdentity(world, profile, from_environment=False)
    yield Refused(world.profiles, profile)
    yield Keys(world.profiles, profile, "credentials")
    yield Process(world.profiles, profile)
    yield Keys(world.profiles, profile, "config")


class WebIdentity:
    """A token file exchanged at STS (IRSA on EKS, other OIDC), from the environment or from a profile."""

    def __init__(self, world: World, profile: str | None, *, from_environment: bool) -> None:
        self._world, self._profile, self._from_environment = world, profile, from_environment
        self.name = f"web identity of {'the environment' if from_environment else f'profile {profile!r}'}"

    def load(self) -> Credentials:
        if self._from_environment:
            settings: Mapping[str, str] = self._world.env
            names = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME")
        else:
            settings = self._world.profiles.settings(self._profile)
            names = ("web_identity_token_file", "role_arn", "role_session_name")
        path, role, session = (settings.get(name) for name in names)
        del settings  # may be the whole environment
        if not path:
            raise NotOffered(f"{names[0]} is not set")
        if not role:
            raise CredentialsError(f"{self.name}: {names[0]} is set and {names[1]} is not; set both or none")
        token = read_token(path, names[0])
        world = self._world
        return _from_sts(
            f"{self.name}, role {role}",
            lambda: sts.assume_role_with_web_identity(
                world.caller, world.sts(self._profile), token, role_arn=role, session_name=world.session_name(session)
            ),
        )


class Role:
    """The `role_arn` of a profile, assumed with the keys of its `source_profile` or `credential_source`."""

    def __init__(self, world: World, profile: str) -> None:
        self._world, self._profile = world, profile
        self.name = f"role of profile {profile!r}"

    def load(self) -> Credentials:
        if not _has_role(self._world.profiles.settings(self._profile)):
            raise NotOffered("there is no role_arn, or it is for a web identity")
        return self._assume(self._profile, (self._profile,))

    def _assume(self, profile: str, visited: tuple[str, ...]) -> Credentials:
        settings, world = self._world.profiles.settings(profile), self._world
        source, named = settings.get("source_profile"), settings.get("credential_source")
        if "mfa_serial" in settings:
            raise ConfigurationError(f"profile {profile!r} has mfa_serial; nobody can be asked for a code here")
        if (source is None) == (named is None):
            raise ConfigurationError(
                f"profile {profile!r} has a role_arn and needs one of source_profile and credential_source"
            )
        duration = settings.get("duration_seconds")
        if duration is not None and not re.fullmatch("[0-9]{1,5}", duration):
            raise ConfigurationError(f"duration_seconds of profile {profile!r} is not a number of seconds")
        base = self._named(profile, named) if named is not None else self._of(source or "", visited)
        return _from_sts(
            f"role {settings['role_arn']} of profile {profile!r}",
            lambda: sts.assume_role(
                world.caller,
                world.sts(profile),
                base,
                role_arn=settings["role_arn"],
                session_name=world.session_name(settings.get("role_session_name")),
                external_id=settings.get("external_id"),
                duration=None if duration is None else int(duration),
            ),
        )

    def _named(self, profile: str, name: str) -> Credentials:
        world = self._world
        sources: dict[str, Source] = {
            "Environment": Environment(world.env),
            "EcsContainer": Container(world.env, world.transport),
            "Ec2InstanceMetadata": world.instance(profile),
        }
        if name not in sources:
            raise ConfigurationError(
                f"credential_source of profile {profile!r} must be one of {', '.join(sources)}, not {name!r}"
            )
        return first([sources[name]], f"credential_source of profile {profile!r} has nothing: ")[0]

    def _of(self, profile: str, visited: tuple[str, ...]) -> Credentials:
        """Credentials of a source profile: its keys if it has any, else its role, else what it can offer."""
        settings = self._world.profiles.settings(profile)
        keys = "aws_access_key_id" in settings or "aws_secret_access_key" in settings
        # A profile may name itself as the source of its role if it has keys.
        if profile in visited and not (keys and profile == visited[-1]):
            raise ConfigurationError(f"source profiles go in a circle: {' -> '.join((*visited, profile))}")
        if not keys and _has_role(settings):
            return self._assume(profile, (*visited, profile))
        return first(of_profile(self._world, profile), f"source profile {profile!r} has no credentials: ")[0]


def _has_role(settings: Mapping[str, str]) -> bool:
    return "role_arn" in settings and "web_identity_token_file" not in settings


def _from_sts(name: str, ask: Callable[[], Credentials]) -> Credentials:
    try:
        return ask()
    except ServiceError as error:
        raise CredentialsError(f"{name}: {error}") from error
    except (TransportError, CredentialsError) as error:
        problem = str(error)
    # Out here, so that the frames below httpx, which hold what was sent, are not chained.
    raise CredentialsError(f"{name}: {problem}")
