"""Discovery's SQL, a module for each part: the catalogue (read only), ranking configuration, search analytics, activity."""

from media_gateway.discovery.store.catalogue import (
    BULK_TIMEOUT_MS,
    PEOPLE_LIMIT,
    CatalogueReader,
    ContentRemovedError,
    OfferingFilter,
)

__all__ = [
    "BULK_TIMEOUT_MS",
    "PEOPLE_LIMIT",
    "CatalogueReader",
    "ContentRemovedError",
    "OfferingFilter",
]
