# SPDX-License-Identifier: MIT
"""Everything that an error report could show of an exception: texts, attributes, causes, and locals of frames."""

from __future__ import annotations

import traceback


def shown(error: BaseException | None) -> str:
    """All of it, except what the test functions themselves hold."""
    parts: list[str] = []
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        todo += [one.__cause__, one.__context__]
        parts += [str(one), repr(one), repr(one.args), repr(vars(one))]
        for frame, line in traceback.walk_tb(one.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:
                parts.append(f"{frame.f_code.co_filename}:{line} {frame.f_locals!r}")
    return "\n".join(parts)
