"""Passwords, one-time codes, sealed secrets and roles of accounts."""

import argon2
import pytest

from media_gateway.auth.passwords import Passwords, faults_of
from media_gateway.auth.roles import scopes_of
from media_gateway.auth.sealing import Seal, SealBrokenError
from media_gateway.auth.totp import STEP_S, code_at, step_of

RFC_SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("unix_s", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_rfc_6238(unix_s: int, code: str) -> None:
    assert code_at(RFC_SECRET, unix_s // STEP_S) == code


@pytest.mark.parametrize(
    ("steps_off", "is_accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)]
)
def test_a_clock_may_be_off_by_one_step(steps_off: int, is_accepted: bool) -> None:
    code = code_at(RFC_SECRET, 100 + steps_off)
    found = step_of(RFC_SECRET, code, now=100 * STEP_S + 7.5, last_step=0)
    assert found == (100 + steps_off if is_accepted else None)


def test_a_code_is_not_accepted_again_nor_is_an_older_one() -> None:
    now = 100 * STEP_S
    assert step_of(RFC_SECRET, code_at(RFC_SECRET, 100), now=now, last_step=100) is None
    assert step_of(RFC_SECRET, code_at(RFC_SECRET, 99), now=now, last_step=100) is None
    assert step_of(RFC_SECRET, code_at(RFC_SECRET, 101), now=now, last_step=100) == 101


@pytest.mark.parametrize("code", ["", "12345", "ééééé6", "\ud800", "287082 "])
def test_what_is_no_code_is_refused(code: str) -> None:
    assert step_of(RFC_SECRET, code, now=59, last_step=0) is None


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("Abcdef1", "must have at least 8 characters"),
        ("Ab1" + "x" * 126, "must have at most 128 characters"),
        ("abcdefg1", "must hold an upper-case letter"),
        ("ABCDEFG1", "must hold a lower-case letter"),
        ("Abcdefgh", "must hold a digit"),
        ("Ann1@Tv.Example", "must not be the e-mail address"),
        ("Abcdefg1\ud800", "must be valid Unicode"),
    ],
)
def test_a_weak_password_is_named_as_such(password: str, fault: str) -> None:
    assert faults_of(password, email="ann1@tv.example") == [fault]


@pytest.mark.parametrize("password", ["Abcdefg1", "Ab1" + "x" * 125, "Ünïcöde 1 ✓"])
def test_a_fair_password_has_no_faults(password: str) -> None:
    assert faults_of(password, email="ann1@tv.example") == []


async def test_a_password_matches_its_own_hash_only() -> None:
    passwords = Passwords()
    kept = await passwords.hashed("Correct-Horse-1")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.matches("Correct-Horse-1", kept)
    assert not await passwords.matches("Correct-Horse-2", kept)
    assert not await passwords.matches("Correct-Horse-1", "no hash")
    passwords.close()


@pytest.mark.parametrize("password", ["nobody", "", "x" * 129, "\ud800"])
async def test_nobody_is_signed_in_without_a_kept_hash(password: str) -> None:
    passwords = Passwords()
    assert not await passwords.matches(password, None)
    passwords.close()


def test_a_hash_of_other_parameters_is_outdated() -> None:
    passwords = Passwords()
    weaker = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)
    assert passwords.is_outdated(weaker.hash("x"))
    passwords.close()


def test_a_sealed_secret_opens_for_its_owner_and_key_only() -> None:
    seal = Seal(b"k" * 32)
    kept = seal.closed(b"secret", owner=b"ann")
    assert b"secret" not in kept
    assert seal.opened(kept, owner=b"ann") == b"secret"
    assert seal.closed(b"secret", owner=b"ann") != kept
    changed = kept[:-1] + bytes([kept[-1] ^ 1])
    for other_seal, other_kept, owner in [
        (seal, kept, b"bob"),
        (Seal(b"l" * 32), kept, b"ann"),
        (seal, changed, b"ann"),
        (seal, b"", b"ann"),
    ]:
        with pytest.raises(SealBrokenError):
            other_seal.opened(other_kept, owner=owner)


def test_a_key_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 16"):
        Seal(b"k" * 16)


def test_only_admins_may_allow_what_is_for_admins() -> None:
    assert "admin" in scopes_of(["user", "admin"])
    assert "admin" not in scopes_of(["user", "premium", "service", "nonsense"])
    assert scopes_of([]) == frozenset()
