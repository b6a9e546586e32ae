"""What a content says, word by word, kept in the index so that re-ranking need not stem it again for every search."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of a content as the stemmed fields of the index have them.

    Attributes
    ----------
    overview : tuple[str, ...]
        In their order.
    facts : tuple[str, ...]
        Of titles and genres, the keywords without plurals, year and decade; each once.
    names : tuple[str, ...]
        Of people, folded, in full.
    """

    overview: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """A line each; nothing folded holds a line's end."""
        names = "\t".join(self.names)
        return f"{' '.join(self.overview)}\n{' '.join(self.facts)}\n{names}".encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Read back what `to_bytes` wrote."""
        overview, facts, names = body.decode().split("\n")
        return cls(
            tuple(overview.split(" ") if overview else ()),
            tuple(facts.split(" ") if facts else ()),
            tuple(names.split("\t") if names else ()),
        )
