"""What the database may say to a batch: "look again" and "never". Used by `CatalogueWriter` around its statements."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy.exc import DataError, DBAPIError

from media_gateway.core.adapters.postgres import RETRYABLE_STATES

_RACES = frozenset(
    {
        "contents_title_slot",
        "external_ids_pkey",
        "external_ids_eidr",
        "external_ids_imdb",
        "source_records_pkey",
    }
)
"""Unique constraints that two writers of one work meet at."""

_DATA_CLASSES = ("22", "23", "54")
"""SQLSTATE classes of values that don't fit, broken constraints and exceeded limits: the record is at fault."""


class StaleReadError(Exception):
    """Another writer changed what this batch had read: undo it and look again.

    Attributes
    ----------
    contents : frozenset of UUID
        Contents to lock from the start next time.
    """

    def __init__(self, contents: Iterable[UUID] = ()) -> None:
        super().__init__("another writer was faster")
        self.contents = frozenset(contents)


class RefusedError(Exception):
    """The database can't store a value of the batch; the same batch will be refused again."""


@contextmanager
def refusals() -> Iterator[None]:
    """Tell the two apart from a server that is away, whose errors pass."""
    try:
        yield
    except DBAPIError as error:
        state = str(getattr(error.orig, "sqlstate", None) or "")
        if state in RETRYABLE_STATES or getattr(error.orig, "constraint_name", None) in _RACES:
            raise StaleReadError from error
        # A value that the driver can't encode has no SQLSTATE.
        if state.startswith(_DATA_CLASSES) or isinstance(error, DataError):
            raise RefusedError(str(error.orig).splitlines()[0]) from error
        raise
