"""``python -m media_gateway.ingestion``: ingestion in its own process."""

from media_gateway.core.web import run_component
from media_gateway.ingestion.app import COMPONENT

if __name__ == "__main__":
    run_component(COMPONENT)
