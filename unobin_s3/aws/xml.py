# SPDX-License-Identifier: MIT
"""Strict, size-capped readers of the XML that S3 and STS answer with, and the one document that is sent.

No DOCTYPE, no entity declarations, no other encoding than UTF-8, no guessing: a document that is not wholly what was
asked for is ServiceError(code="InvalidResponse"), which tells its element names and keys but no other content. Only
error documents are read leniently (None), because what stands in for them comes from proxies. Nothing here sends.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html, .../API_DeleteObjects.html,
.../API/ErrorResponses.html, https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..errors import ConfigurationError, ServiceError

# A page of 1000 keys of 1024 bytes, every byte percent-encoded, is 3.5 MB; with markup 4 MB.
MAX_DOCUMENT = 8 * 1024 * 1024
MAX_ERROR = 256 * 1024
_MAX_TAGS = 250_000
_MAX_DEPTH = 16
# In the order of ErrorDocument. <Token-0>, <CanonicalRequest> and <StringToSign> hold secrets and are not read.
_ERROR_FIELDS = ("Code", "Message", "Region", "RequestId", "HostId", "Header", "ServerTime", "Endpoint")

# <Contents> as S3 and most others write it: these children in this order, no blanks between them. A page made
# wholly of these is read by this one expression, many times as fast as by expat, which reads all others.
# `[^<]*` is the quickest thing to match; what these three held is checked afterwards, all at once. Compiled when a list
# is read: puts and gets, most of what is done, never need it.
_CONTENTS = (
    "<Contents><Key>([^<]*)</Key><LastModified>([^<]*)</LastModified><ETag>([^<]*)</ETag>"
    "(?:<ChecksumAlgorithm>[A-Z0-9]*</ChecksumAlgorithm>)?(?:<ChecksumType>[A-Z_]*</ChecksumType>)?"
    "<Size>([0-9]{1,19})</Size>(?:<StorageClass>[A-Z_]*</StorageClass>)?</Contents>"
)
# Whatever is not printable ASCII, may be markup, or needs decoding is left to expat.
_NOT_PLAIN = bytes({*range(1, 256)} - {*range(0x20, 0x7F)} | {*b"&>"})
_STRAY_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")


class ListedObject(NamedTuple):
    key: str
    etag: str  # as the store lists it, which is with quotes but for rclone
    size: int  # bytes
    last_modified: str  # RFC 3339 as the store wrote it


class ListPage(NamedTuple):
    objects: list[ListedObject]
    next_token: str | None  # None: this was the last page


class DeleteFailure(NamedTuple):
    key: str
    code: str
    message: str


class ErrorDocument(NamedTuple):
    """What an error body says, each text one printable line; "" for what it does not say."""

    code: str
    message: str
    region: str = ""
    request_id: str = ""
    host_id: str = ""
    header: str = ""  # the header that is not implemented
    server_time: str = ""
    endpoint: str = ""


class _Element:
    __slots__ = ("children", "name", "pieces")

    def __init__(self, name: str) -> None:
        self.name = name
        self.children: list[_Element] = []
        self.pieces: list[str] = []  # text between 250,000 elements, added up piece by piece, took minutes

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def all(self, name: str) -> list[_Element]:
        return [child for child in self.children if child.name == name]

    def optional(self, name: str) -> str | None:
        """Text of the one child `name`, None when there is none."""
        found = self.all(name)
        if len(found) > 1 or (found and found[0].children):
            raise _invalid(f"<{self.name}> has more than one <{name}>, or one that is not plain text")
        return found[0].text if found else None

    def required(self, name: str) -> str:
        text = self.optional(name)
        if text is None:
            raise _invalid(f"<{self.name}> has no <{name}>")
        return text


def _invalid(reason: str) -> ServiceError:
    return ServiceError(f"the answer is not the promised document: {reason}", code="InvalidResponse")


def _decode(body: bytes, limit: int) -> str:
    # Every element costs about 250 bytes of memory, so their number is bounded like the length.
    if len(body) > limit or body.count(b"<") > _MAX_TAGS:
        raise _invalid(f"it is too large ({len(body)} bytes)")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise _invalid("it is not UTF-8") from None


def _root(text: str, *names: str) -> _Element:
    """The document, whose root must be one of `names`, without attributes, comments and instructions."""
    # Imported here because puts and gets, most of what is done, never need it.
    from xml.parsers import expat

    open_elements = [_Element("")]
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text, parser.buffer_size = True, 1 << 20
    _handle(parser, open_elements)
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise _invalid(f"it is not well-formed XML (line {error.lineno}, column {error.offset})") from None
    root = open_elements[0].children[0]
    if root.name not in names:
        code = root.optional("Code") if root.name == "Error" else None
        raise _invalid(f"expected <{names[0]}>, got <{root.name[:40]}>" + (f" {_clean(code)}" if code else ""))
    return root


def _handle(parser: Any, open_elements: list[_Element]) -> None:
    def start(name: str, _attributes: dict[str, str]) -> None:
        if len(open_elements) > _MAX_DEPTH:
            raise _invalid("it is nested too deeply")
        element = _Element(name)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(_name: str) -> None:
        element = open_elements.pop()
        if element.children and element.text.strip():
            raise _invalid(f"<{element.name}> has text between its elements")

    def doctype(*_declaration: object) -> None:
        # Entities are declared in a DOCTYPE only, so none is ever expanded.
        raise _invalid("it has a DOCTYPE")

    def declaration(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and encoding.lower() not in ("utf-8", "us-ascii"):
            raise _invalid(f"it is declared as {encoding[:20]!r}, not UTF-8")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda data: open_elements[-1].pieces.append(data)
    parser.StartDoctypeDeclHandler, parser.XmlDeclHandler = doctype, declaration


def parse_list(body: bytes, prefix: str) -> ListPage:
    """One page of ListObjectsV2, asked for with encoding-type=url, `prefix` and no delimiter."""
    text = _decode(body, MAX_DOCUMENT)
    root, columns = _plain_contents(text) or _any_contents(text)
    keys, dates, etags, sizes = columns
    if root.optional("EncodingType") == "url":
        keys = _url_decoded(keys)
    for key in keys:
        if not key.startswith(prefix):
            raise _invalid(f"it lists the key {key[:80]!r}, which is not under the prefix {prefix!r}")
    if root.all("CommonPrefixes"):
        raise _invalid("it has CommonPrefixes, which were not asked for")
    truncated, token = root.required("IsTruncated"), root.optional("NextContinuationToken")
    if truncated not in ("true", "false"):
        raise _invalid("<IsTruncated> is neither true nor false")
    if truncated == "true" and not token:
        raise _invalid("it is truncated and has no NextContinuationToken")
    objects = list(map(ListedObject._make, zip(keys, etags, map(int, sizes), dates, strict=True)))
    return ListPage(objects, token if truncated == "true" else None)


def _plain_contents(text: str) -> tuple[_Element, list[list[str]]] | None:
    """The page without its contents, and their columns; None unless every <Contents> is an ordinary one."""
    start, end = text.find("<Contents>"), text.rfind("</Contents>") + len("</Contents>")
    if not 0 <= start < end:
        return None
    # split() gives what lies between the matches, and their groups; nothing may lie between them.
    parts = re.split(_CONTENTS, text[start:end])
    columns = "\0".join(parts[1::5] + parts[2::5] + parts[3::5]).replace("&quot;", '"').replace("&#34;", '"')
    encoded = columns.encode()
    cells, count = columns.split("\0"), len(parts) // 5
    if any(parts[::5]) or encoded.translate(None, _NOT_PLAIN) != encoded or len(cells) != 3 * count:
        return None
    # expat reads the rest with one empty element in their place, which shows that they were children of the root and
    # stood in no comment or other element.
    root = _root(f"{text[:start]}<Contents/>{text[end:]}", "ListBucketResult")
    found = root.all("Contents")
    if len(found) != 1 or found[0].text or found[0].children:
        return None
    return root, [cells[:count], cells[count : 2 * count], cells[2 * count :], parts[4::5]]


def _any_contents(text: str) -> tuple[_Element, list[list[str]]]:
    root = _root(text, "ListBucketResult")
    entries = root.all("Contents")
    columns = [[entry.required(name) for entry in entries] for name in ("Key", "LastModified", "ETag", "Size")]
    if not all(re.fullmatch("[0-9]{1,19}", size) for size in columns[3]):
        raise _invalid("a <Size> is not a number")
    return root, columns


def _url_decoded(names: list[str]) -> list[str]:
    """Names as encoding-type=url writes them: S3 and others write a blank as `+`."""
    # All at once is far quicker than one by one. XML cannot hold a NUL; an escaped one is met below.
    joined = "\0".join(names).replace("%3A", ":")
    if "%" not in joined and "+" not in joined:
        return joined.split("\0") if names else []
    if _STRAY_PERCENT.search(joined):
        raise _invalid("a key has a '%' that begins no escape")
    try:
        if "%00" in joined:
            return [urllib.parse.unquote_plus(name, errors="strict") for name in names]
        return urllib.parse.unquote_plus(joined, errors="strict").split("\0")
    except UnicodeDecodeError:
        raise _invalid("a key is not percent-encoded UTF-8") from None


def parse_deleted(body: bytes) -> list[DeleteFailure]:
    """Keys that DeleteObjects could not delete; empty when all are gone."""
    root = _root(_decode(body, MAX_DOCUMENT), "DeleteResult")
    return [
        DeleteFailure(error.required("Key"), _clean(error.required("Code")), _clean(error.optional("Message") or ""))
        for error in root.all("Error")
    ]


def encode_delete(keys: Iterable[str]) -> bytes:
    """The body of DeleteObjects, quiet. Raises ConfigurationError for keys that XML cannot hold."""
    objects = "".join([f"<Object><Key>{_escaped(key)}</Key></Object>" for key in keys])
    return f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>{objects}</Delete>'.encode()


def _escaped(key: str) -> str:
    # https://www.w3.org/TR/xml/#charsets; escaping does not help for these.
    if re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", key):
        raise ConfigurationError(f"key {key!r} has a character that XML cannot hold; delete it by itself")
    key = key.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A parser reads a raw CR as LF (section 2.11).
    return key.replace("\r", "&#13;").replace("\n", "&#10;").replace("\t", "&#9;")


def parse_versioning(body: bytes) -> str:
    """ "Enabled", "Suspended", or "" for a bucket that never had versions."""
    status = _root(_decode(body, MAX_ERROR), "VersioningConfiguration").optional("Status") or ""
    if status not in ("Enabled", "Suspended", ""):
        raise _invalid("<Status> is neither Enabled nor Suspended")
    return status


def fields(body: bytes, *path: str) -> dict[str, str]:
    """Texts of the plain children of the element at `path`, root first: `fields(body, "Root", "Result")`."""
    element = _root(_decode(body, MAX_ERROR), path[0])
    for name in path[1:]:
        found = element.all(name)
        if len(found) != 1:
            raise _invalid(f"<{element.name}> has {len(found)} <{name}> instead of one")
        element = found[0]
    return {child.name: element.required(child.name) for child in element.children if not child.children}


def parse_error(body: bytes) -> ErrorDocument | None:
    """What an error body of S3 (<Error>) or STS (<ErrorResponse>) says; None for HTML, JSON and all else."""
    try:
        root = error = _root(_decode(body, MAX_ERROR), "Error", "ErrorResponse")
        if root.name == "ErrorResponse":
            error = root.all("Error")[0]
        # STS has the RequestId beside the <Error>, S3 inside.
        given = {name: _clean(error.optional(name) or root.optional(name) or "") for name in _ERROR_FIELDS}
    except (ServiceError, IndexError):
        return None
    return ErrorDocument(*given.values()) if given["Code"] else None


def _clean(text: str) -> str:
    """One printable line of at most 500 characters: error texts end in messages and logs."""
    return "".join([c if c.isprintable() else " " for c in " ".join(text[:1000].split())])[:500]
