"""Route tables: what a component's ``routes.py`` declares, read by the server and by the OpenAPI document alike."""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypedDict, TypeVar, Unpack

from aiohttp import web
from pydantic import BaseModel

from media_gateway.core.errors import MediaGatewayError

Handler = Callable[..., Awaitable[BaseModel | web.StreamResponse | None]]
H = TypeVar("H", bound=Handler)
ErrorAnswer = Callable[[MediaGatewayError], web.Response]
"""Makes the answer of a failed request."""

_VARIABLE = re.compile(r"\{(\w+)(?::[^{}]+)?\}")


@dataclass(frozen=True, slots=True)
class Auth:
    """Who may call a route. Use the constants, or `Auth.scope` for callers whose token carries that scope."""

    required: bool
    considered: bool = True
    needed_scope: str | None = None

    NONE: ClassVar["Auth"]
    """Anyone; a token is not even looked at (health, log-in, webhooks with a signature of their own)."""
    OPTIONAL: ClassVar["Auth"]
    """Anyone; a token that is sent must be good."""
    REQUIRED: ClassVar["Auth"]
    """Any caller with a good token."""

    @staticmethod
    def scope(name: str) -> "Auth":
        """Callers whose token carries the scope."""
        return Auth(required=True, needed_scope=name)


Auth.NONE = Auth(required=False, considered=False)
Auth.OPTIONAL = Auth(required=False)
Auth.REQUIRED = Auth(required=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """What limits call a route.

    Attributes
    ----------
    endpoint : str
        Its id; by default the name of the handler.
    choose : callable
        Gives the id from the fields of the form, where one address serves several purposes. The form is not checked yet.
    """

    endpoint: str = ""
    choose: Callable[[Mapping[str, str]], str] | None = None


class RouteOptions(TypedDict, total=False):
    """Keywords of the route decorators.

    ``body``, ``query``, ``path``
        Models; the parsed value is passed to the handler under that name. JSON bodies are checked strictly (no number
        from a string), query and path text is converted.
    ``form``
        Model of an ``application/x-www-form-urlencoded`` body, passed under that name. A repeated field is an error, an
        empty one counts as not given (RFC 6749 section 3.1).
    ``returns``
        Model of the answer; None means an empty answer.
    ``responses``
        Models of further statuses, for the document.
    ``status``
        Status of the answer, 200 by default.
    ``summary``, ``description``
        For the document. The description defaults to the handler's docstring.
    ``auth``
        `Auth.OPTIONAL` by default.
    ``limits``
        What rate limits call the route, if its component has some; None leaves it unlimited.
    ``raw_body``
        The handler gets ``body: bytes`` as sent.
    ``unparsed``
        The handler reads the request itself, the path's variables too, and gets nothing else.
    ``body_limit_bytes``, ``timeout_ms``
        Instead of the settings of the same meaning; a timeout of 0 is none (for sockets and streams).
    ``answer_error``
        Makes the answer of a failure instead of a problem document, where a protocol has a shape of its own.
    ``hidden``
        Leave the route out of the document.
    """

    body: type[BaseModel]
    form: type[BaseModel]
    query: type[BaseModel]
    path: type[BaseModel]
    returns: type[BaseModel]
    responses: Mapping[int, type[BaseModel]]
    status: int
    summary: str
    description: str
    auth: Auth
    limits: Limits | None
    raw_body: bool
    unparsed: bool
    body_limit_bytes: int
    timeout_ms: int
    answer_error: ErrorAnswer
    hidden: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation. Fields as in `RouteOptions`; ``path_model`` and ``query`` are models, ``template`` the path."""

    method: str
    template: str
    handler: Handler
    tag: str
    body: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    path_model: type[BaseModel] | None = None
    returns: type[BaseModel] | None = None
    responses: Mapping[int, type[BaseModel]] = field(default_factory=dict)
    status: int = 200
    summary: str = ""
    description: str = ""
    auth: Auth = Auth.OPTIONAL
    limits: Limits | None = Limits()
    raw_body: bool = False
    unparsed: bool = False
    body_limit_bytes: int | None = None
    timeout_ms: int | None = None
    answer_error: ErrorAnswer | None = None
    hidden: bool = False

    @property
    def variables(self) -> list[str]:
        """Names of the path's variables."""
        return _VARIABLE.findall(self.template)

    @property
    def plain_template(self) -> str:
        """The path with variables as ``{name}``, without patterns."""
        return _VARIABLE.sub(r"{\1}", self.template)

    @property
    def passed(self) -> set[str]:
        """Names of the keyword arguments that the handler gets beside the request."""
        wanted = {
            "body": self.body is not None or self.raw_body,
            "form": self.form,
            "query": self.query,
            "path": self.path_model,
        }
        return {name for name, given in wanted.items() if given}

    def check(self) -> None:
        """Find mistakes of the declaration when the module is imported, not when a request comes.

        Raises
        ------
        TypeError
            The handler's parameters, the models and the path do not fit together.
        """
        where = f"{self.method} {self.template}"
        if not inspect.iscoroutinefunction(self.handler):
            raise TypeError(f"{where}: the handler is not a coroutine function")
        _, *parameters = inspect.signature(self.handler).parameters
        if set(parameters) != self.passed:
            raise TypeError(
                f"{where}: the handler takes {sorted(parameters)}, the route passes {sorted(self.passed)}"
            )
        fields = set(self.path_model.model_fields) if self.path_model else set()
        if fields != set(self.variables) and not self.unparsed:
            raise TypeError(
                f"{where}: the path's variables are {self.variables}, its model's fields {sorted(fields)}"
            )


class RouteTable:
    """Operations of one area of a component.

    Parameters
    ----------
    tag
        Heading of these operations in the document.
    """

    def __init__(self, *, tag: str) -> None:
        self.tag = tag
        self._routes: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def route(self, method: str, template: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Declare the decorated coroutine function as the handler of an operation."""

        def declare(handler: H) -> H:
            given: dict[str, Any] = dict(options)
            given["path_model"] = given.pop("path", None)
            given.setdefault("description", inspect.getdoc(handler) or "")
            route = Route(method=method, template=template, handler=handler, tag=self.tag, **given)
            route.check()
            self._routes.append(route)
            return handler

        return declare

    def get(self, template: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Declare a GET operation (HEAD comes with it)."""
        return self.route("GET", template, **options)

    def post(self, template: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Declare a POST operation."""
        return self.route("POST", template, **options)

    def put(self, template: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Declare a PUT operation."""
        return self.route("PUT", template, **options)

    def patch(self, template: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Declare a PATCH operation."""
        return self.route("PATCH", template, **options)

    def delete(self, template: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Declare a DELETE operation."""
        return self.route("DELETE", template, **options)
