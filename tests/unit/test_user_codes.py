import pytest

from media_gateway.auth.pages.device import ago
from media_gateway.auth.pages.visitors import own_path
from media_gateway.auth.user_codes import ALPHABET, LONG, SHORT, make_user_code, read_user_code, shown


def test_codes_are_made_of_twenty_consonants():
    assert set("".join(make_user_code(LONG) for _ in range(200))) == set(ALPHABET)
    assert len(ALPHABET) == 20
    assert not set(ALPHABET) & set("AEIOUY0123456789")


@pytest.mark.parametrize("length", [SHORT, LONG])
def test_a_code_as_shown_is_read_as_it_was_made(length):
    code = make_user_code(length)
    assert read_user_code(shown(code)) == code
    assert read_user_code(f" {shown(code).lower().replace('-', ' – ')}\n") == code


@pytest.mark.parametrize(
    "text", ["", "BCDF-GHJ", "BCDF-GHJKL", "BCDFG-HJKLMN", "aeiou", "B" * 10_000, "1234-5678"]
)
def test_what_has_another_length_is_no_code(text):
    assert read_user_code(text) is None


def test_a_code_is_shown_in_two_halves():
    assert shown("BCDFGHJK") == "BCDF-GHJK"
    assert shown("BCDFGHJKLM") == "BCDFG-HJKLM"


@pytest.mark.parametrize(
    "text",
    [None, "", "https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil", "device", "/a\nb", "/" + "a" * 8_000],
)  # fmt: skip
def test_a_sign_in_leads_nowhere_but_to_our_own_paths(text):
    assert own_path(text) == "/device"


@pytest.mark.parametrize(
    "text", ["/", "/device?user_code=BCDF-GHJK", "/auth/authorize?client_id=a&scope=b%20c"]
)
def test_a_sign_in_leads_back_to_where_it_was_asked_for(text):
    assert own_path(text) == text


def test_how_long_ago_is_told_in_words():
    assert [ago(5), ago(60), ago(150)] == ["less than a minute ago", "1 minute ago", "2 minutes ago"]
