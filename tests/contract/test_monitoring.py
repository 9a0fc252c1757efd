"""What is in monitoring/ fits what bdops writes, and its command lines run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bdops.core.checks import CheckResult, Metric, Severity
from bdops.core.survey import conclude
from bdops.registry import COMPONENTS, component
from bdops.render.prometheus import prometheus_text
from tests.contract.cli import bdops

MONITORING = Path(__file__).parents[2] / "monitoring"
RULES = yaml.safe_load((MONITORING / "prometheus-rules.yaml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text())
CODES = {check.code for name in (*COMPONENTS, "host") for check in component(name).checks}
STATE = Path(__file__).parents[1] / "unit/kafka/data/disk_nearly_full.json"
OF_THE_SCRAPE = {"instance", "job"}


def written() -> dict[str, set[str]]:
    """The metrics that bdops writes, with their labels."""
    metric = Metric("used", 1, "%")
    result = CheckResult(code="X", severity=Severity.OK, subject="prod/x", summary="", metrics=(metric,))
    families = text_string_to_metric_families(prometheus_text(conclude([result], {}, datetime.now(UTC))))
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def dashboard_expressions() -> list[str]:
    asked = [v["query"]["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    return asked + [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


EXPRESSIONS = [rule["expr"] for rule in RULES] + dashboard_expressions()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_ask_for_metrics_labels_and_codes_that_there_are(expression: str) -> None:
    known = written()
    names = re.findall(r"\bbdops_\w+", expression)
    assert names
    assert set(names) <= set(known)
    for name, selector in re.findall(r"(\bbdops_\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r'(\w+)=~?"', selector)) <= known[name], expression
        for pattern in re.findall(r'code=~"([^"]*)"', selector):
            for alternative in pattern.split("|"):
                assert any(re.fullmatch(alternative, code) for code in CODES), alternative


def test_every_rule_says_what_is_wrong_and_what_to_do_by_labels_that_there_are() -> None:
    labels = set().union(*written().values()) | OF_THE_SCRAPE
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        text = " ".join(rule["annotations"].values())
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= labels


def test_severities_are_compared_with_those_that_are_written() -> None:
    codes = {severity.exit_code for severity in Severity}
    for expression in EXPRESSIONS:
        assert {int(n) for n in re.findall(r"severity(?:\{[^}]*\})? == (\d)", expression)} <= codes


# Grafana's own question about labels is none.
@pytest.mark.parametrize("expression", [e for e in EXPRESSIONS if not e.startswith("label_values(")])
def test_an_expression_is_promql(expression: str) -> None:
    # Grafana fills in its variables.
    promql_parser.parse(re.sub(r"\$__\w+", "5m", re.sub(r"\$(?!__)\w+", "x", expression)))


def test_the_dashboards_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    for one, other in combinations([p["gridPos"] for p in panels], 2):
        apart = (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip
        assert apart, (one, other)
    assert max(p["gridPos"]["x"] + p["gridPos"]["w"] for p in panels) <= 24
    assert all(p["datasource"]["uid"] == "${datasource}" for p in panels)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "my inventory.yaml"
    path.write_text(
        "version: 1\nclusters:\n  prod:\n    hosts:\n      node1: {address: 127.0.0.1}\n"
        "    components:\n      zk: {hosts: node1, client_port: 1, admin_port: 2}\n"
    )
    return path


def plugin(argv: list[str], home: Path) -> None:
    """Run a definition's command line; it must answer as a plugin does."""
    assert argv[:2] == ["/usr/local/bin/bdops", "check"]
    done = bdops(*argv[1:], home=home)
    assert done.returncode in (1, 2)
    assert re.match(r"BDOPS (WARNING|CRITICAL): \d", done.stdout), done.stderr


def test_nagios_command_lines_run(tmp_path: Path, inventory: Path) -> None:
    text = (MONITORING / "nagios.cfg").read_text()
    lines = dict(re.findall(r"command_name\s+(\S+)\n\s+command_line\s+(.*)", text))
    assert set(lines) == {"check_bdops", "check_bdops_state"}
    live = lines["check_bdops"].replace("$ARG1$", str(inventory)).replace("$ARG2$", "prod/zk")
    plugin(shlex.split(live), tmp_path)
    plugin(shlex.split(lines["check_bdops_state"].replace("$ARG1$", str(STATE))), tmp_path)
    (service,) = re.findall(r"check_command\s+(\S+)", text)
    assert service.split("!")[0] in lines


def icinga_arguments(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of a CheckCommand's `arguments`, in the order in which Icinga puts them."""
    body = re.search(r"arguments = \{\n(.*?)\n  \}\n", text, re.DOTALL)
    assert body
    found: list[tuple[str, dict[str, Any]]] = []
    for key, simple, block in re.findall(r'"([^"]+)" = (?:"([^"]*)"|\{(.*?)\n    \})', body[1], re.DOTALL):
        fields = dict(re.findall(r'(\w+) = "?([^"\n]*)"?', block))
        found.append((key, fields or {"value": simple}))
    return iter(sorted(found, key=lambda entry: int(entry[1].get("order", 0))))


def test_the_icinga_command_runs_with_and_without_its_optional_arguments(tmp_path: Path, inventory: Path) -> None:
    text = (MONITORING / "icinga2.conf").read_text()
    command = json.loads(re.search(r"command = (\[.*?\])", text)[1])  # type: ignore[index]
    defaults = dict(re.findall(r'vars\.(\w+) = "([^"]*)"', text))
    for given in ({"bdops_selector": "prod/zk"}, {"bdops_selector": "zk", "bdops_cluster": "prod"}):
        values = {**defaults, "bdops_inventory": str(inventory), **given}
        argv = list(command)
        for key, fields in icinga_arguments(text):
            name = re.fullmatch(r"\$(\w+)\$", fields["value"])
            value = values.get(name[1]) if name else fields["value"]
            if value is not None:
                argv += [value] if "skip_key" in fields else [key, value]
        plugin(argv, tmp_path)
