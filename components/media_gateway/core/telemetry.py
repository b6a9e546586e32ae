"""Logs, metrics and trace context, the same in every process.

`configure_logging` is called once, by the process that owns standard error (``run_component`` or the command line). The
web middleware starts a trace per request; outgoing calls pass it on with `outgoing_headers`. Nothing here knows a
component.
"""

import logging
import secrets
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from io import TextIOBase
from typing import Any, TextIO, cast

import orjson
import structlog
from opentelemetry import context as otel_context, trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from structlog.typing import EventDict, Processor, WrappedLogger

from media_gateway import __version__
from media_gateway.core.settings import CoreSettings

REQUEST_ID_HEADER = "X-Request-Id"

DURATION_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds of every request duration histogram, in seconds: the finest objective (10 ms) to well past the slowest one."""

_PROPAGATOR = TraceContextTextMapPropagator()
_NO_PARENT = trace.INVALID_SPAN_CONTEXT
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def configure_logging(
    settings: CoreSettings, *, service: str, stream: TextIO | TextIOBase | None = None
) -> None:
    """Send structlog and standard-library logs to one stream, one line each.

    Parameters
    ----------
    stream
        Where to; standard error by default, since standard output belongs to commands' results.
    """
    out = cast("TextIO", stream or sys.stderr)  # alike in all that is used here, in the type stubs unrelated
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        _origin(service),
    ]
    final: list[Processor]
    if settings.log_format == "json":
        # Tracebacks as plain text: the structured kind would print local variables, secrets among them.
        rename = structlog.processors.EventRenamer("message")
        final = [
            structlog.processors.format_exc_info,
            rename,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ]
    else:
        final = [
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    # Libraries speak through the standard library; below warning they are noise unless someone is debugging.
    logging.basicConfig(
        handlers=[handler], level=level if level <= logging.DEBUG else max(level, logging.WARNING), force=True
    )


def _origin(service: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        event["version"] = __version__
        return event

    return add


def _dumps(value: Any, **_options: Any) -> str:
    # repr for what JSON doesn't know (ids, paths, exceptions): a log call must never fail for its arguments.
    return orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


def start_trace(headers: Mapping[str, str], request_id: str) -> SpanContext:
    """Continue the caller's trace (W3C Trace Context) or begin one, and make it current in this task.

    Parameters
    ----------
    headers
        Of the request; an invalid ``traceparent`` counts as none, as the standard demands.
    request_id
        Sent along by `outgoing_headers`.

    Returns
    -------
    SpanContext
        The caller's trace id, flags and state with a span id of our own.
    """
    carrier = {name: value for name in ("traceparent", "tracestate") if (value := headers.get(name))}
    parent = _NO_PARENT
    if carrier:
        parent = trace.get_current_span(_PROPAGATOR.extract(carrier, Context())).get_span_context()
    own = SpanContext(
        trace_id=parent.trace_id if parent.is_valid else secrets.randbits(128) or 1,
        span_id=secrets.randbits(64) or 1,
        is_remote=False,
        trace_flags=parent.trace_flags if parent.is_valid else TraceFlags(TraceFlags.DEFAULT),
        trace_state=parent.trace_state,
    )
    otel_context.attach(trace.set_span_in_context(NonRecordingSpan(own)))
    _request_id.set(request_id)
    return own


def current_request_id() -> str | None:
    """Id of the request being handled, if there is one."""
    return _request_id.get()


def outgoing_headers() -> dict[str, str]:
    """Headers that tie a call to the request it is made for: trace context and request id. Empty outside a request."""
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers)
    if (request_id := _request_id.get()) is not None:
        headers[REQUEST_ID_HEADER] = request_id
    return headers


def exposition(accept: str | None) -> tuple[bytes, str]:
    """All metrics of this process, in the format that the ``Accept`` header asks for, and its content type."""
    encoder, content_type = choose_encoder(accept or "")
    return encoder(REGISTRY), content_type
