"""What may be stopped: hand-made states, one or more for each rule: healthy.json with something changed."""

from __future__ import annotations

import json
import re
import time
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bdops.components.hdfs.gates import RULES, gate_facts
from bdops.components.hdfs.settings import HdfsRules
from bdops.components.hdfs.state import (
    BlockCounts,
    BlockState,
    DataNodeState,
    ExpectedInstance,
    HdfsState,
    NameNodeState,
    Pending,
    RollingUpgrade,
    Survey,
)
from bdops.core.actor import RestartRules
from bdops.core.gate import Verdict, judge
from bdops.core.waves import largest_safe_set
from tests.unit.hdfs.test_states import DATA, state_of

CASES = json.loads((DATA / "gates.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_a_stop_is_judged_as_it_should_be(case: dict[str, Any], tmp_path: Path) -> None:
    facts = gate_facts(state_of(case["set"], tmp_path), case.get("baseline"))
    answer = judge(facts, [f"prod/hdfs/{name}" for name in case["stop"]], case.get("accept", ()))
    assert (answer.verdict.value, sorted({r.rule for r in answer.reasons})) == (case["verdict"], sorted(case["rules"]))
    if "objects" in case:
        assert sorted(o for r in answer.reasons for o in r.objects) == sorted(case["objects"])


def test_every_rule_is_shown_by_some_case_and_described() -> None:
    shown = {rule for case in CASES for rule in case["rules"]} - {"INSTANCE_UNKNOWN"}
    assert shown == set(RULES)


def test_every_rule_and_number_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs/hdfs.md").read_text()
    documented = dict(re.findall(r"^\| `(HDFS_\w+)` \| (.*?) \|", page, re.MULTILINE))
    assert documented == dict(RULES)
    common = {f.name for f in fields(RestartRules)}
    for field in fields(HdfsRules):
        if field.name not in common:
            row = next(line for line in page.splitlines() if line.startswith("| `") and f"`{field.name}`" in line)
            assert f"{field.default:g}".replace("e+06", "000000") in row


def test_a_state_with_nothing_in_it_lets_nothing_go() -> None:
    state = HdfsState(cluster="prod", taken_at=datetime.now(UTC))
    assert judge(gate_facts(state), ["prod/hdfs/node1/datanode"]).verdict is Verdict.UNKNOWN


def test_300000_degraded_blocks_on_300_datanodes_are_judged_in_seconds() -> None:
    """On a million whole blocks more, which the NameNode's counts cover: they cost nothing."""
    expected = [
        ExpectedInstance(name="prod/hdfs/nn/namenode", role="namenode", host="nn", address="10.0.0.1", port=8020),
        *(
            ExpectedInstance(
                name=f"prod/hdfs/n{n:03}/datanode",
                role="datanode",
                host=f"n{n:03}",
                address=f"10.1.{n // 100}.{n % 100}",
                port=9866,
            )
            for n in range(300)
        ),
    ]
    places = [f"{e.address}:{e.port}" for e in expected[1:]]
    blocks = tuple(
        BlockState(
            file=f"/data/{n}",
            block=f"blk_{n}_1",
            length_bytes=1,
            wanted=3,
            live=2,
            locations=(places[n % 300], places[(n + 1 + n // 300 % 20) % 300]),
        )
        for n in range(300_000)
    )
    state = HdfsState(
        cluster="prod",
        taken_at=datetime.now(UTC),
        expected=tuple(expected),
        namenodes=(NameNodeState(instance="prod/hdfs/nn/namenode", state="active", safe_mode=False, last_txid=1),),
        zkfcs=(),
        journalnodes=(),
        journal_streams=(),
        datanodes=tuple(
            DataNodeState(
                hostname=e.host,
                address=e.address,
                port=9866,
                live=True,
                rack=f"/r{n % 10}",
                contact_age_s=1,
            )
            for n, e in enumerate(expected[1:])
        ),
        datanode_probes=(),
        replicated_blocks=BlockCounts(low_redundancy=len(blocks), missing=0, corrupt=0),
        ec_groups=BlockCounts(low_redundancy=0, missing=0, corrupt=0, total=0),
        pending=Pending(reconstruction=0),
        rolling_upgrade=RollingUpgrade(under_way=False),
        survey=Survey(scanned_files=1_300_000, complete=True, lowest_copies=3, degraded=blocks),
    )
    started = time.monotonic()
    facts = gate_facts(state)
    safe = largest_safe_set([e.name for e in expected[1:]], facts)
    assert time.monotonic() - started < 20
    assert len(safe.names) > 1
    assert len(facts.budgets) < 10_000
