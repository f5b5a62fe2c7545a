# SPDX-License-Identifier: MIT
"""Where credentials are looked for, and in which order: environment, profile, container, instance.

botocore's order (create_credential_resolver) is kept, and its rule that a source which is set up but fails
ends the search: falling through could act as somebody else. A set is taken whole from one place.
https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from .caller import Caller
from .credentials import CachedSource, Credentials, CredentialSource
from .keys import Environment
from .metadata import Container, NotOffered
from .profiles import Profiles
from .roles import Role, Source, WebIdentity, World, first, of_profile
from .transport import Transport

logger = logging.getLogger(__name__)


def default_chain(
    env: Mapping[str, str],
    profiles: Profiles,
    profile_name: str | None,
    *,
    caller: Caller,
    transport: Transport,
    now: Callable[[], float],
    region: str | None,
) -> CredentialSource:
    """The sources of the AWS SDKs behind one cache; nothing is read or sent before the first `get`.

    A `profile_name` given by argument beats keys in the environment, which beat AWS_PROFILE. `caller` sends
    to STS; `transport` must know no proxy; `now` gives unix seconds; `region` None: the profile's.
    """
    world = World(env, profiles, caller, transport, now, region)
    chain = Chain(world, profile_name or None)
    return CachedSource(chain.load, now, chain.origin)


class Chain:
    """The first source that serves, and then always that one: a renewal must not change who we are."""

    def __init__(self, world: World, profile_name: str | None) -> None:
        self._world, self._profile_name = world, profile_name
        self._serving: Source | None = None

    def origin(self) -> str:
        return "" if self._serving is None else self._serving.name

    def load(self) -> Credentials:
        if self._serving is not None:
            self._world.profiles.forget()
            sources: Iterable[Source] = (self._serving,)
        else:
            sources = self._sources()
        credentials, serving = first(sources, "no AWS credentials found. Tried: ")
        if self._serving is None:
            logger.info("AWS credentials come from: %s", serving.name)
        self._serving = serving
        return credentials

    def _sources(self) -> Iterable[Source]:
        """A generator, so that the files stay unread when the environment serves."""
        world, explicit = self._world, self._profile_name is not None
        if not explicit:
            yield Environment(world.env)
        active = world.profiles.active(world.env, self._profile_name)
        if active is not None:
            yield Role(world, active)
        if not explicit:
            yield WebIdentity(world, active, from_environment=True)
        if active is not None:
            yield from of_profile(world, active)
        else:
            yield NoProfile(world.profiles)
        yield Container(world.env, world.transport)
        yield world.instance(active)


class NoProfile:
    """Stands for all sources of a profile when there is none."""

    name = "profile 'default'"

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    def load(self) -> Credentials:
        raise NotOffered(f"it is not in {self._profiles.places}")
