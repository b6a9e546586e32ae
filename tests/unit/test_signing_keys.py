"""The file of signing keys: rotation, reading it again, and what of it is shown to others."""

import json
import multiprocessing
import stat
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed448, rsa
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from media_gateway.auth.keys import (
    LEAD_S,
    SigningKeys,
    make_key,
    make_keys_if_absent,
    read_keys,
    rotate,
    thumbprint,
    write_keys,
)
from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.tokens import KEYS_TTL_S, TokenVerifier

LIFE_S = 3_600.0
"""Of an access token."""

START = 1_700_000_000.0
CLAIMS = {"iss": "i", "aud": "a", "sub": "s", "exp": 4_000_000_000}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def names(keys: SigningKeys) -> set[str]:
    return {key["kid"] for key in keys.published()["keys"]}


def document(path: Path) -> Any:
    return json.loads(path.read_text())


def private(key: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {k: v for k, v in {**key, **changes}.items() if v is not None}


def test_the_first_key_signs_at_once(path):
    name = rotate(path, "EdDSA", retired_after_s=LIFE_S, now=START)
    keys = SigningKeys(path, None)
    assert keys.current(START).kid == name
    assert names(keys) == {name}


def test_a_new_key_is_published_before_it_signs_and_verifiers_have_fetched_it_by_then(path):
    old = rotate(path, "EdDSA", retired_after_s=LIFE_S, now=START - 10 * LIFE_S)
    new = rotate(path, "EdDSA", retired_after_s=LIFE_S, now=START)
    keys = SigningKeys(path, None)
    assert names(keys) == {old, new}
    assert keys.current(START).kid == old
    assert keys.current(START + LEAD_S - 1).kid == old
    assert keys.current(START + LEAD_S).kid == new
    assert LEAD_S > KEYS_TTL_S


def test_an_old_key_stays_published_until_its_last_token_has_expired(path):
    old = rotate(path, "EdDSA", retired_after_s=LIFE_S, now=START - 10 * LIFE_S)
    new = rotate(path, "EdDSA", retired_after_s=LIFE_S, now=START)
    last_token_ends = START + LEAD_S + LIFE_S
    third = rotate(path, "EdDSA", retired_after_s=LIFE_S, now=last_token_ends - 1)
    assert names(SigningKeys(path, None)) == {old, new, third}
    fourth = rotate(path, "EdDSA", retired_after_s=LIFE_S, now=last_token_ends)
    assert names(SigningKeys(path, None)) == {new, third, fourth}


def test_rotating_often_never_drops_the_key_that_signs(path):
    now, signing = START, rotate(path, "EdDSA", retired_after_s=LIFE_S, now=START)
    for _ in range(30):
        now += 120
        rotate(path, "EdDSA", retired_after_s=LIFE_S, now=now)
        keys = SigningKeys(path, None)
        assert signing in names(keys)  # its tokens are good for an hour
        signing = str(keys.current(now).kid)


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
async def test_what_a_key_signs_others_verify_with_what_is_published(path, algorithm):
    rotate(path, algorithm, retired_after_s=LIFE_S)
    keys = SigningKeys(path, None)
    key = keys.current()
    assert key.algorithm == algorithm
    token = jwt.encode(CLAIMS, key.key, algorithm=algorithm, headers={"kid": key.kid, "typ": "at+jwt"})
    verifier = TokenVerifier(issuer="i", audience="a")
    verifier.trust(keys.published())
    assert (await verifier.verify(token)).subject == "s"


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_only_public_members_are_published(path, algorithm):
    made = make_key(algorithm, START)
    write_keys(path, [{**made, "note": "of the firm"}])
    (shown,) = SigningKeys(path, None).published()["keys"]
    public = {"RS256": {"n", "e"}, "EdDSA": {"crv", "x"}}[algorithm]
    assert shown.keys() == public | {"kty", "use", "alg", "kid"}
    assert (shown["use"], shown["alg"], shown["kid"]) == ("sig", algorithm, thumbprint(made))
    secret = {made[name] for name in ("d", "p", "q", "dp", "dq", "qi") if name in made}
    assert secret
    assert all(value not in json.dumps(shown) for value in secret)


def test_the_name_of_a_key_is_that_of_rfc_7638():
    # The example of section 3.1.
    key = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n"
        "3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZ"
        "Hzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kE"
        "gU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }
    assert thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_a_key_keeps_its_name_whatever_the_file_calls_it(path):
    made = make_key("EdDSA", START)
    write_keys(path, [{**made, "kid": "mine"}])
    assert names(SigningKeys(path, None)) == {thumbprint(made)}


def test_a_change_of_the_file_is_noticed_and_no_change_is_not_read(path):
    old = rotate(path, "EdDSA", retired_after_s=LIFE_S)
    keys = SigningKeys(path, None)
    assert not keys.reload()
    new = rotate(path, "EdDSA", retired_after_s=LIFE_S)
    assert keys.reload()
    assert names(keys) == {old, new}
    assert not keys.reload()


ED, RSA_KEY = make_key("EdDSA", START), make_key("RS256", START)
SHORT = {**RSAAlgorithm.to_jwk(rsa.generate_private_key(65_537, 1_024), as_dict=True), "iat": 1}
ED448 = {**OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate(), as_dict=True), "iat": 1}

BROKEN = {
    "cut off": b'{"keys": [',
    "no text": b"\xff\xfe{}",
    "empty": b"",
    "deep": b"[" * 100_000,
    "no key": {"keys": []},
    "no set": {},
    "a list": [ED],
    "keys are no list": {"keys": {"a": 1}},
    "a key is text": {"keys": ["x"]},
    "a key is nothing": {"keys": [None]},
    "no kind": {"keys": [private(ED, kty=None)]},
    "another kind": {"keys": [private(ED, kty="oct")]},
    "a kind that is none": {"keys": [private(ED, kty=["OKP"])]},
    "public only": {"keys": [private(ED, d=None)]},
    "no time": {"keys": [private(ED, iat=None)]},
    "time is text": {"keys": [private(ED, iat="1")]},
    "time is a yes": {"keys": [private(ED, iat=True)]},
    "x is a number": {"keys": [private(ED, x=1)]},
    "d is a number": {"keys": [private(ED, d=1)]},
    "d is short": {"keys": [private(ED, d="AAAA")]},
    "x is another key's": {"keys": [private(ED, x=make_key("EdDSA", START)["x"])]},
    "n is a number": {"keys": [private(RSA_KEY, n=1)]},
    "n is another key's": {"keys": [private(RSA_KEY, n=make_key("RS256", START)["n"])]},
    "d of RSA is a list": {"keys": [private(RSA_KEY, d=[])]},
    "half of RSA": {"keys": [private(RSA_KEY, p=None)]},
    "1,024 bits": {"keys": [SHORT]},
    "a curve nobody verifies": {"keys": [ED448]},
    "one good, one bad": {"keys": [ED, private(ED, d=None)]},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_and_leaves_the_keys_as_they_were(path, name):
    rotate(path, "EdDSA", retired_after_s=LIFE_S)
    keys = SigningKeys(path, None)
    before, signs = keys.published(), keys.current()
    broken = BROKEN[name]
    path.write_bytes(broken if isinstance(broken, bytes) else json.dumps(broken).encode())
    with pytest.raises(NotConfiguredError, match="MEDIA_GATEWAY_SIGNING_KEYS_PATH") as refused:
        keys.reload()
    for made in (ED, RSA_KEY):
        assert made["d"] not in refused.value.message
    assert (keys.published(), keys.current()) == (before, signs)
    with pytest.raises(NotConfiguredError):  # and again at the next look
        keys.reload()
    with pytest.raises(NotConfiguredError):
        SigningKeys(path, None)
    new = rotate_anew(path)
    assert keys.reload()
    assert names(keys) == {new}


def rotate_anew(path: Path) -> str:
    path.unlink()
    return rotate(path, "EdDSA", retired_after_s=LIFE_S)


def test_a_file_that_goes_away_leaves_the_keys_as_they_were(path):
    rotate(path, "EdDSA", retired_after_s=LIFE_S)
    keys = SigningKeys(path, None)
    before = keys.published()
    path.unlink()
    with pytest.raises(NotConfiguredError, match="can't be read: No such file"):
        keys.reload()
    assert keys.published() == before


def test_without_file_and_secret_there_is_no_signing():
    with pytest.raises(NotConfiguredError, match="media-gateway keys rotate"):
        SigningKeys(None, None)
    keys = SigningKeys(None, "a shared secret of at least 32 bytes")
    assert (keys.current().algorithm, keys.published(), keys.are_published) == ("HS256", {"keys": []}, False)


def test_only_the_owner_reads_the_file_also_after_a_rotation(path):
    make_keys_if_absent(path, "EdDSA")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    rotate(path, "EdDSA", retired_after_s=LIFE_S)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_rotation_that_fails_leaves_the_file_and_no_rest(path):
    rotate(path, "EdDSA", retired_after_s=LIFE_S)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_keys(path, [{"kty": object()}])
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def _make(path: Path, barrier) -> None:
    barrier.wait(60)
    make_keys_if_absent(path, "EdDSA")


def test_processes_that_make_the_first_file_at_once_end_with_one(path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=_make, args=(path, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    barrier.wait(60)
    make_keys_if_absent(path, "EdDSA")
    mine = path.read_bytes()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert path.read_bytes() == mine
    assert len(read_keys(path)) == 1
    assert list(path.parent.iterdir()) == [path]
    assert document(path)["keys"][0]["kty"] == "OKP"
