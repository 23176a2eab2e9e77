"""Who asks: the address that requests are shared out by."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import Scope

__all__ = ["Clients"]

#: Whoever has an IPv6 address has a network of this size.
IPV6_PREFIX = 64


class Clients:
    """Finds the client's address behind the proxies that are trusted to name it."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self.trusted: list[IPv4Network | IPv6Network] = [ip_network(n) for n in trusted_proxies]

    def of(self, scope: Scope) -> str:
        """The nearest address that isn't a trusted proxy's; an IPv6 client's network."""
        peer = scope.get("client")
        named = Headers(scope=scope).getlist("x-forwarded-for")
        hops = [hop.strip() for line in named for hop in line.split(",")]
        found = str(peer[0]) if peer else "local"
        while hops and self._is_trusted(found):
            found = hops.pop()
        return self._network(found)

    def _is_trusted(self, text: str) -> bool:
        if text == "local":
            return True
        try:
            address = ip_address(text)
        except ValueError:
            return False
        return any(address in network for network in self.trusted)

    def _network(self, text: str) -> str:
        try:
            address = ip_address(text)
        except ValueError:
            return text[:45]  # not an address: a name for itself, as long as one
        if isinstance(address, IPv6Address):
            return str(ip_network(f"{address}/{IPV6_PREFIX}", strict=False))
        return str(address)
