# SPDX-License-Identifier: MIT
"""Answers as S3, STS and other stores write them, and what stands in for them when something is wrong."""

from __future__ import annotations

import urllib.parse
import xml.sax.saxutils
from typing import Any
from xml.etree import ElementTree

import pytest

from unobin_s3 import ConfigurationError, ServiceError
from unobin_s3.aws import xml as reader

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
NS = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
ETAG = "&quot;d41d8cd98f00b204e9800998ecf8427e&quot;"


def contents(key: str, *, size: str = "3", etag: str = ETAG, more: str = "") -> str:
    date = "<LastModified>2026-05-01T10:00:00.000Z</LastModified>"
    rest = f"{date}<ETag>{etag}</ETag><Size>{size}</Size>{more}<StorageClass>STANDARD</StorageClass>"
    return f"<Contents><Key>{key}</Key>{rest}</Contents>"


def page(inside: str = "", *, encoding: str = "url", end: str = "<IsTruncated>false</IsTruncated>") -> bytes:
    head = "<Name>b</Name><Prefix>p/</Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys>"
    kind = f"<EncodingType>{encoding}</EncodingType>" if encoding else ""
    return f"{DECLARATION}<ListBucketResult{NS}>{head}{kind}{end}{inside}</ListBucketResult>".encode()


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(ServiceError) as caught:
        call(*arguments)
    assert type(caught.value) is ServiceError
    assert caught.value.code == "InvalidResponse"
    return str(caught.value)


# The same pages are read by the one expression and by expat: a comment in the page keeps it from the first.
@pytest.fixture(params=["expression", "expat"])
def read_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "expat":
        monkeypatch.setattr(reader, "_plain_contents", lambda text: None)
    return str(request.param)


def test_a_page_of_s3(read_by: str) -> None:
    more = "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
    both = contents("p/a+b%2B%3A%25%C3%A9%0A") + contents("p/c").replace("<Size>", more + "<Size>")
    token = "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM="
    end = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
    found = reader.parse_list(page(both, end=end), "p/")
    etag, date = '"d41d8cd98f00b204e9800998ecf8427e"', "2026-05-01T10:00:00.000Z"
    assert found.objects == [("p/a b+:%é\n", etag, 3, date), ("p/c", etag, 3, date)]
    assert found.objects[0].key == "p/a b+:%é\n"
    assert found.next_token == token


def test_which_pages_take_the_quick_way() -> None:
    etags = ["", '"x"', "&quot;x&quot;", "&#34;x&#34;"]
    quick = [page(contents("p/a") * 3), *[page(contents("p/a", etag=etag)) for etag in etags]]
    slow = [
        page(),
        page(contents("p/é")),
        page(contents("p/&amp;")),
        page(contents("p/a") + "\n" + contents("p/b")),
        page(contents("p/a") + "<CommonPrefixes/>" + contents("p/b")),
        page("<!--" + contents("p/a") + "-->"),
        page(contents("p/a", more="<Owner><ID>x</ID></Owner>")),
        page(contents("p/a]]>b")),
        page(contents("p/\0")),
        page(contents("p/\x01")),
        page("<Wrong>" + contents("p/a") + "</Wrong>"),
        page("<Contents/>" + contents("p/a")),
    ]
    for body in quick:
        assert reader._plain_contents(body.decode()) is not None
    for body in slow:
        assert reader._plain_contents(body.decode()) is None


def test_names_are_decoded_only_when_the_answer_says_so(read_by: str) -> None:
    assert reader.parse_list(page(contents("p/a+b%2B"), encoding=""), "p/").objects[0].key == "p/a+b%2B"
    assert reader.parse_list(page(contents("p/a+b%2B")), "p/").objects[0].key == "p/a b+"
    # Only names: the token and the ETag stay.
    end = "<IsTruncated>true</IsTruncated><NextContinuationToken>a+b%2B</NextContinuationToken>"
    found = reader.parse_list(page(contents("p/a", etag="&quot;a+%2B&quot;"), end=end), "p/")
    assert (found.next_token, found.objects[0].etag) == ("a+b%2B", '"a+%2B"')


def test_entities_are_decoded_once(read_by: str) -> None:
    raw = "p/&amp;lt;&lt;&gt;&apos;&quot;&#65;&#x42;&#13;"
    assert reader.parse_list(page(contents(raw), encoding=""), "p/").objects[0].key == "p/&lt;<>'\"AB\r"
    assert reader.parse_list(page(contents("p/%26amp;".replace("&", "&amp;"))), "p/").objects[0].key == "p/&amp;"


def test_blanks_in_keys_are_kept(read_by: str) -> None:
    found = reader.parse_list(page(contents("p/ a  b ") + contents("p/+")), "p/")
    assert [entry.key for entry in found.objects] == ["p/ a  b ", "p/ "]


def test_every_nasty_key_comes_back(read_by: str) -> None:
    keys = [
        "p/" + c
        for c in [*map(chr, range(0x180)), "\u2028", "\ufeff", "\ufffe", "😀", "a\nb", "%00", "a%2Fb", "+", "\0x"]
    ]
    body = page("".join(contents(urllib.parse.quote_plus(key)) for key in keys))
    assert [entry.key for entry in reader.parse_list(body, "p/").objects] == keys
    unsafe = [key for key in keys if ord(key[2]) > 31 and key[2] != "\ufffe"]
    body = page("".join(contents(xml.sax.saxutils.escape(key)) for key in unsafe), encoding="")
    assert [entry.key for entry in reader.parse_list(body, "p/").objects] == unsafe


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "well-formed"),
        (b"<html><body>Login</body></html>", "expected <ListBucketResult>, got <html>"),
        (b'{"keys": []}', "well-formed"),
        (b"<Error><Code>InternalError</Code><Message>x</Message></Error>", "got <Error> InternalError"),
        (b"<ListAllMyBucketsResult/>", "got <ListAllMyBucketsResult>"),
        (page(contents("p/a"))[:-5], "well-formed"),
        (page(contents("p/a")) + b"x", "well-formed"),
        (page(contents("p/a")) + b"<a/>", "well-formed"),
        (page(contents("q/a")), "'q/a', which is not under the prefix 'p/'"),
        (page(contents("p/a"), end=""), "no <IsTruncated>"),
        (page(contents("p/a"), end="<IsTruncated>yes</IsTruncated>"), "neither true nor false"),
        (page(contents("p/a"), end="<IsTruncated>true</IsTruncated>"), "no NextContinuationToken"),
        (
            page(contents("p/a"), end="<IsTruncated>true</IsTruncated><NextContinuationToken/>"),
            "no NextContinuationToken",
        ),
        (page(contents("p/a"), end="<IsTruncated>false</IsTruncated>" * 2), "more than one <IsTruncated>"),
        (page(contents("p/a", size="-1")), "<Size> is not a number"),
        (page(contents("p/a", size="")), "<Size> is not a number"),
        (page(contents("p/a", size="٣")), "<Size> is not a number"),
        (page("<Contents><Key>p/a</Key></Contents>"), "<Contents> has no <LastModified>"),
        (page("<Contents/>"), "<Contents> has no <Key>"),
        (page(contents("p/a").replace("<Key>", "<Key>x</Key><Key>")), "more than one <Key>"),
        (page(contents("p/<b/>a")), "text between its elements"),
        (page(contents("<b/>")), "not plain text"),
        (page("<![CDATA[" + contents("p/a") + "]]>"), "text between its elements"),
        (page(contents("p/a") + "stray"), "text between its elements"),
        (page(contents("p/a") + "<CommonPrefixes><Prefix>p/x/</Prefix></CommonPrefixes>"), "CommonPrefixes"),
        (page(contents("p/\x01")), "well-formed"),
        (page(contents("p/\0")), "well-formed"),
        (page(contents("p/&#1;")), "well-formed"),
        (page(contents("p/]]>")), "well-formed"),
        (page(contents("p/&nbsp;")), "well-formed"),
        (page(contents("p/\ufffe")), "well-formed"),
        (page(contents("p/%zz")), "'%' that begins no escape"),
        (page(contents("p/%")), "'%' that begins no escape"),
        (page(contents("p/%ff")), "not percent-encoded UTF-8"),
        (page(contents("p/%00%ff")), "not percent-encoded UTF-8"),
        (page(contents("p/a")).replace(b"p/a", b"p/\xff"), "not UTF-8"),
        (page(contents("p/a")).replace(b"UTF-8", b"latin-1"), "declared as 'latin-1'"),
        (page(contents("p/a")).decode().encode("utf-16"), "not UTF-8"),
        (b"<!DOCTYPE ListBucketResult>" + page()[len(DECLARATION) :], "DOCTYPE"),
        (
            b'<!DOCTYPE x [<!ENTITY a "p/a"><!ENTITY b SYSTEM "file:///etc/passwd">]>'
            + page(contents("&a;&b;"))[len(DECLARATION) :],
            "DOCTYPE",
        ),
        (b"<a>" * 100 + b"</a>" * 100, "nested too deeply"),
        (b"<a>" * 200_000, "nested too deeply"),
        (b"<a>" + b"<b/>" * 300_000 + b"</a>", "too large (1200007 bytes)"),
        (b" " * (64 << 20), "too large (67108864 bytes)"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_no_list_is_an_error_that_says_why(read_by: str, body: bytes, reason: str) -> None:
    message = refused(reader.parse_list, body, "p/")
    assert reason in message
    assert len(message) < 300


def test_unknown_elements_attributes_and_comments_are_passed_over(read_by: str) -> None:
    more = '<New at="1"><Deep>x</Deep></New>'
    body = page("<!-- c -->" + more + contents("p/a") + contents("p/b", more=more) + "<?pi?>")
    assert [entry.key for entry in reader.parse_list(body, "p/").objects] == ["p/a", "p/b"]


def test_an_empty_bucket(read_by: str) -> None:
    assert reader.parse_list(page(), "p/") == ([], None)
    # rclone leaves KeyCount and the namespace out; a byte order mark is legal.
    bare = "\ufeff<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    assert reader.parse_list(bare.encode(), "") == ([], None)


def test_a_token_on_the_last_page_is_no_next_page(read_by: str) -> None:
    end = "<IsTruncated>false</IsTruncated><NextContinuationToken>x</NextContinuationToken>"
    assert reader.parse_list(page(end=end), "p/").next_token is None


# --- DeleteObjects and versioning ---------------------------------------------------------------------------


def test_deleted() -> None:
    why = "<Code>AccessDenied</Code><Message>Access\nDenied</Message>"
    failed = f"<Error><Key>a&amp;b</Key><VersionId>1</VersionId>{why}</Error>"
    bare = "<Error><Key>c</Key><Code>InternalError</Code></Error>"
    done = "<Deleted><Key>x</Key></Deleted>"
    body = f"{DECLARATION}<DeleteResult{NS}>{done}{failed}{bare}</DeleteResult>".encode()
    assert reader.parse_deleted(body) == [
        reader.DeleteFailure("a&b", "AccessDenied", "Access Denied"),
        reader.DeleteFailure("c", "InternalError", ""),
    ]
    assert reader.parse_deleted(f"<DeleteResult{NS}/>".encode()) == []
    assert "got <Error> InternalError" in refused(reader.parse_deleted, b"<Error><Code>InternalError</Code></Error>")
    assert "no <Key>" in refused(reader.parse_deleted, b"<DeleteResult><Error><Code>x</Code></Error></DeleteResult>")


def test_delete_is_read_back_by_another_parser() -> None:
    keys = ["a", "a&b<c>d\"e'f", "\r\n\t x ", "é😀\u2028\x7f\x85", "]]>", "&amp;"]
    root = ElementTree.fromstring(reader.encode_delete(keys))
    name = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    assert root.tag == f"{name}Delete"
    assert [found.text for found in root.iterfind(f"{name}Object/{name}Key")] == keys
    assert root.findtext(f"{name}Quiet") == "true"


@pytest.mark.parametrize("key", ["a\x00", "\x01", "a\x0bb", "\ufffe", "\ud800"])
def test_delete_refuses_what_xml_cannot_hold(key: str) -> None:
    with pytest.raises(ConfigurationError, match="XML cannot hold"):
        reader.encode_delete(["fine", key])


@pytest.mark.parametrize(
    ("inside", "state"),
    [
        ("", ""),
        ("<Status>Enabled</Status>", "Enabled"),
        ("<MfaDelete>Disabled</MfaDelete><Status>Suspended</Status>", "Suspended"),
    ],
)
def test_versioning(inside: str, state: str) -> None:
    body = f"{DECLARATION}<VersioningConfiguration{NS}>{inside}</VersioningConfiguration>".encode()
    assert reader.parse_versioning(body) == state


def test_versioning_of_another_kind() -> None:
    odd = b"<VersioningConfiguration><Status>Maybe</Status></VersioningConfiguration>"
    assert "neither Enabled nor Suspended" in refused(reader.parse_versioning, odd)
    # What rclone answers to a sub-resource it does not know.
    assert "got <ListBucketResult>" in refused(reader.parse_versioning, page())


# --- STS ----------------------------------------------------------------------------------------------------

ASSUMED = (
    '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <AssumeRoleResult>\n'
    "    <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn></AssumedRoleUser>\n    <Credentials>\n"
    "      <AccessKeyId>ASIA1</AccessKeyId>\n      <SecretAccessKey>se/cr+et</SecretAccessKey>\n"
    "      <SessionToken>to/ken==</SessionToken>\n      <Expiration>2026-05-01T11:00:00Z</Expiration>\n"
    "    </Credentials>\n  </AssumeRoleResult>\n  <ResponseMetadata/>\n</AssumeRoleResponse>\n"
)


def test_fields_of_an_assumed_role() -> None:
    assert reader.fields(ASSUMED.encode(), "AssumeRoleResponse", "AssumeRoleResult", "Credentials") == {
        "AccessKeyId": "ASIA1",
        "SecretAccessKey": "se/cr+et",
        "SessionToken": "to/ken==",
        "Expiration": "2026-05-01T11:00:00Z",
    }


@pytest.mark.parametrize(
    "body",
    [
        ASSUMED.replace("AssumeRoleResponse", "GetCallerIdentityResponse"),
        ASSUMED.replace("Credentials>", "Other>"),
        ASSUMED.replace("</Credentials>", "</Credentials><Credentials><AccessKeyId>x</AccessKeyId></Credentials>"),
        ASSUMED.replace("<SessionToken>", "<AccessKeyId>x</AccessKeyId><SessionToken>"),
        ASSUMED[:-20],
    ],
    ids=["other answer", "no credentials", "two of them", "two keys", "cut"],
)
def test_no_secret_in_the_error_for_a_wrong_sts_answer(body: str) -> None:
    message = refused(reader.fields, body.encode(), "AssumeRoleResponse", "AssumeRoleResult", "Credentials")
    for secret in ("se/cr+et", "to/ken==", "ASIA1"):
        assert secret not in message


# --- Errors -------------------------------------------------------------------------------------------------

MALFORMED = """<?xml version='1.0' encoding='UTF-8'?>
<Error>
  <Code>AuthorizationHeaderMalformed</Code>
  <Message>the region 'us-east-1' is wrong; expecting 'eu-central-1'</Message>
  <Region>eu-central-1</Region>
</Error>
"""
STS = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized</Message></Error>
  <RequestId>c6104cbe</RequestId>
</ErrorResponse>
"""


def error(code: str, inside: str) -> str:
    return f"{DECLARATION}<Error><Code>{code}</Code><Message>m</Message>{inside}</Error>"


ERRORS = [
    (
        error("NoSuchKey", "<Key>p/a</Key><RequestId>4442587FB7D0A2F9</RequestId><HostId>h/+=</HostId>"),
        reader.ErrorDocument("NoSuchKey", "m", "", "4442587FB7D0A2F9", "h/+="),
    ),
    (
        MALFORMED,
        reader.ErrorDocument(
            "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-central-1'", "eu-central-1"
        ),
    ),
    # Ceph's messages are empty.
    (error("InvalidRange", "").replace(">m<", "><"), reader.ErrorDocument("InvalidRange", "")),
    (
        error("RequestTimeTooSkewed", "<ServerTime>2026-05-01T10:20:00Z</ServerTime>"),
        reader.ErrorDocument("RequestTimeTooSkewed", "m", server_time="2026-05-01T10:20:00Z"),
    ),
    (
        error("NotImplemented", "<Header>If-None-Match</Header>"),
        reader.ErrorDocument("NotImplemented", "m", header="If-None-Match"),
    ),
    (
        error("PermanentRedirect", "<Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint>"),
        reader.ErrorDocument("PermanentRedirect", "m", endpoint="b.s3.eu-west-1.amazonaws.com"),
    ),
    (STS, reader.ErrorDocument("AccessDenied", "not authorized", request_id="c6104cbe")),
]


@pytest.mark.parametrize(("body", "found"), ERRORS, ids=[found.code for _, found in ERRORS])
def test_error_documents(body: str, found: reader.ErrorDocument) -> None:
    assert reader.parse_error(body.encode()) == found


@pytest.mark.parametrize(
    "body",
    [
        b"", b"   ", b"Service Unavailable", b'{"__type": "AccessDenied"}', b"\xff\xfe", b"<Error>", b"<Error/>",
        b"<html><head><title>502 Bad Gateway</title></head><body><hr></body></html>",
        b"<!DOCTYPE html><html><body>Sign in</body></html>",
        b'<!DOCTYPE Error [<!ENTITY a "aaaa">]><Error><Code>&a;</Code></Error>',
        b"<Error><Message>no code</Message></Error>", b"<Error><Code></Code></Error>",
        b"<Error><Code>A</Code><Code>B</Code></Error>", b"<Error><Code><b>A</b></Code></Error>",
        b"<ErrorResponse><RequestId>1</RequestId></ErrorResponse>", b"<ListBucketResult/>",
        b"<Errors><Error><Code>A</Code></Error></Errors>",
        b"<Error><Code>A</Code>" + b"x" * (64 << 20) + b"</Error>",
    ],
    ids=lambda body: repr(body[:30]),
)  # fmt: skip
def test_what_is_no_error_document(body: bytes) -> None:
    assert reader.parse_error(body) is None


def test_secrets_that_s3_repeats_are_not_kept() -> None:
    body = (
        "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message><Token-0>PLANTED</Token-0>"
        "<CanonicalRequest>x-amz-security-token:PLANTED</CanonicalRequest><StringToSign>PLANTED</StringToSign>"
        "<AWSAccessKeyId>PLANTED</AWSAccessKeyId><SignatureProvided>PLANTED</SignatureProvided></Error>"
    )
    found = reader.parse_error(body.encode())
    assert found is not None
    assert "PLANTED" not in repr(found)


def test_error_texts_are_one_printable_line() -> None:
    long = "a\x1b[31m\nred\u202e" + "x" * 1000
    body = f"<Error><Code>A</Code><Message>{xml.sax.saxutils.escape(long)}</Message></Error>".replace("\x1b", "\x85")
    found = reader.parse_error(body.encode())
    assert found is not None
    assert found.message.isprintable()
    assert found.message.startswith("a [31m red xxx")
    assert len(found.message) == 500
