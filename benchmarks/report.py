# SPDX-License-Identifier: MIT
"""results.json, results.md and results.svg. They tell machine and versions, and no names or paths."""

from __future__ import annotations

import datetime
import json
import os
import platform
import ssl
import subprocess
from pathlib import Path

from . import venvs
from .stats import Row, ratio, summary
from .targets import judged, limits

HERE = Path(__file__).parent


def machine() -> dict[str, object]:
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        model = platform.processor()
    return {
        "cpus": os.cpu_count(),
        "cpu": model or platform.machine(),
        "os": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": ssl.OPENSSL_VERSION,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }


def write(rows: list[Row], *, command: str, seconds: float, folder: Path = HERE) -> None:
    """All three files. The chart is drawn by the tool's own environment, which has matplotlib."""
    data = {
        "command": command,
        "seconds": round(seconds),
        "machine": machine(),
        "versions": venvs.versions(),
        "targets": judged({row.name: row for row in rows}),
        "rows": {row.name: row.as_dict() for row in rows},
    }
    found = folder / "results.json"
    found.write_text(json.dumps(_rounded(data), indent=1, ensure_ascii=False) + "\n")
    (folder / "results.md").write_text(markdown(rows, command=command, seconds=seconds))
    subprocess.run([venvs.python("tool"), str(HERE / "chart.py"), str(found), str(folder / "results.svg")], check=True)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def markdown(rows: list[Row], *, command: str, seconds: float) -> str:
    here, versions = machine(), venvs.versions()
    measured = (
        f"Measured on {here['date']} by `{command}` in {seconds:.0f} s: {here['cpus']} processors "
        f"({here['cpu']}), {here['os']}, {here['python']}, {here['openssl']}."
    )
    explained = (
        "The server is a canned S3 on loopback, in a process of its own, that answers at once. Contenders run in their "
        "own processes and environments and take turns; a ratio is the median of the ratios of each round. Absolute "
        "times belong to this machine."
    )
    lines = [
        "# Benchmarks",
        "",
        measured,
        ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        "",
        explained,
        "",
        "![chart](results.svg)",
        "",
        "## Targets",
        "",
        "| what | wanted | reached | |",
        "|---|---|---|---|",
    ]
    for found in judged({row.name: row for row in rows}):
        met = "yes" if found["met"] else "**missed**"
        lines.append(f"| {found['what']} | {found['wanted']} | {found['value']:.3g} | {met} |")
    missed = limits([str(found["row"]) for found in judged({row.name: row for row in rows}) if not found["met"]])
    lines += ["", "What limits those that were missed:", "", *(f"- {why}" for why in missed)] if missed else []
    for row in rows:
        lines += ["", *_table(row)]
    return "\n".join(lines) + "\n"


def _table(row: Row) -> list[str]:
    ours, *others = row.samples
    single = all(len(values) == 1 for values in row.samples.values())
    compared = row.paired and bool(others)
    lines = [f"## {row.title}", ""] + ([row.note, ""] if row.note else [])
    lines += [
        f"| | {row.unit} |" + ("" if single else " quartiles |") + (f" {ours} by this |" if compared else ""),
        "|---|---|" + ("" if single else "---|") + ("---|" if compared else ""),
    ]
    for name, values in row.samples.items():
        found = summary(values)
        line = f"| {name} | {_number(found['median'])} |"
        if not single:
            line += f" {_number(found['low'])} to {_number(found['high'])} |"
        if compared:
            line += f" {ratio(row.samples[ours], values)['median']:.2f} |" if name != ours else " |"
        lines.append(line)
    return lines


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
