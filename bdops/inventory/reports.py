"""What `bdops inventory` shows, as plain data and reports. Secrets are shown as references."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bdops.core.model import CheckOverride, Cluster, Deployment, Host, Instance, Inventory, Mute, SecretRef, Ssh
from bdops.core.result import Column, Report, Table
from bdops.core.units import plural
from bdops.errors import UsageError
from bdops.inventory.origins import Explanation, Origins, Said
from bdops.inventory.problems import looks_secret
from bdops.inventory.ranges import fold
from bdops.inventory.selectors import select, select_cluster_hosts

HIDDEN = "(hidden)"
"""In place of a variable whose name says that it is a secret."""


def as_data(value: Any, name: str = "") -> Any:
    """Anything of the model as plain data; secrets as references, and what looks like one hidden."""
    if isinstance(value, SecretRef):
        given = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {key: as_data(each) for key, each in given.items() if each is not None}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_data(getattr(value, f.name), f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_data(each, str(key)) for key, each in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(as_data(each) for each in value)
    if isinstance(value, list | tuple):
        return [as_data(each, name) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return HIDDEN if looks_secret(name) and isinstance(value, str) else value


def inventory_data(inventory: Inventory, names: Iterable[str]) -> dict[str, Any]:
    """The resolved inventory with the chosen instances, and all hosts of their clusters."""
    chosen = frozenset(names)
    return {cluster.name: _cluster_data(cluster, chosen) for cluster in inventory.clusters}


def _cluster_data(cluster: Cluster, chosen: frozenset[str]) -> dict[str, Any]:
    return {
        "vars": as_data(cluster.vars),
        "checks": _checks_data(cluster.checks),
        "mutes": [_mute_data(mute) for mute in cluster.mutes],
        "hosts": {host.name: _host_data(host) for host in cluster.hosts},
        "components": {
            deployment.component: {
                "settings": as_data(deployment.settings),
                "checks": _checks_data(deployment.checks),
                "mutes": [_mute_data(mute) for mute in deployment.mutes],
                "instances": {i.name: _instance_data(i) for i in deployment.instances if i.name in chosen},
            }
            for deployment in cluster.deployments
        },
    }


def _host_data(host: Host) -> dict[str, Any]:
    data: dict[str, Any] = as_data(host)
    del data["name"]
    return data


def _instance_data(instance: Instance) -> dict[str, Any]:
    return {
        "host": instance.host.name,
        "process": instance.process,
        "roles": sorted(instance.roles),
        "settings": as_data(instance.settings),
        "service": as_data(instance.service),
        "vars": as_data(instance.vars),
    }


def _checks_data(checks: Mapping[str, CheckOverride]) -> dict[str, Any]:
    return {
        code: {
            "enabled": each.enabled,
            "limits": {name: {"warning": pair[0], "critical": pair[1]} for name, pair in each.limits.items()},
        }
        for code, each in checks.items()
    }


def _mute_data(mute: Mute) -> dict[str, Any]:
    return {"check": mute.check, "object": mute.object, "until": mute.until.isoformat(), "reason": mute.reason}


def show_report(inventory: Inventory, selector: str | None, cluster: str | None) -> Report:
    """The resolved inventory: a table of instances, and everything in JSON and YAML."""
    chosen = select(inventory, selector, cluster=cluster)
    rows = [
        {
            "instance": i.name,
            "address": i.host.address,
            "rack": i.host.rack,
            "roles": sorted(i.roles),
            "service": _service_words(i),
            "ssh": _ssh_words(i.host.ssh),
        }
        for i in chosen
    ]
    columns = [Column("instance"), Column("address"), Column("rack"), Column("roles"), Column("service")]
    return Report(
        summary=f"{plural(len(chosen), 'instance')} in {inventory.source}",
        facts={"_source": inventory.source, "_clusters": inventory_data(inventory, (i.name for i in chosen))},
        tables=(
            Table(name="instances", columns=(*columns, Column("ssh", wide=True)), rows=rows, empty="no instances"),
        ),
    )


def _service_words(instance: Instance) -> str | None:
    service = instance.service
    return f"{service.manager} {service.unit or ''}".strip() if service else None


def _ssh_words(ssh: Ssh) -> str:
    user = f"{ssh.user}@" if ssh.user else ""
    return f"{user}:{ssh.port}" + (f" by {ssh.jump}" if ssh.jump else "")


def hosts_report(inventory: Inventory, selector: str | None, cluster: str | None, folded: bool) -> Report:
    """The hosts that a selector means; folded: one line with the ranges of each cluster."""
    chosen = select_cluster_hosts(inventory, selector, cluster=cluster)
    if folded:
        by_cluster: dict[str, list[str]] = {}
        for name, host in chosen:
            by_cluster.setdefault(name, []).append(host.name)
        rows: list[dict[str, Any]] = [
            {"cluster": name, "hosts": fold(hosts), "count": len(hosts)} for name, hosts in by_cluster.items()
        ]
        return Report(
            tables=(Table(name="hosts", columns=(Column("cluster"), Column("hosts"), Column("count")), rows=rows),)
        )
    runs: dict[tuple[str, str], list[str]] = {}
    for each in inventory.clusters:
        for deployment in each.deployments:
            for i in deployment.instances:
                what = f"{i.component}/{i.process}" if i.process else i.component
                runs.setdefault((each.name, i.host.name), []).append(what)
    rows = [
        {
            "host": f"{name}/{host.name}",
            "address": host.address,
            "rack": host.rack,
            "groups": list(host.groups),
            "runs": runs.get((name, host.name), []),
            "ssh": _ssh_words(host.ssh),
        }
        for name, host in chosen
    ]
    columns = tuple(Column(key, wide=key == "ssh") for key in ("host", "address", "rack", "groups", "runs", "ssh"))
    return Report(tables=(Table(name="hosts", columns=columns, rows=rows, empty="no hosts"),))


def validate_report(inventory: Inventory, now: datetime) -> Report:
    """What a valid inventory holds, and which of its mutes are over."""
    rows = [
        {
            "cluster": cluster.name,
            "hosts": len(cluster.hosts),
            "components": [f"{d.component} ({len(d.instances)})" for d in cluster.deployments],
        }
        for cluster in inventory.clusters
    ]
    mutes = {mute for cluster in inventory.clusters for mute in (*cluster.mutes, *_of_all(cluster.deployments))}
    over = sorted(f"{m.check} {m.object} (until {m.until:%Y-%m-%d})" for m in mutes if m.until <= now)
    note = f"; {plural(len(over), 'mute')} over: {', '.join(over)}" if over else ""
    columns = (Column("cluster"), Column("hosts"), Column("components", title="components (instances)"))
    return Report(
        summary=f"{inventory.source} is valid{note}",
        facts={"_source": inventory.source, "_mutes_over": over},
        tables=(Table(name="clusters", columns=columns, rows=rows),),
    )


def _of_all(deployments: Sequence[Deployment]) -> list[Mute]:
    return [mute for deployment in deployments for mute in deployment.mutes]


def explain_report(origins: Origins, words: str) -> Report:
    """Where the value of a key came from and what it overrode; all values of a target without a key."""
    target, key = origins.split(words)
    if key is None:
        if not origins.sections(target):
            origins.explain(target, "")  # raises, with the likely spelling
        found = [origins.explain(target, each) for each in origins.keys(target)]
        if not found:
            raise UsageError(f"{target} has no values of its own", hint="name one of its hosts or instances")
        rows = [{"key": each.key, **_said_data(each.said, each.key)} for each in found]
        columns = (Column("key"), Column("value"), Column("where"), Column("level"))
        return Report(facts={"_target": target}, tables=(Table(name="values", columns=columns, rows=rows),))
    explanation = origins.explain(target, key)
    return Report(
        facts={"target": target, "key": key, **_said_data(explanation.said, key)},
        tables=(_overrode(explanation),) if explanation.overrode else (),
    )


def _overrode(explanation: Explanation) -> Table:
    rows = [_said_data(said, explanation.key) for said in explanation.overrode]
    return Table(
        name="overrode",
        title="in place of",
        columns=(Column("value"), Column("where"), Column("level")),
        rows=rows,
    )


def _said_data(said: Said, key: str) -> dict[str, Any]:
    return {
        "value": as_data(said.value, key.rpartition(".")[2]),
        "where": str(said.origin) if said.origin else "built in",
        "level": said.level,
    }
