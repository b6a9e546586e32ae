"""Claims about settings: what is wrong is said at start, in one line, without the value."""

import pytest

from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.settings import CoreSettings, load_settings


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
    with pytest.raises(NotConfiguredError, match="MEDIA_GATEWAY_API_URL: field required"):
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
