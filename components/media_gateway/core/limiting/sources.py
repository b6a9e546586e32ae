"""Where a request comes from: the address of its sender, not one that the sender has written down.

Proxies append to the header what they see, so the right end is the newest. From there hops are taken as long as they are
proxies of ours; the first other one is the sender. Everything left of it anybody may have made up.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNKNOWN = "unknown"
"""Source of a request whose peer has no address (a Unix socket)."""

SUBSCRIBER_PREFIX = 64
"""What one subscriber has of IPv6 at least (RFC 6177): all of a /64 counts as one source, or each would have 2^64."""

MAX_HOPS = 32
"""Hops that are looked at; no honest chain is as long."""


class Sources:
    """Tells sources.

    Parameters
    ----------
    trusted
        Networks of our own proxies, as checked by the settings. From any other peer the header is not read.
    header
        The one that these proxies write. The other one is not read: they may pass it on as it came.
    """

    def __init__(
        self,
        trusted: Iterable[str] = (),
        header: Literal["X-Forwarded-For", "Forwarded"] = "X-Forwarded-For",
    ) -> None:
        self._trusted = [ipaddress.ip_network(text, strict=False) for text in trusted]
        self.header = header

    def source(self, peer: str | None, values: Sequence[str]) -> str:
        """The source of a request: an IPv4 address, or the /64 of an IPv6 address.

        Parameters
        ----------
        peer
            Address of the other end of the connection.
        values
            All lines of `header`, in the order they came.
        """
        sender = _address(peer or "")
        if sender is None:
            return UNKNOWN
        if values and self._is_trusted(sender):
            for hop in reversed(_hops(self.header, values)):
                address = _address(hop)
                if address is None:
                    break  # not written by a proxy of ours: the last one that was known stays
                sender = address
                if not self._is_trusted(address):
                    break
        return _text(sender)

    def handed_on(self, peer: str | None, values: Sequence[str]) -> str:
        """What a proxy of ours writes into `header` for the next one: the hops that are known to be true, and the peer."""
        sender = _address(peer or "")
        if sender is None:
            return f"for={UNKNOWN}" if self.header == "Forwarded" else UNKNOWN
        own = _entry(self.header, sender)
        return ", ".join((*values, own)) if values and self._is_trusted(sender) else own

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _hops(header: str, values: Sequence[str]) -> list[str]:
    entries = ",".join(values).split(",")[-MAX_HOPS:]
    if header == "X-Forwarded-For":
        return [entry.strip() for entry in entries]
    return [_for_of(entry) for entry in entries]


def _for_of(entry: str) -> str:
    # RFC 7239 section 4; an entry without `for`, or one that hides it, is no address.
    pairs = (pair.strip().partition("=") for pair in entry.split(";"))
    return next((value.strip().strip('"') for name, _, value in pairs if name.lower() == "for"), "")


# Few peers send many requests, and reading an address costs as much as all else here.
@lru_cache(maxsize=4_096)
def _address(text: str) -> Address | None:
    """An address as headers write it, with or without port, brackets and zone; None if it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=4_096)
def _entry(header: str, address: Address) -> str:
    if header == "X-Forwarded-For":
        return str(address)
    return f'for="[{address}]"' if isinstance(address, ipaddress.IPv6Address) else f"for={address}"


@lru_cache(maxsize=4_096)
def _text(address: Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, SUBSCRIBER_PREFIX), strict=False))
