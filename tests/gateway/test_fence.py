"""When a record was taken, and whether it is of now: the laws at the top of fence.py, one after the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.contract import ClockReading, ClockSetting
from gateway.fence import BELIEVED_WITHIN, SAME_FRAME, SLACK_S, Evidence, Placed, clock_offset, place, unsure_after
from gateway.reading import ClockQuality

CHICAGO = ZoneInfo("America/Chicago")  # six hours behind UTC in November
WINDOW_S = 120.0
READ_AT = datetime(2026, 11, 22, 19, 5, 0, tzinfo=UTC)
SHOWN = datetime(2026, 11, 22, 13, 5, 0)  # noqa: DTZ001 - what stands on the cuff, at READ_AT and 1000.0
READ_MONO = 1000.0
_LATER_S = 2.5  # the record comes so long after the clock was read


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def evidence(shown: datetime = SHOWN, unsure_until: datetime | None = None) -> Evidence:
    return Evidence(ClockReading(shown, READ_MONO, 0.5), unsure_until)


def placed(
    device_time: datetime | None,
    known: Evidence | None = None,
    *,
    later_s: float = _LATER_S,
    quality: ClockQuality = ClockQuality.SYNCED,
    window_s: float = WINDOW_S,
) -> Placed:
    return place(
        device_time,
        READ_AT + seconds(later_s),
        READ_MONO + later_s,
        evidence() if known is None else known,
        live_window_s=window_s,
        zone=CHICAGO,
        quality=quality,
    )


def is_live(where: Placed) -> bool:
    return where.believed and not where.stored


def is_unknown(where: Placed) -> bool:
    return not where.believed and not where.stored and where.times.taken_at is None


# ---- laws 1 and 2: the device's own clock, and the window ------------------------------------------------------------


def test_a_record_is_placed_by_the_devices_own_clock() -> None:
    where = placed(SHOWN - seconds(51))
    assert is_live(where)
    assert where.times.taken_at == datetime(2026, 11, 22, 19, 4, 9, tzinfo=UTC)
    assert where.times.received_at == READ_AT + seconds(_LATER_S)
    assert where.times.device_time == SHOWN - seconds(51)
    assert where.times.clock_offset_s == 0.0
    assert where.times.uncertainty_s == 0.5 + SLACK_S


@pytest.mark.parametrize(("age_s", "live"), [(0, True), (119, True), (120, True), (121, False), (3600, False)])
def test_live_ends_where_the_models_window_ends(age_s: float, live: bool) -> None:
    where = placed(SHOWN - seconds(age_s), later_s=0.0)
    assert where.believed
    assert where.stored is not live


def test_the_age_counts_to_the_arrival() -> None:
    assert is_live(placed(SHOWN - seconds(100), later_s=20.0))
    assert placed(SHOWN - seconds(100), later_s=20.5).stored


def test_a_record_that_is_taken_during_the_connection_is_live() -> None:
    where = placed(SHOWN + seconds(60), later_s=61.0)
    assert is_live(where)
    assert where.times.taken_at == READ_AT + seconds(60)


@pytest.mark.parametrize("wrong_s", [-23 * 3600, -3600, -59, 59, 3600, 23 * 3600])
def test_a_clock_in_another_zone_or_without_daylight_saving_places_its_records_all_the_same(wrong_s: float) -> None:
    known = evidence(SHOWN + seconds(wrong_s))
    where = placed(SHOWN + seconds(wrong_s - 30), known)
    assert is_live(where)
    assert where.times.taken_at == READ_AT - seconds(30)
    assert where.times.clock_offset_s == -wrong_s
    assert placed(SHOWN + seconds(wrong_s - 121), known).stored


def test_taken_at_is_the_devices_time_and_the_offset() -> None:
    stamp = SHOWN + seconds(400 - 7)
    times = placed(stamp, evidence(SHOWN + seconds(400))).times
    assert times.taken_at is not None
    assert times.clock_offset_s is not None
    assert times.taken_at == stamp.replace(tzinfo=CHICAGO).astimezone(UTC) + seconds(times.clock_offset_s)


def test_nothing_was_taken_after_it_was_received() -> None:
    """A clock that jumps to the next second while it is read."""
    where = placed(SHOWN + seconds(1), later_s=0.1)
    assert is_live(where)
    assert where.times.taken_at == where.times.received_at == READ_AT + seconds(0.1)


# ---- law 3: a clock that is not believed -----------------------------------------------------------------------------


@pytest.mark.parametrize("wrong_s", [-86_400, 86_400])
def test_a_clock_that_is_off_by_a_day_is_believed(wrong_s: float) -> None:
    assert is_live(placed(SHOWN + seconds(wrong_s - 30), evidence(SHOWN + seconds(wrong_s))))


@pytest.mark.parametrize("wrong_s", [-86_401, 86_401, 366 * 86_400])
def test_a_clock_that_is_off_by_more_is_not(wrong_s: float) -> None:
    where = placed(SHOWN + seconds(wrong_s - 30), evidence(SHOWN + seconds(wrong_s)))
    assert is_unknown(where)
    assert where.times.clock_offset_s == -wrong_s
    assert where.times.device_time == SHOWN + seconds(wrong_s - 30)


def test_a_clock_that_started_again_is_not_believed() -> None:
    started = datetime(2010, 1, 1, 0, 3)  # noqa: DTZ001
    assert is_unknown(placed(started - seconds(30), evidence(started)))


@pytest.mark.parametrize("shown", [datetime(1582, 1, 1), datetime(9999, 12, 31, 23, 59, 59)])  # noqa: DTZ001
def test_a_clock_at_the_calendars_ends_is_not_believed_either(shown: datetime) -> None:
    assert is_unknown(placed(shown, evidence(shown)))


def test_a_clock_that_could_not_be_read() -> None:
    where = placed(SHOWN, Evidence())
    assert is_unknown(where)
    assert where.times.source == "gateway"
    assert where.times.clock_offset_s is None


def test_a_record_without_a_stamp() -> None:
    where = placed(None)
    assert is_unknown(where)
    assert where.times.clock_offset_s == 0.0


# ---- law 4: our own clock --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quality", "believed"),
    [(ClockQuality.SYNCED, True), (ClockQuality.HOLDOVER, True), (ClockQuality.UNSYNCED, False)],
)
def test_who_does_not_know_the_time_believes_no_clock(quality: ClockQuality, believed: bool) -> None:
    where = placed(SHOWN - seconds(5), quality=quality)
    assert where.believed is believed
    assert where.times.quality is quality


# ---- law 5: between two frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stamp_s", "believed"), [(-61, False), (-60, False), (-59, True), (0, True)])
def test_a_stamp_from_before_the_clock_was_set_is_not_believed(stamp_s: float, believed: bool) -> None:
    where = placed(SHOWN + seconds(stamp_s), evidence(unsure_until=SHOWN - seconds(60)))
    assert where.believed is believed


@pytest.mark.parametrize(
    ("was_ahead_s", "until_s"),
    [
        (0, None),
        (4, None),
        (-5, None),
        (6, 6),  # it showed more: its old stamps reach beyond the setting
        (3600, 3600),
        (86_400 + 60, None),  # so far ahead that its old stamps are from the future
        (4 * 365 * 86_400, None),
        (-6, -6),  # it showed less: between its old stamps and its new ones lies nothing
        (-400 * 86_400, -400 * 86_400),
    ],
)
def test_up_to_where_stamps_are_unsure_once_the_clock_is_set(was_ahead_s: float, until_s: float | None) -> None:
    before = ClockReading(SHOWN + seconds(was_ahead_s), READ_MONO, 0.5)
    setting = ClockSetting(SHOWN + seconds(10), READ_MONO + 10)  # where it should stand by then
    expected = None if until_s is None else setting.to + seconds(until_s)
    assert unsure_after(setting, before) == expected


def test_all_up_to_the_setting_is_unsure_where_nobody_knows_what_it_showed() -> None:
    assert unsure_after(ClockSetting(SHOWN, READ_MONO), None) == SHOWN


def test_a_clock_at_the_calendars_end_can_be_set() -> None:
    before = ClockReading(datetime(9999, 12, 31, 23, 59, 59), READ_MONO, 0.5)  # noqa: DTZ001
    assert unsure_after(ClockSetting(SHOWN, READ_MONO + 10), before) is None


@given(st.integers(-86_400, 86_400), st.integers(0, 86_400), st.integers(1, 3600))
def test_no_record_from_before_the_setting_is_live_after_it(ahead_s: int, before_s: int, after_s: int) -> None:
    """It was taken `before_s` before the clock was set, stamped in the old frame, and comes `after_s` later."""
    setting = ClockSetting(SHOWN - seconds(after_s), READ_MONO - after_s)
    before = ClockReading(setting.to + seconds(ahead_s), setting.at, 0.5)
    stamp = before.shown - seconds(before_s)
    where = placed(stamp, evidence(unsure_until=unsure_after(setting, before)), later_s=0.0)
    assert not is_live(where) or abs(ahead_s) <= SAME_FRAME.total_seconds()


# ---- law 6: the future -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead_s", "believed"), [(1, True), (2, False), (60, False), (86_400, False)])
def test_a_record_from_the_future_is_not_believed(ahead_s: float, believed: bool) -> None:
    assert placed(SHOWN + seconds(ahead_s), later_s=0.0).believed is believed


# ---- the hour that comes twice, and the one that never comes ---------------------------------------------------------


@pytest.mark.parametrize("utc_hour", [6, 7])  # 01:30 in Chicago, first by daylight saving time, then without
def test_in_the_hour_that_comes_twice_the_nearer_offset_counts(utc_hour: int) -> None:
    shown = datetime(2026, 11, 1, 1, 30)  # noqa: DTZ001
    assert clock_offset(shown, datetime(2026, 11, 1, utc_hour, 30, 2, tzinfo=UTC), CHICAGO) == seconds(2)


def test_an_hour_that_never_comes_can_be_shown_all_the_same() -> None:
    shown = datetime(2026, 3, 8, 2, 30)  # noqa: DTZ001 - a clock that was not set forward: it is 03:30
    assert clock_offset(shown, datetime(2026, 3, 8, 8, 30, tzinfo=UTC), CHICAGO) == seconds(0)


@pytest.mark.parametrize(("utc_hour", "hour"), [(5, 0), (6, 1), (7, 1), (8, 2)])
def test_a_minute_is_a_minute_in_the_night_in_which_the_clocks_change(utc_hour: int, hour: int) -> None:
    shown, at = datetime(2026, 11, 1, hour, 59), datetime(2026, 11, 1, utc_hour, 59, tzinfo=UTC)  # noqa: DTZ001
    where = place(
        shown - seconds(60),
        at,
        READ_MONO,
        Evidence(ClockReading(shown, READ_MONO, 0.5)),
        live_window_s=WINDOW_S,
        zone=CHICAGO,
        quality=ClockQuality.SYNCED,
    )
    assert is_live(where)
    assert where.times.taken_at == at - seconds(60)


# ---- whatever the clocks show ----------------------------------------------------------------------------------------

_stamps = st.datetimes(datetime(1582, 1, 1), datetime(9999, 12, 31, 23, 59, 59))  # noqa: DTZ001
_near = st.integers(-4 * 86_400, 4 * 86_400).map(lambda count: SHOWN + seconds(count))
_moments = _stamps | _near
_knowledge = st.builds(
    Evidence,
    st.none() | st.builds(ClockReading, _moments, st.just(READ_MONO), st.floats(0.5, 6)),
    st.none() | _moments | st.just(datetime.max),  # noqa: DTZ901
)


@given(st.none() | _moments, _knowledge, st.floats(0, 600), st.sampled_from(ClockQuality))
def test_what_is_live_is_believed_young_and_not_of_the_future(
    stamp: datetime | None, known: Evidence, later_s: float, quality: ClockQuality
) -> None:
    where = placed(stamp, known, later_s=later_s, quality=quality)
    assert where.times.device_time == stamp
    assert where.times.received_at == READ_AT + seconds(later_s)
    if not where.believed:
        assert is_unknown(where)
        return
    assert where.times.taken_at is not None
    assert where.times.taken_at <= where.times.received_at
    assert where.times.clock_offset_s is not None
    assert abs(where.times.clock_offset_s) <= BELIEVED_WITHIN.total_seconds()
    assert stamp is not None
    assert known.reading is not None
    shows_now = known.reading.shown + seconds(later_s)
    assert where.stored == (shows_now - stamp > seconds(WINDOW_S))


@given(st.integers(-86_400, 86_400), st.integers(-10, 100_000), st.floats(0, 600))
def test_how_wrong_the_clock_is_changes_the_offset_and_nothing_else(wrong_s: int, age_s: int, later_s: float) -> None:
    right = placed(SHOWN - seconds(age_s), later_s=later_s)
    wrong = placed(SHOWN + seconds(wrong_s - age_s), evidence(SHOWN + seconds(wrong_s)), later_s=later_s)
    assert (wrong.believed, wrong.stored) == (right.believed, right.stored)
    assert wrong.times.taken_at == right.times.taken_at
    assert wrong.times.uncertainty_s == right.times.uncertainty_s
    assert wrong.times.clock_offset_s == -wrong_s
