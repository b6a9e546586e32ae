"""A record's offerings put in order: money in minor units, one offering for each platform, region and way to watch.

Used by `mapping` only.
"""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

_WITHOUT_MINOR_UNIT = frozenset(
    [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "UYI",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ]
)
_WITH_THOUSANDTHS = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])

_LISTS = ("video_qualities", "audio_languages", "subtitle_languages", "subtitle_formats")


def minor_units(amount: Decimal, currency: str | None) -> int:
    """An amount in the currency's minor unit (exponents of ISO 4217 list one; two digits where nothing is known).

    Computed in decimals: 0.29 is 29 cents, whatever a binary fraction would make of it.

    Raises
    ------
    ValueError
        The amount is no whole number of minor units: no price is rounded to another one.
    """
    digits = 0 if currency in _WITHOUT_MINOR_UNIT else 3 if currency in _WITH_THOUSANDTHS else 2
    # Fractions: a decimal's own arithmetic rounds beyond 28 digits.
    units = Fraction(amount) * 10**digits
    if units.denominator != 1:
        raise ValueError(f"{amount} has more than the {digits} fraction digits of {currency or 'a currency'}")
    return int(units)


def united(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Offerings with equal platform, region and type made one: sources list picture classes or packages one by one.

    Lists are united, the lowest price stays with its currency and address, and the time span is that of the first.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in items:
        key = (str(item.get("platform")), str(item.get("region")), str(item.get("availability_type")))
        if key in found:
            _unite(found[key], item)
        else:
            found[key] = dict(item)
    return list(found.values())


def _unite(first: dict[str, Any], other: dict[str, Any]) -> None:
    lists = {}
    for name in _LISTS:
        mine, its = first.get(name) or (), other.get(name) or ()
        # Wrong shapes are left to the model's check, which names them.
        if isinstance(mine, list | tuple) and isinstance(its, list | tuple):
            lists[name] = [*mine, *(value for value in its if value not in mine)]
    price, its_price = first.get("price_cents"), other.get("price_cents")
    if isinstance(its_price, int) and (not isinstance(price, int) or its_price < price):
        first.update(
            {name: other[name] for name in ("price_cents", "currency", "url") if other.get(name) is not None}
        )
    for name, value in other.items():
        if first.get(name) is None:
            first[name] = value
    first.update(lists)
