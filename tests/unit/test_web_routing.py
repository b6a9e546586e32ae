"""Declarations: mistakes show at import, the document says what the server does."""

import json
import re
from importlib import resources
from typing import Any

import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator

from media_gateway.core.bootstrap import Backends
from media_gateway.core.settings import CoreSettings
from media_gateway.core.web import Auth, Component, RouteTable, Wire, create_app
from media_gateway.core.web.app import service_routes
from media_gateway.core.web.openapi import make_document
from tests.support.echo_component import COMPONENT, Order, ThingPath, routes


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    made = make_document(COMPONENT.name, COMPONENT.summary, [*routes, *service_routes])
    plain: dict[str, Any] = json.loads(json.dumps(made))
    return plain


def test_document_is_valid_openapi_3_1(document: dict[str, Any]):
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1.")


def test_document_names_every_model_once_and_refers_to_it(document: dict[str, Any]):
    # A recursive model that goes in and out has a schema for each way (a limit of pydantic's comparison), others have one.
    operation = document["paths"]["/api/v1/orders"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/Order-Input"}
    assert operation["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
    schemas = document["components"]["schemas"]
    assert {
        "Order-Input",
        "Order-Output",
        "Part-Input",
        "Flavour",
        "Who",
        "Problem",
        "HealthView",
    } <= schemas.keys()
    assert not {"ThingPath"} & schemas.keys(), "parameter models are spelled out as parameters"
    assert schemas["Order-Input"]["additionalProperties"] is False
    assert schemas["Part-Input"]["properties"]["parts"]["items"] == {
        "$ref": "#/components/schemas/Part-Input"
    }


def test_document_has_the_parameters_and_their_bounds(document: dict[str, Any]):
    parameters = {p["name"]: p for p in document["paths"]["/api/v1/things/{thing_id}"]["get"]["parameters"]}
    assert parameters["thing_id"]["in"] == "path"
    assert parameters["thing_id"]["required"] is True
    assert parameters["limit"]["schema"]["maximum"] == 100
    assert parameters["limit"]["required"] is False


def test_document_says_who_may_call(document: dict[str, Any]):
    paths = document["paths"]
    assert paths["/api/v1/things/{thing_id}"]["delete"]["security"] == [{"bearer": ["admin"]}]
    assert paths["/api/v1/who"]["get"]["security"] == [{}, {"bearer": []}]
    assert paths["/api/v1/me"]["get"]["security"] == [{"bearer": []}]
    assert "security" not in paths["/api/v1/raw"]["post"]


def test_document_leaves_hidden_routes_out(document: dict[str, Any]):
    assert "/api/v1/broken" not in document["paths"]


async def no_parameters(_request: web.Request) -> None: ...


async def takes_body(_request: web.Request, body: Order) -> None: ...


async def takes_path(_request: web.Request, path: ThingPath) -> None: ...


@pytest.mark.parametrize(
    ("template", "options", "handler", "complaint"),
    [
        ("/a", {"body": Order}, no_parameters, r"passes \['body'\]"),
        ("/a", {}, takes_body, r"takes \['body'\]"),
        ("/a/{b}", {}, no_parameters, r"variables are \['b'\]"),
        ("/a/{other}", {"path": ThingPath}, takes_path, r"fields \['thing_id'\]"),
        ("/a", {}, lambda _request: None, "not a coroutine"),
    ],
)
def test_a_route_that_does_not_fit_its_handler_fails_when_declared(template, options, handler, complaint):
    with pytest.raises(TypeError, match=complaint):
        RouteTable(tag="x").get(template, **options)(handler)


def test_two_routes_of_one_address_fail_when_the_application_is_made():
    tables = (RouteTable(tag="a"), RouteTable(tag="b"))
    for table in tables:
        table.get("/a", summary="x")(no_parameters)
    component = Component(name="twice", port=0, settings=CoreSettings, routes=tables)
    with pytest.raises(ValueError, match="two routes answer GET /a"):
        create_app(component, CoreSettings(), Backends(CoreSettings()))


def test_one_handler_of_several_operations_has_an_id_for_each():
    table = RouteTable(tag="x")
    table.get("/poll")(table.post("/poll")(no_parameters))
    document = make_document("x", "", list(table))
    OpenAPIV31SpecValidator(document).validate()
    assert len({operation["operationId"] for operation in document["paths"]["/poll"].values()}) == 2


def test_path_patterns_do_not_show_in_the_document():
    class Path(Wire):
        number: int

    table = RouteTable(tag="x")

    @table.get(r"/a/{number:\d+}", path=Path, auth=Auth.NONE)
    async def numbered(_request: web.Request, path: Path) -> None: ...

    assert list(make_document("x", "", list(table))["paths"]) == ["/a/{number}"]


@pytest.mark.parametrize("name", ["docs.html", "docs.css", "docs.js"])
def test_the_docs_page_needs_nothing_from_outside_and_nothing_inline(name: str):
    text = resources.files("media_gateway.core.web").joinpath("static", name).read_text()
    assert not re.search(r"https?://|@import|url\(", text)
    assert not re.search(r"innerHTML|eval\(|style=|\son\w+=\"", text)
    if name == "docs.html":
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)", text)
