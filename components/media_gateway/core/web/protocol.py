"""What aiohttp answers without asking the application, as problem documents: bytes that are no HTTP, headers too long.

Used by the server alone. aiohttp has no public hook for this: its server makes one protocol object a connection, and that
one's ``handle_error`` writes the answer. Its own answers repeat what was sent, an Authorization header among it.
"""

from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.telemetry import start_trace
from media_gateway.core.web.middlewares import record_refused, set_headers
from media_gateway.core.web.parsing import BROKEN_BODY
from media_gateway.core.web.problems import HeaderTooLargeError, invalid, problem_response


class ProblemProtocol(RequestHandler):
    """A connection whose every error is a problem document."""

    __slots__ = ("_component",)

    def __init__(self, component: str, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._component = component

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,  # noqa: ARG002 - aiohttp's signature; the problem knows its status
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - repeats what was sent
    ) -> web.StreamResponse:
        """The answer to what never became a request, or that no middleware answered.

        Raises
        ------
        ConnectionError
            Half of another answer is out; the connection is closed instead.
        """
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, no other one is possible")
        error = _problem(exc)
        request_id = str(uuid7())
        start_trace({}, request_id)
        response = problem_response(error)
        set_headers(response, request_id)
        response.force_close()
        record_refused(self._component, response.status, error, request_id)
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Say nothing, with a stack, about a body that its sender broke: it was answered and is in the log."""
        if not isinstance(kw.get("exc_info"), BROKEN_BODY):
            super().log_exception(*args, **kw)


def _problem(error: BaseException | None) -> MediaGatewayError:
    # The parser's own words repeat what came.
    if isinstance(error, LineTooLong):
        return HeaderTooLargeError("the address or a header is too long")
    if isinstance(error, BadHttpMethod):
        return invalid("", "the method is none that HTTP has")
    if isinstance(error, HttpProcessingError):
        return invalid("", "this is not a valid HTTP request")
    return MediaGatewayError("something went wrong on our side")


class _Server(web.Server):
    def __init__(self, component: str, made: web.Server) -> None:
        super().__init__(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,  # noqa: SLF001 - the only way to the options that aiohttp has completed
        )
        self._component = component

    def __call__(self) -> RequestHandler:
        return ProblemProtocol(self._component, self, loop=self._loop, **self._kwargs)


class ProblemRunner(web.AppRunner):
    """Runs an application over `ProblemProtocol`.

    Parameters
    ----------
    app
        The application.
    component
        Its name in log and metrics.
    options
        Of ``web.AppRunner``.
    """

    __slots__ = ("_component",)

    def __init__(self, app: web.Application, component: str, **options: Any) -> None:
        super().__init__(app, **options)
        self._component = component

    async def _make_server(self) -> web.Server:
        return _Server(self._component, await super()._make_server())
