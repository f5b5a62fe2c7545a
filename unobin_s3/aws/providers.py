# SPDX-License-Identifier: MIT
"""Where credentials are looked for, and in which order: environment, profile, roles at STS, container, instance.

botocore's order (create_credential_resolver) is kept, and its rule that a source which is set up but fails ends the
search: falling through could act as somebody else. A set is taken whole from one place.
https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, NoReturn

from ..errors import ConfigurationError, CredentialsError, ServiceError, TransportError
from . import endpoint, keys, sts
from .caller import Caller
from .credentials import CachedSource, Credentials
from .metadata import Machine, NotOffered, read_token
from .profiles import Profiles
from .transport import Transport

logger = logging.getLogger(__name__)


class Source(NamedTuple):
    """One place. `load` raises NotOffered when nothing is set up there; a text says why that cannot be used."""

    name: str
    load: Callable[[], Credentials | str]


def _first(sources: Iterable[Source], nothing: str) -> tuple[Credentials, Source]:
    reasons: dict[str, list[str]] = {}
    for source in sources:
        try:
            found = source.load()
        except NotOffered as reason:
            reasons.setdefault(str(reason), []).append(source.name)
            continue
        if isinstance(found, str):
            raise CredentialsError(f"{source.name}: {found}")
        return found, source
    tried = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
    raise CredentialsError(nothing + tried)


class Chain(CachedSource):
    """The sources of the AWS SDKs behind one cache; nothing is read or sent before the first `get`.

    The first source that serves is asked ever after: a renewal must not change who we are. A `profile_name` given by
    argument beats keys in the environment, which beat AWS_PROFILE. `caller` sends to STS; `transport` must know no
    proxy; `now` gives unix seconds; `region` None: the profile's.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        profiles: Profiles,
        profile_name: str | None,
        *,
        caller: Caller,
        transport: Transport,
        now: Callable[[], float],
        region: str | None,
    ) -> None:
        super().__init__(self._found, now)
        # Kept in an object, because `env` holds secrets, and as an argument would be among the locals of tracebacks.
        self.env, self.profiles, self.caller, self.transport = env, profiles, caller, transport
        self.now, self.region, self.profile_name = now, region, profile_name or None
        self.serving: Source | None = None

    @property
    def origin(self) -> str:
        """Where the present set comes from, for people; "" before the first."""
        return self.serving.name if self.serving else ""

    def _found(self) -> Credentials:
        if self.serving:
            self.profiles.forget()
            return _first((self.serving,), "no AWS credentials found any more: ")[0]
        credentials, self.serving = _first(self._sources(), "no AWS credentials found. Tried: ")
        logger.info("AWS credentials come from: %s", self.serving.name)
        return credentials

    def _sources(self) -> Iterable[Source]:
        """A generator, so that the files stay unread when the environment serves."""
        if self.profile_name is None:
            yield Source("environment variables", lambda: keys.environment(self.env))
        active = self.profiles.active(self.env, self.profile_name)
        if active is not None:
            yield Source(f"role of profile {active!r}", lambda: self._role_of(active))
        if self.profile_name is None:
            yield self._web_identity(active, from_environment=True)
        if active is not None:
            yield from self._of_profile(active)
        else:
            yield Source("profile 'default'", self._no_profile)
        yield from self._of_machine(active).values()

    def _of_profile(self, profile: str) -> Iterable[Source]:
        """What one profile can offer besides a role, in botocore's order (ProfileProviderBuilder.providers)."""
        of, files = f"of profile {profile!r}", self.profiles
        yield self._web_identity(profile, from_environment=False)
        yield Source(f"sign-in sessions {of}", lambda: keys.refused(files, profile))
        yield Source(f"keys {of} in the credentials file", lambda: keys.in_file(files.credentials, profile))
        yield Source(f"credential_process {of}", lambda: keys.process(files.settings(profile)))
        yield Source(f"keys {of} in the config file", lambda: keys.in_file(files.config, profile))

    def _of_machine(self, profile: str | None) -> dict[str, Source]:
        """By the names that credential_source has for them."""
        machine = Machine(self.env, self.transport, self.now, self.profiles.settings(profile))
        return {
            "EcsContainer": Source("container credentials", machine.container),
            "Ec2InstanceMetadata": Source("EC2 instance metadata", machine.instance),
        }

    def _no_profile(self) -> NoReturn:
        raise NotOffered(f"it is not in {self.profiles.places}")

    def _web_identity(self, profile: str | None, *, from_environment: bool) -> Source:
        """A token file exchanged at STS (IRSA on EKS, other OIDC)."""
        name = f"web identity of {'the environment' if from_environment else f'profile {profile!r}'}"
        members = ("web_identity_token_file", "role_arn", "role_session_name")
        names = [f"AWS_{member.upper()}" for member in members] if from_environment else members

        def load() -> Credentials | str:
            settings = self.env if from_environment else self.profiles.settings(profile)
            path, role, session = map(settings.get, names)
            del settings  # may be the whole environment
            if not path:
                raise NotOffered(f"{names[0]} is not set")
            if not role:
                return f"{names[0]} is set and {names[1]} is not; set both or none"
            token = read_token(path, names[0])
            return self._assume(f"{name}, role {role}", profile, None, session, RoleArn=role, WebIdentityToken=token)

        return Source(name, load)

    def _role_of(self, profile: str) -> Credentials:
        if not _has_role(self.profiles.settings(profile)):
            raise NotOffered("there is no role_arn, or it is for a web identity")
        return self._role(profile, (profile,))

    def _role(self, profile: str, visited: tuple[str, ...]) -> Credentials:
        """The `role_arn` of a profile, assumed with the keys of its `source_profile` or `credential_source`."""
        settings = self.profiles.settings(profile)
        source, named = settings.get("source_profile"), settings.get("credential_source")
        if "mfa_serial" in settings:
            raise ConfigurationError(f"profile {profile!r} has mfa_serial; nobody can be asked for a code here")
        if (source is None) == (named is None):
            raise ConfigurationError(
                f"profile {profile!r} has a role_arn and needs one of source_profile and credential_source"
            )
        duration, role = settings.get("duration_seconds"), settings["role_arn"]
        if duration is not None and not re.fullmatch("[0-9]{1,5}", duration):
            raise ConfigurationError(f"duration_seconds of profile {profile!r} is not a number of seconds")
        base = self._named(profile, named) if named is not None else self._source_profile(source or "", visited)
        return self._assume(
            f"role {role} of profile {profile!r}", profile, base, settings.get("role_session_name"),
            RoleArn=role, ExternalId=settings.get("external_id"), DurationSeconds=duration,
        )  # fmt: skip

    def _named(self, profile: str, name: str) -> Credentials:
        environment = Source("environment variables", lambda: keys.environment(self.env))
        sources = {"Environment": environment, **self._of_machine(profile)}
        if name not in sources:
            raise ConfigurationError(
                f"credential_source of profile {profile!r} must be one of {', '.join(sources)}, not {name!r}"
            )
        return _first([sources[name]], f"credential_source of profile {profile!r} has nothing: ")[0]

    def _source_profile(self, profile: str, visited: tuple[str, ...]) -> Credentials:
        """Credentials of a source profile: its keys if it has any, else its role, else what it can offer."""
        settings = self.profiles.settings(profile)
        has_keys = "aws_access_key_id" in settings or "aws_secret_access_key" in settings
        # A profile may name itself as the source of its role if it has keys.
        if profile in visited and not (has_keys and profile == visited[-1]):
            raise ConfigurationError(f"source profiles go in a circle: {' -> '.join((*visited, profile))}")
        if not has_keys and _has_role(settings):
            return self._role(profile, (*visited, profile))
        return _first(self._of_profile(profile), f"source profile {profile!r} has no credentials: ")[0]

    def _assume(
        self, what: str, profile: str | None, source: Credentials | None, session: str | None, **members: str | None
    ) -> Credentials:
        settings = self.profiles.settings(profile)
        url = endpoint.endpoint_url_from("sts", self.env, settings, self.profiles.services(profile))
        where = sts.endpoint_for(self.region or settings.get("region"), url, self.env, settings)
        members["RoleSessionName"] = session or f"unobin-s3-{int(self.now())}"
        try:
            return sts.assume(self.caller, where, source, members)
        except ServiceError as error:
            raise CredentialsError(f"{what}: {error}") from error
        except (TransportError, CredentialsError) as error:
            problem = str(error)
        # Out here, so that the frames below httpx, which hold what was sent, are not chained.
        raise CredentialsError(f"{what}: {problem}")


def _has_role(settings: Mapping[str, str]) -> bool:
    return "role_arn" in settings and "web_identity_token_file" not in settings


default_chain = Chain
