"""The web pages of auth: plain HTML, no script, nothing from elsewhere."""

from media_gateway.auth.pages.layout import page

__all__ = ["page"]
