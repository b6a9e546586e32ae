"""When a schedule starts its next run, as kube-controller-manager will see it. Called by `reconciler`; pure.

The CronJob keeps the time; what is computed here is only shown. cronsim knows a little more than Kubernetes does (``L``,
``#``, Sunday as 7), and treats the two days a year on which clocks are changed like Debian's cron; here both are as
Kubernetes has them: a time that a day does not have is left out, one that it has twice is taken twice.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

DEFAULT_ZONE: Final = "Etc/UTC"

_DAY_OF_MONTH, _DAY_OF_WEEK = 2, 4
_WHOLE: Final = {_DAY_OF_MONTH: "1-31", _DAY_OF_WEEK: "0-6"}
_FOREIGN: Final = {_DAY_OF_MONTH: re.compile(r"[L#]"), _DAY_OF_WEEK: re.compile(r"[L#]|(^|[,-])0*7($|[,/-])")}
_STEP = re.compile(r"\*/0*([2-9]|[1-9][0-9]+)$")
_OVERLAP: Final = timedelta(hours=3)
"""No zone has set its clocks back by more."""


class ScheduleError(ValueError):
    """The API server would refuse the schedule or its time zone; the message names the field."""


def check(schedule: str, zone: str) -> None:
    """Refuse what no CronJob can have.

    Raises
    ------
    ScheduleError
        The schedule or the time zone can't be used.
    """
    _wall_times(schedule, datetime(2000, 1, 1))  # noqa: DTZ001 - a clock on the wall has no zone
    _zone(zone)


def next_time(schedule: str, zone: str, after: datetime) -> datetime | None:
    """The first time of the schedule later than ``after``, in UTC; None if there is none within 50 years.

    Raises
    ------
    ScheduleError
        As `check`.
    """
    place = _zone(zone)
    begin = after.astimezone(place).replace(tzinfo=None) - _OVERLAP
    found: datetime | None = None
    until = datetime.max  # noqa: DTZ901 - compared with times on the wall
    for wall in _wall_times(schedule, begin):
        if wall > until:
            break
        for instant in _instants(wall, place):
            if instant > after and (found is None or instant < found):
                found, until = instant, min(until, wall + _OVERLAP)
    return found


def _instants(wall: datetime, place: ZoneInfo) -> list[datetime]:
    both = {wall.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1)}
    # A time that the clocks skip comes back from UTC as another one.
    return [instant for instant in both if instant.astimezone(place).replace(tzinfo=None) == wall]


def _wall_times(schedule: str, begin: datetime) -> CronSim:
    fields = schedule.upper().split()
    for number, field in enumerate(fields):
        if number in _FOREIGN and _FOREIGN[number].search(field):
            raise ScheduleError(
                f"spec.schedule: {field} is nothing that Kubernetes' CronJobs know; days of the week are 0 to 6 or "
                "SUN to SAT, without L and #"
            )
    try:
        return CronSim(" ".join(_as_cronsim(number, field) for number, field in enumerate(fields)), begin)
    except CronSimError as error:
        raise ScheduleError(f"spec.schedule: {str(error).lower()} in {schedule!r}") from None


def _as_cronsim(number: int, field: str) -> str:
    field = field.replace("?", "*")
    if number in _WHOLE and (step := _STEP.match(field)):
        # Kubernetes takes */2 for a list of days, cronsim for "every day" when it joins the two day fields.
        return f"{_WHOLE[number]}/{step[1]}"
    return field


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(
            f"spec.timeZone: there is no time zone {name!r}; an example is Europe/Berlin"
        ) from None
