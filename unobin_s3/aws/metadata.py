# SPDX-License-Identifier: MIT
"""Credentials and region from the machine: container endpoints (ECS, EKS) and EC2 instance metadata.

The transport given here must not use a proxy: a proxy would answer with its own role. Answers are read strictly and
never repeated in messages. IMDSv1 is not spoken.
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from ..errors import ConfigurationError, CredentialsError, TransportError
from .credentials import Credentials, Secret, parsed
from .transport import Request, Response, Transport

logger = logging.getLogger(__name__)

# Plain http goes to these only: ECS, EKS Pod Identity, loopback.
_CONTAINER_HOSTS = r"(169\.254\.170\.23?|\[fd00:ec2::23\]|localhost|127\.[0-9]+\.[0-9]+\.[0-9]+|\[::1\])(:[0-9]+)?"
_URL = r"(https?)://((?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?)(/[!\"$->@-~]*)?(\?[!\"$-~]*)?(?:#[!-~]*)?"
_HOPS = (
    "; in a container on EC2 set the instance's metadata hop limit to 2, elsewhere set AWS_EC2_METADATA_DISABLED=true "
    "to skip this"
)
_CONTAINER_SECONDS, _CONTAINER_ATTEMPTS = 2.0, 3  # as botocore
_LIMIT = 64 * 1024  # bytes; real answers are under 2 kB
_STABLE = 15 * 60  # seconds to go on with credentials that instance metadata has not renewed in time


class NotOffered(Exception):
    """This source is not set up here, so the next one is asked. The text says why, without any value."""


def short(text: object) -> str:
    """One printable line of at most 200 characters, for what other programs say."""
    return "".join(c if c.isprintable() else " " for c in " ".join(str(text).split()))[:200]


def credentials_in(data: bytes, *, session: str, version: int | None = None) -> Credentials | str:
    """The credentials in a JSON answer, or what is wrong: returned, so that no traceback holds the answer.

    `session`: the name of the session token's member. It and Expiration are optional only in answers with a
    `version`, those of a credential_process.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return "the answer is not JSON"
    if not isinstance(document, dict):
        return "the answer is not a JSON object"
    if version is not None and repr(document.get("Version")) != str(version):  # true is no version
        return f"the answer's Version is not {version}"
    if document.get("Code", "Success") != "Success":
        return f"the answer says {short(document['Code'])}: {short(document.get('Message', ''))}"
    required = ("AccessKeyId", "SecretAccessKey", *((session, "Expiration") if version is None else ()))
    texts = {}
    for name in ("AccessKeyId", "SecretAccessKey", session, "Expiration"):
        value = document.get(name)
        if not isinstance(value, str | None):
            return f"{name} in the answer is not a string"
        if not value and name in required:
            return f"{name} in the answer is missing"
        texts[name] = value
    return parsed(texts["AccessKeyId"] or "", texts["SecretAccessKey"] or "", texts[session], texts["Expiration"])


class Machine:
    """What the machine offers. `profile` may hold settings of instance metadata; `now` gives unix seconds."""

    def __init__(
        self, env: Mapping[str, str], transport: Transport, now: Callable[[], float], profile: Mapping[str, str]
    ) -> None:
        self.env, self.transport, self.now, self.profile = env, transport, now, profile

    def container(self) -> Credentials | str:
        """AWS_CONTAINER_CREDENTIALS_RELATIVE_URI (ECS) or _FULL_URI (EKS Pod Identity and others)."""
        scheme, host, target = self._container_url()
        request = Request("GET", scheme, host, target, {"accept": "application/json", **self._authorization()})
        answer = _send(self.transport, request, _CONTAINER_SECONDS, _CONTAINER_ATTEMPTS)
        found = answer if isinstance(answer, str) else _container_outcome(answer)
        return f"{host}: {found}" if isinstance(found, str) else found

    def _container_url(self) -> tuple[str, str, str]:
        variable = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
        relative = self.env.get(variable)
        # Without the slash the rest could become another host: http://169.254.170.2@example.com
        if relative and not relative.startswith("/"):
            raise ConfigurationError(f"{variable} must begin with a slash")
        url = Secret(f"http://169.254.170.2{relative}" if relative else "")
        if not url:
            variable = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
            url = Secret(self.env.get(variable, ""))
        if not url:
            raise NotOffered("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and ..._FULL_URI are not set")
        scheme, host, target = _split(url, variable)
        if scheme != "https" and not re.fullmatch(_CONTAINER_HOSTS, host):
            raise ConfigurationError(
                f"{variable}: {host} must be https, loopback, 169.254.170.2, 169.254.170.23 or [fd00:ec2::23]"
            )
        return scheme, host, target

    def _authorization(self) -> dict[str, str]:
        variable = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
        path = self.env.get(variable)
        if path:
            token = read_token(path, variable)
        else:
            variable = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
            token = Secret(self.env.get(variable, "").strip())
        if token and not re.fullmatch(r"[\x20-\x7e]+", token):
            raise CredentialsError(f"{variable} has a line break, control or non-ASCII character in it")
        return {"authorization": token} if token else {}

    def instance(self) -> Credentials:
        """The role of an EC2 instance, by IMDSv2. The last source of a chain: every failure is only a reason."""
        get = self._session()
        path = "/latest/meta-data/iam/security-credentials/"
        role = get(path).partition("\n")[0]
        if not re.fullmatch(r"(?!\.\.?$)[A-Za-z0-9+=,.@_-]{1,64}", role):
            raise NotOffered("no IAM role is attached to this instance")
        found = credentials_in(get(path + role).encode("latin-1"), session="Token")
        if isinstance(found, str):
            raise NotOffered(f"role {role}: {found}")
        if found.expires_at is None or found.expires_at.timestamp() > self.now():
            return found
        # AWS asks clients to go on with what the service could not renew in time: S3 decides, not this clock.
        logger.warning("instance metadata still gives credentials that expired at %s; using them", found.expires_at)
        until = datetime.fromtimestamp(self.now() + _STABLE, UTC)
        return Credentials(found.access_key_id, found.secret_access_key, found.session_token, until)

    def region(self) -> str | None:
        """The region of this EC2 instance, unchecked; None where there is no instance metadata."""
        try:
            return self._session()("/latest/meta-data/placement/region") or None
        except NotOffered as reason:
            logger.debug("no region from instance metadata: %s", reason)
            return None

    def _session(self) -> Callable[[str], Secret]:
        """A function that gets one path with a fresh session token. Raises NotOffered."""
        if self.env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            raise NotOffered("AWS_EC2_METADATA_DISABLED is true")
        seconds = self._number("AWS_METADATA_SERVICE_TIMEOUT", 60)
        attempts = int(self._number("AWS_METADATA_SERVICE_NUM_ATTEMPTS", 10))
        scheme, host, base = self._instance_url()

        def exchange(method: str, path: str, headers: dict[str, str], hint: str = "") -> Secret:
            answer = _send(self.transport, Request(method, scheme, host, base + path, headers), seconds, attempts)
            if isinstance(answer, str):
                raise NotOffered(f"{answer}{hint}")
            if answer.status == 404 and "security-credentials" in path:
                raise NotOffered("no IAM role is attached to this instance")
            if answer.status != 200:
                raise NotOffered(f"{host} answered {answer.status} to {path}")
            return Secret(answer.body.decode("latin-1").strip())

        token = exchange("PUT", "/latest/api/token", {"x-aws-ec2-metadata-token-ttl-seconds": "21600"}, _HOPS)
        return lambda path: exchange("GET", path, {"x-aws-ec2-metadata-token": token})

    def _instance_url(self) -> tuple[str, str, str]:
        """Scheme, host and base path."""
        mode = (self._setting("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE") or "IPv4").lower()
        if mode not in ("ipv4", "ipv6"):
            raise ConfigurationError(f"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE must be IPv4 or IPv6: {short(mode)!r}")
        usual = "http://[fd00:ec2::254]" if mode == "ipv6" else "http://169.254.169.254"
        variable = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
        scheme, host, target = _split(Secret(self._setting(variable) or usual), variable)
        return scheme, host, target.rstrip("/")

    def _setting(self, variable: str) -> str:
        return self.env.get(variable) or self.profile.get(variable.removeprefix("AWS_").lower(), "")

    def _number(self, variable: str, largest: int) -> float:
        text = self._setting(variable) or "1"
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text) or not 0 < float(text) <= largest:
            raise ConfigurationError(f"{variable} must be a number from 1 to {largest}, not {short(text)!r}")
        return float(text)


def _container_outcome(answer: Response) -> Credentials | str:
    if answer.status == 200:
        return credentials_in(answer.body, session="Token")
    try:
        document = json.loads(answer.body)
        return f"status {answer.status}, {short(document['code'])}: {short(document['message'])}"
    except (ValueError, RecursionError, KeyError, TypeError):
        return f"status {answer.status}"


def read_token(path: str, variable: str) -> Secret:
    """The stripped text of a token file; read anew at every renewal, because it is replaced while we run."""
    try:
        with open(path, encoding="ascii") as file:
            token = Secret(file.read(_LIMIT).strip())
        reason = "it is empty"
    except (OSError, ValueError) as error:
        token, reason = Secret(""), getattr(error, "strerror", None) or "not a text file"
    if not token:
        raise CredentialsError(f"the token file {path} ({variable}) cannot be used: {reason}")
    return token


def _send(transport: Transport, request: Request, seconds: float, attempts: int) -> Response | str:
    """A whole answer below status 500, or why there is none. No pauses: the cache repeats a renewal later."""
    reason = ""
    for _ in range(attempts):
        try:
            answer = transport.send(request, connect=seconds, read=seconds, total=2 * seconds, limit=_LIMIT)
        except TransportError as error:
            reason = str(error)
            continue
        if answer.status < 500 and not answer.truncated:
            return answer
        reason = f"{request.host} answered {answer.status}" + (", too long" if answer.truncated else "")
    return reason


def _split(url: str, variable: str) -> tuple[str, str, str]:
    """Scheme, Host header, request target. The URL is not repeated in errors: it may hold a password."""
    found = re.fullmatch(_URL, url, re.I)
    if not found or {".", ".."} & set((found[3] or "").split("/")):
        raise ConfigurationError(
            f"{variable} must be a URL such as http://127.0.0.1:8080/path, without user name and dot segments"
        )
    scheme, host = found[1].lower(), found[2].lower()
    return scheme, host.removesuffix(":80" if scheme == "http" else ":443"), (found[3] or "/") + (found[4] or "")
