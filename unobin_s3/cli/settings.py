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
from ..store import UNSET, Store
from . import screen

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration(text: str) -> float:
    """Seconds in `90`, `90s`, `15m`, `12h`, `30d` or `2w`."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhdw]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time such as 90s, 15m, 12h, 30d or 2w")
    return float(match[1]) * _SECONDS[match[2]]


_PLACE = {
    "bucket": "the bucket", "prefix": "goes before the keys",
    "endpoint-url": "an S3-compatible store; Amazon's when left out",
    "region": "of the bucket; else as the AWS SDKs find it", "profile": "of the AWS config and credentials files",
    "kms-key-id": "key that the store encrypts with (SSE-KMS), sent with every put; not the client's, see --kms",
}  # fmt: skip
_KEYS: dict[str, dict[str, Any]] = {
    "env-key": {"metavar": "NAME", "help": "variable that holds the key, base64 of 32 bytes"},
    "kms": {"metavar": "KEY_ID", "help": "AWS KMS key: id, ARN or alias"},
    "noop": {"action": "store_true", "help": "clear text"},
}
_LIST: dict[str, Any] = {"action": "append", "default": []}
_YES: dict[str, Any] = {"action": "store_true"}
_TIME: dict[str, Any] = {"type": duration, "metavar": "TIME"}
_NEVER = "others may take over when this has not been renewed for so long; never when left out"

# Of a group of flags: its title, those that exclude each other, the others.
_Flags = dict[str, dict[str, Any]]
_GROUPS: dict[str, tuple[str, _Flags, _Flags]] = {
    "place": ("where; --bucket's variable is UNOBIN_S3_BUCKET, and so on", {}, {
        **{f"--{name}": {"help": text} for name, text in _PLACE.items()},
        "--factory": {"help": "the program that the state belongs to"}, "--stack": {"help": "which of its stacks"},
    }),
    "key": ("what opens and seals snapshots; at most one of", {f"--{name}": flag for name, flag in _KEYS.items()}, {
        "--older-key": {**_LIST, "metavar": "NAME", "help": "opens only; repeatable"},
    }),
    "to-place": ("where to", {}, {f"--to-{name}": {"help": "as the source when left out"} for name in _PLACE}),
    "to-key": ("what seals anew; at most one of", {f"--to-{name}": flag for name, flag in _KEYS.items()}, {}),
    "lock": ("lock", {}, {
        "--wait": {**_TIME, "default": 60.0, "help": "for the lock; 60s; 0 tries once"},
        "--lease": {**_TIME, "type": lambda given: int(duration(given)), "help": _NEVER},
    }),
}  # fmt: skip
# The other arguments, by the command and the words that its row in main.py has for them.
_ARGUMENTS: _Flags = {
    "--json": {**_YES, "help": "one JSON document on stdout"},
    "--verbose": {**_YES, "help": "say on stderr what is done and repeated"},
    "--show-sensitive": {**_YES, "help": "print what is otherwise <sensitive>"},
    "--rev": {"default": "current", "help": "of this revision instead of the current one"},
    "--expected": {"metavar": "REV", "default": UNSET, "help": "refuse unless this revision is current"},
    "--id": {"required": True, "help": "the lock's own id; any other lock is left alone"},
    "--yes": {**_YES, "help": "do not ask"},
    "--check": {**_TIME, "default": 30.0, "help": "looks at the lock; 30s"},
    "--keep": {"type": int, "metavar": "N", "help": "keep the newest N"},
    "--older-than": {**_TIME, "help": "delete only what is older, such as 30d"},
    "--pin": {**_LIST, "metavar": "REV", "help": "keep this one; repeatable"},
    "--grace": {**_TIME, "default": 3600.0, "help": "keep what is younger; 1h"},
    "--dry-run": {**_YES, "help": "say what would be deleted; takes no lock"},
    "--read-only": {**_YES, "help": "write nothing: neither write rights nor store are tried"},
    "--mode": {"choices": ("read", "write", "gc"), "default": "read", "help": "which work; read by default"},
    "ref": {"metavar": "REF", "help": "address of an entry"},
    "rev": {"metavar": "REV", "help": "becomes current; `unobin-s3 snapshots` lists them"},
    "[rev]": {"metavar": "REV", "nargs": "?", "default": "current", "help": "the current one when left out"},
    "before": {"metavar": "REV", "help": "a revision, or `current`"},
    "after": {"metavar": "REV", "help": "a revision, or `current`"},
    "file": {"metavar": "FILE", "help": "a snapshot's JSON or a sealed envelope; `-` for stdin"},
    "program": {"metavar": "CMD", "nargs": "+", "help": "after `--`: the program to run, and its arguments"},
}


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, with the manual for help, and with a document for a usage error under --json."""

    def __init__(self, **more: Any) -> None:
        kept = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=lambda prog: kept(prog, width=110), **more)
        self._json = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._json = "--json" in args
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if not self._json:
            self.print_usage(sys.stderr)
        command = self.prog.partition(" ")[2] or self.prog
        screen.failure(argparse.Namespace(json=self._json, command=command), ConfigurationError(message))
        raise SystemExit(125 if command == "lock" else 2)


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


def command(commands: Any, name: str, run: Callable[[Any], int | None], words: str) -> None:
    """Add one command; `words` name its groups of flags and its other arguments."""
    parser: Parser = commands.add_parser(name, **manual(name))
    parser.set_defaults(run=run, code=0)
    for word in [*words.split(), "--json", "--verbose"]:
        if word not in _GROUPS:
            parser.add_argument(word.strip("[]"), **_ARGUMENTS[word])
            continue
        title, exclusive, others = _GROUPS[word]
        group = parser.add_argument_group(title)
        one = group.add_mutually_exclusive_group() if exclusive else group
        for flag, more in exclusive.items():
            one.add_argument(flag, **more)
        for flag, more in others.items():
            group.add_argument(flag, **more)


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
    url, region, profile = (value(options, name, side) for name in ("endpoint-url", "region", "profile"))
    return S3Client(endpoint_url=url, region=region, profile=profile)


def chosen_key(options: Any, side: str = "") -> tuple[str, list[str]] | None:
    """(env-key, kms or noop; the names of its keys, the sealing one first): by flags, else by the variable."""
    mark = side.replace("-", "_")
    older = [] if side else options.older_key
    for kind in _KEYS:
        if name := getattr(options, mark + kind.replace("-", "_")):
            return kind, [] if kind == "noop" else [name, *older]
    variable = f"UNOBIN_S3_{mark.upper()}ENCRYPTER"
    kind, _, rest = environ.read().get(variable, "").partition(":")
    names = [*filter(None, rest.split(",")), *older]
    if kind and (kind not in _KEYS or (kind == "noop") == bool(names)):
        raise ConfigurationError(f"{variable} must be env-key:NAME, kms:KEY_ID or noop")
    return (kind, names) if kind else None


def encrypter(options: Any, side: str = "", *, older: bool = True) -> Encrypter | None:
    """What was asked for; None when nothing was. `older` False: with its sealing key only."""
    kind, names = chosen_key(options, side) or ("", [])
    first, *rest = names or [""]
    rest = rest if older else []
    if kind == "env-key":
        return EnvKey(first, *rest)
    if kind == "kms":
        region, profile = value(options, "region", side), value(options, "profile", side)
        return KMS(first, region=region, profile=profile, older_keys=rest)
    return Noop() if kind else None


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
