# SPDX-License-Identifier: MIT
"""Medians, their spread, and ratios of contenders that were measured in the same round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Median and quartiles; with fewer than four samples the extremes stand in for the quartiles."""
    low, _, high = quantiles(samples, n=4) if len(samples) > 3 else (min(samples), 0.0, max(samples))
    return {"median": median(samples), "low": low, "high": high, "n": len(samples)}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Of each round's pair: a slow moment of the machine falls on both."""
    return summary([a / b for a, b in zip(ours, theirs, strict=True)])


@dataclass
class Row:
    """One thing measured: samples of each contender, the n-th of each taken in the same round."""

    name: str
    title: str
    unit: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""
    paired: bool = True  # False: these are different things, not contenders

    def add(self, contender: str, value: float) -> None:
        self.samples.setdefault(contender, []).append(value)

    def median(self, contender: str) -> float | None:
        return median(self.samples[contender]) if contender in self.samples else None

    def ratio(self, ours: str, theirs: str) -> float | None:
        """Median of the ratios, pair by pair; None when one of them was not measured."""
        if ours not in self.samples or theirs not in self.samples:
            return None
        return ratio(self.samples[ours], self.samples[theirs])["median"]

    def as_dict(self) -> dict[str, object]:
        ours = next(iter(self.samples), None)
        return {
            "title": self.title,
            "unit": self.unit,
            "note": self.note,
            "contenders": {name: summary(values) for name, values in self.samples.items()},
            "first_by_each": {
                name: ratio(self.samples[ours], values)
                for name, values in self.samples.items()
                if self.paired and ours is not None and name != ours
            },
        }
