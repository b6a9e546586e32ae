"""The route table: every public address, which service answers it, and who may call it. Read by the routes alone.

Paths are the same inside and outside; an alias is a name of the original system that leads to a path of ours.
"""

from dataclasses import dataclass
from enum import StrEnum

from media_gateway.core.web import Auth

ANY = "*"
"""Every method."""


class Upstream(StrEnum):
    """A service behind the gateway. The name is that of its component."""

    DISCOVERY = "discovery"
    SONA = "sona"
    SYNC = "sync"
    AUTH = "auth"
    INGESTION = "ingestion"
    PLAYBACK = "playback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """One public address.

    Attributes
    ----------
    method, template : str
        What is asked for; ``{rest:.+}`` stands for any further path.
    upstream : Upstream
        Who answers.
    auth : Auth
        Checked here, before the service is asked; it checks again.
    target : str | None
        Template at the service, with the same variables; None for the same path.
    target_method : str | None
        Method at the service; None for the same.
    query : str
        Put before the query of an alias.
    kept_s : int
        How long an answer to callers without a token is kept, in seconds.
    is_socket : bool
        The address of a WebSocket.
    """

    method: str
    template: str
    upstream: Upstream
    auth: Auth = Auth.OPTIONAL
    target: str | None = None
    target_method: str | None = None
    query: str = ""
    kept_s: int = 0
    is_socket: bool = False

    @property
    def endpoint(self) -> str:
        """What documents of rate limits call it: the path without ``/api/v1/``, such as ``content/{content_id}``."""
        return self.template.removeprefix("/api/v1").removeprefix("/").replace(":.+}", "}")


def _get(template: str, *, kept_s: int = 0, **more: str) -> Forward:
    return Forward(
        method="GET", template=template, upstream=Upstream.DISCOVERY, kept_s=kept_s, target=more.get("target")
    )


def _popular(template: str, content_type: str) -> Forward:
    return Forward(
        method="GET",
        template=template,
        upstream=Upstream.DISCOVERY,
        target="/api/v1/content/popular",
        query=f"content_type={content_type}",
        kept_s=60,
    )


def _all(
    upstream: Upstream, auth: Auth, *templates: str, target: str | None = None, method: str = ANY
) -> tuple[Forward, ...]:
    return tuple(
        Forward(method=method, template=template, upstream=upstream, auth=auth, target=target)
        for template in templates
    )


ADMIN = Auth.scope("admin")

DISCOVERY = (
    *_all(Upstream.DISCOVERY, Auth.OPTIONAL, "/api/v1/search", method="POST"),
    *_all(Upstream.DISCOVERY, Auth.OPTIONAL, "/api/v1/search/clicks", method="POST"),
    _get("/api/v1/search/autocomplete", kept_s=60),
    _get("/api/v1/content/trending", kept_s=60),
    _get("/api/v1/content/popular", kept_s=60),
    _get("/api/v1/content/expiring", kept_s=60),
    _get("/api/v1/content/{content_id}", kept_s=60),
    _get("/api/v1/content/{content_id}/availability", kept_s=60),
    _get("/api/v1/content/{content_id}/similar", kept_s=60),
    _get("/api/v1/genres", kept_s=60),
    *_all(
        Upstream.DISCOVERY,
        ADMIN,
        "/api/v1/admin/search/{rest:.+}",
        "/api/v1/admin/content",
        "/api/v1/admin/content/{rest:.+}",
    ),
)

SONA = _all(
    Upstream.SONA,
    Auth.REQUIRED,
    "/api/v1/recommendations",
    "/api/v1/recommendations/{rest:.+}",
    "/api/v1/personalization/score",
    "/api/v1/profile",
    "/api/v1/profile/{rest:.+}",
    "/api/v1/lora/train",
    "/api/v1/lora/train/{job_id}",
    "/api/v1/experiments",
    "/api/v1/experiments/{rest:.+}",
)

SYNC = (
    Forward(
        method="GET",
        template="/api/v1/sync/ws",
        upstream=Upstream.SYNC,
        auth=Auth.REQUIRED,
        is_socket=True,
    ),
    *_all(Upstream.SYNC, Auth.REQUIRED, "/api/v1/sync/{rest:.+}"),
)

AUTH = (
    # Auth looks at its tokens and at clients' credentials itself.
    *_all(
        Upstream.AUTH,
        Auth.NONE,
        "/auth/{rest:.+}",
        "/device",
        "/.well-known/{rest:.+}",
        "/api/v1/auth/{rest:.+}",
        "/api/v1/users/{rest:.+}",
        "/api/v1/api-keys",
        "/api/v1/api-keys/{rest:.+}",
        "/api/v1/mfa/{rest:.+}",
    ),
    *_all(
        Upstream.AUTH,
        ADMIN,
        "/api/v1/admin/users",
        "/api/v1/admin/users/{rest:.+}",
        "/api/v1/admin/clients",
        "/api/v1/admin/clients/{rest:.+}",
        "/api/v1/admin/audit-logs",
        "/api/v1/admin/rate-limits",
        "/api/v1/admin/rate-limits/{rest:.+}",
    ),
)

INGESTION = (
    *_all(Upstream.INGESTION, Auth.REQUIRED, "/api/v1/ingestion/{rest:.+}"),
    # Deliveries are signed by their platform.
    *_all(Upstream.INGESTION, Auth.NONE, "/api/v1/webhooks/{platform}", method="POST"),
)

PLAYBACK = _all(Upstream.PLAYBACK, Auth.REQUIRED, "/api/v1/playback/{rest:.+}")

ALIASES = (
    *_all(
        Upstream.DISCOVERY,
        Auth.OPTIONAL,
        "/api/v1/search/semantic",
        target="/api/v1/search",
        method="POST",
    ),
    _popular("/api/v1/movies/popular", "movie"),
    _popular("/api/v1/tv/popular", "series"),
    _popular("/api/v1/discover/movies", "movie"),
    _popular("/api/v1/discover/tv", "series"),
    *_all(Upstream.AUTH, Auth.REQUIRED, "/api/v1/user/profile", target="/api/v1/users/me", method="GET"),
    Forward(
        method="PUT",
        template="/api/v1/user/preferences",
        upstream=Upstream.AUTH,
        auth=Auth.REQUIRED,
        target="/api/v1/users/me/preferences",
    ),
    *_all(Upstream.AUTH, Auth.NONE, "/api/v1/auth/mfa/enroll", target="/api/v1/mfa/enroll", method="POST"),
    *_all(Upstream.AUTH, Auth.NONE, "/api/v1/auth/mfa/verify", target="/api/v1/mfa/verify", method="POST"),
    *_all(Upstream.SYNC, Auth.REQUIRED, "/api/v1/user/watchlist", target="/api/v1/sync/watchlist"),
    *_all(
        Upstream.SYNC,
        Auth.REQUIRED,
        "/api/v1/user/watchlist/{content_id}",
        target="/api/v1/sync/watchlist/{content_id}",
    ),
    *_all(Upstream.SYNC, Auth.REQUIRED, "/api/v1/devices", target="/api/v1/sync/devices"),
    *_all(Upstream.SYNC, Auth.REQUIRED, "/api/v1/devices/{rest:.+}", target="/api/v1/sync/devices/{rest}"),
    *_all(Upstream.PLAYBACK, Auth.REQUIRED, "/api/v1/user/history", target="/api/v1/playback/history"),
    *_all(Upstream.PLAYBACK, Auth.REQUIRED, "/api/v1/sessions", target="/api/v1/playback/sessions"),
    *_all(Upstream.SONA, Auth.REQUIRED, "/api/v1/sona/{rest:.+}", target="/api/v1/{rest}"),
)

TABLE: tuple[Forward, ...] = (*DISCOVERY, *ALIASES, *SONA, *SYNC, *AUTH, *INGESTION, *PLAYBACK)
"""In the order in which addresses are tried: a fixed one before a variable in its place."""
