"""Wire models of what was understood of a query. New members may be added; none changes its meaning."""

from typing import Literal, Self
from uuid import UUID

from pydantic import Field

from media_gateway.core.web import Wire
from media_gateway.discovery.filters import PersonAsked
from media_gateway.discovery.services.search import SearchAnswer
from media_gateway.discovery.understanding import Facts, Reference


class PersonView(Wire):
    """Somebody who was asked for."""

    name: str = Field(description="Lower case, no accents.", examples=["alfred hitchcock"])
    role: str | None = Field(description="What they must have done; null for anything.")

    @classmethod
    def all_of(cls, people: tuple[PersonAsked, ...]) -> list[Self]:
        """The views of people."""
        return [cls(name=person.name, role=person.role) for person in people]


class ReferenceView(Wire):
    """A content that something like it was asked for."""

    content_id: UUID
    title: str
    release_year: int | None

    @classmethod
    def from_domain(cls, reference: Reference) -> Self:
        """The view of a reference."""
        return cls(
            content_id=reference.content_id, title=reference.title, release_year=reference.release_year
        )


class ConditionsView(Wire):
    """Conditions in the words of the catalogue; empty lists and nulls say nothing."""

    genres: list[list[str]] = Field(
        description="Each of these, by any of its names.", examples=[[["horror"], ["comedy"]]]
    )
    blocked_genres: list[str]
    year_from: int | None
    year_to: int | None
    rating_from: float | None
    platforms: list[str]
    availability_types: list[str]
    content_types: list[str]
    languages: list[str]
    people: list[PersonView]
    blocked_people: list[PersonView]
    keywords: list[str]
    blocked_words: list[str]
    moods: list[str] = Field(description="As they were written; what they mean is among the genres.")

    @classmethod
    def from_domain(cls, facts: Facts) -> Self | None:
        """The view of facts; None if there are none beside references."""
        where = facts.to_filter()
        if where.asks_nothing and not facts.moods:
            return None
        return cls(
            genres=[list(genres) for genres in facts.genres],
            blocked_genres=list(facts.genres_none),
            year_from=where.year_from,
            year_to=where.year_to,
            rating_from=where.rating_from,
            platforms=list(facts.platforms),
            availability_types=list(facts.availability_types),
            content_types=list(facts.content_types),
            languages=list(facts.languages),
            people=PersonView.all_of(facts.people),
            blocked_people=PersonView.all_of(facts.people_none),
            keywords=list(facts.keywords),
            blocked_words=list(facts.words_none),
            moods=list(facts.moods),
        )


class ParsedQuery(Wire):
    """What was understood of the query."""

    text: str = Field(description="The query, trimmed.")
    terms: list[str] = Field(
        description="The words looked up: lower case, no accents, no filler words, none that became a condition."
    )
    query_class: str = Field(description="`title_like` or `descriptive`; decides how much each leg counts.")
    intent: Literal["words", "kind", "like"] = Field(
        description="`words`: titles, people or a description are looked for. `kind`: nothing but conditions, answered by what "
        "fulfils them, the best known first. `like`: something like other contents."
    )
    conditions: ConditionsView | None = Field(
        description="What of the query became conditions that every result fulfils (whole titles apart); null if nothing. "
        "Where they contradict `filters`, those hold."
    )
    references: list[ReferenceView] = Field(description="What the results are to be like.")
    noticed: ConditionsView | None = Field(
        description="What was recognised inside a description and counts as words only; null if nothing."
    )
    by: Literal["rules", "model"] = Field(
        description="Who understood it: built-in rules, or the language model that the installation is set up with."
    )
    relaxed: ConditionsView | None = Field(
        description="Conditions that nothing fulfils together, so that the words were looked for instead; null if none."
    )

    @classmethod
    def from_domain(cls, answer: SearchAnswer, text: str) -> Self:
        """What an answer has understood of a text."""
        understood = answer.understood
        words, asked = understood.words, understood.asked
        return cls(
            text=text.strip(),
            terms=[] if words.kind is not None else list(words.terms),
            query_class=answer.query_class,
            intent="like" if asked.references else "words" if words.kind is None else "kind",
            conditions=ConditionsView.from_domain(asked),
            references=[ReferenceView.from_domain(reference) for reference in asked.references],
            noticed=ConditionsView.from_domain(understood.noticed),
            by=understood.by,
            relaxed=ConditionsView.from_domain(answer.relaxed),
        )
