"""What a batch changes: stored and arriving records in, the contents, links and ids that differ out. Pure.

`CatalogueWriter` loads what is concerned, asks for a `Plan`, and has the store write it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from media_gateway.core.domain.ids import uuid7
from media_gateway.ingestion.identity.folding import OfferingKey, Work, changed_fields, fold
from media_gateway.ingestion.identity.keys import ExactKey, TitleKeys
from media_gateway.ingestion.identity.records import FOUNDER, Member, RecordKey, overlay
from media_gateway.ingestion.identity.resolution import BY_ORDER, Group, Near, resolve


@dataclass(slots=True)
class ContentChange:
    """A content that a batch makes or touches.

    Attributes
    ----------
    content_id : UUID
        Its id.
    new, old : Work, Work | None
        The fold now and before; None for a content that did not exist.
    title : TitleKeys
        Of ``new``.
    retitled : bool
        Whether its title hash is new to it, so that it needs a free slot.
    absorbed : tuple of UUID
        Contents that have become part of it.
    fields : list of str
        Facts that differ, offerings not among them.
    ended, shown : list of OfferingKey
        Offerings no longer listed; offerings that are new or differ.
    withdrawn : list of OfferingKey
        Offerings whose records now belong to another content: never offered here, as we know now.
    """

    content_id: UUID
    new: Work
    old: Work | None
    title: TitleKeys
    retitled: bool
    absorbed: tuple[UUID, ...] = ()
    fields: list[str] = field(default_factory=list)
    ended: list[OfferingKey] = field(default_factory=list)
    shown: list[OfferingKey] = field(default_factory=list)
    withdrawn: list[OfferingKey] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether anything a reader sees has changed."""
        return bool(self.old is None or self.absorbed or self.fields or self.offerings_changed)

    @property
    def offerings_changed(self) -> bool:
        """Whether an offering came, went or differs."""
        return bool(self.ended or self.shown or self.withdrawn)


@dataclass(slots=True)
class Plan:
    """Rows to write.

    Attributes
    ----------
    contents : list of ContentChange
        Contents that differ.
    founded, updated : list of Member
        Records that came: without and with a row.
    relinked : list of Member
        Records that did not come and have another content or link now.
    ids_new, ids_moved : list
        Exact ids with their content: not stored before; stored under another content of this plan.
    ids_gone : list of ExactKey
        Ids that no record bears any more.
    involved : frozenset of UUID
        Contents that existed before and are locked.
    """

    contents: list[ContentChange] = field(default_factory=list)
    founded: list[Member] = field(default_factory=list)
    updated: list[Member] = field(default_factory=list)
    relinked: list[Member] = field(default_factory=list)
    ids_new: list[tuple[ExactKey, UUID]] = field(default_factory=list)
    ids_moved: list[tuple[ExactKey, UUID]] = field(default_factory=list)
    ids_gone: list[ExactKey] = field(default_factory=list)
    involved: frozenset[UUID] = frozenset()


def arrive(arriving: Member, stored: Member | None) -> Member:
    """A record that came, laid over its stored version; as new, if an earlier plan has changed it."""
    if stored is None:
        arriving.content_id, arriving.link, arriving.loose = None, FOUNDER, True
        return arriving
    record = overlay(stored.record, arriving.record)
    whole = arriving if record is arriving.record else Member.arriving(record, arriving.order[0])
    return replace(
        whole,
        digest=arriving.digest,
        content_id=stored.content_id,
        link=stored.link,
        pin=stored.pin,
        loose=stored.pin is None and (whole.ids != stored.ids or whole.title != stored.title),
        is_stored=True,
    )


@dataclass(frozen=True, slots=True)
class Known:
    """What the database says of the contents concerned.

    Attributes
    ----------
    members : Sequence of Member
        All records of these contents.
    owners : Mapping
        Content of each exact id of the records that came, as far as it is one of these.
    removed : frozenset of UUID
        Contents an administrator removed: of two that merge, the other one survives.
    """

    members: Sequence[Member] = ()
    owners: Mapping[ExactKey, UUID] = field(default_factory=dict)
    removed: frozenset[UUID] = frozenset()


def make_plan(known: Known, arrivals: Sequence[Member], near: Near | None = None) -> Plan:
    """Work out what changes.

    Parameters
    ----------
    known
        What is stored.
    arrivals
        Records that came (from `arrive`), in order; they replace their stored versions.
    near
        For arrivals that bring an embedding.
    """
    old = _Old(known)
    replaced = {member.key for member in arrivals}
    kept = [member for member in known.members if member.key not in replaced]
    before = {member.key: (member.content_id, member.link) for member in kept}
    groups = resolve([*arrivals, *kept], near)
    plan = Plan(involved=frozenset(old.members))
    absorbed = _place(groups, known.removed)
    for group in groups:
        if kept and old.is_whole(group):
            continue
        change = _change(group, old, absorbed)
        if change.differs:
            plan.contents.append(change)
    for member in arrivals:
        (plan.updated if member.is_stored else plan.founded).append(member)
    plan.relinked = [member for member in kept if before[member.key] != (member.content_id, member.link)]
    _plan_ids(plan, groups, old.ids)
    return plan


class _Old:
    """The contents as they were."""

    def __init__(self, known: Known) -> None:
        self.members: dict[UUID, list[Member]] = {}
        self.ids: dict[ExactKey, UUID | None] = dict(known.owners)
        for member in known.members:
            assert member.content_id is not None
            self.members.setdefault(member.content_id, []).append(member)
            for key in member.ids:
                # None: pins keep bearers of this id apart, so only the database knows which content has it.
                same = self.ids.get(key, member.content_id) == member.content_id
                self.ids[key] = member.content_id if same else None

    def is_whole(self, group: Group) -> bool:
        """Whether a group of records that did not come is exactly one content as it was."""
        content_id = group.members[0].content_id
        return content_id is not None and {id(member) for member in self.members.get(content_id, ())} == {
            id(member) for member in group.members
        }


def _place(groups: Sequence[Group], removed: frozenset[UUID]) -> dict[UUID, UUID]:
    """Give every group its content id and its records that id; returns what absorbed each content that is gone.

    A content that falls apart stays with the group an administrator pinned to it, else with the most of its records. A
    group that holds several contents keeps the oldest (version 7 ids sort by age).
    """
    claims: dict[UUID, tuple[bool, int, RecordKey, Group]] = {}
    for group in groups:
        counts: dict[UUID, int] = {}
        for member in group.members:
            if member.content_id is not None:
                counts[member.content_id] = counts.get(member.content_id, 0) + 1
        for content_id, count in counts.items():
            claim = (group.pin == content_id, count, group.first.key, group)
            best = claims.get(content_id)
            if (
                best is None
                or (claim[0], claim[1]) > (best[0], best[1])
                or (claim[:2] == best[:2] and claim[2] < best[2])
            ):
                claims[content_id] = claim
    owned: dict[int, list[UUID]] = {}
    for content_id, claim in claims.items():
        owned.setdefault(id(claim[3]), []).append(content_id)
    absorbed: dict[UUID, UUID] = {}
    for group in groups:
        ids = sorted(owned.get(id(group), ()), key=lambda each: (each in removed, each.int))
        survivor = group.pin or (ids[0] if ids else uuid7())
        absorbed.update((each, survivor) for each in ids if each != survivor)
        for member in group.members:
            member.content_id = survivor
    return absorbed


def _change(group: Group, old: _Old, absorbed: Mapping[UUID, UUID]) -> ContentChange:
    content_id = group.members[0].content_id
    assert content_id is not None
    before = old.members.get(content_id)
    work, title = fold(group.members), group.title
    if before is None:
        return ContentChange(content_id, work, None, title, retitled=True, shown=list(work.offerings))
    was = fold(before)
    change = ContentChange(
        content_id, work, was, title, min(before, key=BY_ORDER).title.title_hash != title.title_hash
    )
    change.absorbed = tuple(sorted(lost for lost, survivor in absorbed.items() if survivor == content_id))
    change.fields = changed_fields(was, work)
    change.shown = [key for key, offering in work.offerings.items() if was.offerings.get(key) != offering]
    # The rows of absorbed contents are moved here first.
    there = [*before, *(member for lost in change.absorbed for member in old.members[lost])]
    gone = [key for key in _offered(there) if key not in work.offerings]
    if gone:
        staying = {member.key for member in group.members}
        moved = _offered([member for member in there if member.key not in staying])
        change.ended = [key for key in gone if key not in moved]
        change.withdrawn = [key for key in gone if key in moved]
    return change


def _offered(members: Sequence[Member]) -> Collection[OfferingKey]:
    return fold(members).offerings if members else {}


def _plan_ids(plan: Plan, groups: Iterable[Group], old: Mapping[ExactKey, UUID | None]) -> None:
    new: dict[ExactKey, UUID] = {}
    for group in groups:
        content_id = group.members[0].content_id
        assert content_id is not None
        for kind, values in group.ids.items():
            for value in values:
                key = (kind, value)
                # Pins may keep bearers of one id apart.
                new[key] = content_id if key not in new else min(new[key], content_id)
    plan.ids_new = [(key, content_id) for key, content_id in new.items() if key not in old]
    plan.ids_moved = [
        (key, content_id) for key, content_id in new.items() if key in old and old[key] != content_id
    ]
    plan.ids_gone = [key for key in old if key not in new]
