# SPDX-License-Identifier: MIT
"""keeper.py SECONDS PROGRAM ARGUMENT...: runs a server for as long as standard input stays open.

The test run holds the other end. When it closes it, or dies in any way, the server is told to end (SIGTERM)
and after SECONDS made to (SIGKILL), so no run leaves a server behind. Run by path; imports nothing of ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading


def _end_with_owner(server: subprocess.Popen[bytes], grace: float) -> None:
    os.read(0, 1)
    if grace > 0:
        server.terminate()
        try:
            server.wait(grace)
            return
        except subprocess.TimeoutExpired:
            pass
    server.kill()


def main(arguments: list[str]) -> int:
    grace = float(arguments[0])
    server = subprocess.Popen(arguments[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_owner, args=(server, grace), daemon=True).start()
    return server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
