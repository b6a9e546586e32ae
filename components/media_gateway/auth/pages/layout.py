"""Templates to answers, with the headers that keep a page to itself."""

from importlib.resources import files
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, FunctionLoader, StrictUndefined

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'"
)
"""Nothing is loaded but the one style sheet; nobody may frame a page (a click on it must be meant); forms go to us, and a
consent form on to the program's registered address, since browsers apply ``form-action`` to the redirect too."""


def _source(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


_environment = Environment(
    loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def page(template: str, *, status: int = 200, form_action: str = "'self'", **values: Any) -> web.Response:
    """A page from ``templates/``.

    Parameters
    ----------
    form_action
        Sources that its forms may lead to, as in the ``form-action`` of a content security policy.
    values
        For the template; every value is escaped.
    """
    return web.Response(
        status=status,
        text=_environment.get_template(template).render(**values),
        content_type="text/html",
        headers={
            "Content-Security-Policy": CONTENT_SECURITY_POLICY.format(form_action=form_action),
            "Cache-Control": "no-store",
            "X-Frame-Options": "DENY",
        },
    )
