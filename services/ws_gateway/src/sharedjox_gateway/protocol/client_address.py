"""Who is really calling, when a balancer stands in front: `X-Forwarded-For`, believed only from trusted addresses."""

from __future__ import annotations

import ipaddress
from typing import Final

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_ANYBODY: Final = "*"


class TrustedProxies:
    """Addresses and networks, comma separated, whose `X-Forwarded-For` is believed; `*` for anybody's.

    Raises: ValueError for what is neither an address nor a network.
    """

    def __init__(self, text: str) -> None:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        self._is_anybody = _ANYBODY in parts
        self._networks: list[_Network] = [ipaddress.ip_network(part) for part in parts if part != _ANYBODY]

    def client_address(self, peer: str, forwarded_for: str | None) -> str:
        """The caller's address: the last one in the chain that is not a trusted proxy.

        Everything left of that address was written by somebody who is not trusted, so it is not looked at.
        """
        if forwarded_for is None or not self._is_trusted(peer):
            return peer
        address = peer
        for part in reversed(forwarded_for.split(",")):
            parsed = _parse(part)
            if parsed is None:
                break
            address = str(parsed)
            if not self._is_trusted(address):
                break
        return address

    def _is_trusted(self, address: str) -> bool:
        if self._is_anybody:
            return True
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._networks)


def _parse(text: str) -> _Address | None:
    """An address as proxies write it (`203.0.113.9`, `203.0.113.9:4711`, `[2001:db8::1]:4711`), or None."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket that listens on IPv6 shows IPv4 peers as ::ffff:192.0.2.1.
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed
