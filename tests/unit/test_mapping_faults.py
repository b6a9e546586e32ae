"""Whatever a payload holds: a record or a rejection with a field, never another exception; results are stable."""

from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from media_gateway.core.domain.content import SourceRecord
from media_gateway.core.domain.specs import PresetName
from media_gateway.ingestion.mapping import Mapper, RecordRejectedError
from media_gateway.ingestion.presets import load_preset
from tests.support.ingestion_sources import job

FILE = {"type": "File", "file": {"path": "films.ndjson"}}
PRESETS: tuple[PresetName, ...] = ("demo", "streaming_availability", "tmdb", "watchmode", "xmltv")
CANONICAL_MAPPER = Mapper(job(FILE).spec)
MAPPERS = {preset: Mapper(job(FILE, mapping={"preset": preset}).spec) for preset in PRESETS}

any_text = st.text(max_size=12)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)
CANONICAL = sorted(SourceRecord.model_fields)


def source_fields(preset: PresetName) -> list[str]:
    """First names of the paths of a preset."""
    mapping = load_preset(preset)
    paths = [rule.path or "" for rule in mapping.fields.values()]
    paths += [rule.path or "" for rule in (*mapping.offerings, *mapping.credits)]
    return sorted({path.split(".")[0].split("[")[0].strip('"( ') for path in paths if path} - {""})


def tried(mapper: Mapper, payload: dict[str, Any]) -> SourceRecord | None:
    try:
        return mapper.map(payload)
    except RecordRejectedError as error:
        rejection = error
    assert rejection.field
    assert rejection.reason
    return None


@given(payload=st.dictionaries(st.sampled_from([*CANONICAL, "id"]), values, max_size=6))
def test_any_canonical_payload_gives_a_record_or_a_rejection(payload: dict[str, Any]) -> None:
    tried(CANONICAL_MAPPER, {"id": 1, "content_type": "movie", "title": "One", **payload})


@pytest.mark.parametrize("preset", PRESETS)
@given(data=st.data())
def test_any_payload_of_a_preset_gives_a_record_or_a_rejection(
    preset: PresetName, data: st.DataObject
) -> None:
    names = st.sampled_from(source_fields(preset))
    payload = data.draw(st.dictionaries(names, values, max_size=6))
    tried(MAPPERS[preset], {"id": 1, "title": "One", **payload})


@given(title=st.text(min_size=1, max_size=30), keyword=st.text(min_size=1, max_size=30))
def test_accepted_texts_can_always_be_stored_and_mapped_again(title: str, keyword: str) -> None:
    record = tried(
        CANONICAL_MAPPER, {"id": 1, "content_type": "movie", "title": title, "keywords": [keyword]}
    )
    if record is None:
        return
    stored = orjson.loads(orjson.dumps(record.model_dump(mode="json", exclude_none=True)))
    assert "\x00" not in record.title
    assert CANONICAL_MAPPER.map({k: v for k, v in stored.items() if k != "source"}) == record
