# SPDX-License-Identifier: MIT
"""The quick way through a list page and expat give the same answer, or both refuse, whatever the page holds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unobin_s3 import ServiceError
from unobin_s3.aws import xml as reader

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>b</Name><Prefix/><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
)
TEXTS = [
    "key", "p/a%3Ab", "a+b", "%2B", "%00", "%C3%A9", "%ff", "%", "%3", " ", "&quot;", "&amp;", "&amp;quot;", "&lt;",
    "&", "é", "\ufffe", "\x01", "\0", "\t", "\r\n", "]]>", ">", "<b/>", "<!-- c -->", "<![CDATA[x]]>", '"', "'",
    "\x7f", "\u2028", "",
]  # fmt: skip
BETWEEN = [
    "", "\n", " ", "x", "<!-- c -->", "<!--", "-->", "<?pi?>", "<![CDATA[", "]]>", "<CommonPrefixes/>", "&quot;",
    "<New>x</New>", "<Wrong>", "</Wrong>", "<Contents>", "</Contents>", "<Contents/>", "</ListBucketResult>", "\0",
    "<Key>k</Key>", "<!DOCTYPE a>", "<EncodingType>url</EncodingType>", '<Contents a="b">', "</Contents >",
]  # fmt: skip

text = st.lists(st.sampled_from(TEXTS), max_size=3).map("".join)
between = st.one_of(st.just(""), st.just(""), st.just(""), st.sampled_from(BETWEEN))
checksum = st.sampled_from(
    ["", "", "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm>", "<ChecksumType>FULL_OBJECT</ChecksumType>", "<Owner/>"]
)
size = st.sampled_from(["0", "4096", "9" * 19, "9" * 20, "-1", "", "x", "٣", "1 "])
date = st.sampled_from(["2026-05-01T10:00:00.000Z", "", "&quot;", "<b/>"])


@st.composite
def contents(draw: st.DrawFn) -> str:
    """Mostly one <Contents> as S3 writes it, now and then with something odd in one place."""
    odd = draw(st.integers(0, 9))
    key = draw(text) if odd < 6 else "p/key%3A1"
    etag = draw(text) if odd == 1 else draw(st.sampled_from(["&quot;d41d&quot;", "&#34;d41d&#34;", '"d41d"', ""]))
    when = draw(date) if odd == 2 else "2026-05-01T10:00:00.000Z"
    length = draw(size) if odd == 3 else "4096"
    extra = draw(checksum) if odd == 4 else ""
    gap = draw(between) if odd == 5 else ""
    return (
        f"<Contents><Key>{key}</Key><LastModified>{when}</LastModified>{gap}<ETag>{etag}</ETag>{extra}"
        f"<Size>{length}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


pages = st.tuples(between, st.lists(st.tuples(contents(), between), max_size=4), between).map(
    lambda made: HEAD + made[0] + "".join(one + gap for one, gap in made[1]) + "</ListBucketResult>" + made[2]
)


def outcome(body: bytes) -> reader.ListPage | None:
    try:
        return reader.parse_list(body, "")
    except ServiceError as error:
        assert error.code == "InvalidResponse"
        return None


def both(body: bytes) -> tuple[reader.ListPage | None, reader.ListPage | None]:
    quick = outcome(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_plain_contents", lambda _text: None)
        return quick, outcome(body)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(pages)
def test_odd_pages(page: str) -> None:
    quick, strict = both(page.encode())
    assert quick == strict


def test_ordinary_pages_with_one_change() -> None:
    """Bytes replaced, removed and doubled at seeded places of a page that is otherwise read by the expression."""
    one = (
        "<Contents><Key>p/a%3Ab+c</Key><LastModified>2026-05-01T10:00:00.000Z</LastModified><ETag>&quot;d41d&quot;</ETag>"
        "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><Size>4096</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )
    page = f"{HEAD}{one * 3}</ListBucketResult>".encode()
    assert reader._plain_contents(page.decode()) is not None
    picked = random.Random(20261122)
    read = 0
    for _ in range(6000):
        at = picked.randrange(len(page))
        wide = picked.choice([1, 1, 1, 5, 60])
        new = picked.choice([b"", b"", page[at : at + wide] * 2, picked.randbytes(1), picked.choice(BETWEEN).encode()])
        quick, strict = both(page[:at] + new + page[at + wide :])
        assert quick == strict, (at, wide, new)
        read += quick is not None
    # Both kinds must have been met, or the test shows nothing.
    assert 500 < read < 5500
