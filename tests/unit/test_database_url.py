"""Claims about database URLs."""

import pytest

from media_gateway.core.adapters.postgres import Database, driver_url
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.errors import NotConfiguredError, UnavailableError


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


@pytest.mark.parametrize(
    ("host", "reason"),
    [("127.0.0.1", "connection refused"), ("no-such-host.invalid", "its name can't be resolved")],
)
async def test_a_server_that_is_away_is_named_in_plain_words(host: str, reason: str, free_port: int) -> None:
    database = Database(f"postgresql://user:hunter2@{host}:{free_port}/d")
    redis = RedisHandle(f"redis://:hunter2@{host}:{free_port}/0")
    for name, server in (("the database", database), ("Redis", redis)):
        with pytest.raises(UnavailableError) as caught:
            await server.ping()
        assert caught.value.message == f"{name} at {host}:{free_port} can't be reached: {reason}"
        await server.close()
