"""A plan against the inventory of today."""

from __future__ import annotations

from dataclasses import replace

from bdops.components.zk.settings import Settings
from bdops.core.model import Deployment, Host, Instance, Service
from bdops.core.plan import Plan
from bdops.jobs.planning import fingerprint, stale_differences

INSTANCE = Instance(
    cluster="prod",
    component="zk",
    host=Host(name="node1", address="10.0.0.1"),
    roles=frozenset(),
    settings=Settings(client_port=2181),
    service=Service(manager="systemd", unit="zookeeper"),
)


def plan(**changes: object) -> Plan:
    facts = fingerprint(INSTANCE)
    facts["settings"] = {**facts["settings"], **changes}
    return Plan(command="zk restart", cluster="prod", waves=(), made_at="", by="", inventory={INSTANCE.name: facts})


def differences(found: Plan, instance: Instance = INSTANCE) -> list[str]:
    return stale_differences(
        found, [Deployment(cluster="prod", component="zk", instances=(instance,), settings=instance.settings)]
    )


def test_a_fresh_plan_differs_in_nothing() -> None:
    assert differences(plan()) == []


def test_a_changed_port_and_a_moved_host_are_told_and_nothing_else() -> None:
    assert differences(plan(client_port=2182)) == ["prod/zk/node1: settings.client_port was 2182, and is 2181"]
    moved = replace(INSTANCE, host=Host(name="node1", address="10.0.0.9"))
    assert any("10.0.0.9" in d for d in differences(plan(), moved))
    other = replace(INSTANCE, service=Service(manager="systemd", unit="zk"))
    assert differences(plan(), other) == ["prod/zk/node1: service.unit was zookeeper, and is zk"]
    assert differences(plan(), replace(INSTANCE, service=None)) == ["prod/zk/node1: service was given, and is None"]


def test_a_setting_that_a_newer_bdops_brought_makes_no_plan_stale() -> None:
    old = plan()
    facts = dict(old.inventory[INSTANCE.name])
    facts["settings"] = {k: v for k, v in facts["settings"].items() if k != "admin_port"}
    assert differences(replace(old, inventory={INSTANCE.name: facts})) == []
