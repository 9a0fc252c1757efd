"""Elasticsearch's side of a job on a real cluster: the borrowed setting, leftovers, and what it reads once a second."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from bdops.components.es.actor import EsActor
from bdops.components.es.gates import gate_facts
from bdops.components.es.leftovers import ENABLE
from bdops.core.actor import Borrowed
from bdops.core.gate import Verdict, judge
from bdops.core.plan import Step
from bdops.lab import es, es_faults, es_load
from bdops.lab.es_api import any_node
from bdops.lab.lab import Lab

pytestmark = pytest.mark.lab("es")
CALL_S = 30.0
PERSISTENT = f"persistent/{ENABLE}"
TRANSIENT = f"transient/{ENABLE}"


@dataclass
class Ledger:
    """What the engine's ledger does, in memory: the first `previous` is kept, the last holder's return restores."""

    actor: EsActor
    loans: dict[str, tuple[Borrowed, set[str]]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def step(self, lab: Lab, host: str) -> tuple[Step, Context]:
        name = f"{lab.name}/es/{host}"
        step = Step(id=host, component="es", name=name, instance=name, acts=("allocation-primaries", "allocation-back"))
        return step, Context(self, host)


@dataclass
class Context:
    """One step's view of it: core.actor.ActContext."""

    ledger: Ledger
    holder: str
    timeout_s: float = CALL_S
    act_id: str = "test"

    def say(self, text: str) -> None:
        self.ledger.said.append(text)

    def borrow(self, object: str, key: str, *, previous: str | None, value: str | None) -> None:
        new = Borrowed(component="es", object=object, key=key, previous=previous, value=value), set()
        self.ledger.loans.setdefault(key, new)[1].add(self.holder)

    def borrowed(self, object: str, key: str) -> Borrowed | None:
        return self.ledger.loans[key][0] if key in self.ledger.loans else None

    def give_back(self, object: str, key: str) -> None:
        borrowed, holders = self.ledger.loans[key]
        holders.discard(self.holder)
        if not holders:
            self.ledger.actor.restore(borrowed)
            del self.ledger.loans[key]


@pytest.fixture
def actor(lab: Lab) -> Iterator[EsActor]:
    made = EsActor(lab.deployment("es"))
    yield made
    made.close()
    for level in ("persistent", "transient"):
        any_node(lab).put("_cluster/settings", {level: {ENABLE: None}}, timeout_s=CALL_S)


@pytest.fixture
def ledger(actor: EsActor) -> Ledger:
    return Ledger(actor)


def settings(lab: Lab) -> dict[str, Any]:
    found = any_node(lab).get("_cluster/settings", {"flat_settings": "true"}, timeout_s=CALL_S)
    return {level: found[level] for level in ("persistent", "transient") if found[level]}


def set_enable(lab: Lab, level: str, value: str | None) -> None:
    any_node(lab).put("_cluster/settings", {level: {ENABLE: value}}, timeout_s=CALL_S)


def test_nodes_of_one_wave_share_what_is_borrowed_and_the_last_gives_it_back(
    lab: Lab, actor: EsActor, ledger: Ledger
) -> None:
    set_enable(lab, "persistent", "all")
    one, two = ledger.step(lab, "node1"), ledger.step(lab, "node2")
    actor.perform(one[0], "allocation-primaries", one[1])
    actor.perform(two[0], "allocation-primaries", two[1])
    assert settings(lab) == {"persistent": {ENABLE: "primaries"}}
    assert ledger.loans[PERSISTENT][0].previous == "all"
    actor.perform(one[0], "allocation-back", one[1])
    assert settings(lab) == {"persistent": {ENABLE: "primaries"}}
    actor.perform(two[0], "allocation-back", two[1])
    assert settings(lab) == {"persistent": {ENABLE: "all"}}
    assert ledger.loans == {}


def test_what_another_step_has_set_does_not_count_as_done_for_this_one(
    lab: Lab, actor: EsActor, ledger: Ledger
) -> None:
    one, two = ledger.step(lab, "node1"), ledger.step(lab, "node2")
    actor.perform(one[0], "allocation-primaries", one[1])
    state = actor.read(timeout_s=10)
    assert actor.progress(state, one[0], "allocation-primaries", {}).done
    assert not actor.progress(state, two[0], "allocation-primaries", {}).done


def test_a_transient_value_goes_before_the_persistent_one_so_it_is_that_which_is_borrowed(
    lab: Lab, actor: EsActor, ledger: Ledger
) -> None:
    set_enable(lab, "persistent", "none")
    set_enable(lab, "transient", "all")
    step, context = ledger.step(lab, "node1")
    actor.perform(step, "allocation-primaries", context)
    assert settings(lab) == {"persistent": {ENABLE: "none"}, "transient": {ENABLE: "primaries"}}
    actor.perform(step, "allocation-back", context)
    assert settings(lab) == {"persistent": {ENABLE: "none"}, "transient": {ENABLE: "all"}}


def test_a_job_that_was_killed_after_it_wrote_down_what_it_borrows_sets_it_then(
    lab: Lab, actor: EsActor, ledger: Ledger
) -> None:
    step, context = ledger.step(lab, "node1")
    context.borrow("cluster", PERSISTENT, previous=None, value="primaries")
    actor.perform(step, "allocation-primaries", context)
    assert settings(lab) == {"persistent": {ENABLE: "primaries"}}
    actor.perform(step, "allocation-primaries", context)
    actor.perform(step, "allocation-back", context)
    assert settings(lab) == {}


def test_a_value_of_someone_elses_is_left_and_named_and_a_second_return_does_nothing(
    lab: Lab, actor: EsActor, ledger: Ledger
) -> None:
    step, context = ledger.step(lab, "node1")
    actor.perform(step, "allocation-primaries", context)
    borrowed = ledger.loans[PERSISTENT][0]
    set_enable(lab, "persistent", "new_primaries")
    actor.perform(step, "allocation-back", context)
    assert settings(lab) == {"persistent": {ENABLE: "new_primaries"}}
    assert "set by someone else" in " ".join(ledger.said)
    set_enable(lab, "persistent", None)
    actor.restore(borrowed)
    assert settings(lab) == {}


def test_a_stricter_value_of_someone_elses_is_not_loosened(lab: Lab, actor: EsActor, ledger: Ledger) -> None:
    set_enable(lab, "transient", "none")
    step, context = ledger.step(lab, "node1")
    actor.perform(step, "allocation-primaries", context)
    assert settings(lab) == {"transient": {ENABLE: "none"}}
    assert ledger.loans == {}
    assert "left as it is" in " ".join(ledger.said)


def test_leftovers_of_every_kind_are_found_and_cleared(
    lab: Lab, actor: EsActor, eventually: Callable[..., Any]
) -> None:
    node = any_node(lab)
    exclude, rebalance = "cluster.routing.allocation.exclude._name", "cluster.routing.rebalance.enable"
    node.put("_cluster/settings", {"persistent": {exclude: "gone", ENABLE: "primaries"}}, timeout_s=CALL_S)
    node.put("_cluster/settings", {"transient": {rebalance: "none"}}, timeout_s=CALL_S)
    node.put("customers/_settings", {"index.routing.allocation.enable": "none"}, timeout_s=CALL_S)
    node.post("_cluster/voting_config_exclusions", None, {"node_names": "node3"}, timeout_s=CALL_S)
    wanted = {
        *(PERSISTENT, f"persistent/{exclude}", f"transient/{rebalance}"),
        *("index.routing.allocation.enable", "voting_config_exclusions"),
    }
    try:
        found = actor.leftovers(actor.read(timeout_s=10))
        assert {x.key for x in found} == wanted
        for leftover in found:
            actor.clear(leftover)
        assert actor.leftovers(actor.read(timeout_s=10)) == ()
        assert settings(lab) == {}
    finally:
        node.put("customers/_settings", {"index.routing.allocation.enable": None}, timeout_s=CALL_S)
        node.delete("_cluster/voting_config_exclusions", {"wait_for_removal": "false"}, timeout_s=CALL_S)
        for level, name in (("persistent", exclude), ("transient", rebalance)):
            node.put("_cluster/settings", {level: {name: None}}, timeout_s=CALL_S)
    eventually(lambda: len((actor.read(timeout_s=10).coordination or pytest.fail("unread")).voting) == 3, 30)


@pytest.mark.thorough
def test_a_node_that_is_down_is_told_from_one_that_hangs(
    lab: Lab, actor: EsActor, eventually: Callable[..., Any]
) -> None:
    master = actor.read(timeout_s=10).master
    victim = next(h for h in es.HOSTS if h != master)

    def seen() -> Any:
        return next(s for s in actor.read(timeout_s=4).servers or () if s.name == victim)

    lab.pause(es.PROGRAM, victim)
    try:
        hung = seen()
    finally:
        lab.resume(es.PROGRAM, victim)
    assert (hung.error_kind, hung.refused) == ("unreachable", False)
    lab.kill(es.PROGRAM, victim)
    dead = seen()
    assert (dead.error_kind, dead.refused) == ("unreachable", True)
    lab.start(es.PROGRAM, victim)
    eventually(lambda: es.serves(lab, victim) and es_faults.is_settled(lab), 180)


def test_a_snapshot_that_is_being_written_makes_its_nodes_wait(
    lab: Lab, actor: EsActor, eventually: Callable[..., Any]
) -> None:
    node = any_node(lab)
    where = str(es_load.repository_dir(lab) / "slow")
    slow = {"location": where, "max_snapshot_bytes_per_sec": "20kb", "compress": False}
    lines = "".join(f'{{"index":{{}}}}\n{json.dumps({"t": os.urandom(2000).hex()})}\n' for _ in range(200))
    node.put("big", {"settings": {"number_of_shards": 1}}, {"wait_for_active_shards": "all"}, timeout_s=CALL_S)
    try:
        node.post("big/_bulk", lines, {"refresh": "true"}, timeout_s=CALL_S)
        node.put("_snapshot/slow", {"type": "fs", "settings": slow}, timeout_s=CALL_S)
        node.put("_snapshot/slow/s1", {"indices": "big"}, {"wait_for_completion": "false"}, timeout_s=CALL_S)

        def running() -> Any:
            found = actor.read(timeout_s=10)
            return found if any(s.writing for s in found.running_snapshots or ()) else None

        state = eventually(running, 20)
        (writer,) = state.running_snapshots[0].writing
        facts = gate_facts(state)
        for host in es.HOSTS:
            answer = judge(facts, [f"{lab.name}/es/{host}"])
            rules = {r.rule for r in answer.reasons}
            assert (answer.verdict is Verdict.WAIT) == (host == writer), (host, writer, answer.reasons)
            assert rules == ({"ES_SNAPSHOT"} if host == writer else set())
    finally:
        node.delete("_snapshot/slow/s1", timeout_s=60)
        node.delete("_snapshot/slow", timeout_s=CALL_S)
        node.delete("big", timeout_s=CALL_S)


def test_a_reading_is_cheap(actor: EsActor) -> None:
    """It is made once a second on clusters of hundreds of nodes."""
    actor.read(timeout_s=10)
    began = time.process_time()
    for _ in range(10):
        state = actor.read(timeout_s=10)
    each_s = (time.process_time() - began) / 10
    assert state.unread == {}
    assert all(s.disks is not None for s in state.servers or ())
    assert each_s < 0.1, f"{each_s * 1000:.0f} ms of CPU"
