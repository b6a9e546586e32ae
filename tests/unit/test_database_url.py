"""Claims about database URLs."""

import pytest

from media_gateway.core.adapters.postgres import driver_url
from media_gateway.core.errors import NotConfiguredError


def test_sslmode_reaches_the_driver_under_its_name() -> None:
    assert driver_url("postgresql://u:p@h/d?sslmode=verify-full").query == {"ssl": "verify-full"}


def test_socket_folder_is_kept() -> None:
    assert driver_url("postgresql:///d?host=/run/postgresql").query == {"host": "/run/postgresql"}


@pytest.mark.parametrize(
    "url", ["postgresql://u:hunter2@h/d?connect_timeout=3", "hunter2", "postgresql://u:hunter2@h:x/d"]
)
def test_url_that_cannot_be_used_is_named_without_its_password(url: str) -> None:
    with pytest.raises(NotConfiguredError, match="MEDIA_GATEWAY_DATABASE_URL") as caught:
        driver_url(url)
    assert "hunter2" not in caught.value.message
