"""Times of schedules: as kube-controller-manager has them, also on the days when clocks are changed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from media_gateway_operator.ingestionjob.schedule import ScheduleError, check, next_time

BERLIN = "Europe/Berlin"
FROM, TO = datetime(2026, 1, 1), datetime(2027, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "expected"),
    [
        ("30 2 * * *", "Etc/UTC", "2026-03-01T02:29:59", "2026-03-01T02:30:00"),
        ("30 2 * * *", "Etc/UTC", "2026-03-01T02:30:00", "2026-03-02T02:30:00"),
        # 2026-03-29 has no 02:30 in Berlin, 2026-10-25 has it twice.
        ("30 2 * * *", BERLIN, "2026-03-28T12:00:00", "2026-03-30T00:30:00"),
        ("30 2 * * *", BERLIN, "2026-10-25T00:00:00", "2026-10-25T00:30:00"),
        ("30 2 * * *", BERLIN, "2026-10-25T00:30:00", "2026-10-25T01:30:00"),
        ("30 2 * * *", BERLIN, "2026-10-25T01:30:00", "2026-10-26T01:30:00"),
        ("*/10 * * * *", BERLIN, "2026-10-25T00:55:00", "2026-10-25T01:00:00"),
        ("*/10 * * * *", BERLIN, "2026-03-29T00:55:00", "2026-03-29T01:00:00"),
        ("0 0 * * MON-FRI", "Asia/Tokyo", "2026-10-23T16:00:00", "2026-10-25T15:00:00"),
        ("0 0 1 JUL ?", "Etc/UTC", "2026-10-25T00:00:00", "2027-07-01T00:00:00"),
        ("0 12 7 * *", "Etc/UTC", "2026-10-01T00:00:00", "2026-10-07T12:00:00"),
        # A list of days and a weekday: one of them is enough; with a star both must hold.
        ("0 0 */10 * 1", "Etc/UTC", "2026-10-02T00:00:00", "2026-10-05T00:00:00"),
        ("0 0 * * 1", "Etc/UTC", "2026-10-02T00:00:00", "2026-10-05T00:00:00"),
        ("0 0 29 2 *", "Etc/UTC", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        # Thirty minutes back, on Lord Howe Island.
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T14:45:00", "2026-04-04T15:15:00"),
    ],
)
def test_the_next_time_is_the_one_kubernetes_takes(schedule, zone, after, expected):
    assert next_time(schedule, zone, at(after)) == at(expected)


@pytest.mark.parametrize(
    ("schedule", "zone", "said"),
    [
        ("0 0 L * *", "Etc/UTC", "nothing that Kubernetes"),
        ("0 0 * * 5#2", "Etc/UTC", "nothing that Kubernetes"),
        ("0 0 * * 5L", "Etc/UTC", "nothing that Kubernetes"),
        ("0 0 * * 7", "Etc/UTC", "nothing that Kubernetes"),
        ("0 0 * * 1-7", "Etc/UTC", "nothing that Kubernetes"),
        ("0 0 30 2 *", "Etc/UTC", "spec.schedule: bad day-of-month"),
        ("60 0 * * *", "Etc/UTC", "spec.schedule: bad minute"),
        ("0 0 * * *", "Europe/Nowhere", "spec.timeZone"),
        ("0 0 * * *", "../etc/passwd", "spec.timeZone"),
    ],
)
def test_what_no_cron_job_can_have_is_refused_by_field(schedule, zone, said):
    with pytest.raises(ScheduleError, match=said.replace(".", r"\.")):
        check(schedule, zone)


@given(
    st.datetimes(FROM, TO, timezones=st.just(UTC)),
    st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "0 */6 * * *", "15 1-3 * * 0"]),
    st.sampled_from(["Etc/UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_the_next_time_does_not_move_until_it_has_passed(now, schedule, zone):
    upcoming = next_time(schedule, zone, now)
    assert upcoming is not None
    assert upcoming > now
    middle = now + (upcoming - now) / 2
    assert next_time(schedule, zone, middle) == upcoming
    assert next_time(schedule, zone, upcoming - timedelta(seconds=1)) == upcoming
