"""Which records are one work. Pure: takes the records concerned, gives groups of them and a link for each.

The rules, strongest first (docs/adr/0004-identity-as-connected-components.md):

1. **Exact ids.** Records that share an exact id are one work, and so are the records connected by such pairs. The groups
   are the connected components of that graph, so they depend on the records alone, not on when each came.
2. **Stored links.** A record once linked by title or embedding stays with the record it was linked to, for as long as the
   titles still agree and the exact ids of the two groups don't contradict each other.
3. **Title**, same scope (`keys.TitleKeys`) and year; **fuzzy title**, a year apart at most; **embedding**: only for groups
   of new or corrected records that the rules above joined to nothing known, and never between groups whose ids of one
   kind differ. More than one equally good candidate means none: a wrong merge is worse than a twin, which a later id
   or an administrator merges.

A pinned record stays in the content where an administrator put it; groups pinned to different contents are never joined.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from uuid import UUID

from rapidfuzz.distance import OSA

from media_gateway.core.domain.content import LinkReason
from media_gateway.ingestion.identity.keys import ExactKey, TitleKeys, confidence, numbers
from media_gateway.ingestion.identity.records import FOUNDER, PINNED, Link, Member, RecordKey

FUZZY_SIMILARITY = 0.85
"""Least similarity of two titles by normalised optimal string alignment; the original system's threshold, compared with
the similarity itself (the original compared its mapped confidence, whose floor lay above the threshold)."""

EMBEDDING_SIMILARITY = 0.92
"""Least cosine of two embeddings of one work; the original system's threshold."""

YEAR_SPAN = 1
"""Years that two sources may differ by: festival and general release often fall in neighbouring years."""

TITLE_CONFIDENCE = 0.98
"""Of an equal title: the top of the fuzzy range."""

FUZZY_CONFIDENCE = (0.90, 0.98)
"""Range that similarities from the threshold to 1 are mapped to; the original system's."""

EMBEDDING_CONFIDENCE = (0.85, 0.95)
"""Range that cosines from the threshold to 1 are mapped to; the original system's."""

BY_ORDER = attrgetter("order")
"""Sorts members into the order of the fold."""

Near = Mapping[RecordKey, Sequence[tuple[UUID, float]]]
"""Contents whose embedding is near a record's own, with the cosine, best first."""


@dataclass(slots=True, eq=False)
class Group:
    """Records of one work.

    Attributes
    ----------
    members : list of Member
        In no particular order.
    ids : dict
        Exact ids by kind.
    pin : UUID | None
        Content an administrator placed some of them in.
    joined_to : Group | None
        What it has become part of; `current` follows it.
    """

    members: list[Member]
    ids: dict[str, set[str]]
    pin: UUID | None = None
    joined_to: "Group | None" = field(default=None, repr=False)

    @classmethod
    def of(cls, member: Member) -> "Group":
        """A group of one."""
        ids = {kind: {value} for kind, value in member.ids}
        return cls([member], ids, member.pin)

    @property
    def title(self) -> TitleKeys:
        """Title of the content they make."""
        if len(self.members) == 1:
            return self.members[0].title
        return self.first.title

    @property
    def first(self) -> Member:
        """The record that speaks first in the fold."""
        return min(self.members, key=BY_ORDER)

    @property
    def is_open(self) -> bool:
        """Whether its link is still to be found: none of its records had a settled one."""
        if len(self.members) == 1:
            return self.pin is None and self.members[0].loose
        return self.pin is None and all(member.loose for member in self.members)

    def may_join(self, other: "Group") -> bool:
        """Whether pins allow them to be one."""
        return self.pin is None or other.pin is None or self.pin == other.pin

    def conflicts(self, other: "Group") -> bool:
        """Whether both have ids of one kind and none of them in common."""
        return any(
            kind in other.ids and values.isdisjoint(other.ids[kind]) for kind, values in self.ids.items()
        )

    def current(self) -> "Group":
        """The group this one has become part of."""
        group = self
        while group.joined_to is not None:
            group = group.joined_to
        return group

    def join(self, other: "Group") -> "Group":
        """Make one group of two; returns it."""
        large, small = (self, other) if len(self.members) >= len(other.members) else (other, self)
        large.members += small.members
        for kind, values in small.ids.items():
            large.ids[kind] = large.ids.get(kind, set()) | values
        large.pin = large.pin or small.pin
        small.joined_to = large
        return large


def resolve(members: Sequence[Member], near: Near | None = None) -> list[Group]:
    """Group records and set the link of each loose one.

    Parameters
    ----------
    members
        New and changed records in the order they came, and all stored records of every content that shares an exact id
        or a comparable title with one of them or holds one of them.
    near
        For records that bring an embedding.

    Returns
    -------
    list of Group
        Each record in exactly one. ``content_id`` of the records is not touched.
    """
    ordered = sorted(members, key=BY_ORDER)
    homes = _exact_groups(ordered)
    _hold_stored_links(ordered, homes)
    _find_links(members, homes, near or {})
    groups = _distinct(homes.values())
    for group in groups:
        _set_links(group)
    return groups


def similarity(one: TitleKeys, other: TitleKeys) -> float:
    """How alike two titles are: 1 equal, from `FUZZY_SIMILARITY` similar, 0 not comparable or not alike enough."""
    if one.title_hash is None or other.title_hash is None:
        return 0.0
    if one.title_hash == other.title_hash:
        return 1.0
    assert one.year is not None
    assert other.year is not None
    if one.scope != other.scope or abs(one.year - other.year) > YEAR_SPAN:
        return 0.0
    alike = OSA.normalized_similarity(one.compact, other.compact, score_cutoff=FUZZY_SIMILARITY)
    return alike if alike and numbers(one.key) == numbers(other.key) else 0.0


def _exact_groups(ordered: Sequence[Member]) -> dict[RecordKey, Group]:
    homes: dict[RecordKey, Group] = {}
    pinned: dict[UUID, Group] = {}
    bearers: dict[ExactKey, list[Group]] = {}
    for member in ordered:
        group = homes[member.key] = Group.of(member)
        if (pin := group.pin) is not None:
            pinned[pin] = group = group.join(pinned[pin].current()) if pin in pinned else group
        for key in member.ids:
            others = bearers.get(key)
            if others is None:
                bearers[key] = [group]
                continue
            for other in others:
                there = other.current()
                if there is not group and group.may_join(there):
                    group = group.join(there)
            # More than one group only where pins keep bearers of one id apart.
            bearers[key] = _distinct([*others, group])
    return homes


def _hold_stored_links(ordered: Sequence[Member], homes: Mapping[RecordKey, Group]) -> None:
    for member in ordered:
        if member.link.anchor is None or member.pin is not None:
            continue
        home = homes[member.key].current()
        anchor = homes[member.link.anchor].current() if member.link.anchor in homes else None
        if anchor is home:
            continue
        if (
            anchor is not None
            and _holds(member, anchor)
            and home.may_join(anchor)
            and not home.conflicts(anchor)
        ):
            home.join(anchor)
        else:
            # The record founds a content of its own unless the other rules find it a place.
            member.link = FOUNDER
            member.loose = True


def _holds(member: Member, anchor: Group) -> bool:
    if member.link.reason is LinkReason.EMBEDDING:
        return True
    return any(
        other.key == member.link.anchor and similarity(member.title, other.title) for other in anchor.members
    )


def _find_links(members: Sequence[Member], homes: Mapping[RecordKey, Group], near: Near) -> None:
    """Join open groups, in the order their records came, to what is known and to those before them."""
    known = _Titles()
    for group in _distinct(homes.values()):
        if not group.is_open:
            known.add(group)
    seen: set[int] = set()
    for member in members:
        group = homes[member.key].current()
        if id(group) in seen or not group.is_open:
            continue
        found = _best_link(group, known, near)
        if found is not None:
            linked, other, link = found
            linked.link = link
            group = group.join(other)
        seen.add(id(group))
        known.add(group)


class _Titles:
    """Groups by what their titles can be found by."""

    def __init__(self) -> None:
        self._by_hash: dict[int, list[Group]] = {}
        self._by_block: dict[int, list[Group]] = {}
        self._by_content: dict[UUID, Group] = {}

    def add(self, group: Group) -> None:
        title = group.title
        if title.title_hash is not None:
            self._by_hash.setdefault(title.title_hash, []).append(group)
        for block in (title.block_head, title.block_tail):
            if block is not None:
                self._by_block.setdefault(block, []).append(group)
        for member in group.members:
            if member.content_id is not None:
                self._by_content[member.content_id] = group

    def equal(self, title: TitleKeys) -> Sequence[Group]:
        found = self._by_hash.get(title.title_hash) if title.title_hash is not None else None
        return _distinct(found) if found else ()

    def similar(self, title: TitleKeys) -> Sequence[Group]:
        heads, tails = title.probes()
        found = [group for block in (*heads, *tails) for group in self._by_block.get(block, ())]
        return _distinct(found) if found else ()

    def holding(self, content_id: UUID) -> Group | None:
        group = self._by_content.get(content_id)
        return group.current() if group else None


def _distinct(groups: Iterable[Group]) -> list[Group]:
    return list(dict.fromkeys(group.current() for group in groups))


def _best_link(group: Group, known: _Titles, near: Near) -> tuple[Member, Group, Link] | None:
    for member in sorted(group.members, key=BY_ORDER) if len(group.members) > 1 else group.members:
        equal = known.equal(member.title)
        allowed = [other for other in equal if not group.conflicts(other)]
        if len(allowed) > 1:
            return None
        if allowed:
            link = Link(LinkReason.EXACT_TITLE, TITLE_CONFIDENCE, allowed[0].first.key)
            return member, allowed[0], link
        found = _best(_fuzzy(member, group, known)) or _best(_embedded(member, group, known, near))
        if found is not None:
            return member, *found
    return None


def _fuzzy(member: Member, group: Group, known: _Titles) -> Iterator[tuple[float, Group, Link]]:
    for other in known.similar(member.title):
        alike = similarity(member.title, other.title)
        if alike and not group.conflicts(other):
            certain = _mapped(alike, FUZZY_SIMILARITY, FUZZY_CONFIDENCE)
            yield alike, other, Link(LinkReason.FUZZY_TITLE, certain, other.first.key)


def _embedded(
    member: Member, group: Group, known: _Titles, near: Near
) -> Iterator[tuple[float, Group, Link]]:
    for content_id, cosine in near.get(member.key, ()):
        other = known.holding(content_id)
        if cosine < EMBEDDING_SIMILARITY or other is None or group.conflicts(other):
            continue
        title = other.title
        years_differ = title.year and member.title.year and abs(title.year - member.title.year) > YEAR_SPAN
        if title.scope == member.title.scope and not years_differ:
            certain = _mapped(cosine, EMBEDDING_SIMILARITY, EMBEDDING_CONFIDENCE)
            yield cosine, other, Link(LinkReason.EMBEDDING, certain, other.first.key)


def _best(candidates: Iterator[tuple[float, Group, Link]]) -> tuple[Group, Link] | None:
    ranked = sorted(candidates, key=lambda candidate: -candidate[0])
    if not ranked or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
        return None
    return ranked[0][1], ranked[0][2]


def _mapped(value: float, threshold: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return round(low + (high - low) * (min(value, 1.0) - threshold) / (1 - threshold), 4)


def _set_links(group: Group) -> None:
    """Say why each loose record without a title or embedding link is here: by an equal id, or as the first."""
    if len(group.members) == 1:
        member = group.members[0]
        if member.pin is not None:
            member.link = PINNED
        elif member.link.anchor is None:
            member.link = FOUNDER
        return
    bearers: dict[ExactKey, int] = {}
    for member in group.members:
        for key in member.ids:
            bearers[key] = bearers.get(key, 0) + 1
    for member in group.members:
        if member.pin is not None:
            member.link = PINNED
        elif member.loose and member.link.anchor is None:
            shared = [confidence(key) for key in member.ids if bearers[key] > 1]
            member.link = Link(LinkReason.EXACT_ID, max(shared)) if shared else FOUNDER
