# SPDX-License-Identifier: MIT
"""A loopback proxy that holds everything back for a fixed time in each direction, as a network far away does.

Runs as a process of its own: `proxy.py PORT SECONDS` prints its port, serves until its standard input ends.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress
from queue import SimpleQueue


def pump(source: socket.socket, sink: socket.socket, delay: float) -> None:
    """Pass on what comes, each piece `delay` seconds after it came: reading never waits for writing."""
    held: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

    def write() -> None:
        with suppress(OSError):
            while (item := held.get())[1]:
                time.sleep(max(0.0, item[0] - time.monotonic()))
                sink.sendall(item[1])
            sink.shutdown(socket.SHUT_WR)

    threading.Thread(target=write, daemon=True).start()
    piece = b"first"
    while piece:
        try:
            piece = source.recv(1 << 20)
        except OSError:
            piece = b""
        held.put((time.monotonic() + delay, piece))


def main(port: int, delay: float) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            client = listener.accept()[0]
            server = socket.create_connection(("127.0.0.1", port))
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=(*pair, delay), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
