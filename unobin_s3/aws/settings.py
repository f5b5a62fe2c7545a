# SPDX-License-Identifier: MIT
"""What one client works with, found where the AWS SDKs find it: region, endpoint, credentials, trust.

An argument beats the environment, which beats the profile in the shared files; the region may come from instance
metadata at last. Building a Settings sends nothing; files are read only when an argument leaves something open.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from .. import environ
from ..errors import ConfigurationError
from . import endpoint as endpoints
from . import metadata, profiles, providers
from .caller import Caller, Clock
from .credentials import Credentials, CredentialSource, StaticSource
from .region import Regions
from .transport import HttpxTransport, Transport

if TYPE_CHECKING:
    import httpx

_TRUE, _FALSE = ("true", "1"), ("false", "0", "")
# Settings of the shared config file's `s3 =` section that change what is sent, and that are not supported here.
_REFUSED = ("use_accelerate_endpoint", "use_arn_region")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds: to connect, between two pieces of an answer, and for one whole call with its repetitions."""

    connect: float = 5.0
    read: float = 60.0
    total: float = 120.0

    def __post_init__(self) -> None:
        for name in ("connect", "read", "total"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ConfigurationError(
                    f"the {name} time limit must be a positive, finite number of seconds: {value!r}"
                )


class Settings:
    """Resolved lazily, once, under a lock: `endpoint` may ask instance metadata for the region."""

    def __init__(
        self,
        service: str,
        *,
        region: str | None = None,
        credentials: Credentials | CredentialSource | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        transport: Transport | httpx.BaseTransport | None = None,
        ca_bundle: str | None = None,
        path_style: bool | None = None,
        dualstack: bool | None = None,
        fips: bool | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.env: Mapping[str, str] = environ.read() if env is None else env
        self.service = service
        self._profiles = profiles.load(self.env)
        self._profile_name = profile
        self._region, self._endpoint_url = region, endpoint_url
        self._path_style, self._dualstack, self._fips = path_style, dualstack, fips
        self._lock = threading.Lock()
        self._endpoint: endpoints.Endpoint | None = None
        self._direct: Transport = HttpxTransport({})  # metadata services: never through a proxy
        self.transport: Transport = self._transport(transport, ca_bundle)
        limits = limits or Limits()
        self.regions: Regions = Regions(self)
        base = Caller(
            transport=self.transport, credentials=None, clock=clock,
            connect=limits.connect, read=limits.read, total=limits.total,
            correct=self.regions.correct,
        )  # fmt: skip
        # The chain has a caller of its own, unsigned; this one would make a cycle, and a dropped client linger.
        self.credentials: CredentialSource = self._source(credentials, base.with_credentials(None))
        self.caller = base
        base.credentials = self.credentials

    @property
    def profile(self) -> Mapping[str, str]:
        """The members of the active profile; empty when there is none."""
        name = self._profiles.active(self.env, self._profile_name)
        return self._profiles.settings(name) if name else {}

    @property
    def endpoint(self) -> endpoints.Endpoint:
        """Where the service is. Raises ConfigurationError when no region can be found."""
        with self._lock:
            if self._endpoint is None:
                self._endpoint = self._resolve()
            return self._endpoint

    @property
    def region(self) -> str:
        return self.endpoint.region

    def _resolve(self) -> endpoints.Endpoint:
        url = self._endpoint_url or self._configured_url()
        region = self._region or self.env.get("AWS_REGION") or self.env.get("AWS_DEFAULT_REGION")
        if region is None and not (self._endpoint_url and isinstance(self.credentials, StaticSource)):
            region = self.profile.get("region")
        if region is None and url is None:
            region = metadata.Machine(self.env, self._direct, self.caller.clock.time, {}).region()
        return endpoints.resolve(
            self.service,
            region=region,
            endpoint_url=url,
            path_style=self._style(),
            dualstack=self._flag(self._dualstack, "use_dualstack_endpoint"),
            fips=self._flag(self._fips, "use_fips_endpoint"),
        )

    def _configured_url(self) -> str | None:
        name = self._profiles.active(self.env, self._profile_name)
        services = self._profiles.services(name) if name else {}
        return endpoints.endpoint_url_from(self.service, self.env, self.profile, services)

    def _style(self) -> bool | None:
        if self.service != "s3" or self._path_style is not None or self._endpoint_url:
            return self._path_style
        nested = self._nested()
        for name in _REFUSED:
            if nested.get(name, "").lower() in _TRUE:
                raise ConfigurationError(f"the shared config file asks for s3 {name}, which is not supported here")
        style = nested.get("addressing_style", "auto")
        if style not in ("auto", "path", "virtual"):
            raise ConfigurationError(f"addressing_style must be auto, path or virtual, not {style!r}")
        return {"auto": None, "path": True, "virtual": False}[style]

    def _nested(self) -> Mapping[str, str]:
        """The `s3 =` block of the active profile, when this is for S3."""
        name = self._profiles.active(self.env, self._profile_name)
        return self._profiles.nested(name, "s3") if self.service == "s3" else {}

    def _flag(self, value: bool | None, name: str) -> bool:
        if value is not None:
            return value
        if self._endpoint_url:
            return False
        text = self.env.get(f"AWS_{name.upper()}") or self.profile.get(name) or self._nested().get(name, "")
        if text.lower() not in _TRUE + _FALSE:
            raise ConfigurationError(f"{name} (AWS_{name.upper()}) must be true or false, not {text!r}")
        return text.lower() in _TRUE

    def _transport(self, given: Transport | httpx.BaseTransport | None, ca_bundle: str | None) -> Transport:
        if given is not None and not hasattr(given, "handle_request"):
            if hasattr(given, "send") and not type(given).__module__.startswith("httpx"):
                return given
            raise ConfigurationError(
                "transport must be a httpx.BaseTransport (not a Client, which merges headers and follows redirects)"
            )
        if ca_bundle is None and not self.env.get("AWS_CA_BUNDLE") and not self._endpoint_url:
            ca_bundle = self.profile.get("ca_bundle")
        return HttpxTransport(self.env, ca_bundle=ca_bundle, custom=cast("httpx.BaseTransport | None", given))

    def _source(self, given: Credentials | CredentialSource | None, caller: Caller) -> CredentialSource:
        if isinstance(given, Credentials):
            return StaticSource(given)
        if given is not None:
            return given
        return providers.default_chain(
            self.env,
            self._profiles,
            self._profile_name,
            caller=caller,
            transport=self._direct,
            now=caller.clock.time,
            region=self._region or self.env.get("AWS_REGION") or self.env.get("AWS_DEFAULT_REGION"),
        )
