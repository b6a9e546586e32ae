"""Claims about where a request comes from."""

import pytest

from media_gateway.core.limiting import Sources
from media_gateway.core.settings import CoreSettings

OURS = ("10.0.0.0/8", "fd00::/8")


def source(peer: str | None, *values: str, header: str = "X-Forwarded-For") -> str:
    return Sources(OURS, header).source(peer, values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("peer", "values", "found"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["1.1.1.1"], "203.0.113.9"),  # from a stranger: made up
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1"], "1.1.1.1"),  # the left one is the sender's own words
        ("10.0.0.1", ["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1, 10.9.9.9"], "1.1.1.1"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),  # a caller inside
        ("10.0.0.1", ["1.1.1.1, nonsense, 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1:5678"], "1.1.1.1"),
        ("10.0.0.1", ["[2001:db8:1:2:3::4]:80"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["2001:db8:1:2:ffff::1"], "2001:db8:1:2::/64"),
        ("fd00::1", ["::ffff:1.1.1.1"], "1.1.1.1"),
        ("::ffff:10.0.0.1", ["1.1.1.1"], "1.1.1.1"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("10.0.0.1", [", ".join(["1.1.1.1"] + ["10.0.0.2"] * 100)], "10.0.0.2"),
        (None, ["1.1.1.1"], "unknown"),
        ("", [], "unknown"),
    ],
)
def test_the_source_is_the_rightmost_hop_that_is_no_proxy_of_ours(peer, values, found):
    assert source(peer, *values) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("for=1.1.1.1", "1.1.1.1"),
        ('for=6.6.6.6, For="1.1.1.1:99";proto=https;by=10.0.0.1', "1.1.1.1"),
        ('for="[2001:db8:1:2::4]:80"', "2001:db8:1:2::/64"),
        ("for=6.6.6.6, for=_hidden", "10.0.0.1"),
        ("for=6.6.6.6, by=10.0.0.1", "10.0.0.1"),
        ("1.1.1.1", "10.0.0.1"),
    ],
)
def test_the_standard_header_is_read_if_it_is_the_one_that_proxies_write(value, found):
    assert source("10.0.0.1", value, header="Forwarded") == found


def test_neighbours_in_one_ipv6_network_are_one_source():
    assert source("2001:db8:1:2::1") == source("2001:db8:1:2:9:9:9:9") != source("2001:db8:1:3::1")


def test_a_setting_that_is_no_network_is_refused():
    with pytest.raises(ValueError, match="trusted_proxies"):
        CoreSettings(trusted_proxies="10.0.0.0/8,proxy.example")
    assert CoreSettings(trusted_proxies="10.0.0.0/8, fd00::/8").trusted_networks == OURS
