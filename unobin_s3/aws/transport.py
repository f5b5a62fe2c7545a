# SPDX-License-Identifier: MIT
"""One HTTP exchange. The only importer of httpx, and it imports it when the first request needs it.

httpx's Client layer is left out on purpose: it re-encodes URLs, merges headers, follows redirects and builds a TLS
context per proxy variable. Its transports do none of that, so proxies and CA settings are honoured here.
No retries, no signing, no meaning of a status: those are the caller's.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConfigurationError, TransportError
from .proxy import proxy_for

if TYPE_CHECKING:
    import ssl

    import httpx

_logger = logging.getLogger(__name__)

# httpcore copies what a partial send left over; slices keep that copy small (64 MiB in one piece: +115 MB).
_SLICE = 256 * 1024
# An error document of S3 is under 2 kB; a proxy's page may be endless.
_ERROR_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What goes on the wire, byte for byte: nothing is added but framing, nothing is re-encoded."""

    method: str
    scheme: str  # "http" or "https"
    host: str  # as in the Host header: lower case, port only where it is not the scheme's own
    target: str  # path and query, already percent-encoded; no dot segments
    headers: Mapping[str, str] = field(repr=False)  # lower-case names; without host and content-length
    body: bytes = field(default=b"", repr=False)
    halfway: Callable[[], None] | None = None  # called when half of the body is sent; the rest waits for it


@dataclass(frozen=True, slots=True)
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
    After a broken exchange the pool is retired, so that several dead kept connections cannot fail one after another.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        ca_bundle: str | None = None,
        custom: httpx.BaseTransport | None = None,
    ) -> None:
        self._env = env
        self._ca_bundle = ca_bundle
        self._custom = custom
        self._trust: ssl.SSLContext | None = None
        self._pools: dict[tuple[str, str | None], _Pool] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._inherited: list[dict[tuple[str, str | None], _Pool]] = []

    def send(
        self, request: Request, *, connect: float, read: float, total: float, limit: int | None = None
    ) -> Response:
        end = time.monotonic() + total
        pool = self._pool(request.scheme, request.host)
        timeout = {
            "connect": min(connect, total),
            "read": min(read, total),
            "write": min(read, total),
            "pool": total,
        }
        try:
            answer = pool.exchange(request, timeout, end)
            try:
                status = answer.status_code
                body, truncated = _read(answer.stream, limit if status < 300 else _ERROR_LIMIT, end)
                headers: dict[str, str] = {}
                for name, value in answer.headers.raw:
                    key, text = name.decode("latin-1").lower(), value.decode("latin-1")
                    headers[key] = f"{headers[key]}, {text}" if key in headers else text
            finally:
                answer.close()
        except Exception as error:
            self._retire(pool)
            raise _translated(error, request) from error
        finally:
            pool.leave()
        return Response(status, headers, body, truncated)

    def close(self) -> None:
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.retire()

    def _pool(self, scheme: str, host: str) -> _Pool:
        name = (scheme, None if self._custom else proxy_for(scheme, host, self._env))
        with self._lock:
            if self._pid != os.getpid():
                # Kept, not closed: closing here would end the parent's connections, dropping them would warn.
                self._inherited.append(self._pools)
                self._pools, self._pid = {}, os.getpid()
            pool = self._pools.get(name)
            if pool is None:
                pool = self._pools[name] = self._open(*name)
            pool.enter()
        return pool

    def _open(self, scheme: str, proxy: str | None) -> _Pool:
        if self._custom is not None:
            return _Pool(self._custom, light=False, owned=False)
        if scheme == "https" and self._trust is None:
            loader = _TrustLoader(self._ca_bundle or self._env.get("AWS_CA_BUNDLE"), self._env)
            import httpx  # 55 ms; the CA bundle is parsed meanwhile

            self._trust = loader.result()
        import ssl

        import httpx

        # A plain-http pool never makes a TLS connection; an empty context keeps httpx from loading a CA bundle.
        context = self._trust if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=5.0)
        transport = httpx.HTTPTransport(verify=context or True, trust_env=False, limits=limits, proxy=proxy)
        return _Pool(transport, light=True, owned=True)

    def _retire(self, pool: _Pool) -> None:
        with self._lock:
            for name, known in list(self._pools.items()):
                if known is pool:
                    del self._pools[name]
        pool.retire()


class _Pool:
    """One httpx transport and how many exchanges are under way in it; closed when retired and idle."""

    def __init__(self, transport: httpx.BaseTransport, *, light: bool, owned: bool) -> None:
        self._transport = transport
        self._light = light
        self._owned = owned
        self._users = 0
        self._retired = False
        self._lock = threading.Lock()

    def exchange(self, request: Request, timeout: dict[str, float], end: float) -> httpx.Response:
        extensions = {"timeout": timeout}
        if self._light:
            return self._transport.handle_request(_light_request(request, extensions, end))
        import httpx

        url = f"{request.scheme}://{request.host}{request.target}"
        headers = [*request.headers.items(), ("host", request.host)]
        if _has_length(request):
            headers.append(("content-length", str(len(request.body))))
        stream = _stream_type()(request, end)
        return self._transport.handle_request(
            httpx.Request(request.method, url, headers=headers, stream=stream, extensions=extensions)
        )

    def enter(self) -> None:
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            close = self._retired and self._users == 0
        if close and self._owned:
            self._transport.close()

    def retire(self) -> None:
        with self._lock:
            close = not self._retired and self._users == 0
            self._retired = True
        if close and self._owned:
            self._transport.close()


@dataclass(slots=True)
class _LightUrl:
    raw_scheme: bytes
    raw_host: bytes
    port: int | None
    raw_path: bytes


@dataclass(slots=True)
class _LightHeaders:
    raw: list[tuple[bytes, bytes]]


@dataclass(slots=True)
class _LightRequest:
    method: str
    url: _LightUrl
    headers: _LightHeaders
    stream: Any
    extensions: dict[str, Any]


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
    url = _LightUrl(
        request.scheme.encode("ascii"), name.strip(b"[]"), int(port) if port else None, request.target.encode("ascii")
    )
    stream = _stream_type()(request, end)
    return _LightRequest(request.method, url, _LightHeaders(raw), stream, extensions)


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
    parts: list[bytes] = []
    size = 0
    for part in stream:
        parts.append(part)
        size += len(part)
        if limit is not None and size > limit:
            return b"".join(parts)[:limit], True
        if time.monotonic() > end:
            raise TransportError("the time limit of the call passed while the answer was being read")
    return (parts[0] if len(parts) == 1 else b"".join(parts)), False


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
