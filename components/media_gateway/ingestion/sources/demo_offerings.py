"""Where a demo film can be watched: made up, the same each time, and marked as such. Used by `demo` only.

The platforms' names are real, since that is what people search and filter by; nothing here says anything about their
real catalogues, and no address is made up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from media_gateway.ingestion.sources.demo_facts import words


@dataclass(frozen=True, slots=True)
class _Platform:
    """A service by subscription.

    Attributes
    ----------
    share : float
        Chance that a film is there.
    regions : tuple
        Where it runs; empty for everywhere.
    genres : frozenset
        Genres it prefers; others have a fifth of the chance.
    """

    name: str
    share: float
    regions: tuple[str, ...] = ()
    genres: frozenset[str] = frozenset()


_SUBSCRIPTIONS = (
    _Platform("netflix", 0.24),
    _Platform("prime_video", 0.22),
    _Platform("hbo_max", 0.12, ("US", "ES", "MX", "BR", "SE")),
    _Platform("disney_plus", 0.30, (), frozenset({"Family", "Animation", "Fantasy", "Adventure", "Musical"})),
    _Platform("hulu", 0.12, ("US",)),
    _Platform("paramount_plus", 0.08, ("US", "GB", "CA", "AU", "DE", "FR", "IT")),
    _Platform("peacock", 0.08, ("US",)),
    _Platform("crave", 0.12, ("CA",)),
)

# Weights: the home market first, as most catalogues are.
_REGIONS = {
    "US": 10,
    "GB": 6,
    "CA": 5,
    "DE": 5,
    "FR": 4,
    "AU": 3,
    "ES": 3,
    "IT": 3,
    "BR": 3,
    "MX": 3,
    "JP": 2,
    "IN": 2,
    "SE": 2,
}
_HOME = {
    "United States": "US",
    "United Kingdom": "GB",
    "Canada": "CA",
    "Germany": "DE",
    "France": "FR",
    "Australia": "AU",
    "Spain": "ES",
    "Italy": "IT",
    "Brazil": "BR",
    "Mexico": "MX",
    "Japan": "JP",
    "India": "IN",
    "Sweden": "SE",
}
# Currency, and what 100 US cents are in its minor units.
_MONEY = {
    "US": ("USD", 1.0),
    "GB": ("GBP", 0.9),
    "CA": ("CAD", 1.25),
    "AU": ("AUD", 1.5),
    "JP": ("JPY", 1.25),
    "IN": ("INR", 30.0),
    "BR": ("BRL", 4.0),
    "MX": ("MXN", 15.0),
    "SE": ("SEK", 12.0),
}
_EURO = ("EUR", 1.0)


def offerings(film: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Offerings of a film, chosen by its number; about one film in five is nowhere, as in life."""
    chance = Random(f"offerings of {film['id']}")  # noqa: S311 - has to be the same each time, nothing secret
    if chance.random() < 0.05:
        return []
    regions = _regions(film, chance)
    genres = set(words(film["genre"]))
    found: list[dict[str, Any]] = []
    for platform in _SUBSCRIPTIONS:
        liked = not platform.genres or platform.genres & genres
        if chance.random() < platform.share * (1.0 if liked else 0.2):
            there = [region for region in regions if not platform.regions or region in platform.regions]
            qualities = _qualities(film, chance)
            found.extend(_offering(platform.name, region, "subscription", qualities) for region in there[:3])
    found.extend(_paid(film, regions, chance))
    found.extend(_free(film, regions, chance))
    return found


def _regions(film: Mapping[str, Any], chance: Random) -> list[str]:
    weights = dict(_REGIONS)
    for country in words(film["country"]):
        if country in _HOME:
            weights[_HOME[country]] += 12
    number = 1 + min(4, int(chance.expovariate(0.6)))
    picked: list[str] = []
    while len(picked) < number:
        region = chance.choices(list(weights), list(weights.values()))[0]
        del weights[region]
        picked.append(region)
    return picked


def _qualities(film: Mapping[str, Any], chance: Random) -> list[str]:
    if film["year"] < 1970:
        return ["SD"] if chance.random() < 0.5 else ["SD", "HD"]
    best = chance.random()
    return ["HD", "UHD", "HDR"] if best < 0.1 else ["HD", "UHD"] if best < 0.25 else ["SD", "HD"]


def _paid(film: Mapping[str, Any], regions: list[str], chance: Random) -> list[dict[str, Any]]:
    """Rental and purchase; newer films cost more."""
    found: list[dict[str, Any]] = []
    new = film["year"] >= 2005
    for shop, share in (("prime_video", 0.35), ("apple_tv_plus", 0.25), ("youtube", 0.2)):
        if chance.random() >= share:
            continue
        qualities = _qualities(film, chance)
        rental = 399 if new else chance.choice((199, 299))
        purchase = chance.choice((1299, 1499)) if new else chance.choice((699, 799, 999))
        for region in regions[:2]:
            found.append(_offering(shop, region, "rental", qualities, rental))
            found.append(_offering(shop, region, "purchase", qualities, purchase))
    return found


def _free(film: Mapping[str, Any], regions: list[str], chance: Random) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if film["year"] < 1965 and chance.random() < 0.3:
        found.append(_offering("youtube", regions[0], "free", ["SD"]))
    if "United Kingdom" in words(film["country"]) and chance.random() < 0.2:
        found.append(_offering("bbc_iplayer", "GB", "free", ["HD"]))
    return found


def _offering(
    platform: str, region: str, kind: str, qualities: list[str], us_cents: int | None = None
) -> dict[str, Any]:
    made: dict[str, Any] = {"platform": platform, "region": region, "type": kind, "qualities": qualities}
    if us_cents is not None:
        currency, factor = _MONEY.get(region, _EURO)
        made["price_cents"] = round(us_cents * factor)
        made["currency"] = currency
    return made
