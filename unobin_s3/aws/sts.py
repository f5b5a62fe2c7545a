# SPDX-License-Identifier: MIT
"""The two calls of AWS STS that turn one identity into another. Which role to assume belongs in providers.py.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode

from ..errors import ConfigurationError, CredentialsError, ServiceError
from . import endpoint, xml
from .caller import Call, Caller
from .credentials import Credentials, StaticSource, parsed
from .retry import Repeat

# AWS_STS_REGIONAL_ENDPOINTS=legacy sends these regions to the global host, as botocore does.
_LEGACY = (
    r"ap-(northeast-1|south-1|southeast-[12])|ca-central-1|eu-(central-1|north-1|west-[123])|sa-east-1"
    r"|us-(east|west)-[12]"
)


def endpoint_for(
    region: str | None, url: str | None, env: Mapping[str, str], profile: Mapping[str, str]
) -> endpoint.Endpoint:
    """STS for `region`; without a region the global host, which signs for us-east-1. `url` wins over both."""
    fips, dualstack = (
        (env.get(f"AWS_{name.upper()}") or profile.get(name, "")).lower() == "true"
        for name in ("use_fips_endpoint", "use_dualstack_endpoint")
    )
    mode = env.get("AWS_STS_REGIONAL_ENDPOINTS") or profile.get("sts_regional_endpoints") or "regional"
    if mode not in ("regional", "legacy"):
        raise ConfigurationError(f"AWS_STS_REGIONAL_ENDPOINTS must be regional or legacy, not {mode!r}")
    legacy = mode == "legacy" and not fips and not dualstack
    if url is None and (region is None or (legacy and re.fullmatch(_LEGACY, region))):
        region, url = "us-east-1", "https://sts.amazonaws.com"
    return endpoint.resolve("sts", region=region, endpoint_url=url, fips=fips, dualstack=dualstack)


def assume(
    caller: Caller, where: endpoint.Endpoint, source: Credentials | None, members: Mapping[str, str | None]
) -> Credentials:
    """AssumeRole, signed with `source`. Without one AssumeRoleWithWebIdentity, unsigned: the token is the proof.

    `members` are those of the request; None leaves one out. Raises CredentialsError, or as `caller` does.
    """
    action = "AssumeRole" if source else "AssumeRoleWithWebIdentity"
    given = {name: value for name, value in members.items() if value is not None}
    body = urlencode({"Action": action, "Version": "2011-06-15", **given}).encode()
    call = Call(
        operation=action, service="sts", region=where.region, method="POST",
        scheme=where.scheme, host=where.host, path=f"{where.base_path}/",
        headers={"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, body=body,
        repeat=Repeat.READ,  # a second session is harmless
        limit=xml.MAX_ERROR,
    )  # fmt: skip
    del body
    signer = caller.with_credentials(StaticSource(source) if source else None)
    found = _read(signer.send(call).body, action)
    if isinstance(found, str):
        raise CredentialsError(f"{action} at {where.host}: {found}")
    return found


def _read(body: bytes, action: str) -> Credentials | str:
    """The credentials in the answer, or what is wrong: returned, so that no traceback holds the answer."""
    try:
        found = xml.fields(body, f"{action}Response", f"{action}Result", "Credentials")
    except ServiceError as error:
        return str(error)
    missing = {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"} - found.keys()
    if missing:
        return f"the answer has no {', '.join(sorted(missing))}"
    return parsed(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], found["Expiration"])
