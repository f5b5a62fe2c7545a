# SPDX-License-Identifier: MIT
"""Hosts and endpoint settings against botocore's: generated tables; every difference is listed with its reason."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import pytest

from unobin_s3 import ConfigurationError
from unobin_s3.aws import endpoint

loaders = pytest.importorskip("botocore.loaders")
provider = pytest.importorskip("botocore.endpoint_provider")
exceptions = pytest.importorskip("botocore.exceptions")
configprovider = pytest.importorskip("botocore.configprovider")
utils = pytest.importorskip("botocore.utils")

REFUSED = "refused"
SERVICES = ("s3", "sts", "kms")


@cache
def partitions() -> Any:
    return loaders.Loader().load_data("partitions")


@cache
def rules(service: str) -> Any:
    """The rule set the AWS SDKs resolve hosts by, run by botocore."""
    return provider.EndpointProvider(loaders.Loader().load_service_model(service, "endpoint-rule-set-1"), partitions())


def regions() -> list[str]:
    known = [region for partition in partitions()["partitions"] for region in partition["regions"]]
    return [*known, "us-future-7", "nowhere-1"]


def theirs(service: str, **parameters: Any) -> str:
    try:
        return str(rules(service).resolve_endpoint(**parameters).url)
    except exceptions.BotoCoreError:
        return REFUSED


def ours(service: str, bucket: str, **settings: Any) -> str:
    try:
        found = endpoint.resolve(service, **settings)
        if not bucket:
            return f"{found.scheme}://{found.host}{found.base_path}"
        address = found.locate(bucket)
    except ConfigurationError:
        return REFUSED
    return f"{address.scheme}://{address.host}{address.path}".rstrip("/")


def expected(region: str, answer: str) -> str:
    # Pseudo regions are names of the old endpoint tables, not of places; no answer of S3 ever gives one.
    return REFUSED if region.endswith("-global") else answer


@pytest.mark.parametrize("service", SERVICES)
def test_service_hosts(service: str) -> None:
    for region, dualstack, fips in product(regions(), (False, True), (False, True)):
        found = ours(service, "", region=region, endpoint_url=None, dualstack=dualstack, fips=fips)
        answer = theirs(service, Region=region, UseDualStack=dualstack, UseFIPS=fips)
        assert found == expected(region, answer), (region, dualstack, fips)


@pytest.mark.parametrize("bucket", ["my-bucket", "my.bucket", "abc", "a.b-c.d", "a" * 63, "12345"])
def test_bucket_hosts(bucket: str) -> None:
    table = product(regions(), (None, True, False), (False, True), (False, True))
    for region, path_style, dualstack, fips in table:
        style = {} if path_style is None else {"ForcePathStyle": path_style}
        answer = theirs("s3", Region=region, Bucket=bucket, UseDualStack=dualstack, UseFIPS=fips, **style)
        found = ours(
            "s3", bucket, region=region, endpoint_url=None, path_style=path_style, dualstack=dualstack, fips=fips
        )
        assert found == expected(region, answer), (region, path_style, dualstack, fips)


URLS = [
    "http://localhost:9000", "https://minio.example.com", "http://127.0.0.1:9000", "http://[::1]:9000",
    "https://example.com:8443/base", "https://s3.eu-west-1.amazonaws.com",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_configured_hosts(url: str) -> None:
    for bucket, path_style in product(["", "my-bucket", "my.bucket", "MyBucket", "my_bucket"], (True, False)):
        name = {"Bucket": bucket} if bucket else {}
        parameters = {"Region": "us-east-1", "UseDualStack": False, "UseFIPS": False, "ForcePathStyle": path_style}
        answer = theirs("s3", Endpoint=url, **parameters, **name)
        found = ours("s3", bucket, region="us-east-1", endpoint_url=url, path_style=path_style)
        if bucket == "my.bucket" and not path_style and url.startswith("http://"):
            # The rules put dotted names before any http host, even an IP address, where they cannot resolve.
            assert answer == url.replace("http://", "http://my.bucket.")
            answer = f"{url}/my.bucket"
        assert found == answer, (bucket, path_style)


def test_path_style_is_the_default_of_configured_endpoints() -> None:
    """As in botocore's clients (not its rules), see `compute_endpoint_resolver_builtin_defaults`."""
    for url in URLS:
        assert ours("s3", "my-bucket", region=None, endpoint_url=url) == f"{url}/my-bucket"


@pytest.mark.parametrize("service", SERVICES)
def test_where_an_endpoint_url_comes_from(service: str) -> None:
    """900 settings of environment, profile and services section for each service."""
    name = f"AWS_ENDPOINT_URL_{service.upper()}"
    flags = (None, "", "true", "True", "false")
    sources = product((None, "", "http://1"), (None, "", "http://2"), (None, "http://3"), (None, "http://4"))
    for (own, general, section, profile), env_flag, flag in product(sources, flags, flags):
        given = {name: own, "AWS_ENDPOINT_URL": general, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": env_flag}
        env = {key: value for key, value in given.items() if value is not None}
        env["AWS_ENDPOINT_URL_DYNAMODB"] = "http://other"
        scoped = {"endpoint_url": profile, "ignore_configured_endpoint_urls": flag, "services": "mine"}
        settings = {key: value for key, value in scoped.items() if value is not None}
        services = {"dynamodb": {"endpoint_url": "http://other"}, service: {"endpoint_url": section} if section else {}}
        full = {"services": {"mine": services}}
        answer = configprovider.ConfiguredEndpointProvider(full, settings, service, env).provide()
        ignore = env.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", settings.get("ignore_configured_endpoint_urls"))
        if ignore is not None and utils.ensure_boolean(ignore):
            answer = None
        assert endpoint.endpoint_url_from(service, env, settings, services) == answer, (env, settings, services)
