"""Adds batches to a run in their order, whatever order they commit in. Used by `services.pipeline` only.

The batch that is next in line is recorded inside its own transaction, together with those behind it that are committed
already. A batch that overtakes is kept in memory until its turn; should the process die before that, it is read again.
"""

from collections.abc import Sequence
from uuid import UUID

from media_gateway.core.adapters.postgres import AsyncConnection
from media_gateway.ingestion.runs import Counts, Outcome, Run
from media_gateway.ingestion.services.relays import dead_letter_row
from media_gateway.ingestion.sources import later
from media_gateway.ingestion.store_runs import Recorded, RunStore, check_lease, record_in


class Recorder:
    """The recorded part of one run.

    Parameters
    ----------
    store
        Where runs are kept.
    run
        As claimed; recording goes on behind its last batch.
    owner
        Of the lease.
    topic
        Where dead letters are published besides.
    """

    def __init__(self, store: RunStore, run: Run, owner: UUID, topic: str | None = None) -> None:
        self._store = store
        self._run_id = run.id
        self._owner = owner
        self._topic = topic
        self._next = run.recorded
        self._recording: int | None = None
        self._followers: list[Outcome] = []
        self._parked: dict[int, Outcome] = {}
        self._latest: Recorded | None = None
        self._joint: Outcome | None = None
        self.cursor = run.cursor
        self.counts: Counts = run.counts
        """As recorded, and the cursor too."""
        self.cancel_requested = run.cancel_requested
        """Whether somebody asked to cancel the run."""

    async def within(self, connection: AsyncConnection, outcome: Outcome) -> None:
        """Record a batch in the transaction that writes it, if it is its turn. May be called again for each try.

        Raises
        ------
        LeaseLostError
            Another process has the run; the transaction must be given up.
        """
        if outcome.first != self._next or self._recording not in {None, outcome.first}:
            await check_lease(connection, self._run_id, self._owner)
            return
        if self._recording is None:
            self._recording = outcome.first
            # Fixed for all tries: after a commit whose answer was lost, the next try must ask for the same batches.
            self._followers = self._waiting(outcome.first + 1)
        joint = self._join([outcome, *self._followers])
        self._latest = await record_in(connection, joint, self._run_id, self._owner)
        self._joint = joint

    async def committed(self, outcome: Outcome) -> None:
        """Note that the batch's transaction is committed, and record what only waited for it."""
        if self._recording == outcome.first:
            self._advance(1 + len(self._followers))
        else:
            self._parked[outcome.first] = outcome
        while self._recording is None and self._next in self._parked:
            self._recording = self._next
            self._followers = self._waiting(self._next)
            self._joint = self._join(self._followers)
            try:
                self._latest = await self._store.record(self._joint, self._run_id, self._owner)
            except BaseException:
                # Left parked: a repeated call, or the next batch, records them.
                self._recording = None
                raise
            self._advance(len(self._followers))

    def _waiting(self, first: int) -> list[Outcome]:
        found: list[Outcome] = []
        while (outcome := self._parked.get(first + len(found))) is not None:
            found.append(outcome)
        return found

    def _advance(self, batches: int) -> None:
        assert self._latest is not None
        assert self._joint is not None
        self.cursor = self._joint.cursor
        self.counts = self._latest.counts
        self.cancel_requested = self._latest.cancel_requested
        for number in range(self._next, self._next + batches):
            self._parked.pop(number, None)
        self._next += batches
        self._recording, self._followers = None, []

    def _join(self, outcomes: Sequence[Outcome]) -> Outcome:
        """Consecutive batches as one; the cursor is the greatest of theirs and the one before."""
        counts, cursor = Counts(), self.cursor
        for outcome in outcomes:
            counts.add(outcome.counts)
            cursor = later(cursor, outcome.cursor)
        letters = [letter for outcome in outcomes for letter in outcome.dead_letters]
        published = (
            [dead_letter_row(self._run_id, letter, self._topic) for letter in letters] if self._topic else []
        )
        last = outcomes[-1]
        return Outcome(
            first=outcomes[0].first,
            batches=len(outcomes),
            counts=counts,
            dead_letters=letters,
            published=published,
            checkpoint=last.checkpoint,
            cursor=cursor,
            percent=last.percent,
            rate_per_second=last.rate_per_second,
            remaining_s=last.remaining_s,
        )
