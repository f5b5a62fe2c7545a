# SPDX-License-Identifier: MIT
"""Keys: Go's path.Join against a plain model of it, and which names are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unobin_s3.errors import ConfigurationError
from unobin_s3.state.layout import Layout, join
from unobin_s3.state.revision import check_revision

checked = settings(derandomize=True, deadline=None, max_examples=500)
REV = "2026-05-01T10:00:00.000000000Z"


def model(parts: list[str]) -> str:
    """path.Clean as its documentation words it: four rules, applied until none applies."""
    path = "/".join(part for part in parts if part)
    if not path:
        return ""
    rooted = path.startswith("/")
    names = [name for name in path.split("/") if name not in ("", ".")]
    changed = True
    while changed:
        changed = False
        for index, name in enumerate(names):
            if name == ".." and index and names[index - 1] != "..":
                del names[index - 1 : index + 1]
                changed = True
                break
            if name == ".." and not index and rooted:
                del names[0]
                changed = True
                break
    return ("/" if rooted else "") + "/".join(names) or "."


@checked
@given(st.lists(st.text("ab./ \\", max_size=8), max_size=4))
def test_join(parts: list[str]) -> None:
    assert join(*parts) == model(parts)


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ([], ""),
        (["", ""], ""),
        (["."], "."),
        (["a", ".."], "."),
        (["/", ".."], "/"),
        (["p", "..", "s"], "s"),
        (["p/f/s", "snapshots", "../current.json.enc"], "p/f/s/current.json.enc"),
        (["/p", "/f"], "/p/f"),
    ],
)
def test_join_at_the_edges(parts: list[str], key: str) -> None:
    assert join(*parts) == key


@pytest.mark.parametrize(
    ("prefix", "directory"),
    [
        ("", "f/s"),
        ("p/", "p/f/s"),
        ("/p", "/p/f/s"),
        ("/", "/f/s"),
        ("p//q", "p/q/f/s"),
        (" ", " /f/s"),
        ("\u00e9", "\u00e9/f/s"),
    ],
)
def test_keys(prefix: str, directory: str) -> None:
    layout = Layout(prefix, "f", "s")
    assert layout.directory == directory
    assert (layout.current, layout.lock) == (directory + "/current", directory + "/lock")
    assert layout.snapshots == directory + "/snapshots/"
    assert layout.snapshot(REV) == f"{directory}/snapshots/{REV}.json.enc"


@pytest.mark.parametrize("name", ["a/b", "...", "a b", "snapshots2", "\u65e5\u672c", "a\\b", "current"])
def test_names_that_are_fine(name: str) -> None:
    assert Layout("", name, name).directory == f"{name}/{name}"


@pytest.mark.parametrize("argument", ["factory", "stack"])
@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a/.",
        "../x",
        "snapshots",
        "a/snapshots",
        "snapshots/a",
        "a\n",
        "\x00",
        "a\x7f",
        "\x9f",
        "\ud800",
        None,
        7,
        b"s",
    ],
)
def test_refused_names(argument: str, name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Layout(**{"prefix": "", "factory": "f", "stack": "s", argument: name})
    assert argument in str(caught.value)
    assert not name or not isinstance(name, str) or repr(name) in str(caught.value)


@pytest.mark.parametrize("prefix", [".", "..", "./p", "p/..", "../p", "p/./q", "p\n", "\ud800", None])
def test_refused_prefixes(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        Layout(prefix, "f", "s")


@pytest.mark.parametrize("rev", ["", "..", "../x", "a/b", "\n"])
def test_refused_revisions(rev: str) -> None:
    with pytest.raises(ConfigurationError, match="revision"):
        Layout("p", "f", "s").snapshot(rev)


@checked
@given(st.text(max_size=10))
def test_listed_keys_come_back_as_revisions(rev: str) -> None:
    layout = Layout("p", "f", "s")
    found = layout.rev_of(f"p/f/s/snapshots/{rev}.json.enc")
    try:
        check_revision(rev)
    except ConfigurationError:
        assert found is None
    else:
        assert found == rev and layout.rev_of(layout.snapshot(rev)) == rev


@pytest.mark.parametrize(
    "key",
    [
        f"p/f/s/snapshots/{REV}",
        f"p/f/s/{REV}.json.enc",
        f"p/f/t/snapshots/{REV}.json.enc",
        "p/f/s/snapshots/",
        "",
        "p/f/s/snapshots/.json.enc",
        "p/f/s/snapshots/a/b.json.enc",
        "p/f/s/snapshots/..json.enc",
    ],
)
def test_listed_keys_that_are_no_snapshots(key: str) -> None:
    assert Layout("p", "f", "s").rev_of(key) is None


def test_siblings_share_no_key() -> None:
    stacks = [Layout("p", "f", name) for name in ("dev", "dev2", "dev/eu", "prod")]
    for one in stacks:
        for other in stacks:
            keys = (other.current, other.lock, other.snapshot(REV))
            assert one is other or not any(key.startswith(one.snapshots) or key == one.lock for key in keys)
