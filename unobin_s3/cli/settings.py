# SPDX-License-Identifier: MIT
"""Flags and environment of all commands, and the client, encrypter and store they ask for. Sends nothing."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Callable
from typing import Any, NoReturn

from .. import environ
from ..aws.s3 import S3Client
from ..encrypters import KMS, Encrypter, EnvKey, Noop
from ..errors import ConfigurationError
from ..store import Store
from . import screen

CODES = (
    "exit codes: 0 fine, 1 error, 2 usage, 3 locked by somebody else, 4 lock lost, 5 not found, 6 cannot decrypt, "
    "7 store unfit for locks, 130 interrupted, 143 terminated"
)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PLACE = {
    "bucket": "the bucket",
    "prefix": "goes before the keys",
    "endpoint-url": "an S3-compatible store; Amazon's when left out",
    "region": "of the bucket; else as the AWS SDKs find it",
    "profile": "of the AWS config and credentials files",
    "kms-key-id": "KMS key that the store encrypts with (SSE-KMS), sent with every put; not the client's, see --kms",
}


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, and with a document for a usage error under --json."""

    usage_code = 2

    def __init__(self, **more: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **more)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._json = "--json" in (args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if self._json:
            found = argparse.Namespace(json=True, command=self.prog.partition(" ")[2] or "unobin-s3")
            screen.failure(found, ConfigurationError(message))
        else:
            self.print_usage(sys.stderr)
            screen.note(message)
        raise SystemExit(self.usage_code)


def command(
    commands: Any,
    name: str,
    run: Callable[[Any], int],
    *groups: Callable[[Any], None],
    example: str,
) -> argparse.ArgumentParser:
    """Add one command. Its help is `run`'s docstring: what is for a reader of the code is for its user too."""
    first, _, rest = (run.__doc__ or name).strip().partition("\n")
    about = "\n\n".join(
        textwrap.fill(" ".join(part.split()), 100) for part in [first, *rest.split("\n\n")] if part.strip()
    )
    example = "\n".join(f"  unobin-s3 {line}" for line in example.splitlines())
    epilog = f"example:\n{example}\n\n{textwrap.fill(CODES, 100)}"
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=first.rstrip(".")[:1].lower() + first.rstrip(".")[1:], description=about, epilog=epilog
    )
    for group in groups:
        group(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--verbose", action="store_true", help="say on stderr what is done and repeated")
    parser.set_defaults(run=run)
    return parser


def place(parser: Any, side: str = "") -> None:
    """Where the stack is. Every flag has a variable: --bucket is UNOBIN_S3_BUCKET."""
    title = f"where to ({side})" if side else "where (or variables: --bucket is UNOBIN_S3_BUCKET, and so on)"
    group = parser.add_argument_group(title)
    for name, text in _PLACE.items():
        group.add_argument(f"--{side}{name}", help=f"{text}{'; as the source when left out' if side else ''}")
    if not side:
        group.add_argument("--factory", help="the program that the state belongs to")
        group.add_argument("--stack", help="which of its stacks")


def key(parser: Any, side: str = "") -> None:
    """What opens and seals snapshots."""
    text = "exactly one; or UNOBIN_S3_ENCRYPTER=env-key:NAME[,OLDER...] | kms:KEY_ID[,OLDER...] | noop"
    group = parser.add_argument_group(f"what {'seals anew' if side else 'opens and seals snapshots'} ({text})")
    one = group.add_mutually_exclusive_group()
    one.add_argument(f"--{side}env-key", metavar="NAME", help="variable that holds the key, base64 of 32 bytes")
    one.add_argument(f"--{side}kms", metavar="KEY_ID", help="AWS KMS key: id, ARN or alias")
    one.add_argument(f"--{side}noop", action="store_true", help="clear text")
    if not side:
        group.add_argument("--older-key", action="append", default=[], metavar="NAME", help="opens only; repeatable")


def target(parser: Any) -> None:
    place(parser, "to-")
    key(parser, "to-")


def new_key(parser: Any) -> None:
    key(parser, "to-")


def locking(parser: Any) -> None:
    """How the lock is taken."""
    group = parser.add_argument_group("lock")
    group.add_argument(
        "--wait", type=duration, default=60.0, metavar="TIME", help="for the lock; 60s by default, 0 tries once"
    )
    group.add_argument(
        "--lease", type=_lease, metavar="TIME", help="others may take over when this has not been renewed for so long"
    )


def masking(parser: Any) -> None:
    parser.add_argument("--show-sensitive", action="store_true", help="print what is otherwise <sensitive>")


def duration(text: str) -> float:
    """Seconds in `90`, `90s`, `15m`, `12h`, `30d` or `2w`."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhdw]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time such as 90s, 15m, 12h, 30d or 2w")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def _lease(text: str) -> int:
    return int(duration(text))


def value(options: Any, name: str, side: str = "") -> str | None:
    """A flag, or its variable; for the target of a copy, what the source has."""
    dest = name.replace("-", "_")
    given = getattr(options, side.replace("-", "_") + dest, None)
    if given is None:
        given = environ.read().get(f"UNOBIN_S3_{(side + name).upper().replace('-', '_')}") or None
    return value(options, name) if given is None and side else given


def need(options: Any, name: str) -> str:
    found = value(options, name)
    if not found:
        raise ConfigurationError(f"--{name} is required (or the variable UNOBIN_S3_{name.upper()})")
    setattr(options, name, found)
    return found


def client(options: Any, side: str = "") -> S3Client:
    """The client of one side."""
    names = ("endpoint-url", "region", "profile")
    return S3Client(**{name.replace("-", "_"): value(options, name, side) for name in names})  # type: ignore[arg-type]


def chosen_key(options: Any, side: str = "") -> tuple[str, list[str]] | None:
    """(env-key, kms or noop; the names of its keys, the sealing one first): by flags, else by the variable."""
    mark = side.replace("-", "_")
    older = [] if side else options.older_key
    for kind in ("env-key", "kms"):
        if name := getattr(options, mark + kind.replace("-", "_")):
            return kind, [name, *older]
    if getattr(options, mark + "noop"):
        return "noop", []
    variable = f"UNOBIN_S3_{mark.upper()}ENCRYPTER"
    kind, _, rest = environ.read().get(variable, "").partition(":")
    names = [*filter(None, rest.split(",")), *older]
    if kind and (kind not in ("env-key", "kms", "noop") or (kind == "noop") == bool(names)):
        raise ConfigurationError(f"{variable} must be env-key:NAME, kms:KEY_ID or noop")
    return (kind, names) if kind else None


def encrypter(options: Any, side: str = "", *, older: bool = True) -> Encrypter | None:
    """What was asked for; None when nothing was. `older` False: with its sealing key only."""
    found = chosen_key(options, side)
    if found is None or found[0] == "noop":
        return found and Noop()
    first, *rest = found[1] if older else found[1][:1]
    if found[0] == "env-key":
        return EnvKey(first, *rest)
    return KMS(first, region=value(options, "region", side), profile=value(options, "profile", side), older_keys=rest)


def store(options: Any, side: str = "", *, opens: Encrypter | bool | None = True) -> Store:
    """The store of one side. `opens`: True needs an encrypter from the options, False takes none."""
    found = encrypter(options) if opens is True else opens
    if found is None:
        raise ConfigurationError(
            "say what opens the snapshots: --env-key NAME, --kms KEY_ID or --noop (or the variable UNOBIN_S3_ENCRYPTER)"
        )
    bucket = need(options, "bucket") if not side else value(options, "bucket", side) or ""
    return Store(
        client(options, side), bucket=bucket, prefix=value(options, "prefix", side) or "",
        factory=need(options, "factory"), stack=need(options, "stack"), encrypter=found or Noop(),
        kms_key_id=value(options, "kms-key-id", side) or None,
    )  # fmt: skip
