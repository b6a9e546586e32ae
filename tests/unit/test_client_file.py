"""The settings' file of programs, and which addresses may be registered."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from media_gateway.auth.client_schemas import read_client_file
from media_gateway.auth.clients import DEVICE_CODE, Client, is_good_redirect, origin_of
from media_gateway.core.errors import NotConfiguredError

TV = {"client_id": "tv", "name": "TV", "grant_types": [DEVICE_CODE]}


def written(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "clients.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_file_gives_its_programs(tmp_path):
    digest = sha256(b"a secret").hexdigest()
    path = tmp_path / "clients.yaml"
    path.write_text(
        "clients:\n"
        "  - client_id: tv\n    name: TV\n    grant_types: ['urn:ietf:params:oauth:grant-type:device_code']\n"
        f"  - client_id: firm\n    name: Firm\n    grant_types: [client_credentials]\n    secret_sha256: {digest}\n"
    )
    tv, firm = read_client_file(path)
    assert tv.is_public
    assert not firm.is_public
    assert firm.has_secret("a secret")
    assert not firm.has_secret("another")
    assert not tv.has_secret("")


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("", "document"),
        ("[]", "document"),
        ("clients: [", "neither YAML nor JSON"),
        ("\x00", "neither YAML nor JSON"),
        ({}, "clients: "),
        ({"clients": {}}, "clients: "),
        ({"clients": [], "more": 1}, "more: "),
        ({"clients": [1]}, "clients.0: "),
        ({"clients": [{**TV, "client_id": "a b"}]}, "clients.0.client_id: "),
        ({"clients": [{**TV, "name": ""}]}, "clients.0.name: "),
        ({"clients": [TV, {**TV, "client_id": "b", "grant_types": ["x"]}]}, "clients.1.grant_types.0: "),
        ({"clients": [{**TV, "secret_sha256": "short"}]}, "clients.0.secret_sha256: "),
        ({"clients": [{**TV, "client_secret": "as it is"}]}, "clients.0.client_secret: "),
        ({"clients": [{**TV, "redirect_uris": ["http://x.example/"]}]}, "clients.0.redirect_uris: "),
        ({"clients": [{**TV, "grant_types": ["client_credentials"]}]}, "secret_sha256: needed"),
        ({"clients": [{**TV, "grant_types": ["authorization_code"]}]}, "redirect_uris: needed"),
        ({"clients": [TV, TV]}, "tv is there more than once"),
    ],
)
def test_a_wrong_file_is_refused_by_the_name_of_what_is_wrong(tmp_path, document, told):
    path = written(tmp_path, document)
    with pytest.raises(NotConfiguredError) as refused:
        read_client_file(path)
    assert "MEDIA_GATEWAY_CLIENTS_PATH" in refused.value.message
    assert str(path) in refused.value.message
    assert told in refused.value.message
    assert "as it is" not in refused.value.message


def test_every_wrong_field_is_told_at_once(tmp_path):
    wrong = {"clients": [{**TV, "name": ""}, {**TV, "client_id": "b", "grant_types": []}]}
    with pytest.raises(NotConfiguredError) as refused:
        read_client_file(written(tmp_path, wrong))
    assert "clients.0.name" in refused.value.message
    assert "clients.1.grant_types" in refused.value.message


def test_a_file_that_is_not_there_or_no_text_is_told_so(tmp_path):
    with pytest.raises(NotConfiguredError, match="can't be read: No such file"):
        read_client_file(tmp_path / "nothing")
    with pytest.raises(NotConfiguredError, match="can't be read: Is a directory"):
        read_client_file(tmp_path)
    path = tmp_path / "bytes"
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(NotConfiguredError, match="neither YAML nor JSON"):
        read_client_file(path)


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/callback",
        "https://app.example",
        "https://app.example/",
        "https://app.example:8443/callback?tenant=a",
        "https://app.example?x=%20",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:8080/callback",
        "http://[::1]/callback",
        "http://localhost:3000/callback",
        "com.example.app:/callback",
        "com.example.app://callback",
        "https://" + "a" * 1_980 + ".example",
    ],
)
def test_a_good_address_may_be_registered(uri):
    assert is_good_redirect(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/callback",
        "callback",
        "//app.example/callback",
        "http://app.example/callback",
        "http://127.0.0.2/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://localhost.evil.example/callback",
        "http://localhost:80@evil.example/callback",
        "http://[::1].evil.example/",
        "http://0.0.0.0/callback",
        "https://app.example/callback#fragment",
        "https://app.example/callback#",
        "https://user@app.example/callback",
        "https://user:secret@app.example/callback",
        "https://app.example:/callback",
        "https://app.example:123456/callback",
        "https://app.example:99999/callback",
        "https://app.example:0/callback",
        "http://127.0.0.1:99999/callback",
        "https://.example/callback",
        "https:///callback",
        "https:app.example/callback",
        "https://app.example\\@evil.example/",
        "https://app.example/call back",
        "https://app.example/\n",
        "https://app.example/callback\n",
        "https://app.example/\u00e9",
        "https://\u0430pp.example/",
        "https://*.example/callback",
        "https://app.example/%zz",
        "https://app.example/<script>",
        "HTTPS://app.example/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "app:/callback",
        "com.example.app:callback",
        "ftp://app.example/",
        "https://" + "a" * 1_990 + ".example/",
    ],
)
def test_a_bad_address_may_not_be_registered(uri):
    assert not is_good_redirect(uri)


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://app.example/callback?x=/y", "https://app.example"),
        ("https://app.example:8443?x", "https://app.example:8443"),
        ("http://127.0.0.1:5000/callback", "http://127.0.0.1:5000"),
        ("http://[::1]:5000/callback", "http://[::1]:5000"),
        ("com.example.app:/done", "com.example.app:"),
    ],
)
def test_the_origin_of_an_address_is_its_scheme_and_authority(uri, origin):
    assert origin_of(uri) == origin


def test_only_the_port_of_a_loopback_address_may_differ():
    client = Client(
        client_id="c",
        name="C",
        grant_types=frozenset(),
        scopes=frozenset(),
        redirect_uris=("http://[::1]/cb?x=1", "http://localhost/cb", "https://127.0.0.1/cb"),
    )
    assert client.may_return_to("http://[::1]:5000/cb?x=1")
    assert not client.may_return_to("http://[::1]:5000/cb")
    assert not client.may_return_to("http://[::1]:65536/cb?x=1")
    assert client.may_return_to("http://localhost/cb")
    # A name may be resolved to something else than this machine (RFC 8252 section 8.3).
    assert not client.may_return_to("http://localhost:5000/cb")
    assert not client.may_return_to("https://127.0.0.1:5000/cb")
