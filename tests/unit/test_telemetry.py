"""Logs are one JSON object a line whatever is logged; traces follow W3C Trace Context."""

import io
import json
import logging
import re
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from hypothesis import HealthCheck, given, settings, strategies as st

from media_gateway.core.settings import CoreSettings
from media_gateway.core.telemetry import (
    configure_logging,
    current_request_id,
    exposition,
    outgoing_headers,
    start_trace,
)

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def test_our_lines_are_json_with_the_agreed_fields(stream: io.StringIO):
    configure_logging(CoreSettings(), service="discovery", stream=stream)
    structlog.get_logger("test").info("request", latency_ms=1.5, content_id=uuid4(), path=Path("/a"))
    line = json.loads(stream.getvalue())
    assert line.keys() >= {"timestamp", "level", "service", "version", "message", "latency_ms"}
    assert (line["message"], line["level"], line["service"]) == ("request", "info", "discovery")
    assert line["timestamp"].endswith("Z")


def test_an_exception_is_one_line_with_its_stack_and_no_local_variables(stream: io.StringIO):
    configure_logging(CoreSettings(), service="x", stream=stream)
    password = "hunter2"  # noqa: F841 - must not show
    try:
        int("wrong")
    except ValueError:
        structlog.get_logger("test").exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["exception"]
    assert "hunter2" not in line


def test_libraries_lines_are_json_too_and_quiet_below_warning(stream: io.StringIO):
    configure_logging(CoreSettings(), service="x", stream=stream)
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("lost %s", "connection")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == "lost connection"


def test_the_level_is_obeyed_and_console_is_for_people(stream: io.StringIO):
    configure_logging(CoreSettings(log_level="warning", log_format="console"), service="x", stream=stream)
    log = structlog.get_logger("test")
    log.info("chatter")
    log.warning("attention", key="value")
    assert "chatter" not in stream.getvalue()
    assert re.search(r"attention.*key=value", stream.getvalue())


def test_a_callers_trace_is_continued_with_a_span_of_our_own():
    def inside() -> None:
        span = start_trace({"traceparent": PARENT, "tracestate": "vendor=1"}, "req-1")
        assert format(span.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
        sent = outgoing_headers()
        assert re.fullmatch(r"00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01", sent["traceparent"])
        assert sent["traceparent"] != PARENT
        assert sent["tracestate"] == "vendor=1"
        assert sent["X-Request-Id"] == "req-1" == current_request_id()

    copy_context().run(inside)


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        PARENT.upper(),
        PARENT.replace("00-", "ff-", 1),
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        PARENT + "-more",
    ],
)
def test_an_invalid_parent_begins_a_new_trace(parent: str):
    def inside() -> None:
        span = start_trace({"traceparent": parent, "tracestate": "vendor=1"}, "req-1")
        assert span.is_valid
        assert format(span.trace_id, "032x") not in PARENT
        assert "tracestate" not in outgoing_headers()

    copy_context().run(inside)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parent=st.text(max_size=80), state=st.text(max_size=80))
def test_no_trace_header_can_break_a_request(parent: str, state: str):
    assert copy_context().run(start_trace, {"traceparent": parent, "tracestate": state}, "req-1").is_valid


def test_there_is_nothing_to_pass_on_outside_of_a_request():
    assert copy_context().run(outgoing_headers) == {}


def test_metrics_come_in_the_format_that_is_asked_for():
    body, content_type = exposition(None)
    assert content_type.startswith("text/plain")
    assert b"mgw_http_requests_total" in body or b"python_info" in body
    assert exposition("application/openmetrics-text; version=1.0.0")[1].startswith(
        "application/openmetrics-text"
    )
