import pytest
from aiohttp.test_utils import make_mocked_request

from media_gateway.core.errors import InvalidInputError
from media_gateway.core.web import entity_tag, if_match
from media_gateway.core.web.problems import PreconditionRequiredError, problem_response


def request(*values: str):
    return make_mocked_request("PUT", "/", headers=[("If-Match", value) for value in values])


@pytest.mark.parametrize(
    ("values", "tags"),
    [
        (['"3"'], {"3"}),
        ([entity_tag(12)], {"12"}),
        (['"3", "4"'], {"3", "4"}),
        (['"3"', '"4"'], {"3", "4"}),
        (['"a,b"'], {"a,b"}),
        (['W/"3"'], set()),
        (['W/"3","4"'], {"4"}),
        ([' "3" '], {"3"}),
        (['""'], {""}),
    ],
)
def test_tags_are_read_as_the_standard_has_them(values, tags):
    assert if_match(request(*values)) == tags


def test_a_star_accepts_any_state():
    assert if_match(request("*")) is None


@pytest.mark.parametrize("value", ["3", '"3', "'3'", '"3" "4"', "*, *", 'w/"3"', '"3",,', "\u00e9"])
def test_what_is_no_list_of_tags_is_refused_by_the_header_s_name(value):
    with pytest.raises(InvalidInputError) as caught:
        if_match(request(value))
    assert caught.value.errors[0].field == "If-Match"


@pytest.mark.parametrize("values", [(), ("",), (" ",)])
def test_a_change_without_the_header_is_told_to_bring_it(values):
    with pytest.raises(PreconditionRequiredError) as caught:
        if_match(request(*values))
    assert caught.value.errors[0].field == "If-Match"
    assert problem_response(caught.value).status == 428
