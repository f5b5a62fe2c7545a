# SPDX-License-Identifier: MIT
"""The shared config and credentials files: where they are and what their sections say, read at first use.

What a profile's members mean belongs in providers.py and settings.py. The dialect is botocore's, which is
configparser's; what it refuses is refused here, by the number of the line, never its text: it may be secret.
https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import ConfigurationError
from .credentials import Secret

# A member is a text, or a nested block of them (`s3 =` and indented lines).
Section = dict[str, "str | dict[str, str]"]

_HEADER = re.compile(r"\[([^\]]+)\]")
_MEMBER = re.compile(r"([^=:]+?)\s*[=:]\s*(.*)")
_NAMED = re.compile(r"""(profile|services)\s+(?:"([^"]*)"|'([^']*)'|(\S+))""")
# Masked in dumps; commands may hold passwords.
_SECRET = frozenset({"aws_secret_access_key", "aws_session_token", "aws_security_token", "credential_process"})


@dataclass(frozen=True, slots=True)
class IniFile:
    """One of the two files. `state` is "" when it was read, else the reason why it says nothing."""

    path: str
    state: str = ""
    profiles: dict[str, Section] = field(default_factory=dict, repr=False)
    services: dict[str, Section] = field(default_factory=dict, repr=False)


class Profiles:
    """Both files that `env` points at as one. Methods read them at first use; ConfigurationError for a malformed one.

    A file that is missing or may not be read counts as empty; `places` says so, for messages.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._files: tuple[IniFile, IniFile] | None = None

    def active(self, env: Mapping[str, str], name: str | None = None) -> str | None:
        """`name`, AWS_DEFAULT_PROFILE or AWS_PROFILE, in botocore's order, whether it exists or not; else
        "default" if that exists; else None."""
        asked = name or env.get("AWS_DEFAULT_PROFILE") or env.get("AWS_PROFILE")
        return asked or ("default" if self._section("default") is not None else None)

    def settings(self, name: str | None) -> Mapping[str, str]:
        """The plain members of profile `name`, the credentials file over the config file; {} for None.

        Raises ConfigurationError when a named profile is in neither file.
        """
        return {key: value for key, value in self._known(name).items() if isinstance(value, str)}

    def nested(self, name: str | None, key: str) -> Mapping[str, str]:
        """The nested block `key` (such as "s3") of profile `name`; {} when there is none."""
        value = self._known(name).get(key)
        return value if isinstance(value, dict) else {}

    def services(self, name: str | None) -> Mapping[str, Mapping[str, str]]:
        """The blocks of the `[services x]` section that profile `name` refers to, by service."""
        section = self.settings(name).get("services")
        if section is None:
            return {}
        if section not in self.config.services:
            raise ConfigurationError(
                f"profile {name!r} refers to services {section!r}, and {self.config.path} has no such section"
            )
        found = self.config.services[section]
        return {key: value for key, value in found.items() if isinstance(value, dict)}

    @property
    def config(self) -> IniFile:
        return self._read()[0]

    @property
    def credentials(self) -> IniFile:
        return self._read()[1]

    @property
    def places(self) -> str:
        """Both files and their state, for messages."""
        return " or ".join(f"{file.path}{file.state and f' ({file.state})'}" for file in self._read())

    def forget(self) -> None:
        """Read the files again when next asked: another program may have written new keys."""
        self._files = None

    def _section(self, name: str) -> Section | None:
        config, credentials = (file.profiles.get(name) for file in self._read())
        return None if config is None and credentials is None else (config or {}) | (credentials or {})

    def _known(self, name: str | None) -> Section:
        if name is None:
            return {}
        section = self._section(name)
        if section is None:
            names = sorted({name for file in self._read() for name in file.profiles})
            raise ConfigurationError(
                f"there is no profile {name!r} in {self.places}; "
                + (f"they have: {', '.join(names[:20])}" if names else "they have none at all")
            )
        return section

    def _read(self) -> tuple[IniFile, IniFile]:
        files = self._files
        if files is None:
            config = self._env.get("AWS_CONFIG_FILE", "~/.aws/config")
            credentials = self._env.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
            files = _read(config, self._env, plain_names=False), _read(credentials, self._env, plain_names=True)
            self._files = files
        return files


def _expanded(path: str, env: Mapping[str, str]) -> str:
    """With $VARIABLE and ~ filled in; "" without HOME: the password file may have no entry."""
    path = re.sub(r"\$(?:(\w+)|\{(\w+)\})", lambda found: env.get(found[1] or found[2], found[0]), path)
    if path == "~" or path.startswith(("~/", "~\\")):
        home = env.get("HOME") or env.get("USERPROFILE")
        return home + path[1:] if home else ""
    return path


def _read(path: str, env: Mapping[str, str], *, plain_names: bool) -> IniFile:
    expanded = _expanded(path, env)
    if not expanded:
        return IniFile(path or "no file", "HOME is not set" if path else "")
    path = expanded
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would block
            return IniFile(path, "not a regular file")
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return IniFile(path, "not there")
    except (OSError, ValueError) as error:
        return IniFile(path, f"cannot be read: {getattr(error, 'strerror', None) or 'bad path'}")
    try:
        return _sorted(path, _parse(data), plain_names)
    except _Malformed as malformed:
        problem = str(malformed)
    del data  # and raised out here: no frame of the traceback holds the file's text
    raise ConfigurationError(f"{path}, {problem}")


def _sorted(path: str, sections: dict[str, Section], plain_names: bool) -> IniFile:
    """Sections by what they are; in the credentials file every section is a profile."""
    inherited = sections.pop("DEFAULT", {})  # as in configparser: all others inherit it
    file = IniFile(path)
    for header, section in sections.items():
        members = inherited | section
        named = _NAMED.fullmatch(header)
        if plain_names or header == "default":
            file.profiles[header] = members
        elif named:
            target = file.profiles if named[1] == "profile" else file.services
            target[named[2] or named[3] or named[4] or ""] = members
    return file


class _Malformed(Exception):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")


def _parse(data: bytes) -> dict[str, Section]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Malformed(data[: error.start].count(b"\n") + 1, "not UTF-8") from None
    sections: dict[str, Section] = {}
    section: Section | None = None
    key, indent = "", 0
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        depth = len(line) - len(line.lstrip())
        if section is not None and key and depth > indent:
            _continue(section, key, stripped, number)
            continue
        indent = depth
        header = _HEADER.match(stripped)
        if header:
            name, key = header[1].strip(), ""
            if name in sections and name != "DEFAULT":
                raise _Malformed(number, "this section was there before; merge the two")
            section = sections.setdefault(name, {})
        elif section is None:
            raise _Malformed(number, "a [section] must come first")
        else:
            key = _member(section, stripped, number)
    return sections


def _member(section: Section, line: str, number: int) -> str:
    found = _MEMBER.fullmatch(line)
    if not found:
        raise _Malformed(number, "neither a [section] nor name = value")
    key = found[1].lower()
    if key in section:
        raise _Malformed(number, "this name was there before in its section; remove one")
    section[key] = Secret(found[2]) if key in _SECRET else found[2]
    return key


def _continue(section: Section, key: str, line: str, number: int) -> None:
    """An indented line: part of a nested block where nothing stood behind the `=`, else more of the value."""
    if section[key] == "":
        section[key] = {}
    block = section[key]
    if isinstance(block, str):
        section[key] = type(block)(f"{block}\n{line}")
        return
    name, equals, value = line.partition("=")
    if not equals:
        raise _Malformed(number, "a nested line must be name = value")
    block[name.strip()] = value.strip()


load = Profiles
