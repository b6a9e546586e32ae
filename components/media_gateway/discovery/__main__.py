"""``python -m media_gateway.discovery``: discovery in its own process."""

from media_gateway.core.web import run_component
from media_gateway.discovery.app import COMPONENT

if __name__ == "__main__":
    run_component(COMPONENT)
