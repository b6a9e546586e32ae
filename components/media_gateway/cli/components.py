"""The services of this distribution. A new one joins the command line, `up` and the documents by a row here."""

import importlib
from typing import Any

from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.web import Component

COMPONENTS = {
    "discovery": "media_gateway.discovery.app:COMPONENT",
    "ingestion": "media_gateway.ingestion.app:COMPONENT",
}
"""Name to ``module:attribute``. The name is also the package's (``media_gateway.<name>``)."""


def load_component(name: str) -> Component[Any]:
    """The declaration of a component.

    Raises
    ------
    NotConfiguredError
        There is no component of that name.
    """
    if name not in COMPONENTS:
        raise NotConfiguredError(f"there is no component {name!r}; there are: {', '.join(COMPONENTS)}")
    module, _, attribute = COMPONENTS[name].partition(":")
    component: Component[Any] = getattr(importlib.import_module(module), attribute)
    return component
