"""What a pod of the platform is told: addresses of the servers behind it, keys, and which image it runs.

Used by the builders of components, of migrations and of IngestionJobs. Addresses with passwords are never read here: a pod
gets them from the Secret that the resource names, or from the one that the operator made for an embedded server.
"""

from collections.abc import Iterable, Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from media_gateway.core.bootstrap import BackendName
from media_gateway.core.domain.spec_types import SecretRef
from media_gateway.core.settings import PREFIX
from media_gateway_operator.crds.gateway import MediaGatewaySpec, Mode
from media_gateway_operator.kube.kinds import Object

ADDRESS_KEY: Final = "dsn"
"""Key of a generated Secret that holds an embedded server's address."""
PASSWORD_KEY: Final = "password"  # noqa: S105 - the name of a key
"""Key of a generated Secret that holds an embedded server's password."""
SIGNING_KEY: Final = "secret"
"""Key of the generated Secret that tokens are signed with."""

_VARIABLES: Final[dict[BackendName, str]] = {
    "database": "DATABASE_URL",
    "redis": "REDIS_URL",
    "vectors": "VECTOR_URL",
    "events": "EVENTS_URL",
    "embedder": "EMBEDDER_URL",
}


@dataclass(frozen=True, slots=True)
class Release:
    """The images that this operator brings.

    Attributes
    ----------
    registry, version : str
        Where a resource does not say otherwise.
    """

    registry: str
    version: str


def version_of(spec: MediaGatewaySpec, release: Release) -> str:
    """The release of the platform that a resource asks for."""
    return spec.version or release.version


def image_of(spec: MediaGatewaySpec, target: str, release: Release) -> str:
    """Image of a build target (``discovery``, ``migrate``, ``dev-backends``)."""
    registry = spec.image.registry or release.registry
    return f"{registry}/media-gateway-{target}:{spec.image.tag or version_of(spec, release)}"


def child_name(gateway: str, part: str) -> str:
    """Name of what belongs to one part of a gateway: a component, an embedded server."""
    return f"{gateway}-{part}"


def servers_of(spec: MediaGatewaySpec, needs: AbstractSet[BackendName]) -> frozenset[str]:
    """Dependencies (``postgres``, ``kafka``) that a pod with these needs connects to."""
    return frozenset(server for need in needs if (server := _server(spec, need)) is not None)


def mode_of(spec: MediaGatewaySpec, server: str) -> Mode:
    """The mode of a dependency."""
    found: Mode = getattr(spec.dependencies, server).effective(spec.profile)
    return found


def address_ref(gateway: str, spec: MediaGatewaySpec, server: str) -> SecretRef | None:
    """Secret and key that hold a dependency's address; None if it is disabled or its address is no secret."""
    if mode_of(spec, server) == "External":
        found: SecretRef | None = getattr(spec.dependencies, server).dsn_secret_ref
        return found
    if mode_of(spec, server) == "Embedded" and server != "kafka":
        return SecretRef(name=child_name(gateway, server), key=ADDRESS_KEY)
    return None


def signing_ref(gateway: str, spec: MediaGatewaySpec) -> SecretRef | None:
    """Secret and key that tokens are signed with; None if an issuer elsewhere signs them."""
    if spec.auth.jwks_uri is not None:
        return None
    return spec.auth.signing_key_secret_ref or SecretRef(name=child_name(gateway, "auth"), key=SIGNING_KEY)


def environment(gateway: str, spec: MediaGatewaySpec, needs: AbstractSet[BackendName]) -> list[Object]:
    """Variables with the addresses of what a pod needs, as a container's ``env``.

    Parameters
    ----------
    gateway
        Name of the MediaGateway.
    needs
        As in a component's ``app.py``. What the vectors and events need behind them is added.
    """
    return [_variable(gateway, spec, need) for need in sorted(_with_servers(spec, needs))]


def auth_environment(gateway: str, spec: MediaGatewaySpec) -> list[Object]:
    """Variables that say whose tokens are accepted, for pods that serve requests."""
    found: list[Object] = []
    if (ref := signing_ref(gateway, spec)) is not None:
        found.append(secret_variable(f"{PREFIX}AUTH_SECRET", ref))
    if spec.auth.jwks_uri is not None:
        found.append(_plain("AUTH_JWKS_URL", spec.auth.jwks_uri))
    if spec.auth.issuer is not None:
        found.append(_plain("AUTH_ISSUER", spec.auth.issuer))
    if spec.auth.audiences:
        found.append(_plain("AUTH_AUDIENCE", spec.auth.audiences[0]))
    return found


def secret_variable(name: str, ref: SecretRef) -> Object:
    """A variable whose value is in a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}


def references(variables: Iterable[Object]) -> list[SecretRef]:
    """Secrets and keys that variables take their values from, each once."""
    found = {
        (ref["name"], ref["key"]): SecretRef(name=ref["name"], key=ref["key"])
        for variable in variables
        if (ref := variable.get("valueFrom", {}).get("secretKeyRef")) is not None
    }
    return list(found.values())


def _with_servers(spec: MediaGatewaySpec, needs: AbstractSet[BackendName]) -> set[BackendName]:
    # As `open_backends` does: vectors in the database and events in Redis open those too.
    servers = {_server(spec, need) for need in needs}
    return {
        *needs,
        *({"database"} if "postgres" in servers else ()),
        *({"redis"} if "redis" in servers else ()),
    }


def _server(spec: MediaGatewaySpec, need: BackendName) -> str | None:
    match need:
        case "database":
            return "postgres"
        case "redis":
            return "redis"
        case "vectors":
            return "postgres" if mode_of(spec, "qdrant") == "Disabled" else "qdrant"
        case "events":
            return "redis" if mode_of(spec, "kafka") == "Disabled" else "kafka"
        case "embedder":
            return None


def _variable(gateway: str, spec: MediaGatewaySpec, need: BackendName) -> Object:
    name = _VARIABLES[need]
    if need == "embedder":
        return _plain(name, "minilm:")
    if need == "vectors" and mode_of(spec, "qdrant") == "Disabled":
        return _plain(name, "pgvector:")
    if need == "events" and mode_of(spec, "kafka") == "Disabled":
        return _plain(name, "redis-stream:")
    server = _server(spec, need)
    assert server is not None
    ref = address_ref(gateway, spec, server)
    if ref is None:
        return _plain(name, f"kafka://{child_name(gateway, 'kafka')}:9092")
    return secret_variable(PREFIX + name, ref)


def _plain(name: str, value: str) -> Object:
    return {"name": PREFIX + name, "value": value}
