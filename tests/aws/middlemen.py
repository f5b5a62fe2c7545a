# SPDX-License-Identifier: MIT
"""What stands between a client and a server in tests: a proxy that records, and a TLS front with a private CA."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Relay:
    """Listens on loopback and joins each connection to `target`; `proxy` reads the target from the first line."""

    def __init__(
        self, target: tuple[str, int] | None, context: ssl.SSLContext | None = None, refuse: bytes = b""
    ) -> None:
        self._target, self._context, self._refuse = target, context, refuse
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.seen: list[str] = []  # first lines that came to a proxy
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.append(client)
        try:
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
                self._open.append(client)
            target, first = self._target, b""
            if target is None:
                while b"\r\n\r\n" not in first:
                    first += client.recv(65536)
                self.seen.append(first.split(b"\r\n", 1)[0].decode())
                if self._refuse:
                    client.sendall(self._refuse)
                    return
                target = _target_of(self.seen[-1])
            server = socket.create_connection(target)
            self._open.append(server)
            if first.startswith(b"CONNECT"):
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                first = first.split(b"\r\n\r\n", 1)[1]
            server.sendall(first.replace(f" http://{target[0]}:{target[1]}/".encode(), b" /", 1))
            threading.Thread(target=_copy, args=(server, client), daemon=True).start()
            _copy(client, server)
        except OSError:
            pass
        finally:
            client.close()


def _target_of(line: str) -> tuple[str, int]:
    method, url, _ = line.split()
    host = url if method == "CONNECT" else url.split("/")[2]
    name, _, port = host.partition(":")
    return name, int(port or 80)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(refuse: bytes = b"") -> Iterator[Relay]:
    """An HTTP proxy with CONNECT; `refuse` is what it answers instead of working."""
    relay = Relay(None, refuse=refuse)
    try:
        yield relay
    finally:
        relay.close()


@contextmanager
def tls_front(port: int, folder: Path) -> Iterator[tuple[Relay, str]]:
    """TLS for a plain server on `port`; gives the relay and the file of the CA that vouches for it."""
    ca, chain = _certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    relay = Relay(("127.0.0.1", port), context)
    try:
        yield relay, str(ca)
    finally:
        relay.close()


def _certificates(folder: Path) -> tuple[Path, Path]:
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "private CA of a test")])

    def build(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    # The key identifiers are what Python 3.13 asks for (VERIFY_X509_STRICT, RFC 5280 section 4.2.1).
    ca = build(ca_name, ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
    ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
    ca_cert = ca.add_extension(usage, critical=True).sign(ca_key, hashes.SHA256())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    leaf = build(subject, key.public_key()).add_extension(names, critical=False).add_extension(issuer, critical=False)
    cert = leaf.sign(ca_key, hashes.SHA256())
    ca_file, chain = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(ca_cert.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(cert.public_bytes(serialization.Encoding.PEM) + private)
    return ca_file, chain
