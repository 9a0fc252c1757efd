"""`bdops check --record` and `--since`: what a person and cron get of the recorded past."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bdops.cli.check_history import parse_since
from bdops.components.state_file import load_state
from bdops.components.survey import judge_state
from bdops.core.checks import CheckResult, Finding, Severity
from bdops.core.survey import Survey
from bdops.errors import UsageError
from bdops.history.store import History
from bdops.registry import component
from tests.contract.cli import Ran, bdops

STATE = Path(__file__).parents[1] / "unit/kafka/data/disk_nearly_full.json"
TAKEN = datetime(2026, 11, 23, 12, tzinfo=UTC)
INVENTORY = """\
version: 1
clusters:
  prod:
    hosts:
      node1: {address: 127.0.0.1, ssh: {port: 1}}
      node2: {address: 127.0.0.2, ssh: {port: 1}}
      spare: {address: 127.0.0.3, ssh: {port: 1}}
    components:
      zk: {hosts: "node[1-2]", client_port: 1, admin_port: 2}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    path = tmp_path / "inventory.yaml"
    path.write_text(INVENTORY)
    return str(path)


def judged() -> Survey:
    """What the checks say of the saved state."""
    kafka = component("kafka")
    return judge_state(kafka, load_state(STATE, {"kafka": kafka.state}))


def seeded(home: Path) -> History:
    """Three days of a disk that fills, and a topic that came and went every few hours."""
    folder = home / "state/history"
    folder.mkdir(parents=True, mode=0o700)
    history = History(folder / "checks.sqlite3")
    disk = next(r for r in judged().results if r.code == "KAFKA_DISK_USE")
    metric = max(disk.metrics, key=lambda m: m.value)
    for hour in range(72, 0, -1):
        metrics = (replace(metric, value=metric.value - 0.1 * hour),)
        bad = hour // 6 % 2
        results = [
            CheckResult(code="KAFKA_DISK_USE", severity=Severity.OK, subject="prod/kafka", summary="", metrics=metrics),
            CheckResult(
                code="KAFKA_UNDER_REPLICATED",
                severity=Severity.WARNING if bad else Severity.OK,
                subject="prod/kafka",
                summary="",
                objects=(Finding("orders-1", Severity.WARNING, ""),) * bad,
            ),
        ]
        history.record(results, TAKEN - timedelta(hours=hour))
    return history


def since(home: Path, when: str, *argv: str) -> Ran:
    return bdops("check", "--state", str(STATE), "--since", when, *argv, home=home, TZ="UTC")


def test_what_changed_what_flaps_and_when_a_disk_is_full(tmp_path: Path) -> None:
    seeded(tmp_path)
    done = since(tmp_path, "3d")
    assert done.returncode == judged().severity.exit_code
    assert "KAFKA_DISK_USE: was ok, since 2026-11-23 12:00" in done.stdout
    assert "KAFKA_UNDER_REPLICATED: 12 times between ok and not ok" in done.stdout
    assert "+2.4 % a day" in done.stdout
    assert "full (100 %) in" in done.stdout


def test_the_same_in_json(tmp_path: Path) -> None:
    seeded(tmp_path)
    data = since(tmp_path, "2026-11-22T00:00", "-o", "json").json["data"]
    assert data["compared_with"] == "2026-11-22T00:00:00+00:00"
    assert data["runs"] == 36
    assert [c["code"] for c in data["changes"]] == ["KAFKA_DISK_USE"]
    (trend,) = data["trends"]
    assert trend["per_day"] == pytest.approx(2.4, rel=0.01)
    assert trend["reaches"][-1]["name"] == "full"


def test_a_time_that_is_none_or_to_come_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    done = since(tmp_path, "someday")
    assert (done.returncode, "--since" in done.stderr) == (3, True)
    for when in ("2099-01-01", "-3d", "99999999w", "0s", ""):
        with pytest.raises(UsageError, match="--since"):
            parse_since(when, TAKEN)


def test_times_are_midnights_here_durations_and_dates() -> None:
    midnight = TAKEN.astimezone().replace(hour=0, minute=0)
    assert parse_since("today", TAKEN) == midnight
    assert parse_since("yesterday", TAKEN).date() == midnight.date() - timedelta(days=1)
    assert parse_since("90m", TAKEN) == TAKEN - timedelta(minutes=90)
    assert parse_since("2026-11-20T10:00+02:00", TAKEN) == datetime(2026, 11, 20, 8, tzinfo=UTC)


def test_without_a_history_it_says_how_one_is_made(tmp_path: Path) -> None:
    done = since(tmp_path, "yesterday")
    assert "bdops check --record" in done.stdout


def test_a_live_run_is_recorded_for_its_owner_alone_and_compared(tmp_path: Path, inventory: str) -> None:
    argv = ("check", "prod", "-i", inventory, "--record", "--timeout", "3")
    first = bdops(*argv, home=tmp_path)
    assert first.returncode in (2, 3)
    folder = tmp_path / "state/history"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(f.stat().st_mode) for f in folder.iterdir()} == {0o600}
    again = bdops(*argv, "--since", "today", "-o", "json", home=tmp_path)
    assert again.json["data"]["runs"] == 1
    assert again.json["data"]["changes"] == []
    assert {s.subject for s in History(folder / "checks.sqlite3").series({"prod/zk", "prod/host"}, TAKEN)} == {
        "prod/zk",
        "prod/host",
    }


def test_a_component_s_own_check_records_too(tmp_path: Path, inventory: str) -> None:
    assert bdops("zk", "check", "-i", inventory, "--record", "--timeout", "3", home=tmp_path).returncode == 2
    done = bdops("zk", "check", "-i", inventory, "--since", "1h", "-o", "json", "--timeout", "3", home=tmp_path)
    assert done.json["data"]["runs"] == 1


def test_a_part_of_a_component_is_not_recorded(tmp_path: Path, inventory: str) -> None:
    done = bdops("check", "prod/zk/node1", "-i", inventory, "--record", home=tmp_path)
    assert done.returncode == 3
    assert "whole components" in done.stderr
    assert not (tmp_path / "state/history").exists()


def test_a_saved_state_is_not_recorded_and_monitoring_formats_have_no_past(tmp_path: Path) -> None:
    assert since(tmp_path, "yesterday", "--record").returncode == 3
    assert since(tmp_path, "yesterday", "-o", "nagios").returncode == 3


def test_a_history_that_is_damaged_does_not_take_the_results_with_it(tmp_path: Path, inventory: str) -> None:
    folder = tmp_path / "state/history"
    folder.mkdir(parents=True)
    (folder / "checks.sqlite3").write_text("no database" * 1000)
    done = bdops("check", "prod/zk", "-i", inventory, "--record", "--timeout", "3", home=tmp_path)
    assert done.returncode == 3
    assert "ZK_SERVER_DOWN" in done.stdout
    assert "damaged" in done.stderr


def test_only_what_is_new_is_told(tmp_path: Path, inventory: str) -> None:
    argv = ("check", "prod/zk", "-i", inventory, "--record", "--only-changes", "--timeout", "3")
    assert "ZK_SERVER_DOWN" in bdops(*argv, home=tmp_path).stdout
    again = bdops(*argv, home=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    history = History(tmp_path / "state/history/checks.sqlite3")
    fine = CheckResult(code="ZK_SERVER_DOWN", severity=Severity.OK, subject="prod/zk", summary="")
    history.record([fine], datetime.now(UTC))
    assert "ZK_SERVER_DOWN: was ok" in bdops(*argv, home=tmp_path).stdout


def test_what_was_never_recorded_before_is_new(tmp_path: Path, inventory: str) -> None:
    folder = tmp_path / "state/history"
    folder.mkdir(parents=True, mode=0o700)
    fine = CheckResult(code="KAFKA_X", severity=Severity.OK, subject="prod/zk", summary="")
    History(folder / "checks.sqlite3").record([fine], datetime.now(UTC))
    argv = ("check", "prod/zk", "-i", inventory, "--record", "--only-changes", "--timeout", "3")
    assert "ZK_SERVER_DOWN" in bdops(*argv, home=tmp_path).stdout


def test_only_changes_needs_something_to_compare_with(tmp_path: Path, inventory: str) -> None:
    done = bdops("check", "-i", inventory, "--only-changes", home=tmp_path)
    assert (done.returncode, "--record" in done.stderr) == (3, True)


@pytest.fixture
def receiver() -> Iterator[tuple[ThreadingHTTPServer, list[dict[str, Any]]]]:
    """A server that takes Apprise's JSON; it refuses while `refuses` is set."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            refuses = getattr(self.server, "refuses", False)
            if not refuses:
                got.append(body)
            self.send_response(500 if refuses else 200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server, got
        server.shutdown()
        thread.join()


def test_what_is_new_is_sent_once_and_again_when_it_was_not_taken(
    tmp_path: Path, inventory: str, receiver: tuple[ThreadingHTTPServer, list[dict[str, Any]]]
) -> None:
    server, got = receiver
    secret = tmp_path / "url"
    secret.write_text(f"json://someone:hunter2@127.0.0.1:{server.server_port}/\n")
    secret.chmod(0o600)
    argv = ("check", "prod/zk", "-i", inventory, "--record", "--notify", f"file:{secret}", "--timeout", "3")
    server.refuses = True  # type: ignore[attr-defined]
    failed = bdops(*argv, home=tmp_path)
    assert failed.returncode == 3
    assert "not taken" in failed.stderr
    assert "hunter2" not in failed.stdout + failed.stderr
    server.refuses = False  # type: ignore[attr-defined]
    assert bdops(*argv, home=tmp_path).returncode == 2
    assert bdops(*argv, home=tmp_path).returncode == 2
    (sent,) = got
    assert "CRITICAL" in sent["title"]
    assert "ZK_SERVER_DOWN" in sent["message"]


def test_a_receiver_that_is_broken_keeps_the_news_from_no_other_and_does_not_repeat_them(
    tmp_path: Path, inventory: str, receiver: tuple[ThreadingHTTPServer, list[dict[str, Any]]]
) -> None:
    server, got = receiver
    secret = tmp_path / "url"
    secret.write_text(f"json://127.0.0.1:{server.server_port}/\n")
    secret.chmod(0o600)
    receivers = ("--notify", "env:BROKEN", "--notify", f"file:{secret}", "--notify", "file:/no/such/file")
    argv = ("check", "prod/zk", "-i", inventory, "--record", *receivers, "--timeout", "3")
    done = bdops(*argv, home=tmp_path, BROKEN="no url")
    assert (done.returncode, len(got)) == (3, 1)
    assert "2 of 3 receivers did not take the notification" in done.stderr
    assert "env BROKEN" in done.stderr
    assert "/no/such/file" in done.stderr
    assert bdops(*argv, home=tmp_path, BROKEN="no url").returncode == 2
    assert len(got) == 1


@pytest.mark.parametrize("reference", ["https://user:secret@example.org/", "nothing", "env:", "command:x"])
def test_a_url_itself_is_refused_and_not_repeated(tmp_path: Path, inventory: str, reference: str) -> None:
    done = bdops("check", "-i", inventory, "--record", "--notify", reference, home=tmp_path)
    assert done.returncode == 3
    assert "and not the URL" in done.stderr
    assert "secret" not in done.stderr
