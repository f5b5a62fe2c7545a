# SPDX-License-Identifier: MIT
"""Hosts, paths and names: what is resolved, what is normalised, and what is refused with which words."""

from __future__ import annotations

import pytest

from unobin_s3 import ConfigurationError
from unobin_s3.aws import endpoint
from unobin_s3.aws.endpoint import Address, Endpoint, check_bucket, check_key, checked_region


def amazon(region: str = "eu-central-1", *, path_style: bool | None = None, service: str = "s3") -> Endpoint:
    return endpoint.resolve(service, region=region, endpoint_url=None, path_style=path_style)


def configured(url: str, *, region: str | None = None, path_style: bool | None = None) -> Endpoint:
    return endpoint.resolve("s3", region=region, endpoint_url=url, path_style=path_style)


def test_virtual_hosted_on_amazon_and_path_style_elsewhere() -> None:
    host = "s3.eu-central-1.amazonaws.com"
    assert amazon().locate("bucket", "a/b") == Address("https", f"bucket.{host}", "/a/b")
    assert amazon().locate("bucket") == Address("https", f"bucket.{host}", "/")
    assert amazon(path_style=True).locate("bucket", "a/b") == Address("https", host, "/bucket/a/b")
    assert amazon(path_style=True).locate("bucket") == Address("https", host, "/bucket")
    assert configured("http://localhost:9000").locate("bucket", "a") == Address("http", "localhost:9000", "/bucket/a")
    virtual = configured("https://example.com/base/", path_style=False)
    assert virtual.locate("bucket", "a") == Address("https", "bucket.example.com", "/base/a")
    assert configured("https://example.com/base/").locate("bucket", "a").path == "/base/bucket/a"


@pytest.mark.parametrize("bucket", ["my.bucket", "my.b-1"])
def test_dotted_buckets_have_no_certificate_and_go_path_style(bucket: str) -> None:
    assert amazon(path_style=False).locate(bucket, "a").path == f"/{bucket}/a"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000", "http://[::1]:9000", "https://10.0.0.1"])
def test_addresses_have_no_subdomains(url: str) -> None:
    assert configured(url, path_style=False).locate("bucket", "a").path == "/bucket/a"


@pytest.mark.parametrize("bucket", ["MyBucket", "my_bucket", "a" * 64])
def test_old_and_odd_buckets_work_on_other_stores_only(bucket: str) -> None:
    assert configured("https://example.com", path_style=False).locate(bucket, "a").path == f"/{bucket}/a"
    with pytest.raises(ConfigurationError, match="is not a bucket name: 3 to 63"):
        amazon().locate(bucket, "a")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a b+c", "/a%20b%2Bc"), ("/a", "//a"), ("a//b/", "/a//b/"), ("é😀", "/%C3%A9%F0%9F%98%80"),
        ("%2F?#", "/%252F%3F%23"), ("...", "/..."), (".a/..b", "/.a/..b"), ("a\nb\x7f", "/a%0Ab%7F"),
        ("2026-05-01T10:00:00Z", "/2026-05-01T10%3A00%3A00Z"),
    ],
)  # fmt: skip
def test_keys_are_encoded_once(key: str, path: str) -> None:
    assert amazon().locate("bucket", key).path == path


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("..", "segment"), ("a/../b", "segment"), ("./a", "segment"), ("a/.", "segment"), ("a\0b", "NUL"),
        ("a\ud800", "surrogate"), ("x" * 1025, "1025 bytes"), ("é" * 513, "1026 bytes"), ("", "0 bytes"),
    ],
)  # fmt: skip
def test_keys_that_are_refused(key: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        check_key(key)
    if key:
        with pytest.raises(ConfigurationError, match=why):
            amazon().locate("bucket", key)


def test_the_longest_key_is_allowed() -> None:
    check_key("x" * 1024)
    check_key("é" * 512)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/mine", "access-point ARNs are not supported"),
        ("bucket--euw1-az1--x-s3", "S3 Express"),
        ("alias--ol-s3", "Object Lambda"),
        ("alias--op-s3", "Outposts"),
        ("mfzwi23gnjvgw.mrap", "SigV4a"),
        ("", "not a bucket name"),
        ("a/b", "not a bucket name"),
        ("..", "not a bucket name"),
        ("bucket\n", "not a bucket name"),
        ("a b", "not a bucket name"),
        ("bücket", "not a bucket name"),
        ("ab", "not a bucket name"),
        ("-abc", "not a bucket name"),
    ],
)
def test_buckets_that_are_refused_everywhere(name: str, why: str) -> None:
    for strict in (False, True):
        with pytest.raises(ConfigurationError, match=why):
            check_bucket(name, amazon=strict)


@pytest.mark.parametrize(
    "name", ["a..b", "192.168.5.4", "xn--abc", "sthree-abc", "abc-", "abc.", "Abc", "a_b", "a" * 64]
)
def test_buckets_that_amazon_refuses(name: str) -> None:
    check_bucket(name)
    with pytest.raises(ConfigurationError, match="not a bucket name"):
        check_bucket(name, amazon=True)


@pytest.mark.parametrize("name", ["abc", "123", "12345678", "a-b.c-d", "a" * 63, "my-access-poi-x1abc-s3alias"])
def test_buckets_that_amazon_takes(name: str) -> None:
    check_bucket(name, amazon=True)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTPS://Example.COM:443/", "https://example.com"),
        ("http://example.com:80", "http://example.com"),
        ("http://example.com:443", "http://example.com:443"),
        ("https://example.com:80/a//", "https://example.com:80/a"),
        ("https://example.com/a%20b/~c/é", "https://example.com/a%20b/~c/%C3%A9"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://minio_1:9000", "http://minio_1:9000"),
    ],
)
def test_endpoint_urls_are_normalised(url: str, base: str) -> None:
    found = configured(url)
    assert f"{found.scheme}://{found.host}{found.base_path}" == base
    assert found.configured


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("localhost:9000", "must be http:// or https://"),
        ("example.com", "must be http:// or https://"),
        ("ftp://example.com", "must be http:// or https://"),
        ("https://", "must be http:// or https://"),
        ("https:///path", "must be http:// or https://"),
        ("https://AKIA:secret@example.com", "user name or password"),
        ("https://@example.com", "user name or password"),
        ("https://example.com?secret", "query or fragment"),
        ("https://example.com/#secret", "query or fragment"),
        ("https://example.com/ secret", "blanks"),
        (" https://example.com", "blanks"),
        ("https://example.com\n", "blanks"),
        ("https://example.com\\secret", "backslashes"),
        ("https://example.com:99999", "malformed host, port or path"),
        ("https://example.com:secret", "malformed host, port or path"),
        ("https://example.com:0", "empty or zero port"),
        ("https://example.com:", "empty or zero port"),
        ("https://[::1", "malformed host, port or path"),
        ("https://[fe80::1%eth0]", "is not a host name or IP address"),
        ("https://[1::2::3]", "is not a host name|malformed"),
        ("https://stra\u00dfe.example", "is not a host name"),
        ("https://example.com/%ff", "malformed host, port or path"),
        ("https://exa$mple.com", "is not a host name"),
        ("https://-.example", "is not a host name"),
        ("https://a..b", "is not a host name"),
        ("https://example.com.", "is not a host name"),
        ("https://" + "a" * 64 + ".com", "is not a host name"),
        ("https://ex%61mple.com", "is not a host name"),
        ("https://example.com/a/../b", "'.' or '..' segments"),
        ("https://example.com/%2e%2E/b", "'.' or '..' segments"),
    ],
)
def test_endpoint_urls_that_are_refused(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        configured(url)
    assert "secret" not in str(caught.value)


def test_a_missing_region_says_how_to_set_it() -> None:
    for absent in (None, ""):
        with pytest.raises(
            ConfigurationError, match=r"no AWS region.*region=.*AWS_REGION.*~/\.aws/config.*endpoint_url"
        ):
            endpoint.resolve("s3", region=absent, endpoint_url=None)


@pytest.mark.parametrize(
    "region",
    ["EU-central-1", "eu-central-1\n", "eu central", "a/b", "evil.com", "aws-global", "aws-cn-global", "us-east-1-fips",
     "fips-us-east-1", "s3-external-1", "x" * 64],
)  # fmt: skip
def test_names_that_are_no_region(region: str) -> None:
    with pytest.raises(ConfigurationError, match="not the name of an AWS region"):
        amazon(region)


def test_checked_region() -> None:
    assert checked_region("eu-central-1") == "eu-central-1"
    for bad in ("", "eu-central-1\n", "EU", "a.b", "a/b", "x" * 64, "é"):
        assert checked_region(bad) is None


def test_the_region_of_a_configured_endpoint() -> None:
    assert configured("https://example.com").region == "us-east-1"
    for given in ("eu-west-1", "auto", "RegionOne", "us_east.1"):
        assert configured("https://example.com", region=given).region == given
    for host in (
        "s3.eu-west-1.amazonaws.com",
        "s3.dualstack.eu-west-1.amazonaws.com",
        "bucket.vpce-1a2b3c4d-5e6f.s3.eu-west-1.vpce.amazonaws.com",
    ):
        assert configured(f"https://{host}").region == "eu-west-1"
    assert configured("https://s3.us-gov-east-1.amazonaws.com").region == "us-gov-east-1"
    assert configured("https://s3.amazonaws.com").region == "us-east-1"
    for bad in ("a b", "a/b", "-a", "é", "x" * 64):
        with pytest.raises(ConfigurationError, match="cannot be a region"):
            configured("https://example.com", region=bad)


@pytest.mark.parametrize(
    ("host", "is_amazon"),
    [
        ("s3.amazonaws.com", True), ("s3.cn-north-1.amazonaws.com.cn", True), ("s3.amazonaws.com:8443", True),
        ("amazonaws.com", False), ("s3.amazonaws.com.evil.example", False), ("evilamazonaws.com", False),
        ("s3.amazonaws.com.cn.example", False), ("localhost:9000", False), ("minio.example.com", False),
    ],
)  # fmt: skip
def test_amazon_hosts(host: str, is_amazon: bool) -> None:
    assert configured(f"https://{host}").is_amazon is is_amazon


def test_another_region() -> None:
    moved = endpoint.resolve("s3", region="us-east-1", endpoint_url=None, path_style=True, dualstack=True, fips=True)
    there = moved.with_region("eu-west-1")
    assert there.host == "s3-fips.dualstack.eu-west-1.amazonaws.com"
    assert (there.region, there.path_style) == ("eu-west-1", True)
    with pytest.raises(ConfigurationError, match="not in the partition aws"):
        amazon().with_region("cn-north-1")
    with pytest.raises(ConfigurationError, match="not the name of an AWS region"):
        moved.with_region("evil.example/")
    with pytest.raises(ConfigurationError, match="was configured and is not left"):
        configured("https://s3.us-east-1.amazonaws.com").with_region("eu-west-1")


@pytest.mark.parametrize(("dualstack", "fips"), [(True, False), (False, True), (True, True)])
def test_dual_stack_and_fips_are_not_ignored_with_a_configured_endpoint(dualstack: bool, fips: bool) -> None:
    with pytest.raises(ConfigurationError, match="cannot be combined with an endpoint URL"):
        endpoint.resolve("s3", region=None, endpoint_url="https://example.com", dualstack=dualstack, fips=fips)


def test_an_endpoint_is_a_value() -> None:
    assert amazon() == amazon()
    assert len({amazon(), amazon(), amazon("us-east-1")}) == 2
    with pytest.raises(AttributeError):
        amazon().host = "evil.example"  # type: ignore[misc]
