"""Which addresses webhooks may go to, in all the disguises that private ones come in."""

from __future__ import annotations

import ipaddress

import pytest
from sharedjox_worker.webhooks.addresses import AddressRefusedError, is_public, resolve


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",  # noqa: S104 - an address to refuse, not to listen on
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a00:1::",
    ],
)
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public_addresses_are(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1", "[::1]".strip("[]")])
async def test_names_and_spellings_of_this_machine_are_refused(host: str) -> None:
    with pytest.raises(AddressRefusedError):
        await resolve(host, 80, allow_private=False)


async def test_a_private_address_passes_where_it_is_allowed() -> None:
    assert await resolve("127.0.0.1", 80, allow_private=True) == "127.0.0.1"


async def test_a_name_that_does_not_resolve_is_refused() -> None:
    with pytest.raises(AddressRefusedError):
        await resolve("no-such-host.invalid", 80, allow_private=True)
