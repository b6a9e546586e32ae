"""A small client of the Kubernetes API for tests and benchmarks: aiohttp and the kubeconfig's client certificate.

It shares no code with the operator's client, so that what a test sees was not read by the program under test.
"""

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

from media_gateway_operator.kube.kinds import ALL_KINDS, Object, ResourceKind

NAMESPACE = ResourceKind("", "v1", "namespaces", "Namespace")
CRD = ResourceKind("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
QUOTA = ResourceKind("", "v1", "resourcequotas", "ResourceQuota")
REPLICA_SET = ResourceKind("apps", "v1", "replicasets", "ReplicaSet")

_KINDS = {(k.api_version, k.kind): k for k in (*ALL_KINDS, NAMESPACE, CRD, QUOTA, REPLICA_SET)}

_PATCHES = {
    "apply": "application/apply-patch+yaml",
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}


class ApiError(Exception):
    """The API server refused.

    Attributes
    ----------
    code : int
        Status code.
    reason : str
        As the server's Status says: ``AlreadyExists``.
    """

    def __init__(self, code: int, status: Object) -> None:
        super().__init__(f"{code} {status.get('reason')}: {status.get('message')}")
        self.code = code
        self.reason = str(status.get("reason", ""))
        self.status = status


@dataclass(frozen=True)
class Upstream:
    """Where an API server is and how to be let in."""

    server: str
    tls: ssl.SSLContext | None
    headers: dict[str, str]

    @classmethod
    def of(cls, kubeconfig: Path) -> Self:
        """Read the current context of a kubeconfig."""
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        headers = {}
        token = user.get("token") or ("tokenFile" in user and Path(user["tokenFile"]).read_text().strip())
        if token:
            headers["Authorization"] = f"Bearer {token}"
        tls = _tls(cluster, user) if cluster["server"].startswith("https:") else None
        return cls(cluster["server"].rstrip("/"), tls, headers)

    def session(self, *, connections: int = 0, timeout_s: float | None = 30) -> aiohttp.ClientSession:
        """A session with that server; only inside of a running loop."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.tls or True, limit=connections),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            headers=self.headers,
            auto_decompress=True,
        )


def _named(entries: list[Object], name: str) -> Object:
    return next(entry for entry in entries if entry["name"] == name)


def _tls(cluster: Object, user: Object) -> ssl.SSLContext:
    with tempfile.TemporaryDirectory(prefix="mgw-kube-") as folder:
        authority = _file(cluster, "certificate-authority", folder)
        context = ssl.create_default_context(cafile=authority)
        certificate = _file(user, "client-certificate", folder)
        if certificate is not None:
            context.load_cert_chain(certificate, _file(user, "client-key", folder))
    return context


def _file(entry: Object, field: str, folder: str) -> str | None:
    data = entry.get(f"{field}-data")
    if data is None:
        return entry.get(field)
    path = Path(folder) / field
    path.write_bytes(base64.b64decode(data))
    return str(path)


def kind_for(manifest: Object) -> ResourceKind:
    """Kind of a manifest, the tests' own kinds among them."""
    return _KINDS[manifest["apiVersion"], manifest["kind"]]


def path_of(kind: ResourceKind, namespace: str | None = None, name: str | None = None) -> str:
    """Path of an object, or of a collection."""
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{kind.root}{inside}/{kind.plural}" + (f"/{name}" if name else "")


class KubeApi:
    """The client; an asynchronous context manager.

    Parameters
    ----------
    kubeconfig
        File to take server and credentials from.
    connections
        How many requests may be under way at once; 0 for any number.
    """

    def __init__(self, kubeconfig: Path, *, connections: int = 0) -> None:
        self.kubeconfig = kubeconfig
        self._upstream = Upstream.of(kubeconfig)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = self._upstream.session(connections=self._connections)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def request(
        self,
        verb: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object:
        """One request, its answer as decoded JSON.

        Raises
        ------
        ApiError
            The server refused it.
        """
        assert self._session is not None, "use it as an asynchronous context manager"
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if data is not None else {}
        async with self._session.request(
            verb, self._upstream.server + path, data=data, headers=headers, params=query
        ) as answer:
            text = await answer.text()
            try:
                decoded: Object = json.loads(text)
            except ValueError:
                decoded = {"message": text}
            if answer.status >= 400:
                raise ApiError(answer.status, decoded)
            return decoded

    async def create(self, manifest: Object) -> Object:
        """POST a manifest."""
        kind = kind_for(manifest)
        return await self.request("POST", path_of(kind, manifest["metadata"].get("namespace")), manifest)

    async def get(self, kind: ResourceKind, namespace: str | None, name: str) -> Object | None:
        """An object, or None if there is none."""
        try:
            return await self.request("GET", path_of(kind, namespace, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def list(
        self, kind: ResourceKind, namespace: str | None = None, *, selector: str = ""
    ) -> list[Object]:
        """All objects of a kind, read in pages as the server advises."""
        query = {"limit": "500", **({"labelSelector": selector} if selector else {})}
        found: list[Object] = []
        while True:
            page = await self.request("GET", path_of(kind, namespace), query=query)
            # Items of a list come without the two fields that every other answer has.
            found += [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in page["items"]]
            if not page["metadata"].get("continue"):
                return found
            query["continue"] = page["metadata"]["continue"]

    async def patch(
        self,
        kind: ResourceKind,
        namespace: str | None,
        name: str,
        body: Any,
        *,
        form: str = "merge",
        subresource: str = "",
        manager: str = "test",
    ) -> Object:
        """PATCH an object: ``merge``, ``json`` or ``apply``."""
        path = path_of(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        query = {"fieldManager": manager, **({"force": "true"} if form == "apply" else {})}
        return await self.request("PATCH", path, body, content_type=_PATCHES[form], query=query)

    async def apply(self, manifest: Object, *, subresource: str = "", manager: str = "test") -> Object:
        """Server-side apply of a manifest, by force."""
        meta = manifest["metadata"]
        return await self.patch(
            kind_for(manifest), meta.get("namespace"), meta["name"], manifest,
            form="apply", subresource=subresource, manager=manager,
        )  # fmt: skip

    async def delete(
        self, kind: ResourceKind, namespace: str | None, name: str, *, propagation: str = "Background"
    ) -> None:
        """DELETE an object; one that isn't there is fine."""
        try:
            await self.request("DELETE", path_of(kind, namespace, name), {"propagationPolicy": propagation})
        except ApiError as error:
            if error.code != 404:
                raise

    async def delete_all(self, kind: ResourceKind, namespace: str) -> None:
        """DELETE every object of a kind in a namespace."""
        await self.request("DELETE", path_of(kind, namespace), {"propagationPolicy": "Background"})

    async def watch(
        self, kind: ResourceKind, namespace: str | None = None, *, since: str = "", selector: str = ""
    ) -> AsyncIterator[tuple[str, Object]]:
        """Changes as ``(ADDED | MODIFIED | DELETED, object)``; without `since`, what there is comes first as ADDED."""
        assert self._session is not None
        query = {"watch": "true"}
        if since:
            query["resourceVersion"] = since
        if selector:
            query["labelSelector"] = selector
        async with self._session.get(
            self._upstream.server + path_of(kind, namespace),
            params=query,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            if answer.status >= 400:
                raise ApiError(answer.status, {"message": await answer.text()})
            async for line in lines_of(answer.content):
                event = json.loads(line)
                yield event["type"], event["object"]

    async def metrics(self) -> str:
        """What the API server tells Prometheus."""
        assert self._session is not None
        async with self._session.get(self._upstream.server + "/metrics") as answer:
            return await answer.text()

    async def ready(self) -> bool:
        """Whether the server says it is."""
        assert self._session is not None
        try:
            async with self._session.get(self._upstream.server + "/readyz") as answer:
                return answer.status == 200
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False


async def lines_of(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines of any length: an object in a watch may be larger than a stream's own limit on lines."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line
