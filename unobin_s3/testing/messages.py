# SPDX-License-Identifier: MIT
"""The messages of the simulated S3: a request as it arrived, an answer, a refusal. No state, no socket."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_plus
from xml.etree import ElementTree

_SPECIAL = re.compile(r"[&<>\"\x00-\x1f]")
_VIRTUAL_HOST = re.compile(r"(?!s3\.)(.+?)\.(?:s3[.-].+|localhost)(?::\d+)?")
# Query parameters that do not change which operation is meant. Every other one names a sub-resource.
_PLAIN = re.compile("prefix|delimiter|start-after|continuation-token|max-keys|encoding-type|fetch-owner|x-id")
_ROUTES = {
    "PUT bucket": "CreateBucket",
    "HEAD bucket": "HeadBucket",
    "DELETE bucket": "DeleteBucket",
    "GET bucket list-type": "ListObjectsV2",
    "GET bucket location": "GetBucketLocation",
    "GET bucket versioning": "GetBucketVersioning",
    "PUT bucket versioning": "PutBucketVersioning",
    "POST bucket delete": "DeleteObjects",
    "PUT object": "PutObject",
    "GET object": "GetObject",
    "HEAD object": "HeadObject",
    "DELETE object": "DeleteObject",
}


@dataclass(slots=True)
class RequestRecord:
    """One request as it arrived. `status` is 0 until it is answered, and stays 0 when the answer is lost."""

    method: str
    target: str  # exactly as on the wire
    headers: dict[str, str]  # names in lower case
    bucket: str
    key: str
    query: dict[str, str]  # decoded
    operation: str  # the API's name, such as "PutObject"; "" for what is not spoken here
    access_key: str = ""  # set once the signature was verified
    status: int = 0

    @classmethod
    def parse(cls, method: str, target: str, headers: dict[str, str]) -> RequestRecord:
        """Raises ValueError for a target that is no path or not UTF-8. S3 reads a bare `+` as a blank."""
        path, _, query = target.partition("?")
        if path[:1] != "/":
            raise ValueError("the request target must be a path")
        bucket, _, key = unquote_plus(path[1:], errors="strict").partition("/")
        if virtual := _VIRTUAL_HOST.fullmatch(headers.get("host", "").lower()):
            bucket, key = virtual[1], unquote_plus(path[1:], errors="strict")
        pairs = dict(parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100))
        named = sorted(name for name in pairs if not _PLAIN.fullmatch(name))
        route = " ".join([method, "object" if key else "bucket", *named])
        return cls(method, target, headers, bucket, key, pairs, _ROUTES.get(route, "") if bucket else "")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Refusal(Exception):
    """An S3 error; `fields` become further elements of its document."""

    def __init__(self, status: int, code: str, message: str = "", **fields: str) -> None:
        super().__init__(code)
        self.status, self.fields = status, {"Code": code, "Message": message or code, **fields}


def tags(**values: str) -> str:
    # References keep line ends alive. S3 writes other control characters like this too, valid XML or not.
    escaped = [(tag, _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", text)) for tag, text in values.items()]
    return "".join(f"<{tag}>{text}</{tag}>" for tag, text in escaped)


def answer_xml(root: str, inner: str, status: int = 200) -> Answer:
    namespace = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"' if root != "Error" else ""
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}{namespace}>{inner}</{root}>'
    return Answer(status, {"content-type": "application/xml"}, document.encode())


def parse_xml(body: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(body)  # noqa: S314 - its sender has the secret key
    except ElementTree.ParseError:
        raise Refusal(400, "MalformedXML", "The XML you provided was not well-formed") from None
