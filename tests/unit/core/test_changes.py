from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bdops.core.changes import FLAPS, MAX_OBJECTS, Sample, Series, changes, episodes, flaps, is_news, sample_of
from bdops.core.checks import CheckResult, Finding, Severity
from bdops.core.past import firsts
from bdops.core.survey import conclude

START = datetime(2026, 3, 1, tzinfo=UTC)
OK, WARNING, UNKNOWN, CRITICAL = Severity


def series(*severities: Severity | tuple[Severity, set[str]]) -> Series:
    samples = []
    for i, one in enumerate(severities):
        severity, names = one if isinstance(one, tuple) else (one, set())
        samples.append(Sample(START + timedelta(minutes=5 * i), severity, dict.fromkeys(names, severity)))
    return Series("prod/kafka", "KAFKA_X", tuple(samples))


def test_a_change_says_what_it_was_since_when_and_which_objects() -> None:
    (change,) = changes([series((WARNING, {"a", "b"}), OK, (CRITICAL, {"b", "c"}), (CRITICAL, {"b", "c"}))])
    assert (change.before, change.after) == (WARNING, CRITICAL)
    assert change.since == START + timedelta(minutes=10)
    assert (change.appeared, change.gone, change.changed) == (("c",), ("a",), ("b",))


def test_the_same_at_both_ends_is_no_change_whatever_was_in_between() -> None:
    assert changes([series((WARNING, {"a"}), OK, CRITICAL, (WARNING, {"a"}))]) == ()


def test_one_sample_is_compared_with_nothing() -> None:
    assert changes([series(CRITICAL)]) == ()


def test_what_cannot_be_read_any_more_has_lost_no_objects() -> None:
    (change,) = changes([series((CRITICAL, {"a"}), UNKNOWN)])
    assert (change.after, change.gone) == (UNKNOWN, ())


def test_what_came_and_went_is_told_with_how_often_and_how_long() -> None:
    (episode,) = episodes([series(OK, WARNING, OK, CRITICAL, UNKNOWN, WARNING, OK)])
    assert (episode.times, episode.worst) == (2, CRITICAL)
    assert episode.longest == timedelta(minutes=15)
    assert episode.ended_at == START + timedelta(minutes=30)


def test_what_is_still_bad_has_not_gone() -> None:
    assert episodes([series(OK, WARNING, OK, WARNING)]) == ()


def test_two_times_bad_and_back_is_a_flap_and_once_is_none() -> None:
    assert flaps([series(OK, WARNING, OK)]) == ()
    (flap,) = flaps([series(OK, WARNING, OK, CRITICAL, OK)])
    assert (flap.crossings, flap.object) == (FLAPS, None)
    assert flap.last_at == START + timedelta(minutes=20)


def test_warning_to_critical_and_back_is_no_flap() -> None:
    assert flaps([series(*[WARNING, CRITICAL] * 10)]) == ()


def test_an_object_flaps_in_a_check_that_does_not() -> None:
    two, one = (WARNING, {"a", "b"}), (WARNING, {"b"})
    (flap,) = flaps([series(two, one, two, one, two)])
    assert (flap.object, flap.crossings) == ("a", 4)


def test_the_only_object_of_a_check_that_flaps_is_not_told_twice() -> None:
    (flap,) = flaps([series(OK, (WARNING, {"a"}), OK, (WARNING, {"a"}), OK)])
    assert flap.object is None


states = st.lists(st.sampled_from([OK, WARNING, CRITICAL]), min_size=1, max_size=30)


def crossings(*severities: Severity) -> int:
    return sum(f.crossings for f in flaps([series(*severities)], at_least=1))


@given(states, st.data())
def test_looking_more_often_or_in_vain_makes_no_flap(found: list[Severity], data: st.DataObject) -> None:
    more: list[Severity] = []
    for severity in found:
        more += [severity] * data.draw(st.integers(1, 3))
        more += [UNKNOWN] * data.draw(st.integers(0, 2))
    assert crossings(*more) == crossings(*found)


@given(states)
def test_crossings_are_what_a_person_counts(found: list[Severity]) -> None:
    words = "".join("." if s is OK else "x" for s in found)
    assert crossings(*found) == words.count(".x") + words.count("x.")


@given(states, states)
def test_a_change_and_its_way_back_mirror_each_other(before: list[Severity], after: list[Severity]) -> None:
    there, back = changes([series(before[0], after[0])]), changes([series(after[0], before[0])])
    assert [(c.before, c.after) for c in there] == [(c.after, c.before) for c in back]


def test_news_is_another_severity_or_something_more_that_is_bad() -> None:
    def news(before: Severity | tuple[Severity, set[str]], after: Severity | tuple[Severity, set[str]]) -> list[bool]:
        return [is_news(c) for c in changes([series(before, after)])]

    assert news(OK, WARNING) == [True]
    assert news(CRITICAL, OK) == [True]
    assert news((CRITICAL, {"a"}), (CRITICAL, {"a", "b"})) == [True]
    assert news((CRITICAL, {"a", "b"}), (CRITICAL, {"a"})) == [False]


def test_what_is_beyond_the_names_that_are_kept_is_neither_new_nor_gone() -> None:
    names = [f"p{i:04}" for i in range(MAX_OBJECTS + 100)]

    def sample(bad: list[str], minute: int) -> Sample:
        found = tuple(Finding(n, CRITICAL, "bad") for n in bad)
        result = CheckResult(code="X", severity=CRITICAL, subject="s", summary="", objects=found)
        return sample_of(result, START + timedelta(minutes=minute))

    def compared(before: list[str], after: list[str]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        found = changes([Series("s", "X", (sample(before, 0), sample(after, 5)))])
        return [(c.appeared, c.gone) for c in found]

    assert compared(names, names) == []
    assert compared(names, names[1:]) == [((), ("p0000",))]
    assert compared(names[1:], names) == [(("p0000",), ())]
    assert compared(names[:3], names) == [(tuple(names[3:MAX_OBJECTS]), ())]


def test_what_was_never_recorded_and_is_not_ok_is_new() -> None:
    at = START + timedelta(minutes=10)
    bad, fine = (CheckResult(code="X", severity=s, subject="new/zk", summary="") for s in (CRITICAL, OK))
    known = CheckResult(code="KAFKA_X", severity=CRITICAL, subject="prod/kafka", summary="")
    found = firsts([series(OK)], conclude([bad, known], {}, at))
    assert [(c.subject, c.before, c.after, c.since) for c in found] == [("new/zk", OK, CRITICAL, at)]
    assert firsts([series(OK)], conclude([fine, known], {}, at)) == ()
