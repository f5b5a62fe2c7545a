# SPDX-License-Identifier: MIT
"""Flags, variables and help of all commands, and the client, encrypter and store they ask for. Sends nothing."""

from __future__ import annotations

import argparse
import pkgutil
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from .. import environ
from ..aws.s3 import S3Client
from ..encrypters import KMS, Encrypter, EnvKey, Noop
from ..errors import ConfigurationError
from ..store import Store
from . import screen

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PLACE = {
    "bucket": "the bucket",
    "prefix": "goes before the keys",
    "endpoint-url": "an S3-compatible store; Amazon's when left out",
    "region": "of the bucket; else as the AWS SDKs find it",
    "profile": "of the AWS config and credentials files",
    "kms-key-id": "key that the store encrypts with (SSE-KMS), sent with every put; not the client's, see --kms",
}


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, with the manual for help, and with a document for a usage error under --json."""

    def __init__(self, **more: Any) -> None:
        kept = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=lambda prog: kept(prog, width=110), **more)
        self.usage_code, self._json = 2, False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._json = "--json" in args
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if not self._json:
            self.print_usage(sys.stderr)
        command = self.prog.partition(" ")[2] or self.prog
        screen.failure(argparse.Namespace(json=self._json, command=command), ConfigurationError(message))
        raise SystemExit(self.usage_code)


def manual(command: str = "") -> dict[str, str]:
    """What the manual says of a command (or of all), as arguments of a parser."""
    text = (pkgutil.get_data(__name__, "manual.txt") or b"").decode()
    pages = {page.partition("\n")[0]: page.partition("\n")[2] for page in ("\n" + text).split("\n== ")}
    about, _, example = pages[command].partition("\nexample:\n")
    if not command:
        return {"description": about, "epilog": f"example:\n{example}"}
    codes = pages[""].partition("\nexit codes:\n")[2]
    epilog = f"example:\n{example}\nexit codes:\n{codes}"
    return {"help": about.partition(".")[0], "description": about, "epilog": epilog}


def command(commands: Any, name: str, run: Callable[[Any], int], *groups: Callable[[Any], None]) -> Parser:
    """Add one command with these groups of flags."""
    parser: Parser = commands.add_parser(name, **manual(name))
    for group in groups:
        group(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--verbose", action="store_true", help="say on stderr what is done and repeated")
    parser.set_defaults(run=run)
    return parser


def place(parser: Any, side: str = "") -> None:
    """Where the stack is."""
    group = parser.add_argument_group(
        "where to" if side else "where; --bucket's variable is UNOBIN_S3_BUCKET, and so on"
    )
    for name, text in _PLACE.items():
        text = "as the source when left out" if side else text
        group.add_argument(f"--{side}{name}", metavar=name.upper(), help=text)
    if not side:
        group.add_argument("--factory", help="the program that the state belongs to")
        group.add_argument("--stack", help="which of its stacks")


def key(parser: Any, side: str = "") -> None:
    """What opens and seals snapshots."""
    group = parser.add_argument_group(f"what {'seals anew' if side else 'opens and seals snapshots'}; at most one of")
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
    group.add_argument("--wait", type=duration, default=60.0, metavar="TIME", help="for the lock; 60s; 0 tries once")
    text = "others may take over when this has not been renewed for so long; never when left out"
    group.add_argument("--lease", type=lambda given: int(duration(given)), metavar="TIME", help=text)


def masking(parser: Any) -> None:
    parser.add_argument("--show-sensitive", action="store_true", help="print what is otherwise <sensitive>")


def duration(text: str) -> float:
    """Seconds in `90`, `90s`, `15m`, `12h`, `30d` or `2w`."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhdw]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time such as 90s, 15m, 12h, 30d or 2w")
    return float(match[1]) * _SECONDS[match[2]]


def value(options: Any, name: str, side: str = "") -> str | None:
    """A flag, or its variable; for the target of a copy, else what the source has."""
    given: str | None = getattr(options, (side + name).replace("-", "_"), None)
    if given is None:
        given = environ.read().get(f"UNOBIN_S3_{(side + name).upper().replace('-', '_')}") or None
    return value(options, name) if given is None and side else given


def need(options: Any, name: str, side: str = "") -> str:
    found = value(options, name, side)
    if not found:
        raise ConfigurationError(f"--{name} is required (or the variable UNOBIN_S3_{name.upper()})")
    return found


def client(options: Any, side: str = "") -> S3Client:
    """The client of one side."""
    url, region, profile = (value(options, name, side) for name in ("endpoint-url", "region", "profile"))
    return S3Client(endpoint_url=url, region=region, profile=profile)


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


def opener(options: Any) -> Encrypter:
    """The encrypter, for commands that cannot do without."""
    found = encrypter(options)
    if found is None:
        ways = "--env-key NAME, --kms KEY_ID or --noop (or the variable UNOBIN_S3_ENCRYPTER)"
        raise ConfigurationError(f"say what opens the snapshots: {ways}")
    return found


def store(options: Any, opens: Encrypter | None = None, side: str = "") -> Store:
    """The store of one side. Without `opens` it must not write: it would write clear text."""
    options.factory, options.stack = need(options, "factory"), need(options, "stack")
    return Store(
        client(options, side), bucket=need(options, "bucket", side), prefix=value(options, "prefix", side) or "",
        factory=options.factory, stack=options.stack, encrypter=opens or Noop(),
        kms_key_id=value(options, "kms-key-id", side) or None,
    )  # fmt: skip
