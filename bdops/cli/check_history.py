"""`bdops check --record` and `--since`: the run is kept, and held against those that were."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bdops.core.changes import is_news
from bdops.core.checks import Severity
from bdops.core.model import SecretRef
from bdops.core.units import parse_duration
from bdops.errors import BdopsError, OperationFailed, UsageError

if TYPE_CHECKING:
    from bdops.core.past import Past
    from bdops.core.survey import Survey
    from bdops.history.store import History

TREND_WINDOW = timedelta(days=7)
"""A trend is made of at least so much of the past, where there is so much, whatever `--since` says."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What is to be done with the past: `record` this run, look back to `since`, tell `only_changes`, and `notify`."""

    record: bool = False
    since: str | None = None
    only_changes: bool = False
    notify: tuple[str, ...] = ()


def opened_history() -> History:
    """The history of this user; its folder is made, and nobody else's."""
    from bdops.history.store import History
    from bdops.lab.paths import private_folder, state_dir

    return History(private_folder(state_dir() / "history") / "checks.sqlite3")


def require_whole(whole: Collection[str]) -> None:
    """Raise UsageError when no subject is checked whole.

    Only those have a history: findings about some instances alone would read as if the others had got well.
    """
    if not whole:
        raise UsageError(
            "only whole components have a history, and the selector names some instances of each",
            hint="leave the instances out of the selector: CLUSTER/COMPONENT",
        )


def past_of(survey: Survey, whole: Collection[str], since: datetime) -> Past:
    """Look back from a run, at the subjects that were checked whole."""
    from bdops.core.past import look_back

    history = opened_history()
    samples = history.series(whole, since)
    metrics = history.metrics(whole, min(since, survey.taken_at - TREND_WINDOW))
    results = tuple(r for r in survey.results if r.subject in whole)
    return look_back(samples, metrics, replace(survey, results=results), since)


def news_of(survey: Survey, whole: Collection[str]) -> Past | None:
    """What is new since the last recorded run; None when nothing is. Without such a run all that is not ok is new."""
    from bdops.core.past import firsts, look_back

    series = opened_history().series(whole, survey.taken_at)
    mine = replace(survey, results=tuple(r for r in survey.results if r.subject in whole))
    past = look_back(series, (), mine, survey.taken_at)
    if past.first_at is None:
        return past if survey.severity is not Severity.OK else None
    found = (*firsts(series, mine), *(c for c in past.changes if is_news(c)))
    return replace(past, changes=found) if found else None


def keep(survey: Survey, whole: Collection[str]) -> None:
    """Record a run: the subjects that were checked whole."""
    opened_history().record([r for r in survey.results if r.subject in whole], survey.taken_at)


def parse_reference(text: str) -> SecretRef:
    """Where the URL of a notification is to be had: `file:PATH`, `env:NAME`, `keyring:SERVICE/USER`.

    Raises UsageError for anything else, above all for a URL itself: its password would be for everyone to see in `ps`.
    """
    kind, colon, value = text.partition(":")
    if not (colon and value) or kind not in ("file", "env", "keyring"):
        raise UsageError(
            "--notify takes where the URL is to be had, and not the URL",
            hint="file:PATH (of mode 0600), env:NAME or keyring:SERVICE/USER",
        )
    return replace(SecretRef(), **{kind: value})  # type: ignore[arg-type]


def notify(references: Sequence[SecretRef], survey: Survey, news: Past) -> list[BdopsError]:
    """Send what is new to each of the URLs, whatever becomes of the others. Returns why those that failed did."""
    from bdops.hosts.secrets import reveal
    from bdops.render.notification import news_text, send

    title, body = news_text(survey, news)
    failed = []
    for reference in references:
        try:
            send(reveal(reference), title, body, where=str(reference))
        except BdopsError as e:
            e.where = str(reference)
            failed.append(e)
    return failed


def require_taken(failed: Sequence[BdopsError], receivers: int) -> None:
    """Raises the error of the only receiver, or OperationFailed that names each of several that failed."""
    if failed and receivers == 1:
        raise failed[0]
    if failed:
        again = "the others have it" if len(failed) < receivers else "the next recorded run sends it again"
        raise OperationFailed(
            f"{len(failed)} of {receivers} receivers did not take the notification, {again}: "
            + "; ".join(f"{e.where}: {e.message}" for e in failed),
            hint=next((e.hint for e in failed if e.hint), None),
            code="NOTIFY_FAILED",
        )


def parse_since(text: str, now: datetime) -> datetime:
    """A time before `now`: `yesterday` or `today` (its midnight here), `2d`, `90m`, or ISO 8601 (`2026-03-01T12:00`).

    Raises UsageError for anything else, and for a time to come.
    """
    midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    words = {"today": midnight, "yesterday": _midnight_before(midnight)}
    if text in words:
        return words[text]
    try:
        since = now - timedelta(seconds=parse_duration(text))
    except ValueError:
        try:
            since = datetime.fromisoformat(text).astimezone()
        except ValueError:
            raise UsageError(
                f"--since {text!r} is no time",
                hint="yesterday, today, a duration such as 2d or 90m, or a date such as 2026-03-01 or 2026-03-01T12:00",
            ) from None
    except OverflowError:
        raise UsageError(f"--since {text!r} is before all time") from None
    if since >= now:
        raise UsageError(f"--since {text!r} is not in the past", hint=f"now is {now.astimezone():%Y-%m-%dT%H:%M}")
    return since


def _midnight_before(midnight: datetime) -> datetime:
    """The day before may have another offset from UTC, and have had 23 or 25 hours."""
    day_before = (midnight - timedelta(hours=12)).replace(tzinfo=None)
    return day_before.replace(hour=0).astimezone()
