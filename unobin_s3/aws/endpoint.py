# SPDX-License-Identifier: MIT
"""Where a request goes: region, bucket, key and style become scheme, host and the exact path.

Pure: settings come in as arguments and mappings. Nothing here sends, signs or reads files; what cannot be
served (access-point ARNs, S3 Express, pseudo regions) is refused by name before any request.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import ConfigurationError
from .sigv4 import quote

# Partition, its regions, and its host suffixes (usual, dual-stack for services other than S3), as the AWS
# SDKs' own partitions.json has them. A region that matches nothing is taken for a new one of the first.
_PARTITIONS = (
    ("aws-cn", r"cn-\w+-\d+", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("aws-us-gov", r"us-gov-\w+-\d+", "amazonaws.com", "api.aws"),
    ("aws-iso", r"us-iso-\w+-\d+", "c2s.ic.gov", "api.aws.ic.gov"),
    ("aws-iso-b", r"us-isob-\w+-\d+", "sc2s.sgov.gov", "api.aws.scloud"),
    ("aws-iso-e", r"eu-isoe-\w+-\d+", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    ("aws-iso-f", r"us-isof-\w+-\d+", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    ("aws-eusc", r"eusc-de-\w+-\d+", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("aws", r".*", "amazonaws.com", "api.aws"),
)
_PSEUDO_REGION = re.compile(r"aws(-[a-z-]+)?-global|fips-.*|.*-fips|s3-external-\d")
_REGION_LABEL = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]+")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_AMAZON_BUCKET = re.compile(r"(?!xn--|sthree-)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Other stores allow more. Nothing here can become a dot segment or needs escaping.
_ANY_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")
_UNSUPPORTED_BUCKETS = (
    ("--x-s3", "an S3 Express directory bucket, which has no conditional deletes and its own signing"),
    ("--ol-s3", "an Object Lambda access point, which does not store what it is given"),
    ("--op-s3", "an S3 on Outposts access point"),
    (".mrap", "a multi-Region access point, which needs SigV4a signatures"),
)


class Address(NamedTuple):
    """One resource, ready to sign and send: `host` as in the Host header, `path` strictly encoded."""

    scheme: str
    host: str
    path: str


class Endpoint(NamedTuple):
    """A resolved service host. Made by `resolve`; immutable."""

    service: str
    scheme: str
    host: str  # lower case; port only where it is not the scheme's own
    base_path: str  # "" or "/a/b", encoded
    region: str
    partition: str
    path_style: bool | None  # None: virtual-hosted where it can be on Amazon hosts, path style elsewhere
    configured: bool  # True: an endpoint URL was given; such a host is never left
    dualstack: bool = False
    fips: bool = False

    @property
    def is_amazon(self) -> bool:
        """Whether the host is one of Amazon's, so that S3's own guarantees hold."""
        return self.host.partition(":")[0].endswith((".amazonaws.com", ".amazonaws.com.cn"))

    def with_region(self, region: str) -> Endpoint:
        """The same service in another region, for an answer that names the right one.

        Raises ConfigurationError for a configured endpoint, and for what is no region of this partition.
        """
        if self.configured:
            raise ConfigurationError(f"the endpoint {self.host} was configured and is not left for region {region!r}")
        moved = resolve(
            self.service, region=region, endpoint_url=None,
            path_style=self.path_style, dualstack=self.dualstack, fips=self.fips,
        )  # fmt: skip
        if moved.partition != self.partition:
            raise ConfigurationError(f"region {region!r} is not in the partition {self.partition} of {self.host}")
        return moved

    def locate(self, bucket: str, key: str = "") -> Address:
        """Address of `key` in `bucket`, or of the bucket. Raises ConfigurationError for refused names."""
        check_bucket(bucket, amazon=not self.configured)
        if key:
            check_key(key)
        target = quote(key, "/")
        if self._by_path(bucket):
            slash = "/" if key else ""
            return Address(self.scheme, self.host, f"{self.base_path}/{bucket}{slash}{target}")
        return Address(self.scheme, f"{bucket}.{self.host}", f"{self.base_path}/{target}")

    def _by_path(self, bucket: str) -> bool:
        if self.path_style or (self.path_style is None and self.configured):
            return True
        # A dotted name has no certificate (*.*.host), other names are no DNS labels, addresses have no subdomains.
        return not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", bucket) or _is_address(self.host)


def resolve(
    service: str, *, region: str | None, endpoint_url: str | None,
    path_style: bool | None = None, dualstack: bool = False, fips: bool = False,
) -> Endpoint:  # fmt: skip
    """Host of `service` ("s3", "sts", "kms"). Raises ConfigurationError, saying how to set what is missing.

    With `endpoint_url` the region only signs; it defaults to that in an Amazon host name, or to us-east-1.
    """
    if endpoint_url:
        if dualstack or fips:
            raise ConfigurationError(
                "dual-stack and FIPS cannot be combined with an endpoint URL; name that host in it"
            )
        scheme, host, base = _parse_url(endpoint_url)
        region = _configured_region(region, host)
        return Endpoint(service, scheme, host, base, region, _partition(region)[0], path_style, True)
    if not region:
        raise ConfigurationError(
            "no AWS region is set; pass region=..., set AWS_REGION, or add `region = ...` to the profile "
            "in ~/.aws/config (for another store than Amazon's, set endpoint_url)"
        )
    if checked_region(region) is None or _PSEUDO_REGION.fullmatch(region):
        raise ConfigurationError(f"{region!r} is not the name of an AWS region, such as eu-central-1")
    host = _amazon_host(service, region, dualstack, fips)
    return Endpoint(service, "https", host, "", region, _partition(region)[0], path_style, False, dualstack, fips)


def _amazon_host(service: str, region: str, dualstack: bool, fips: bool) -> str:
    partition, _, suffix, dual_suffix = _partition(region)
    if fips and service == "s3" and partition == "aws-cn":
        raise ConfigurationError("S3 has no FIPS endpoints in the aws-cn partition")
    # In GovCloud the ordinary STS hosts are the FIPS ones, but for dual-stack.
    label = f"{service}-fips" if fips and (service != "sts" or partition != "aws-us-gov" or dualstack) else service
    if not dualstack:
        return f"{label}.{region}.{suffix}"
    return f"{label}.dualstack.{region}.{suffix}" if service == "s3" else f"{label}.{region}.{dual_suffix}"


def _partition(region: str) -> tuple[str, str, str, str]:
    return next(row for row in _PARTITIONS if re.fullmatch(row[1], region))


def _configured_region(region: str | None, host: str) -> str:
    # Elsewhere region names are free ("auto", "garage", "RegionOne"), but they go into the signature's scope.
    if region:
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", region) is None:
            raise ConfigurationError(f"{region!r} cannot be a region: letters, digits, '.', '_' and '-' are allowed")
        return region
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        for label in host.split("."):
            if _REGION_LABEL.fullmatch(label):
                return label
    return "us-east-1"


def _parse_url(url: str) -> tuple[str, str, str]:
    """(scheme, host with port, base path). Errors do not repeat the URL: it may hold a password."""
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise ConfigurationError("the endpoint URL contains blanks, control characters or backslashes")
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
        path = urllib.parse.unquote(parts.path, errors="strict").rstrip("/")
    except ValueError:
        raise ConfigurationError("the endpoint URL has a malformed host, port or path") from None
    of_web = parts.scheme in ("http", "https") and parts.hostname
    for wrong, problem in (
        (not of_web, "must be http:// or https:// and a host, such as https://s3.example.com:9000"),
        ("@" in parts.netloc, "holds a user name or password; give credentials separately"),
        ("?" in url or "#" in url, "must not have a query or fragment"),
        (port == 0 or parts.netloc.endswith(":"), "has an empty or zero port"),
        ({".", ".."} & set(path.split("/")), "must not have '.' or '..' segments in its path"),
    ):
        if wrong:
            raise ConfigurationError(f"the endpoint URL {problem}")
    host = _checked_host(parts.hostname or "")
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        host = f"{host}:{port}"
    return parts.scheme, host, quote(path, "/")


def _checked_host(name: str) -> str:
    """`name`, in lower case as urlsplit gives it, in the form that is sent: punycode, or brackets for IPv6."""
    host = name
    try:
        # An IPv6 zone ("%eth0") means something on one machine only, and no certificate holds it.
        if ":" in name and "%" not in name:
            return f"[{ipaddress.IPv6Address(name)}]"
        if not name.isascii():
            host = name.encode("idna").decode("ascii")
            # IDNA of 2003 and of 2008 differ on names (with a sharp s, say) that do not come back as they were.
            host = host if host.encode("ascii").decode("idna") == name else ""
    except ValueError:  # UnicodeError is one
        host = ""
    if not _HOST.fullmatch(host):
        raise ConfigurationError(f"{name!r} in the endpoint URL is not a host name or IP address")
    return host


def _is_address(host: str) -> bool:
    return host.startswith("[") or re.fullmatch(r"([0-9]+\.){3}[0-9]+(:[0-9]+)?", host) is not None


def endpoint_url_from(
    service: str, env: Mapping[str, str], profile: Mapping[str, str], services_section: Mapping[str, Mapping[str, str]]
) -> str | None:
    """The endpoint URL that environment or profile set for `service`, or None. An empty one counts as none.

    Order as in the AWS SDKs; none of them if AWS_IGNORE_CONFIGURED_ENDPOINT_URLS (or the profile) says so.
    https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
    """
    ignore = env.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", profile.get("ignore_configured_endpoint_urls", ""))
    if ignore.lower() == "true":
        return None
    return (
        env.get(f"AWS_ENDPOINT_URL_{service.upper()}")
        or env.get("AWS_ENDPOINT_URL")
        or services_section.get(service, {}).get("endpoint_url")
        or profile.get("endpoint_url")
        or None
    )


def checked_region(text: str) -> str | None:
    """`text` if it can be the name of an AWS region, else None. For names that came in an answer."""
    return text if re.fullmatch(r"[a-z0-9-]{1,63}", text) else None


def check_bucket(name: str, *, amazon: bool = False) -> None:
    """Raise ConfigurationError unless `name` can be a bucket; `amazon` asks for today's rules of S3."""
    if name.startswith("arn:"):
        raise ConfigurationError(f"bucket {name!r}: access-point ARNs are not supported; give the bucket's name")
    for suffix, what in _UNSUPPORTED_BUCKETS:
        if name.endswith(suffix):
            raise ConfigurationError(f"bucket {name!r} is {what}; it is not supported")
    if not (_AMAZON_BUCKET if amazon else _ANY_BUCKET).fullmatch(name) or (amazon and _is_address(name)):
        rule = "3 to 63 of a-z, 0-9, '.', '-'" if amazon else "3 to 255 of letters, digits, '.', '_', '-'"
        raise ConfigurationError(f"{name!r} is not a bucket name: {rule}, beginning with a letter or digit")


def check_key(key: str) -> None:
    """Raise ConfigurationError unless `key` is 1 to 1024 bytes of UTF-8 without NUL and dot segments.

    `.` and `..` segments are legal in S3, but HTTP libraries and proxies resolve them to other objects.
    """
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ConfigurationError(f"key {key!r} has a lone surrogate and cannot be written as UTF-8") from None
    if not 1 <= size <= 1024:
        raise ConfigurationError(f"key {key[:60]!r} has {size} bytes; 1 to 1024 are allowed")
    if "\0" in key:
        raise ConfigurationError(f"key {key!r} contains a NUL character")
    if {".", ".."} & set(key.split("/")):
        raise ConfigurationError(f"key {key!r} has a '.' or '..' segment, which HTTP libraries resolve; rename it")
