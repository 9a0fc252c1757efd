"""Where values came from, and that everything shown is free of secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bdops.errors import ConfigError, UsageError
from bdops.inventory.known_checks import require_known_checks
from bdops.inventory.reports import explain_report, hosts_report, show_report
from tests.unit.inventory.kit import errors_of, load

TEXT = """version: 1
clusters:
  prod:
    ssh: {user: ops}
    vars: {a: 1, db_password: hunter2}
    hosts:
      node[1-2]: {address: "{name}.example.com"}
      node3.example.com: {ssh: {user: root}}
    components:
      queue:
        hosts: "*"
        port: 9000
        password: {env: QUEUE_PASSWORD}
        tls:
          ca: /ca
        service: {unit: "q@{host}"}
        instances:
          node2:
            port: 9100
"""


def explained(folder: Path, words: str) -> tuple[object, str, list[tuple[object, str]]]:
    """(value, where, [(value, where) of what it overrode]) with file names cut off."""
    report = explain_report(load(folder, TEXT).origins, words)

    def place(where: object) -> str:
        return str(where).removeprefix(f"{folder}/inv.yaml:")

    rows = [(row["value"], place(row["where"])) for table in report.tables for row in table.rows]
    return report.facts["value"], place(report.facts["where"]), rows


@pytest.mark.parametrize("words", ["prod/queue/node2 port", "prod/queue/node2.port", "prod/queue/node2 settings.port"])
def test_a_value_names_its_line_and_what_it_overrode(words: str, tmp_path: Path) -> None:
    assert explained(tmp_path, words) == (9100, "19", [(9000, "12"), (9092, "built in")])


@pytest.mark.parametrize(
    ("words", "value", "where"),
    [
        ("prod/queue/node1.tls.ca", "/ca", "15"),
        ("prod/queue/node1 mode", "plain", "built in"),
        ("prod/queue/node1 service.unit", "q@node1", "16"),
        ("prod/queue/node1 address", "node1.example.com", "7"),
        ("prod/queue/node1 vars.a", 1, "5"),
        ("prod/queue/node1 ssh.user", "ops", "4"),
        ("prod/node3.example.com.ssh.user", "root", "8"),
        ("prod/node3.example.com ssh.port", 22, "built in"),
        ("prod/queue port", 9000, "12"),
        ("prod vars.a", 1, "5"),
    ],
)
def test_every_level_can_be_asked(words: str, value: object, where: str, tmp_path: Path) -> None:
    assert explained(tmp_path, words)[:2] == (value, where)


def test_an_unknown_key_or_target_gets_the_likely_spelling(tmp_path: Path) -> None:
    origins = load(tmp_path, TEXT).origins
    for words, hint in [
        ("prod/queue/node2 prt", "did you mean port?"),
        ("prod/queu/node2 port", "did you mean prod/queue/node2?"),
        ("prod/queue/node9", "did you mean prod/queue/node2?"),
    ]:
        with pytest.raises(UsageError) as caught:
            explain_report(origins, words)
        assert (caught.value.hint or "").startswith("did you mean prod/queue/node") or caught.value.hint == hint


def test_merged_and_aliased_values_point_to_where_they_are_written(tmp_path: Path) -> None:
    text = """clusters:
  c:
    hosts:
      a: &base
        rack: r1
      b:
        <<: *base
        address: x
"""
    origins = load(tmp_path, text).origins
    assert str(origins.origin("c/b", "rack")).endswith(":5")
    assert str(origins.origin("c/b", "address")).endswith(":8")


def test_a_host_may_be_called_like_a_component(tmp_path: Path) -> None:
    text = """clusters:
  c:
    hosts: {queue: {rack: r1}, store: {rack: r2}}
    components: {queue: {hosts: "*", port: 7}, store: {hosts: queue}}
"""
    origins = load(tmp_path, text).origins
    assert explain_report(origins, "c/queue rack").facts["value"] == "r1"
    assert explain_report(origins, "c/queue port").facts["value"] == 7


def test_secrets_are_shown_as_references_and_what_looks_like_one_is_hidden(tmp_path: Path) -> None:
    inventory = load(tmp_path, TEXT)
    report = show_report(inventory, None, None)
    shown = json.dumps([dict(report.facts), [list(table.rows) for table in report.tables]])
    assert "QUEUE_PASSWORD" in shown
    assert "hunter2" not in shown
    assert explain_report(inventory.origins, "prod/node1 vars.db_password").facts["value"] == "(hidden)"
    every = explain_report(inventory.origins, "prod/queue/node1")
    assert "hunter2" not in json.dumps([list(table.rows) for table in every.tables])


def test_hosts_are_folded_by_cluster(tmp_path: Path) -> None:
    (table,) = hosts_report(load(tmp_path, TEXT), "node[1-2]", None, folded=True).tables
    assert list(table.rows) == [{"cluster": "prod", "hosts": "node[1-2]", "count": 2}]


# Checks that the inventory speaks of ------------------------------------------------------------------------

KNOWN = {"queue": {"QUEUE_LAG": {"lag": "ms"}, "QUEUE_DISK": {"used": "%", "skew": "%"}}, "host": {"HOST_CLOCK": {}}}


@pytest.mark.parametrize(
    ("checks", "message", "hint"),
    [
        ("QUEUE_LGA: {enabled: false}", "there is no such check", "did you mean QUEUE_LAG?"),
        ("HOST_CLOCK: {warning: 1, critical: 2}", "the check has no limits", ""),
        ("QUEUE_DISK: {warning: 1, critical: 2}", "the check has 2 limits", "limits: skew, used"),
        ("QUEUE_DISK: {limits: {use: {warning: 1, critical: 2}}}", "no such limit", "did you mean used?"),
        ("QUEUE_LAG: {warning: 1%, critical: 2%}", "the limit is in ms, and was written in %", ""),
    ],
)
def test_a_check_that_does_not_exist_is_an_error(checks: str, message: str, hint: str, tmp_path: Path) -> None:
    inventory = load(tmp_path, f"clusters:\n  c:\n    hosts: {{a: {{}}}}\n    checks:\n      {checks}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        require_known_checks(inventory, KNOWN)
    assert caught.value.where == f"{tmp_path}/inv.yaml:5"
    assert hint in (caught.value.hint or "")


def test_a_component_cannot_set_the_checks_of_another(tmp_path: Path) -> None:
    text = "clusters: {c: {hosts: {a: {}}, components: {queue: {hosts: a, checks: {HOST_CLOCK: {enabled: false}}}}}}"
    with pytest.raises(ConfigError, match="there is no such check"):
        require_known_checks(load(tmp_path, text), KNOWN)


def test_known_checks_and_patterns_pass(tmp_path: Path) -> None:
    text = """
clusters:
  c:
    hosts: {a: {}}
    checks: {QUEUE_LAG: {warning: 5s, critical: 20s}, HOST_CLOCK: {enabled: false}}
    mutes: [{check: "*", until: 2030-01-01, reason: r}]
    components:
      queue: {hosts: a, mutes: [{check: "QUEUE_*", until: 2030-01-01, reason: r}]}
"""
    require_known_checks(load(tmp_path, text), KNOWN)


def test_a_bad_mute_is_found_by_its_pattern(tmp_path: Path) -> None:
    text = "clusters:\n  c:\n    hosts: {a: {}}\n    mutes:\n      - {check: Q_*, until: 2030-01-01, reason: r}\n"
    with pytest.raises(ConfigError, match=r"no check is called 'Q_\*'"):
        require_known_checks(load(tmp_path, text), KNOWN)


def test_a_mute_is_not_taken_for_an_error_of_shape(tmp_path: Path) -> None:
    (error,) = errors_of(tmp_path, "clusters: {c: {hosts: {a: {}}, mutes: [{chek: X, until: 2030-01-01, reason: r}]}}")[
        :1
    ]
    assert "clusters.c.mutes[0]" in error.message
