"""Claims about settings: what is wrong is said at start, in one line, without the value."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from media_gateway.core.bootstrap import BackendName, open_backends
from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.settings import SCHEMES, CoreSettings, load_settings, unknown_variables


def test_wrong_values_are_named_one_line_each_with_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_GATEWAY_SERVICE_PORT", "99999")
    monkeypatch.setenv("MEDIA_GATEWAY_LOG_LEVEL", "loud")
    with pytest.raises(NotConfiguredError) as caught:
        load_settings(CoreSettings)
    port, level = sorted(caught.value.message.splitlines(), reverse=True)
    assert port.startswith("MEDIA_GATEWAY_SERVICE_PORT: ")
    assert "less than or equal to 65535" in port
    assert port.endswith("example: MEDIA_GATEWAY_SERVICE_PORT=8081")
    assert level.startswith("MEDIA_GATEWAY_LOG_LEVEL: ")


class Strict(CoreSettings):
    """A component that can't start without a value."""

    api_url: str


def test_missing_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDIA_GATEWAY_API_URL", raising=False)
    with pytest.raises(NotConfiguredError, match="MEDIA_GATEWAY_API_URL: required"):
        load_settings(Strict)


def test_secrets_are_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_GATEWAY_DATABASE_URL", "postgresql://user:hunter2@host/db")
    monkeypatch.setenv("MEDIA_GATEWAY_DATABASE_POOL_SIZE", "hunter3")
    with pytest.raises(NotConfiguredError) as caught:
        load_settings(CoreSettings)
    assert "hunter" not in caught.value.message
    monkeypatch.setenv("MEDIA_GATEWAY_DATABASE_POOL_SIZE", "3")
    assert "hunter" not in repr(load_settings(CoreSettings))


def test_every_setting_says_what_it_is_for() -> None:
    for name, field in CoreSettings.model_fields.items():
        assert field.description, name
        assert field.examples or name == "state_dir", name


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("value", ["mysql://user:hunter2@host/db", "hunter2", "user:hunter2@host", ""])
def test_an_address_of_an_unknown_kind_is_one_line_without_the_address(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    variable = f"MEDIA_GATEWAY_{name.upper()}"
    monkeypatch.setenv(variable, value)
    with pytest.raises(NotConfiguredError) as caught:
        load_settings(CoreSettings)
    (line,) = caught.value.message.splitlines()
    assert line.startswith(f"{variable}: ")
    assert f"; example: {variable}=" in line
    assert ("unknown scheme 'mysql'" in line) == value.startswith("mysql")
    assert "hunter2" not in line


REST = {
    "unix": ":///run/redis.sock",
    "openai": "://h/v1?model=m&dimension=384",
    "openai+http": "://h/v1?model=m&dimension=384",
}
NEEDS: dict[str, BackendName] = {
    "database_url": "database",
    "redis_url": "redis",
    "vector_url": "vectors",
    "events_url": "events",
    "embedder_url": "embedder",
}


@pytest.mark.parametrize(
    ("name", "scheme"), [(n, s) for n, ss in SCHEMES.items() for s in ss if s != "embedded"]
)
async def test_every_scheme_that_the_settings_take_has_an_adapter(
    tmp_path: Path, name: str, scheme: str
) -> None:
    servers = {"database_url": SecretStr("postgresql://h/d"), "redis_url": SecretStr("redis://h")}
    address = {name: SecretStr(scheme + REST.get(scheme, "://h"))}
    settings = CoreSettings(state_dir=tmp_path, **{**servers, **address})  # type: ignore[arg-type]
    async with open_backends(settings, {NEEDS[name]}) as backends:
        assert getattr(backends, NEEDS[name]) is not None


def test_a_short_secret_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_GATEWAY_AUTH_SECRET", "hunter2")
    with pytest.raises(
        NotConfiguredError, match=r"^MEDIA_GATEWAY_AUTH_SECRET: shorter than 32 bytes; example: "
    ) as caught:
        load_settings(CoreSettings)
    assert "hunter2" not in caught.value.message


def test_words_keep_their_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(CoreSettings):
        mapping: dict[str, int]

    monkeypatch.setenv("MEDIA_GATEWAY_MAPPING", '{"Films": "many"}')
    with pytest.raises(NotConfiguredError, match="MEDIA_GATEWAY_MAPPING: input should be a valid integer"):
        load_settings(Odd)


def test_a_misspelt_variable_is_told_with_the_nearest_name() -> None:
    environment = dict.fromkeys(
        [
            "MEDIA_GATEWAY_DATABSE_URL",
            "MEDIA_GATEWAY_ZZZ",
            "MEDIA_GATEWAY_LOG_LEVEL",
            "MEDIA_GATEWAY_SECRET_TMDB_TOKEN",
            "MEDIA_GATEWAY_DISCOVERY_SERVICE_PORT_HTTP",
            "PATH",
        ],
        "x",
    )
    environment["MEDIA_GATEWAY_DISCOVERY_PORT"] = "tcp://10.0.0.1:8081"
    assert unknown_variables(environment, [CoreSettings]) == {
        "MEDIA_GATEWAY_DATABSE_URL": "MEDIA_GATEWAY_DATABASE_URL",
        "MEDIA_GATEWAY_ZZZ": None,
    }
