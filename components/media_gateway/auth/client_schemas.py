"""Registered programs as the admin API and the settings' file write them."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from media_gateway.auth.clients import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    GRANT_TYPES,
    ID_PATTERN,
    REFRESH_TOKEN,
    Client,
    is_good_redirect,
)
from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.validation import message_of

Id = Annotated[str, Field(pattern=f"^{ID_PATTERN}$", examples=["tv-app"])]
Name = Annotated[str, Field(min_length=1, max_length=100, examples=["Living-room TV"])]
Scope = Annotated[str, Field(pattern=r"^[!#-\[\]-~]{1,100}$")]
GrantType = Literal[
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
]
Seconds = Annotated[int, Field(ge=60, le=31_536_000)]

READ_ONLY: Final = frozenset({"openid", "profile", "read:content", "read:watchlist"})


class ClientFields(BaseModel):
    """What can be said of a program."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    redirect_uris: Annotated[tuple[str, ...], Field(max_length=50)] = Field(
        default=(),
        description="Addresses that people may be sent back to: HTTPS, HTTP on loopback, or a private-use scheme.",
        examples=[["https://app.example/callback"]],
    )
    grant_types: Annotated[tuple[GrantType, ...], Field(min_length=1, max_length=len(GRANT_TYPES))] = Field(
        examples=[[DEVICE_CODE, REFRESH_TOKEN]]
    )
    scopes: Annotated[tuple[Scope, ...], Field(max_length=100)] = Field(
        default=tuple(sorted(READ_ONLY)), description="The most that its tokens may allow."
    )
    enabled: bool = True
    access_token_s: Seconds | None = Field(default=None, description="Instead of the setting, in seconds.")
    refresh_token_s: Seconds | None = Field(default=None, description="Instead of the setting, in seconds.")
    refresh_leeway_s: Annotated[float, Field(ge=0, le=15)] | None = Field(
        default=None,
        description="For how long a spent refresh token gives the same successor again, in seconds.",
    )

    @field_validator("redirect_uris")
    @classmethod
    def _good(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for uri in value:
            if not is_good_redirect(uri):
                raise ValueError(
                    "an address must be https, http on 127.0.0.1, [::1] or localhost, or a private-use scheme with a dot, "
                    "without user information and fragment"
                )
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if AUTHORIZATION_CODE in self.grant_types and not self.redirect_uris:
            raise ValueError(f"redirect_uris: needed for {AUTHORIZATION_CODE}")
        return self


class NewClient(ClientFields):
    """A program to register."""

    client_id: Id
    confidential: bool = Field(
        default=False, description="Whether it can keep a secret: a server can, an app can't."
    )

    @model_validator(mode="after")
    def _proves_itself(self) -> Self:
        if CLIENT_CREDENTIALS in self.grant_types and not self.confidential:
            raise ValueError(f"confidential: must be true for {CLIENT_CREDENTIALS}")
        return self

    def client(self) -> Client:
        """As a program without a secret."""
        fields = self.model_dump(exclude={"confidential"})
        return Client(
            **{
                **fields,
                "grant_types": frozenset(self.grant_types),
                "scopes": frozenset(self.scopes),
            }
        )


class FixedClient(ClientFields):
    """A program of the settings' file."""

    client_id: Id
    secret_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="SHA-256 of its secret in hexadecimal; left out for a public client."
    )

    @model_validator(mode="after")
    def _proves_itself(self) -> Self:
        if CLIENT_CREDENTIALS in self.grant_types and self.secret_sha256 is None:
            raise ValueError(f"secret_sha256: needed for {CLIENT_CREDENTIALS}")
        return self

    def client(self) -> Client:
        """As a program."""
        fields = self.model_dump(exclude={"secret_sha256"})
        return Client(
            **{
                **fields,
                "secret_digest": bytes.fromhex(self.secret_sha256) if self.secret_sha256 else None,
                "grant_types": frozenset(self.grant_types),
                "scopes": frozenset(self.scopes),
            }
        )


class ClientFile(BaseModel):
    """The settings' file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clients: tuple[FixedClient, ...]

    @field_validator("clients")
    @classmethod
    def _once(cls, value: tuple[FixedClient, ...]) -> tuple[FixedClient, ...]:
        ids = [client.client_id for client in value]
        doubled = sorted({one for one in ids if ids.count(one) > 1})
        if doubled:
            raise ValueError(f"client_id: {doubled[0]} is there more than once")
        return value


class ClientView(BaseModel):
    """A registered program."""

    client_id: str
    name: str
    confidential: bool
    redirect_uris: list[str]
    grant_types: list[str]
    scopes: list[str]
    enabled: bool
    access_token_s: int | None
    refresh_token_s: int | None
    refresh_leeway_s: float | None
    fixed: bool = Field(description="Whether it comes from the settings and can't be changed here.")


class NewClientView(ClientView):
    """A registered program with its secret."""

    client_secret: str | None = Field(description="Shown this once; it is not kept.")


class ClientPage(BaseModel):
    """Some of the registered programs."""

    clients: list[ClientView]
    next_cursor: str | None


def read_client_file(path: Path) -> list[Client]:
    """The programs of a YAML or JSON file.

    Raises
    ------
    NotConfiguredError
        It can't be read, or says which field of which client is wrong.
    """
    where = f"MEDIA_GATEWAY_CLIENTS_PATH: {path}"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [client.client() for client in ClientFile.model_validate(document).clients]
    except OSError as error:
        raise NotConfiguredError(f"{where} can't be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first = re.split(r"\n", str(error))[0]
        raise NotConfiguredError(f"{where} is neither YAML nor JSON: {first}") from error
    except ValidationError as error:
        lines = "\n".join(
            f"{where}: {'.'.join(map(str, one['loc'])) or 'document'}: {message_of(dict(one))}"
            for one in error.errors(include_input=False)
        )
        raise NotConfiguredError(lines) from None
