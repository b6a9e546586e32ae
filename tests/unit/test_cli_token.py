"""`media-gateway token`: what it prints is accepted by the services of this machine, and by no others."""

from pathlib import Path

import pytest

from media_gateway.cli import token
from media_gateway.cli.components import COMPONENTS, load_component
from media_gateway.cli.environment import use_state_folder
from media_gateway.core.errors import InvalidInputError, NotConfiguredError, UnauthenticatedError
from media_gateway.core.tokens import TokenVerifier


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # The command writes both; set here so that they are put back afterwards.
    monkeypatch.setenv("MEDIA_GATEWAY_STATE_DIR", "/nonexistent")
    monkeypatch.setenv("MEDIA_GATEWAY_AUTH_SECRET", "")
    monkeypatch.delenv("MEDIA_GATEWAY_AUTH_SECRET")


async def test_a_service_of_the_same_state_folder_accepts_the_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token.command(subject="ada", scope=["admin"], role=["editor"], tier="gold", state_dir=tmp_path / "one")
    minted = capsys.readouterr().out.strip()
    caller = await TokenVerifier.from_settings(use_state_folder(tmp_path / "one")).verify(minted)
    assert (caller.subject, sorted(caller.scopes), sorted(caller.roles), caller.tier) == (
        "ada",
        ["admin"],
        ["editor"],
        "gold",
    )


async def test_another_state_folder_does_not_accept_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token.command(state_dir=tmp_path / "one")
    minted = capsys.readouterr().out.strip()
    monkeypatch.delenv("MEDIA_GATEWAY_AUTH_SECRET")
    with pytest.raises(UnauthenticatedError):
        await TokenVerifier.from_settings(use_state_folder(tmp_path / "two")).verify(minted)


def test_an_installation_with_its_own_servers_gets_no_generated_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIA_GATEWAY_DATABASE_URL", "postgresql://db.example/media_gateway")
    with pytest.raises(NotConfiguredError, match="MEDIA_GATEWAY_AUTH_SECRET"):
        token.command(state_dir=tmp_path / "state")


def test_without_a_scope_option_every_route_is_open() -> None:
    needed = {
        route.auth.needed_scope
        for name in COMPONENTS
        for table in load_component(name).routes
        for route in table
        if route.auth.needed_scope
    }
    assert needed <= set(token.DEVELOPMENT_SCOPES)


def test_an_empty_subject_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="--subject"):
        token.command(subject="", state_dir=tmp_path / "state")
