"""Where a webhook may go: the name is resolved here, checked, and the checked address is the one that is used.

A receiver's URL comes from an application's owner. Without this check it could point at our own network, or at a name
that resolves to a public address when checked and to a private one when connected to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefusedError(Exception):
    """The name does not resolve to an address that may be used."""


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, also when it is wrapped into an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


async def resolve(host: str, port: int, *, allow_private: bool) -> str:
    """An address of `host` to connect to. Raises: AddressRefusedError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        msg = f"{host} does not resolve: {error}"
        raise AddressRefusedError(msg) from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    for address in addresses:
        if allow_private or is_public(address):
            return str(address)
    msg = f"{host} is not on the public internet ({', '.join(map(str, addresses))}); see WEBHOOK_ALLOW_PRIVATE"
    raise AddressRefusedError(msg)
