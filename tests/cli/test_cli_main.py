# SPDX-License-Identifier: MIT
"""The whole command line as it is used: every command on two servers, help, terminals, exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import SCHEMAS, Bench, Console, snapshot, variables
from tests.servers.launch import Site, fresh_bucket
from unobin_s3 import encode_snapshot
from unobin_s3.cli import main as manual
from unobin_s3.cli.main import parser
from unobin_s3.testing import Fault

COMMANDS = re.findall(r"^== (.+)$", Path(manual.__file__).with_name("manual.txt").read_text(), re.MULTILINE)


@pytest.fixture(params=["testing", "ministack"])
def console(request: pytest.FixtureRequest, bench: Bench, servers: Callable[[str], Site]) -> Iterator[Console]:
    """The same console on either server."""
    if request.param == "ministack":
        site = fresh_bucket(servers("ministack"), f"main-{os.urandom(4).hex()}")
        env = variables(site.url, site.access_key, site.secret_key, site.bucket)
        yield Console(env, bench.run.capture, bench.run.patch)
    else:
        yield bench.run


PROCESSES = {"status", "push", "gc", "doctor", "lock"}
READERS = {"snapshots", "list", "show", "diff", "pull", "lock-info", "policy"}


def test_a_stack_s_life(console: Console, tmp_path: Path) -> None:
    """Every command once: some as processes, the others in this one; those that only read in text as well."""
    seen = set()

    def run(*arguments: str, code: int = 0) -> dict[str, object]:
        start = console.spawn if arguments[0] in PROCESSES and arguments[0] not in seen else console
        seen.add(arguments[0])
        done = start(*arguments, "--json")
        assert done.code == code, done.err
        if arguments[0] in READERS:
            text = console(*arguments)
            assert text.code == code and text.out
        return {} if arguments[0] == "pull" else done.document

    files = []
    for value in "ab":
        files.append(str(tmp_path / value))
        (tmp_path / value).write_bytes(encode_snapshot(snapshot(value)))
    first, second = (str(run("push", file)["to"]) for file in files)
    assert run("status")["current"] == second
    assert run("snapshots")["current"] == second
    assert run("list")["state-rev"] == second
    assert run("show", "resource.db")["state-rev"] == second
    assert run("diff", first, second)["changes"]
    run("pull")
    assert run("rollback", first)["from"] == second
    assert run("lock-info")["lock"] is None
    assert run("unlock", "--id", "0")["unlocked"] is False
    assert run("force-unlock")["unlocked"] is False
    assert run("reencrypt", "--to-env-key", "NEW_KEY")["done"] == 2
    assert run("copy", "--env-key", "NEW_KEY", "--to-prefix", "moved")["done"] == 2
    assert run("gc", "--keep", "0", "--grace", "0")["deleted"] == 1
    assert run("doctor", "--env-key", "NEW_KEY")["ok"]
    assert run("policy")["mode"] == "read"
    demo = ["--bucket", console.env["UNOBIN_S3_BUCKET"], "--endpoint-url", console.env["UNOBIN_S3_ENDPOINT_URL"]]
    assert run("demo", "--region", "us-east-1", *demo)["ok"]
    done = console.spawn("lock", "--json", "--", "true")
    assert done.document["exit-code"] == 0
    assert seen | {"lock"} == set(COMMANDS)


def test_every_kind_has_a_schema() -> None:
    source = "".join(path.read_text() for path in (Path(__file__).parents[2] / "unobin_s3/cli").glob("*.py"))
    assert set(re.findall(r'"(state-[a-z-]+|command-error)"', source)) - {"state-rev"} == set(SCHEMAS) - {"$defs"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_a_manual_page(bench: Bench, command: str) -> None:
    done = bench.run(command, "--help")
    assert done.code == 0
    assert f"\n  unobin-s3 {command}" in done.out.partition("\nexample:")[2]
    assert "exit codes:" in done.out and "7 store unfit" in done.out
    assert "\n\n" in done.out and max(map(len, done.out.splitlines())) <= 120
    example = re.search(rf"\n  unobin-s3 ({command}.*?)(?: [|>].*)?\n", done.out.partition("\nexample:")[2])
    assert example
    import shlex

    parser().parse_args(shlex.split(example[1]))


def test_help_and_version(bench: Bench) -> None:
    text = bench.run("--help").out
    assert all(f"    {command} " in text or f"    {command}\n" in text for command in COMMANDS)
    assert "3 locked" in text and "UNOBIN_S3_ENCRYPTER" in text
    assert bench.run("--version").out == "unobin-s3 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "required"),
        (["frobnicate"], 2, "invalid choice"),
        (["status", "--buck", "x"], 2, "unrecognized"),
        (["status", "--bucket", "", "--json"], 2, "--bucket is required"),
        (["status", "--bucket", "no_bucket/x", "--json"], 2, "no_bucket/x"),
        (["status", "--stack", "../other", "--json"], 2, "'..'"),
        (["status", "--factory", "", "--json"], 2, "--factory is required"),
        (["pull", "a/b", "--json"], 2, "no slash"),
        (["pull", "nowhere", "--json"], 5, "NoSuchKey"),
        (["pull", "--json"], 5, "nothing was written yet"),
        (["list", "--env-key", "A", "--kms", "B", "--json"], 2, "not allowed with"),
        (["list", "--env-key", "UNSET_KEY", "--json"], 0, ""),
        (["gc", "--older-than", "1y", "--json"], 2, "no length of time"),
        (["unlock", "--json"], 2, "--id"),
        (["push", "nowhere.json", "--json"], 2, "cannot be read"),
    ],
)
def test_exit_codes(bench: Bench, arguments: list[str], code: int, text: str) -> None:
    done = bench.run(*arguments)
    assert done.code == code and text in done.err
    if "--json" in arguments:
        assert done.document["kind"] == ("command-error" if code else "state-list")


@pytest.mark.parametrize("wrong", ["", "rot13:x", "env-key", "kms:", "noop:x"])
def test_the_key_must_be_said(bench: Bench, wrong: str) -> None:
    done = bench.run("list", UNOBIN_S3_ENCRYPTER=wrong)
    assert done.code == 2 and "UNOBIN_S3_ENCRYPTER" in done.err


def test_cannot_decrypt(bench: Bench) -> None:
    bench.write("a")
    for key in ({"UB_STATE_KEY": bench.run.env["NEW_KEY"]}, {"UNOBIN_S3_ENCRYPTER": "noop"}):
        assert bench.run("pull", **key).code == 6
    assert bench.run("pull", UB_STATE_KEY="").code == 2  # nothing was asked of the store's data yet


def test_flags_beat_variables(bench: Bench) -> None:
    bench.write("a", prefix="p")
    assert bench.run.json("status", UNOBIN_S3_PREFIX="p")["snapshots"]["count"] == 1
    assert bench.run.json("status", "--prefix", "", UNOBIN_S3_PREFIX="p")["snapshots"]["count"] == 0
    assert bench.run.json("list", "--prefix", "p", "--env-key", "UB_STATE_KEY", UNOBIN_S3_ENCRYPTER="noop")["entries"]


def test_the_store_s_own_key_is_sent(bench: Bench) -> None:
    bench.plant(2)
    bench.run.json("gc", "--keep", "1", "--kms-key-id", "alias/store")
    puts = [record for record in bench.server.requests if record.method == "PUT"]
    assert puts and all(
        record.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/store" for record in puts
    )


def test_verbose_says_what_is_done(bench: Bench) -> None:
    assert "AWS credentials come from" in bench.run("status", "--verbose").err
    assert bench.run("status").err == ""


def _on_terminal(console: Console, *arguments: str, **env: str) -> str:
    """What a command writes to a terminal that is its stdin, stdout and stderr."""
    ours, theirs = pty.openpty()
    with console.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not part:
                break
            text += part
    os.close(ours)
    assert process.returncode == 0, text
    return text.decode()


def test_a_terminal_gets_colours_and_progress(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    revs = bench.plant(5)
    assert f"\x1b[1m{revs[-1]}" in _on_terminal(bench.run, "snapshots")
    assert "\x1b" not in bench.run("snapshots").out
    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        assert f"\x1b[1m{revs[-1]}" in bench.run("snapshots").out
        assert "\x1b" not in bench.run("snapshots", NO_COLOR="1").out
        assert "\x1b" not in bench.run("snapshots", TERM="dumb").out
    bench.plant(2500)
    bench.server.fault("DeleteObjects", Fault(delay=0.15), times=None)
    text = _on_terminal(bench.run, "gc", "--keep", "10")
    assert re.search(r"\rdeleted \d,000 of 2,490, [\d,]+/s, \d s left\x1b\[K", text)
    assert "deleted  2,490" in text


def test_a_terminal_cannot_be_written_on_by_a_snapshot(bench: Bench) -> None:
    bench.store().write(snapshot("\x9b31m\u202e\x7f"))
    text = _on_terminal(bench.run, "pull", bench.revs()[0])
    assert text.replace("\r\n", "").isprintable() and json.loads(text)["entries"][0]["outputs"]["url"][8] == "\x9b"


def test_a_closed_pipe_is_no_accident(bench: Bench) -> None:
    bench.plant(3000)
    with bench.run.start("snapshots") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_names_that_the_locale_cannot_print(bench: Bench) -> None:
    bench.server.put("net/prod/lock", '{"id":"1","who":"zoë@日本"}'.encode())
    done = bench.run.spawn("lock-info", env={"PYTHONIOENCODING": "ascii"})
    assert done.code == 0 and "zo\\xeb@\\u65e5\\u672c" in done.out
    done = bench.run.spawn("lock-info", "--json", env={"PYTHONIOENCODING": "latin-1"})
    assert done.document["lock"]["who"] == "zoë@日本"  # JSON is UTF-8 everywhere


def test_start_up_is_lean() -> None:
    """What only some commands need is not imported by the command line itself."""
    heavy = "{'httpx', 'cryptography', 'concurrent.futures', 'subprocess', 'difflib', 'asyncio', 'ssl'}"
    code = f"import sys, unobin_s3.cli.main; print(sorted({heavy} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
