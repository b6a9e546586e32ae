"""The OpenAPI 3.1 document of a component, from the models that also check its requests."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from media_gateway import __version__
from media_gateway.core.web.problems import CONTENT_TYPE as PROBLEM
from media_gateway.core.web.routing import Auth, Route
from media_gateway.core.web.schemas import Problem

Mode = Literal["validation", "serialization"]
Schemas = Mapping[tuple[type[BaseModel], Mode], dict[str, Any]]

_REF = "#/components/schemas/"


def make_document(name: str, summary: str, routes: Sequence[Route]) -> dict[str, Any]:
    """The document.

    Parameters
    ----------
    name, summary
        Of the component.
    routes
        Its operations; hidden ones are left out.

    Returns
    -------
    dict
        JSON-ready; every model stands once under ``components.schemas``.
    """
    shown = [route for route in routes if not route.hidden]
    refs, definitions = _schemas(shown)
    paths: dict[str, dict[str, Any]] = {}
    taken: set[str] = set()
    for route in shown:
        operation_id = f"{route.tag}_{route.handler.__name__}"
        if operation_id in taken:  # one handler for several methods or paths
            operation_id = f"{operation_id}_{route.method.lower()}_{len(taken)}"
        taken.add(operation_id)
        operation = {"operationId": operation_id, **_operation(route, refs, definitions)}
        paths.setdefault(route.plain_template, {})[route.method.lower()] = operation
    used = _referenced(paths, definitions)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Media Gateway: {name}",
            "version": __version__,
            "description": summary,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in shown)],
        "paths": paths,
        "components": {
            "schemas": {key: value for key, value in sorted(definitions.items()) if key in used},
            "responses": {
                "Problem": {
                    "description": "The request failed; the problem document says why.",
                    "content": {PROBLEM: {"schema": {"$ref": _REF + "Problem"}}},
                }
            },
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _schemas(routes: Iterable[Route]) -> tuple[Schemas, dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], Mode], None] = {(Problem, "serialization"): None}
    for route in routes:
        inputs = (route.body, route.form, route.query, route.path_model)
        wanted.update({(model, "validation"): None for model in inputs if model})
        outputs = (route.returns, *route.responses.values())
        wanted.update({(model, "serialization"): None for model in outputs if model})
    refs, document = models_json_schema(list(wanted), ref_template=_REF + "{model}")
    return cast("Schemas", refs), document.get("$defs", {})


def _operation(route: Route, refs: Schemas, definitions: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "tags": [route.tag],
        "summary": route.summary or route.handler.__name__.replace("_", " ").capitalize(),
        "description": route.description,
        "responses": _responses(route, refs),
    }
    parameters = [
        *_parameters("path", route.path_model, refs, definitions),
        *_parameters("query", route.query, refs, definitions),
    ]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = refs[route.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    elif route.form is not None:
        form = {"application/x-www-form-urlencoded": {"schema": refs[route.form, "validation"]}}
        operation["requestBody"] = {"required": True, "content": form}
    elif route.raw_body:
        operation["requestBody"] = {"required": True, "content": {"*/*": {}}}
    if route.auth.considered:
        operation["security"] = _security(route.auth)
    return operation


def _responses(route: Route, refs: Schemas) -> dict[str, Any]:
    models = {route.status: route.returns, **route.responses}
    if route.returns is None and route.status == 200:
        models = {204: None, **route.responses}
    responses: dict[str, Any] = {}
    for status, model in models.items():
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if model is not None:
            answer["content"] = {"application/json": {"schema": refs[model, "serialization"]}}
        responses[str(status)] = answer
    return {**responses, "default": {"$ref": "#/components/responses/Problem"}}


def _parameters(
    place: Literal["path", "query"],
    model: type[BaseModel] | None,
    refs: Schemas,
    definitions: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The fields of a model as parameters; lists repeat their key (``style: form, explode: true``, the default)."""
    if model is None:
        return []
    schema = definitions[refs[model, "validation"]["$ref"].removeprefix(_REF)]
    required = set(schema.get("required", ()))
    parameters: list[dict[str, Any]] = []
    for name, field in schema.get("properties", {}).items():
        parameter: dict[str, Any] = {
            "name": name,
            "in": place,
            "required": place == "path" or name in required,
            "schema": _without_null(field),
        }
        if "description" in field:
            parameter["description"] = field["description"]
        parameters.append(parameter)
    return parameters


def _without_null(field: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's schema: null can't be written in an address, leaving the parameter out is how it is said."""
    schema = {name: value for name, value in field.items() if not (name == "default" and value is None)}
    variants = [variant for variant in schema.pop("anyOf", []) if variant != {"type": "null"}]
    if len(variants) == 1:
        return {**variants[0], **schema}
    return {**schema, "anyOf": variants} if variants else schema


def _security(auth: Auth) -> list[dict[str, list[str]]]:
    needed = {"bearer": [auth.needed_scope] if auth.needed_scope else []}
    return [needed] if auth.required else [{}, needed]


def _referenced(paths: Any, definitions: Mapping[str, Any]) -> set[str]:
    """Names of the schemas that the paths lead to. Models of parameters are spelled out and needn't stand there."""
    found: set[str] = set()
    todo: list[Any] = [paths, {"$ref": _REF + "Problem"}]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).removeprefix(_REF)
            if name in definitions and name not in found:
                found.add(name)
                todo.append(definitions[name])
            mapping = node.get("discriminator", {})
            todo += (
                [{"$ref": ref} for ref in mapping.get("mapping", {}).values()]
                if isinstance(mapping, dict)
                else []
            )
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return found
