"""No input makes a server error: requests as hypothesis thinks them up, and as schemathesis reads them off the document."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
import schemathesis
import structlog
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from pydantic import SecretStr
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from media_gateway.core.settings import CoreSettings
from media_gateway.core.tokens import mint_token
from media_gateway.core.web import start_component
from tests.support.echo_component import COMPONENT, SECRET, Order, ThingQuery, send_raw

fuzzing = settings(
    deadline=None,
    max_examples=250,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The echo component in a thread of its own, so that synchronous clients can call it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    configured = CoreSettings(auth_secret=SecretStr(SECRET), body_limit_bytes=4096)
    with structlog.testing.capture_logs():
        running = asyncio.run_coroutine_threadsafe(
            start_component(COMPONENT, configured, port=0), loop
        ).result(30)
        yield running.url
        asyncio.run_coroutine_threadsafe(running.drain(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


anything = st.text(max_size=30) | st.binary(max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
header_text = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)


def escaped(value: str | bytes) -> str:
    return (
        quote_from_bytes(value, safe="")
        if isinstance(value, bytes)
        else quote(value, safe="", errors="surrogatepass")
    )


segments = st.sampled_from(
    ["01890a5d-ac96-774b-bcce-b302099a8057", "", "%", "%00", "%2F", "%zz"]
) | anything.map(escaped)
operations = st.one_of(
    st.sampled_from(
        [("POST", "/api/v1/orders"), ("POST", "/api/v1/raw"), ("GET", "/api/v1/who"), ("HEAD", "/api/v1/me")]
    ),
    st.tuples(st.sampled_from(["GET", "DELETE"]), segments.map("/api/v1/things/{}".format)),
    st.tuples(
        st.sampled_from(["PUT", "OPTIONS", "PROPFIND", "GET"]), anything.map(escaped).map("/{}".format)
    ),
)
queries = st.lists(
    st.tuples(
        st.sampled_from([*ThingQuery.model_fields, "bogus"]) | anything.map(escaped),
        st.sampled_from(["", "1", "nan", "1e999", "9" * 40]) | anything.map(escaped),
    ).map("=".join),
    max_size=4,
).map("&".join)
bodies = st.one_of(
    st.dictionaries(st.sampled_from([*Order.model_fields, "bogus"]), json_values).map(
        lambda v: json.dumps(v).encode()
    ),
    st.binary(max_size=200),
    st.sampled_from(
        [b"", b"[" * 3000, b"9" * 4000, b" " * 5000, b'{"title":"\\ud800"}', b'{"title":"\\u0000"}']
    ),
)
headers = st.fixed_dictionaries(
    {
        "Content-Type": st.sampled_from(
            ["application/json"] * 5 + ["text/plain", "application/json; charset=x"]
        )
        | header_text
    },
    optional={
        "Authorization": st.sampled_from([f"Bearer {mint_token(SECRET, 'user-1')}", "Bearer x.y.z"])
        | header_text,
        "X-Request-Id": header_text,
        "traceparent": header_text,
        "tracestate": header_text,
        "Accept": header_text,
    },
)
odd_headers = st.sampled_from(
    [("Expect", "100-continue"), ("Expect", "the unexpected"), ("X-Request-Deadline-Ms", "60000")]
) | (
    st.tuples(st.just("X-Request-Deadline-Ms"), st.sampled_from(["0", "-1"]) | header_text)
    | st.tuples(
        st.just("Content-Encoding"),
        st.sampled_from(["gzip", "deflate", "br", "zstd", "identity"]) | header_text,
    )
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request as bytes: well framed, with anything inside."""
    method, target = draw(operations)
    query = draw(st.just("") | queries)
    target += f"?{query}" if query else ""
    body = draw(bodies)
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [
        f"{name}: {value}"
        for name, value in [*draw(headers).items(), *draw(st.lists(odd_headers, max_size=1))]
    ]
    if draw(st.booleans()):
        lines.append("Transfer-Encoding: chunked")
        body = (f"{len(body):x}\r\n".encode() + body + b"\r\n" if body else b"") + b"0\r\n\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@fuzzing
@given(request=requests())
def test_no_request_makes_a_server_error(url: str, request: bytes):
    answer = asyncio.run(send_raw(url, request))
    statuses = re.findall(rb"^HTTP/1\.[01] (\d{3}) ", answer, re.MULTILINE)
    assert statuses, answer
    status = int(statuses[-1])  # after "100 Continue"
    # A deadline of few milliseconds may honestly run out.
    assert status < 500 or (status == 504 and b"X-Request-Deadline-Ms" in request), answer
    if status >= 400 and not request.startswith(b"HEAD") and b"application/problem+json" in answer:
        document = json.loads(answer.rpartition(b"\r\n\r\n")[2])
        assert document["status"] == status
        assert status != 400 or document["errors"]


WITH_INPUT = ["POST /api/v1/orders", "GET /api/v1/things/{thing_id}", "DELETE /api/v1/things/{thing_id}"]
PROMISES = [
    *((operation, mode) for operation in WITH_INPUT for mode in schemathesis.GenerationMode),
    ("GET /health", schemathesis.GenerationMode.POSITIVE),
]


@pytest.mark.parametrize(("operation", "mode"), PROMISES)
def test_the_server_keeps_what_its_document_promises(
    url: str, operation: str, mode: schemathesis.GenerationMode
):
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=SchemathesisConfig())
    method, path = operation.split(" ", 1)

    @settings(fuzzing, max_examples=40)
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case[Any]) -> None:
        # Control characters and numbers beyond 64 bits are refused everywhere; no schema says so for each of its fields.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    check()
