"""From the checked document to the frozen model: hosts, instances and their inherited values.

Inheritance is cluster -> component -> role -> host -> instance. What a level does not say, the one before it
says. Errors that need more than one place to see (an unknown host, two instances on one port) are found here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bdops.core.component import ComponentSettings
from bdops.core.model import WORK_DIR, CheckOverride, Cluster, Deployment, Host, Instance, Mute, Ssh
from bdops.errors import ConfigError
from bdops.hosts.ssh_config import settings_of
from bdops.inventory import edge
from bdops.inventory.components import ComponentResolver
from bdops.inventory.levels import default_values, said_in
from bdops.inventory.origins import Layer, Origins
from bdops.inventory.placement import Scope
from bdops.inventory.problems import Problems, likely_or_known
from bdops.inventory.ranges import MAX_HOSTS, NAME, BadRange, expand
from bdops.inventory.shape import SettingsReader, bad_ssh_secrets

_OTHER_NAMES = {"zookeeper": "zk", "elasticsearch": "es", "elastic": "es", "hadoop": "hdfs"}
_OF_HOSTS = ("work_dir",)
"""What a cluster may say of its hosts themselves."""
_ADDRESS = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%\-]*")
_WORK_DIR = re.compile(r"(/[^/{}\x00-\x1f]+)+")


def resolve_cluster(
    name: str,
    doc: edge.ClusterDoc,
    settings: Mapping[str, ComponentSettings],
    readers: Mapping[str, SettingsReader],
    problems: Problems,
    origins: Origins,
) -> Cluster:
    """The cluster with all that can be made of it; what cannot is in `problems`."""
    path = ("clusters", name)
    if not NAME.fullmatch(name):
        problems.add(path, "expected a name of letters, digits, dots, dashes and underscores")
    bad_ssh_secrets(doc.ssh, (*path, "ssh"), problems)
    hosts, sections, complete = _hosts(name, doc, problems, origins)
    scope = Scope(name=name, doc=doc, hosts=hosts, sections=sections, complete=complete, problems=problems)
    checks = check_overrides(doc.checks)
    mutes = tuple(_mute(mute) for mute in doc.mutes)
    deployments = []
    for component, part in doc.components.items():
        at = (*path, "components", component)
        if component not in settings:
            known = _OTHER_NAMES.get(component.lower())
            hint = f"did you mean {known}?" if known else likely_or_known(component, settings, "components")
            problems.add(at, "unknown component", hint=hint)
            continue
        resolver = ComponentResolver(scope, component, part, settings[component], readers[component])
        instances, level = resolver.resolve(origins)
        deployments.append(
            Deployment(
                cluster=name,
                component=component,
                instances=instances,
                settings=level,
                checks={**checks, **check_overrides(part.checks)},
                mutes=(*mutes, *(_mute(mute) for mute in part.mutes)),
            )
        )
    origins.layers[name] = {
        "host": (Layer("default", {"work_dir": WORK_DIR}), Layer(f"cluster {name}", said_in(doc, _OF_HOSTS), path)),
        "ssh": (Layer(f"cluster {name}", said_in(doc.ssh), (*path, "ssh")),),
        "service": (Layer(f"cluster {name}", said_in(doc.service), (*path, "service")),),
        "vars": (Layer(f"cluster {name}", doc.vars, (*path, "vars")),),
    }
    return Cluster(
        name=name, hosts=hosts, deployments=tuple(deployments), checks=checks, mutes=mutes, vars=dict(doc.vars)
    )


def _hosts(
    cluster: str, doc: edge.ClusterDoc, problems: Problems, origins: Origins
) -> tuple[tuple[Host, ...], dict[str, tuple[str, edge.HostDoc]], bool]:
    """The hosts in the file's order, each one's section, and whether none is missing for an error."""
    hosts: list[Host] = []
    sections: dict[str, tuple[str, edge.HostDoc]] = {}
    complete = True
    path = ("clusters", cluster, "hosts")
    defaults = default_values(Ssh())
    for key, section in doc.hosts.items():
        at = (*path, key)
        bad_ssh_secrets(section.ssh, (*at, "ssh"), problems)
        try:
            names = expand(key)
        except BadRange as e:
            problems.add(at, str(e))
            complete = False
            continue
        for name in names:
            if name in sections:
                problems.add(
                    at, f"host {name} is there twice", hint=f"it is in {'.'.join(path)}.{sections[name][0]} already"
                )
                continue
            if len(hosts) >= MAX_HOSTS:
                problems.add(at, f"the cluster has more than {MAX_HOSTS} hosts")
                return tuple(hosts), sections, False
            sections[name] = (key, section)
            configured = _of_ssh_config(name, section, doc, at, problems)
            host = _host(name, section, doc, configured, at, problems)
            hosts.append(host)
            at_config = (*(at if section.ssh.config else path[:-1]), "ssh", "config")
            said = said_in(section, ("address", "rack", "update_domain", "work_dir", "groups"))
            said |= {key: getattr(host, key) for key in ("address", "work_dir") if key in said}
            said_of_all = {key: _of_host(value, name) for key, value in said_in(doc, _OF_HOSTS).items()}
            origins.hosts[f"{cluster}/{name}"] = {
                "host": (
                    Layer("default", {"address": name, "work_dir": WORK_DIR}),
                    Layer(
                        f"ssh_config {host.ssh.config}",
                        {k: v for k, v in configured.items() if k == "address"},
                        at_config,
                    ),
                    Layer(f"cluster {cluster}", said_of_all, path[:-1]),
                    Layer(f"host {key}", said, at),
                ),
                "ssh": (
                    Layer("default", defaults),
                    Layer(
                        f"ssh_config {host.ssh.config}",
                        {k: v for k, v in configured.items() if k != "address"},
                        at_config,
                    ),
                    Layer(f"cluster {cluster}", said_in(doc.ssh), ("clusters", cluster, "ssh")),
                    Layer(f"host {key}", said_in(section.ssh), (*at, "ssh")),
                ),
                "vars": (
                    Layer(f"cluster {cluster}", doc.vars, ("clusters", cluster, "vars")),
                    Layer(f"host {key}", section.vars, (*at, "vars")),
                ),
            }
    return tuple(hosts), sections, complete


def _host(
    name: str,
    section: edge.HostDoc,
    doc: edge.ClusterDoc,
    configured: Mapping[str, Any],
    at: Sequence[str],
    problems: Problems,
) -> Host:
    address = (section.address or configured.get("address") or name).replace("{name}", name)
    if not _ADDRESS.fullmatch(address):
        problems.add(
            (*at, "address"),
            f"{address!r} is not a host name or an IP address",
            hint="only {name} is filled in: address: '{name}.example.com'",
        )
    work_dir = _of_host(section.work_dir or doc.work_dir or WORK_DIR, name)
    if not _WORK_DIR.fullmatch(work_dir) or ".." in work_dir.split("/"):
        problems.add(
            (*(at if section.work_dir else at[:-2]), "work_dir"),
            f"{(section.work_dir or doc.work_dir)!r} is not an absolute path",
            hint="only {host} is filled in: work_dir: '/var/tmp/bdops/{host}'",
        )
    ssh = {**configured, **said_in(doc.ssh), **said_in(section.ssh)}
    ssh.pop("address", None)
    # The bastion of a cluster may be one of its hosts: it does not jump over itself.
    if ssh.get("jump") in (name, address):
        ssh.pop("jump")
    return Host(
        name=name,
        address=address,
        rack=section.rack,
        update_domain=section.update_domain,
        ssh=Ssh(**ssh),
        work_dir=work_dir,
        vars={**doc.vars, **section.vars},
        groups=section.groups,
    )


def _of_ssh_config(
    name: str, section: edge.HostDoc, doc: edge.ClusterDoc, at: Sequence[str], problems: Problems
) -> dict[str, Any]:
    """What the ssh_config file, where the inventory names one, says of `ssh ADDRESS`."""
    path = section.ssh.config or doc.ssh.config
    if not path:
        return {}
    try:
        return dict(settings_of(Path(path).expanduser(), (section.address or "{name}").replace("{name}", name)))
    except ConfigError as e:
        level = at if section.ssh.config else at[:-2]
        problems.add((*level, "ssh", "config"), f"{e.where}: {e.message}", hint=e.hint)
        return {}


def _of_host(work_dir: str, name: str) -> str:
    return work_dir.replace("{host}", name).rstrip("/")


def check_overrides(docs: Mapping[str, edge.CheckDoc]) -> dict[str, CheckOverride]:
    """What the inventory says of checks. A pair of limits given directly is stored under the name ""."""
    result = {}
    for code, doc in docs.items():
        pairs = {name: (each.warning, each.critical) for name, each in doc.limits.items()}
        if doc.model_fields_set & {"warning", "critical"}:
            pairs[""] = (doc.warning, doc.critical)
        result[code] = CheckOverride(
            enabled=doc.enabled,
            limits={
                name: (warning.value if warning else None, critical.value if critical else None)
                for name, (warning, critical) in pairs.items()
            },
            units={name: each.unit for name, pair in pairs.items() for each in pair if each and each.unit},
        )
    return result


def _mute(doc: edge.MuteDoc) -> Mute:
    return Mute(check=doc.check, reason=doc.reason, until=doc.until, object=doc.object)


def port_clashes(
    clusters: Iterable[Cluster],
    settings: Mapping[str, ComponentSettings],
    origins: Origins,
) -> list[tuple[Instance, str, str]]:
    """Two instances on one port of one address: (the instance to change, its port setting, the message)."""
    taken: dict[tuple[str, int], tuple[Instance, str]] = {}
    clashes = []
    for cluster in clusters:
        for deployment in cluster.deployments:
            roles = {role.name: role.ports for role in settings[deployment.component].roles}
            for instance in deployment.instances:
                names = dict.fromkeys(port for role in sorted(instance.roles) for port in roles.get(role, ()))
                for port_name in names:
                    port = _dotted(instance.settings, port_name)
                    if not isinstance(port, int) or port <= 0:
                        continue
                    key = (instance.host.address, port)
                    if key not in taken:
                        taken[key] = (instance, port_name)
                        continue
                    # The one that somebody wrote down is the one to change.
                    pair = sorted(
                        [(instance, port_name), taken[key]], key=lambda p: not origins.origin(p[0].name, p[1])
                    )
                    (one, one_name), (other, other_name) = pair
                    origin = origins.origin(other.name, other_name)
                    where = f"in {origin}" if origin else "by default"
                    message = (
                        f"{one.name} ({one_name}) and {other.name} ({other_name}, {where}) "
                        f"are both on port {port} of {key[0]}"
                    )
                    clashes.append((one, one_name, message))
    return clashes


def _dotted(value: Any, name: str) -> Any:
    for part in name.split("."):
        value = getattr(value, part, None)
    return value
