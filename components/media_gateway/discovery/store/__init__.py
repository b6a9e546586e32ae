"""Discovery's SQL, a module for each part: the catalogue (read only), the ranking configuration, search analytics."""

from media_gateway.discovery.store.catalogue import (
    BULK_TIMEOUT_MS,
    HALF_LIFE_YEARS,
    PEOPLE_LIMIT,
    UNKNOWN_AGE_YEARS,
    CatalogueReader,
    ContentRemovedError,
    OfferingFilter,
)

__all__ = [
    "BULK_TIMEOUT_MS",
    "HALF_LIFE_YEARS",
    "PEOPLE_LIMIT",
    "UNKNOWN_AGE_YEARS",
    "CatalogueReader",
    "ContentRemovedError",
    "OfferingFilter",
]
