"""``POST /v1/progress/{namespace}/{name}``: where job pods report how far they are.

A pod may report for the IngestionJob whose Job it belongs to, and for nothing else. Followers point to the leader. What a
report means is the board's; here it is only told whose it is.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

from media_gateway.core.errors import (
    InvalidInputError,
    MediaGatewayError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from media_gateway.core.validation import message_of
from media_gateway_operator.engine import metrics
from media_gateway_operator.engine.tokens import PodIdentity, PodTokens
from media_gateway_operator.kube.client import KubeClient
from media_gateway_operator.kube.kinds import INGESTION_JOB, JOB, POD, Ref
from media_gateway_operator.kube.store import Store, controller_of

BODY_LIMIT: Final = 16_384
PODS_KEPT: Final = 4096

_STATUS = {"unauthenticated": 401, "permission_denied": 403, "invalid_input": 400}

R = TypeVar("R", bound=BaseModel)
R_contra = TypeVar("R_contra", bound=BaseModel, contravariant=True)

_log = structlog.get_logger(__name__)


class Board(Protocol[R_contra]):
    """Takes reports; writes them to the status in its own time."""

    def report(self, namespace: str, name: str, pod: str, payload: R_contra) -> None:
        """Note a report of a pod of an IngestionJob."""


class ProgressDoor(Generic[R]):
    """Checks who reports, and hands the report on.

    Parameters
    ----------
    model
        What a report must look like.
    leader
        None while this replica leads; else the leader's address, empty if unknown.
    """

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        board: Board[R],
        model: type[R],
        leader: Callable[[], str | None],
    ) -> None:
        self._client = client
        self._store = store
        self._board = board
        self._model = model
        self._leader = leader
        self._tokens = PodTokens(client)
        self._jobs: OrderedDict[str, str] = OrderedDict()
        """Pod uid to the uid of its Job."""

    def app(self) -> web.Application:
        """The application to be served on the progress port."""
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_post("/v1/progress/{namespace}/{name}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.Response:
        response = await self._answer(request)
        metrics.progress_reports.labels(str(response.status)).inc()
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        address = self._leader()
        if address is not None:
            if not address:
                return web.Response(status=503, text="no replica leads yet\n", headers={"Retry-After": "2"})
            return web.Response(status=307, headers={"Location": f"{address}{request.path}"})
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        try:
            pod = await self._tokens.identify(_bearer(request))
            await self._check(pod, namespace, name)
            payload = self._parse(await request.read())
        except MediaGatewayError as error:
            status = _STATUS.get(error.code, 503)
            _log.info(
                "a report was refused", namespace=namespace, name=name, status=status, error=error.message
            )
            return web.Response(status=status, text=f"{error.message}\n")
        self._board.report(namespace, name, pod.name, payload)
        return web.Response(status=204)

    async def _check(self, pod: PodIdentity, namespace: str, name: str) -> None:
        if pod.namespace != namespace:
            raise PermissionDeniedError("a pod may report for jobs of its own namespace only")
        resource = self._store.find(Ref(INGESTION_JOB, namespace, name))
        if resource is None:
            raise PermissionDeniedError(f"there is no IngestionJob {name}")
        job_uid = self._jobs.get(pod.uid) or await self._job_of(pod)
        jobs = (one for one in self._store.owned(resource["metadata"]["uid"]) if one["kind"] == JOB.kind)
        if all(job["metadata"]["uid"] != job_uid for job in jobs):
            raise PermissionDeniedError(f"pod {pod.name} does not belong to IngestionJob {name}")

    async def _job_of(self, pod: PodIdentity) -> str:
        found = await self._client.get(Ref(POD, pod.namespace, pod.name))
        owner = controller_of(found) if found is not None else None
        if found is None or owner is None or found["metadata"]["uid"] != pod.uid:
            raise PermissionDeniedError(f"pod {pod.name} is gone or belongs to no Job")
        self._remember(pod.uid, owner["uid"])
        return str(owner["uid"])

    def _remember(self, pod_uid: str, job_uid: str) -> None:
        self._jobs[pod_uid] = job_uid
        if len(self._jobs) > PODS_KEPT:
            self._jobs.popitem(last=False)

    def _parse(self, body: bytes) -> R:
        try:
            return self._model.model_validate_json(body)
        except ValidationError as error:
            first: Any = error.errors(include_input=False, include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "body"
            raise InvalidInputError(f"{field}: {message_of(first)}") from None


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError("send the pod's projected token as Authorization: Bearer")
    return token.strip()
