from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bdops.core.checks import CheckResult, Finding, Metric, Severity
from bdops.core.survey import Survey, conclude
from bdops.errors import OperationFailed
from bdops.render.checks import show_survey
from bdops.render.nagios import nagios_text
from bdops.render.prometheus import LAST_SUCCESS, write_textfile

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def survey(*results: CheckResult, at: datetime = NOW) -> Survey:
    return conclude(results, {}, at)


UNDER = CheckResult(
    code="KAFKA_UNDER_REPLICATED",
    severity=Severity.CRITICAL,
    subject="prod/kafka",
    summary="12 of 40 partitions | under-replicated",
    hint="look at broker 3",
    objects=tuple(Finding(f"orders-{i}", Severity.CRITICAL, "2 of 3", ("prod/kafka/node3",)) for i in range(12)),
    metrics=(Metric("under_replicated", 12, "", 1, 10), Metric("disk", 0.5, "%", 80, None)),
)
FINE = CheckResult(code="ZK_QUORUM", severity=Severity.OK, subject="prod/zk", summary="3 of 3")
LOST = CheckResult(code="ZK_LEADER", severity=Severity.UNKNOWN, subject="prod/zk", summary="no answer")


def test_nagios_has_a_status_line_performance_data_and_a_line_per_problem() -> None:
    lines = nagios_text(survey(UNDER, FINE)).splitlines()
    assert lines[0].startswith("BDOPS CRITICAL: 1 critical of 2 checks; common cause: instance prod/kafka/node3 (12 of")
    status, performance = lines[0].split(" | ")
    assert "'prod/kafka KAFKA_UNDER_REPLICATED under_replicated'=12;1;10" in performance
    assert "'prod/kafka KAFKA_UNDER_REPLICATED disk'=0.5%;80" in performance
    assert "|" not in status
    assert lines[1] == "CRITICAL prod/kafka KAFKA_UNDER_REPLICATED: 12 of 40 partitions / under-replicated"
    assert len(lines) == 2


def table(*results: CheckResult) -> str:
    out = io.StringIO()
    show_survey(survey(*results), "table", command="check", verbose=0, stream=out)
    return out.getvalue()


def test_the_table_names_the_cause_first_and_folds_what_is_alike_and_what_is_well() -> None:
    text = table(UNDER, FINE)
    assert text.startswith("common cause: instance prod/kafka/node3 (12 of 12 findings, 1 check)\n")
    assert "orders-[0-11]: 2 of 3 [prod/kafka/node3]" in text
    assert "-v shows all" not in text
    assert "ZK_QUORUM" not in text
    assert "hint: look at broker 3" in text


def test_the_table_shows_the_first_findings_and_says_how_many_are_left() -> None:
    each = tuple(Finding(f"orders-{i}", Severity.CRITICAL, f"{i} behind") for i in range(12))
    text = table(replace(UNDER, objects=each))
    assert "orders-7: 7 behind" in text
    assert "orders-8" not in text
    assert "and 4 more: -v shows all" in text
    names = ["p/kafka/n1", "p/kafka/n2", "p/kafka/n3", "p/kafka/n9", "odd, name", "other one", "third one"]
    mixed = [Finding(n, Severity.WARNING, "away" if "/" in n else "odd") for n in names]
    many = [Finding(f"t{i * 7}-{i}", Severity.WARNING, "same") for i in range(900)]
    text = table(replace(UNDER, objects=(*mixed, *many)))
    assert "p/kafka/n[1-3,9]: away" in text
    assert "odd, name, other one, third one: odd" in text
    assert "... (900): same" in text
    assert max(map(len, text.splitlines())) < 140


def test_the_table_shows_everything_with_v() -> None:
    out = io.StringIO()
    show_survey(survey(UNDER, FINE), "table", command="check", verbose=1, stream=out)
    assert "orders-11" in out.getvalue()
    assert "ZK_QUORUM: 3 of 3" in out.getvalue()


def test_json_is_the_contract() -> None:
    out = io.StringIO()
    show_survey(survey(UNDER, FINE), "json", command="check", verbose=0, stream=out)
    answer = json.loads(out.getvalue())
    assert (answer["bdops"], answer["command"], answer["status"], answer["errors"]) == (1, "check", "critical", [])
    under, fine = answer["data"]["checks"]
    assert set(under) >= {"code", "severity", "subject", "summary", "hint", "objects", "metrics"}
    assert under["metrics"][0] == {"name": "under_replicated", "value": 12, "unit": "", "warning": 1, "critical": 10}
    assert len(under["objects"]) == 12
    assert fine["severity"] == "ok"


def read_metric(path: Path, name: str, subject: str) -> float | None:
    for line in path.read_text().splitlines():
        if line.startswith(f'{name}{{subject="{subject}"}}'):
            return float(line.split()[-1])
    return None


def test_the_textfile_keeps_the_last_success_while_a_subject_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "bdops.prom"
    write_textfile(survey(UNDER, FINE), path)
    assert read_metric(path, LAST_SUCCESS, "prod/zk") == NOW.timestamp()
    later = NOW.replace(hour=13)
    write_textfile(survey(UNDER, LOST, at=later), path)
    assert read_metric(path, LAST_SUCCESS, "prod/zk") == NOW.timestamp()
    assert read_metric(path, LAST_SUCCESS, "prod/kafka") == later.timestamp()
    assert read_metric(path, "bdops_check_last_run_timestamp_seconds", "prod/zk") == later.timestamp()
    assert [p.name for p in tmp_path.iterdir()] == ["bdops.prom"]


def test_a_textfile_that_cannot_be_written_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed) as caught:
        write_textfile(survey(FINE), tmp_path / "nowhere" / "x.prom")
    assert caught.value.where == str(tmp_path / "nowhere" / "x.prom")


def test_a_run_without_any_check_is_unknown() -> None:
    assert survey().severity is Severity.UNKNOWN
