"""XMLTV programme guides: programmes as records, each with its channel. Positions are numbers of programmes.

Parsed by expat in pieces, never as a whole. A document type is allowed (guides name ``xmltv.dtd``), entity declarations
are not: they are what entity bombs and external fetches are made of.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from media_gateway.ingestion.formats.parsed import END, START, Parsed, Position, UnreadableError

CHUNK_BYTES = 65_536
DEPTH_LIMIT = 32

_CREDIT_ROLES = ("director", "actor", "writer", "producer", "presenter", "guest")


class XmltvReader:
    """Reads programmes.

    Parameters
    ----------
    limit_bytes
        Longest programme or channel element, counted in bytes of the file.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes

    def read(self, stream: BinaryIO, position: Position = START) -> Iterator[Parsed]:
        """Records and problems after a number of programmes."""
        for number, parsed in enumerate(self._programmes(stream), 1):
            if number > position[0]:
                parsed.position = END if parsed.position == END else (number, 0)
                yield parsed

    def _programmes(self, stream: BinaryIO) -> Iterator[Parsed]:
        guide = _Guide(self._limit)
        ended = False
        while not ended:
            data = stream.read(CHUNK_BYTES)
            ended = not data
            problem = guide.feed(data, final=ended)
            yield from guide.take()
            if problem:
                rest = f"the rest of the file can't be read: {problem}"
                yield Parsed(None, guide.line, END, problem=rest, raw=data[:1000])
                return


class _Guide:
    """Turns bytes into programmes, keeping the channels seen so far."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._done: list[Parsed] = []
        self._channels: dict[str, dict[str, Any]] = {}
        self._builder: TreeBuilder | None = None
        self._depth = 0
        self._begun = (0, 0)
        parser = self._parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._entity

    @property
    def line(self) -> int:
        return self._parser.CurrentLineNumber

    def feed(self, data: bytes, *, final: bool) -> str:
        """Parse a piece; the answer says what is wrong, if anything is."""
        try:
            self._parser.Parse(data, final)
        except expat.ExpatError as error:
            if final:
                return "it ends in the middle of the document"
            return f"not well-formed XML: {expat.ErrorString(error.code)}"
        except UnreadableError as error:
            return str(error)
        # Between two pieces an element may not have grown over the limit: text of one element is kept in memory.
        if self._builder is not None and self._parser.CurrentByteIndex - self._begun[1] > self._limit:
            return f"an element is longer than {self._limit} bytes"
        return ""

    def take(self) -> list[Parsed]:
        done, self._done = self._done, []
        return done

    def _entity(self, *_: object) -> None:
        raise UnreadableError("it declares entities, which are refused")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise UnreadableError("nested too deeply")
        if self._depth == 1 and tag != "tv":
            raise UnreadableError(f"the root element is {tag[:40]!r}, not 'tv'")
        if self._depth == 2:
            self._builder = TreeBuilder()
            self._begun = (self._parser.CurrentLineNumber, self._parser.CurrentByteIndex)
        if self._builder is not None:
            self._builder.start(tag, attributes)

    def _text(self, text: str) -> None:
        if self._builder is not None:
            self._builder.data(text)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if self._builder is None:
            return
        self._builder.end(tag)
        if self._depth == 1:
            element, self._builder = self._builder.close(), None
            if tag == "channel":
                self._channels[element.get("id", "")] = _channel(element)
            elif tag == "programme":
                channel = element.get("channel", "")
                payload = _programme(element, self._channels.get(channel, {"id": channel}))
                self._done.append(Parsed(payload, self._begun[0], START))


def _channel(element: Element) -> dict[str, Any]:
    icon = element.find("icon")
    return {
        "id": element.get("id", ""),
        "name": _first(element, "display-name"),
        "icon": None if icon is None else icon.get("src"),
        "url": _first(element, "url"),
    }


def _programme(element: Element, channel: dict[str, Any]) -> dict[str, Any]:
    numbers = {n.get("system", "onscreen"): (n.text or "").strip() for n in element.findall("episode-num")}
    season, episode = _season_and_episode(numbers.get("xmltv_ns", ""))
    categories = _texts(element, "category")
    title = _first(element, "title")
    icon = element.find("icon")
    star = element.find("star-rating/value")
    start = _moment(element.get("start"))
    return {
        "id": numbers.get("dd_progid") or _identity(title, element, numbers),
        "title": title,
        "titles": {
            t.get("lang", ""): (t.text or "").strip() for t in element.findall("title") if t.get("lang")
        },
        "subtitle": _first(element, "sub-title"),
        "description": _first(element, "desc"),
        "kind": _kind(categories, numbers),
        "categories": categories,
        "keywords": _texts(element, "keyword"),
        "credits": _credits(element),
        "date": _date(_first(element, "date")),
        "language": _first(element, "language"),
        "original_language": _first(element, "orig-language"),
        "countries": _texts(element, "country"),
        "length_minutes": _minutes(element),
        "season": season,
        "episode": episode,
        "icon": None if icon is None else icon.get("src"),
        "url": _first(element, "url"),
        "rating": _first(element, "rating/value"),
        "star_rating": None if star is None else _stars(star.text or ""),
        "channel": channel,
        "start": start,
        "stop": _moment(element.get("stop")),
        "updated": start,
    }


def _first(element: Element, path: str) -> str | None:
    found = element.find(path)
    return (found.text or "").strip() or None if found is not None else None


def _texts(element: Element, tag: str) -> list[str]:
    return [text for found in element.findall(tag) if (text := (found.text or "").strip())]


def _identity(title: str | None, element: Element, numbers: dict[str, str]) -> str:
    # A guide names airings, not works: the same title, date and episode on another evening is the same work.
    parts = [
        title,
        _first(element, "date"),
        numbers.get("xmltv_ns") or numbers.get("onscreen"),
        _first(element, "sub-title"),
    ]
    return " | ".join(part for part in parts if part)[:200]


def _kind(categories: list[str], numbers: dict[str, str]) -> str:
    lowered = {category.lower() for category in categories}
    if lowered & {"movie", "film", "feature film", "movies"}:
        return "movie"
    return "episode" if numbers.keys() & {"xmltv_ns", "onscreen"} else "programme"


def _credits(element: Element) -> list[dict[str, Any]]:
    found = element.find("credits")
    if found is None:
        return []
    return [
        {"name": (person.text or "").strip(), "role": person.tag, "character": person.get("role")}
        for person in found
        if person.tag in _CREDIT_ROLES and (person.text or "").strip()
    ]


def _season_and_episode(xmltv_ns: str) -> tuple[int | None, int | None]:
    """``season.episode.part``, each counted from 0 and perhaps followed by ``/total`` (xmltv.dtd)."""
    numbers = [part.split("/")[0].strip() for part in xmltv_ns.split(".")[:2]]
    values = [int(number) + 1 if number.isdecimal() and len(number) < 6 else None for number in numbers]
    return (values[0], values[1]) if len(values) == 2 else (None, None)


def _moment(text: str | None) -> str | None:
    """``YYYYMMDDhhmmss ±hhmm`` (shortened from the right as xmltv.dtd allows) as ISO 8601; other text as it is."""
    if not text:
        return None
    digits, _, zone = text.strip().partition(" ")
    for length, pattern in ((14, "%Y%m%d%H%M%S"), (12, "%Y%m%d%H%M"), (10, "%Y%m%d%H"), (8, "%Y%m%d")):
        if len(digits) == length and digits.isdecimal():
            try:
                if zone and zone not in {"UTC", "GMT", "Z"}:
                    return datetime.strptime(f"{digits} {zone}", f"{pattern} %z").isoformat()
                return datetime.strptime(digits, pattern).replace(tzinfo=UTC).isoformat()
            except ValueError:
                return text
    return text


def _date(text: str | None) -> str | None:
    if text and text.isdecimal() and len(text) == 8:
        return f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return text


def _minutes(element: Element) -> float | None:
    length = element.find("length")
    factor = {"seconds": 1 / 60, "minutes": 1, "hours": 60}.get(
        "" if length is None else length.get("units", "")
    )
    text = "" if length is None else (length.text or "").strip()
    return float(text) * factor if factor and text.isdecimal() and len(text) < 10 else None


def _stars(text: str) -> float | None:
    """``3/4`` as 7.5 of 10."""
    value, _, most = text.strip().partition("/")
    try:
        return round(float(value) / float(most) * 10, 2)
    except (ValueError, ZeroDivisionError):
        return None
