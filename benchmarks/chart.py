# SPDX-License-Identifier: MIT
"""results.json as a chart: `chart.py results.json results.svg`, run by the tool's environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]

mpl.use("svg")
from matplotlib import pyplot as plt

_PANELS = (
    ("cold-start", "Cold start over TLS, ms"),
    ("cold-memory", "Memory after the first PUT, MB"),
    ("put-4kib", "Warm PUT 4 KiB, µs"),
    ("get-4kib", "Warm GET 4 KiB, µs"),
    ("list", "List 100,000 keys, ms"),
    ("cycle-20ms", "State cycle at 20 ms round trip, ms"),
)
_OURS, _OTHERS = "#0b6e4f", "#9aa5b1"


def main(source: str, target: str) -> None:
    rows: dict[str, Any] = json.loads(Path(source).read_text())["rows"]
    shown = [(rows[name], title) for name, title in _PANELS if name in rows]
    # Text as paths differs between fonts; a fixed salt keeps the ids of the file the same from run to run.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "unobin_s3", "font.size": 9})
    figure, axes = plt.subplots(max(1, (len(shown) + 1) // 2), 2, figsize=(10, 2.1 * max(1, (len(shown) + 1) // 2)))
    for axis in axes.flat:
        axis.axis("off")
    for axis, (row, title) in zip(axes.flat, shown, strict=False):
        axis.axis("on")
        found = sorted(row["contenders"].items(), key=lambda item: -item[1]["median"])
        names, values = [name for name, _ in found], [item["median"] for _, item in found]
        bars = axis.barh(names, values, color=[_OURS if name.startswith("unobin") else _OTHERS for name in names])
        axis.bar_label(
            bars, labels=[f"{value:.3g}" if value < 1000 else f"{value:,.0f}" for value in values], padding=3
        )
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_xlim(0, max(values) * 1.15)
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.set_xticks([])
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
