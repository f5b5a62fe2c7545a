# SPDX-License-Identifier: MIT
"""One HTTP exchange. The only importer of httpx, and it imports it when the first request needs it.

httpx's Client layer is left out on purpose: it re-encodes URLs, merges headers, follows redirects and builds a TLS
context per proxy variable. Its transports do none of that, so proxies and CA settings are honoured here.
No retries, no signing, no meaning of a status: those are the caller's.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConfigurationError, TransportError
from .proxy import proxy_for
from .retry import MAX_ATTEMPTS

if TYPE_CHECKING:
    import ssl

    import httpx

# httpcore copies what a partial send left over; slices keep that copy small (64 MiB in one piece: +115 MB).
_SLICE = 256 * 1024
# An error document of S3 is under 2 kB; a proxy's page may be endless.
_ERROR_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What goes on the wire, byte for byte: nothing is added but framing, nothing is re-encoded."""

    method: str
    scheme: str  # "http" or "https"
    host: str  # as in the Host header: lower case, port only where it is not the scheme's own
    target: str  # path and query, already percent-encoded; no dot segments
    headers: Mapping[str, str] = field(repr=False)  # lower-case names; without host and content-length
    body: bytes = field(default=b"", repr=False)
    halfway: Callable[[], None] | None = None  # called when half of the body is sent; the rest waits for it


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """A whole answer. `truncated`: the body went past the limit that was asked for, and the rest was not read."""

    status: int
    headers: Mapping[str, str]  # lower-case names; repeated ones joined by ", "
    body: bytes = field(repr=False)
    truncated: bool = False


class Transport(Protocol):
    """Sends one request once, from any thread. Raises TransportError; `sent` tells if it may have arrived."""

    def send(
        self, request: Request, *, connect: float, read: float, total: float, limit: int | None = None
    ) -> Response:
        """Limits in seconds; `limit` is the largest body to read, in bytes."""

    def close(self) -> None:
        """Close kept connections. The transport can be used again and opens new ones."""


class HttpxTransport:
    """Kept-alive connections through httpx, one pool for each (scheme, proxy); or the user's own transport.

    Fork-safe: a child process that inherits this object opens its own sockets and leaves the parent's alone.
    """

    def __init__(
        self, env: Mapping[str, str], *, ca_bundle: str | None = None, custom: httpx.BaseTransport | None = None
    ) -> None:
        self._env, self._ca_bundle, self._custom = env, ca_bundle, custom
        self._trust: ssl.SSLContext | None = None
        self._pools: dict[tuple[str, str | None], httpx.BaseTransport] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._inherited: list[object] = []

    def send(
        self, request: Request, *, connect: float, read: float, total: float, limit: int | None = None
    ) -> Response:
        """One exchange (see Transport). A connection is used again only after its answer was read to the end."""
        end = time.monotonic() + total
        read = min(read, total)
        extensions = {"timeout": {"connect": min(connect, total), "read": read, "write": read, "pool": total}}
        try:
            if self._custom is not None:
                answer = self._custom.handle_request(_whole_request(request, extensions, end))
            else:
                answer = self._pool(request).handle_request(_light_request(request, extensions, end))
            try:
                status = answer.status_code
                body, truncated = _read(answer.stream, limit if status < 300 else _ERROR_LIMIT, end)
                return Response(status, _lowered(answer.headers.raw), body, truncated)
            finally:
                answer.close()
        except Exception as error:
            failure = _translated(error, request)
        # Raised out here, without the cause: its frames hold the headers, and with them the session token.
        raise failure

    def close(self) -> None:
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    def __del__(self) -> None:
        # A client that is dropped leaves no open socket; in a forked child the sockets are the parent's.
        if self.__dict__.get("_pid") == os.getpid():
            self.close()

    def _pool(self, request: Request) -> httpx.BaseTransport:
        name = (request.scheme, proxy_for(request.scheme, request.host, self._env))
        with self._lock:
            if self._pid != os.getpid():
                # Kept, not closed: closing here would end the parent's connections, dropping them would warn.
                self._inherited.append(self._pools)
                self._pools, self._pid = {}, os.getpid()
            if name not in self._pools:
                self._pools[name] = self._open(*name)
            return self._pools[name]

    def _open(self, scheme: str, proxy: str | None) -> httpx.BaseTransport:
        if scheme == "https" and self._trust is None:
            loader = _TrustLoader(self._ca_bundle or self._env.get("AWS_CA_BUNDLE"), self._env)
            import httpx  # 55 ms; the CA bundle is parsed meanwhile

            self._trust = loader.result()
        import ssl

        import httpx

        # A plain-http pool never makes a TLS connection; an empty context keeps httpx from loading a CA bundle.
        context = self._trust if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Fewer kept connections than a call has attempts: even if all of them died unnoticed, one attempt is left.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=MAX_ATTEMPTS - 1, keepalive_expiry=5.0)
        return httpx.HTTPTransport(verify=context or True, trust_env=False, limits=limits, proxy=proxy)


def _lowered(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _whole_request(request: Request, extensions: dict[str, Any], end: float) -> httpx.Request:
    """For the user's own transport, which may look at anything."""
    import httpx

    url = f"{request.scheme}://{request.host}{request.target}"
    headers = [*request.headers.items(), ("host", request.host)]
    if _has_length(request):
        headers.append(("content-length", str(len(request.body))))
    stream = _stream_type()(request, end)
    return httpx.Request(request.method, url, headers=headers, stream=stream, extensions=extensions)


def _light_request(request: Request, extensions: dict[str, Any], end: float) -> Any:
    """Just what httpx.HTTPTransport reads of a request. Parsing a URL that is already exact costs 60 us a request."""
    host = request.host.encode("ascii")
    name, colon, port = host.rpartition(b":")
    if not colon or host.endswith(b"]"):
        name, port = host, b""
    raw = [(b"host", host)]
    raw += [(key.encode("ascii"), value.encode("utf-8")) for key, value in request.headers.items()]
    if _has_length(request):
        raw.append((b"content-length", b"%d" % len(request.body)))
    url = SimpleNamespace(
        raw_scheme=request.scheme.encode("ascii"),
        raw_host=name.strip(b"[]"),
        port=int(port) if port else None,
        raw_path=request.target.encode("ascii"),
    )
    stream = _stream_type()(request, end)
    headers = SimpleNamespace(raw=raw)
    return SimpleNamespace(method=request.method, url=url, headers=headers, stream=stream, extensions=extensions)


def _has_length(request: Request) -> bool:
    return bool(request.body) or request.method in ("PUT", "POST")


_stream_class: type[Any] | None = None


def _stream_type() -> type[Any]:
    """A httpx byte stream over one body, in slices; made once httpx is there."""
    global _stream_class
    if _stream_class is None:
        import httpx

        class BodyStream(httpx.SyncByteStream):
            def __init__(self, request: Request, end: float) -> None:
                self._request, self._end = request, end

            def __iter__(self) -> Iterator[bytes]:
                return _slices(self._request, self._end)

        _stream_class = BodyStream
    return _stream_class


def _slices(request: Request, end: float) -> Iterator[bytes]:
    body, halfway = request.body, request.halfway
    if halfway is not None:
        middle = len(body) // 2
        yield body[:middle]
        halfway()
        body = body[middle:]
    if len(body) <= _SLICE:
        if body:
            yield body
        return
    view = memoryview(body)
    for start in range(0, len(body), _SLICE):
        if time.monotonic() > end:
            raise TransportError("the time limit of the call passed while the body was being sent")
        yield bytes(view[start : start + _SLICE])


def _read(stream: Any, limit: int | None, end: float) -> tuple[bytes, bool]:
    """The raw body (never unpacked: what was stored is what is read), at most `limit` bytes, until `end`."""
    body = io.BytesIO()  # getvalue() hands out its buffer; joining parts would hold a large body twice
    for part in stream:
        body.write(part)
        if limit is not None and body.tell() > limit:
            return body.getvalue()[:limit], True
        if time.monotonic() > end:
            raise TransportError("the time limit of the call passed while the answer was being read")
    return body.getvalue(), False


class _TrustLoader(threading.Thread):
    """Parses the CA bundle (16 ms) beside the import of httpx."""

    def __init__(self, ca_bundle: str | None, env: Mapping[str, str]) -> None:
        super().__init__(daemon=True)
        self._ca_bundle = ca_bundle or env.get("SSL_CERT_FILE")
        self._ca_path = None if self._ca_bundle else env.get("SSL_CERT_DIR")
        self._context: ssl.SSLContext | None = None
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            import ssl

            bundle = self._ca_bundle
            if bundle is None and self._ca_path is None:
                import certifi

                bundle = certifi.where()
            self._context = ssl.create_default_context(cafile=bundle, capath=self._ca_path)
        except Exception as error:
            self._error = error

    def result(self) -> ssl.SSLContext:
        self.join()
        if self._context is None:
            where = self._ca_bundle or self._ca_path or "the default CA bundle"
            raise ConfigurationError(
                f"the CA certificates in {where} cannot be read ({self._error}); "
                "check AWS_CA_BUNDLE, SSL_CERT_FILE and the ca_bundle argument"
            ) from self._error
        return self._context


def _translated(error: Exception, request: Request) -> Exception:
    """The TransportError for what httpx raised; anything that is not the network's fault passes unchanged."""
    import httpx

    if isinstance(error, TransportError | ConfigurationError):
        return error
    where = f"{request.method} {request.scheme}://{request.host}"
    never_sent = isinstance(
        error,
        httpx.ConnectError
        | httpx.ConnectTimeout
        | httpx.PoolTimeout
        | httpx.ProxyError
        | httpx.UnsupportedProtocol
        | httpx.LocalProtocolError,
    )
    if not isinstance(error, httpx.TransportError | OSError):
        return error
    return TransportError(f"{where}: {_reason(error)}", sent=not never_sent)


def _reason(error: BaseException) -> str:
    """What broke, in words, with the setting that usually mends it."""
    import ssl

    text = str(error) or type(error).__name__
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, ssl.SSLCertVerificationError):
            return (
                f"the server's certificate is not trusted ({chain.verify_message}); set AWS_CA_BUNDLE to your CA file"
            )
        chain = chain.__cause__ or chain.__context__
    name = type(error).__name__
    if name == "ConnectTimeout":
        return "no connection within the time limit; check the endpoint, the network and proxy settings"
    if name == "ConnectError":
        return f"cannot connect ({text}); check the endpoint URL, DNS, and proxy settings"
    if name == "ProxyError":
        return f"the proxy refused ({text}); check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    if name in ("ReadTimeout", "WriteTimeout"):
        return "no answer within the time limit"
    return f"the connection broke ({text})"
