from media_gateway.discovery.filters import ParentalLimits, SearchFilter

EVERYTHING = SearchFilter()


def test_parental_limits_only_ever_narrow():
    limits = ParentalLimits(maturity_level=2, blocked_genres=("horror",))
    assert EVERYTHING.limited(limits) == SearchFilter(maturity_level=2, genres_none=("horror",))
    assert SearchFilter(maturity_level=4).limited(limits).maturity_level == 2
    assert SearchFilter(maturity_level=0).limited(limits).maturity_level == 0
    assert SearchFilter(genres_none=("western",)).limited(limits).genres_none == ("western", "horror")
    assert EVERYTHING.limited(ParentalLimits()) == EVERYTHING
