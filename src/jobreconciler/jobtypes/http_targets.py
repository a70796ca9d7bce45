"""Which addresses an `http` job may reach. Pure: a name is resolved by somebody else.

Judged by what an address is, not by how it was written: `2130706433`, `0177.1` and a name that
leads there are all 127.0.0.1 once they are resolved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

_NEVER: Final = tuple(
    (ip_network(text), what)
    for text, what in (
        ("169.254.0.0/16", "a link-local address"),
        ("fe80::/10", "a link-local address"),
        ("100.100.100.200/32", "a cloud's metadata service"),
        ("fd00:ec2::254/128", "a cloud's metadata service"),
        ("0.0.0.0/8", "an address of no machine"),
        ("::/128", "an address of no machine"),
        ("224.0.0.0/4", "a multicast address"),
        ("ff00::/8", "a multicast address"),
        ("255.255.255.255/32", "a broadcast address"),
    )
)
_SPECIAL: Final = tuple(
    (ip_network(text), what)
    for text, what in (
        ("127.0.0.0/8", "a loopback address"),
        ("::1/128", "a loopback address"),
        ("10.0.0.0/8", "a private address"),
        ("172.16.0.0/12", "a private address"),
        ("192.168.0.0/16", "a private address"),
        ("100.64.0.0/10", "a private address"),
        ("fc00::/7", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a reserved address"),
        ("192.88.99.0/24", "a reserved address"),
        ("198.18.0.0/15", "a reserved address"),
        ("198.51.100.0/24", "a reserved address"),
        ("203.0.113.0/24", "a reserved address"),
        ("240.0.0.0/4", "a reserved address"),
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "a reserved address"),
        ("2002::/16", "a reserved address"),
        ("3fff::/20", "a reserved address"),
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
"""IANA has given out no other block to the Internet."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")
_COMPATIBLE: Final = IPv6Network("::/96")


def refusal(text: str, networks: Iterable[str]) -> str | None:
    """What kind of address keeps a job from it, or None where it may go there.

    `networks` are private ones that are allowed. Link-local ones never are.
    """
    address = ip_address(text.partition("%")[0])
    for each in (address, *_embedded(address)):
        if never := _what(each, _NEVER):
            return f"{never}, which no job may reach"
    meant = _meant(address)
    if any(meant in ip_network(network) for network in networks):
        return None
    special = _what(meant, _SPECIAL)
    if special is None and isinstance(meant, IPv6Address) and meant not in _GLOBAL_V6:
        special = "a reserved address"
    return f"{special}, which jobs may not reach" if special else None


def _what(address: Address, table: Iterable[tuple[object, str]]) -> str | None:
    return next((what for network, what in table if address in network), None)  # type: ignore[operator]


def _meant(address: Address) -> Address:
    """The IPv4 address that packets to a mapped or translated one arrive at."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _embedded(address: Address) -> Iterator[IPv4Address]:
    """Every IPv4 address that some network might take an IPv6 one for."""
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _6TO4:
        yield IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    if address.teredo is not None:
        yield address.teredo[1]
