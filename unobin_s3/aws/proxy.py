# SPDX-License-Identifier: MIT
"""Which proxy a request goes through, from the environment variables that curl and the AWS SDKs share. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def proxy_for(scheme: str, host: str, env: Mapping[str, str]) -> str | None:
    """The proxy URL for `host` (as in a Host header), or None for a direct connection.

    The lower-case variable comes first. HTTP_PROXY is not believed under CGI (REQUEST_METHOD set), where a client's
    `Proxy:` header would become that variable (httpoxy, CVE-2016-5385).
    """
    proxy = env.get(f"{scheme}_proxy")
    if proxy is None and not (scheme == "http" and "REQUEST_METHOD" in env):
        proxy = env.get(f"{scheme.upper()}_PROXY")
    proxy = proxy or env.get("all_proxy") or env.get("ALL_PROXY")
    if not proxy or _bypassed(host, env.get("no_proxy") or env.get("NO_PROXY") or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _bypassed(host: str, no_proxy: str) -> bool:
    """Entries are `*`, names (which cover their sub-domains), addresses, networks (CIDR); a port narrows an entry."""
    name, port = _split_port(host)
    for entry in no_proxy.replace(",", " ").split():
        wanted, wanted_port = _split_port(entry.lower())
        if wanted_port and wanted_port != port:
            continue
        wanted = wanted.removeprefix("*").lstrip(".")
        if entry == "*" or (wanted and (name == wanted or name.endswith(f".{wanted}"))) or _in_network(name, wanted):
            return True
    return False


def _split_port(host: str) -> tuple[str, str]:
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name, rest.removeprefix(":")
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and ":" not in name else (host, "")


def _in_network(name: str, network: str) -> bool:
    if "/" not in network:
        return False
    import ipaddress  # 4 ms, and hardly anybody has networks in NO_PROXY

    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
