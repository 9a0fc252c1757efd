"""Which hosts of a cluster play which roles of a component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bdops.core.component import ComponentSettings
from bdops.core.model import Host
from bdops.inventory import edge
from bdops.inventory.problems import Problems, likely_or_known
from bdops.inventory.ranges import BadRange
from bdops.inventory.terms import UnknownHost, hosts_matching

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The cluster around a component, as far as it is resolved.

    `sections` has the key and the section of each host; `complete` is false when an error left hosts out, so
    that a host which is not there need not be unknown.
    """

    name: str
    doc: edge.ClusterDoc
    hosts: tuple[Host, ...]
    sections: Mapping[str, tuple[str, edge.HostDoc]]
    complete: bool
    problems: Problems

    @property
    def path(self) -> Path:
        return ("clusters", self.name)

    def expand(self, expressions: Sequence[str], path: Path) -> frozenset[str]:
        """The hosts that expressions stand for; none, with the error reported at `path`, when they are wrong."""
        try:
            return frozenset(hosts_matching(",".join(expressions), self.hosts))
        except BadRange as e:
            self.problems.add(path, str(e))
        except UnknownHost as e:
            if self.complete:
                self.problems.add(
                    path,
                    f"{e.name} is not a {e.what} of cluster {self.name}",
                    hint=likely_or_known(e.name, e.known, f"{e.what}s"),
                )
        return frozenset()


def known_role(name: str, component: str, settings: ComponentSettings, path: Path, problems: Problems) -> bool:
    """Whether a component has the role; an error at `path` when not."""
    names = [role.name for role in settings.roles]
    if name not in names:
        problems.add(path, f"{name} is not a role of {component}", hint=likely_or_known(name, names, "roles"))
    return name in names


def hosts_of_roles(
    scope: Scope, component: str, doc: edge.ComponentDoc, settings: ComponentSettings
) -> dict[str, frozenset[str]]:
    """The hosts of each role.

    Roles with hosts run there, and hosts that are told roles play them. Where neither is said, the hosts of
    the component play its default roles.
    """
    path = (*scope.path, "components", component)
    problems = scope.problems
    names = [role.name for role in settings.roles]
    sections = {name: section for name, section in doc.roles.items() if name in names}
    roles_have_hosts = any(section.hosts for section in sections.values())
    everywhere, told = _own_hosts(scope, component, doc, settings)
    if not doc.hosts and not roles_have_hosts:
        if not any(problems.any_below((*path, part)) for part in ("hosts", "roles")):
            hint = f'add `hosts: "*"`, or `hosts` to its roles: {", ".join(names)}'
            problems.add(path, "the component has no hosts", hint=hint)
        return {}
    if not told and not roles_have_hosts:
        return {role.name: everywhere for role in settings.roles if role.by_default}
    places = {name: frozenset(host for host, roles in told.items() if name in roles) for name in names}
    for name, section in sections.items():
        at = (*path, "roles", name)
        if section.hosts:
            places[name] |= scope.expand(section.hosts, (*at, "hosts"))
        elif doc.hosts and not told:
            places[name] = everywhere
        elif not places[name]:
            problems.add_consequence(at, "the role has no hosts", hint="add `hosts:` to it")
    idle = sorted(everywhere - frozenset().union(*places.values()))
    if idle:
        problems.add_consequence(
            (*path, "hosts"),
            f"{len(idle)} of the hosts play no role: {', '.join(idle[:5])}",
            hint="take them out, or add them to a role's hosts",
        )
    return places


def _own_hosts(
    scope: Scope, component: str, doc: edge.ComponentDoc, settings: ComponentSettings
) -> tuple[frozenset[str], dict[str, tuple[str, ...]]]:
    """The hosts under the component's own `hosts`, and the roles of those that are told some."""
    path = (*scope.path, "components", component, "hosts")
    if not isinstance(doc.hosts, Mapping):
        return (scope.expand(doc.hosts, path) if doc.hosts else frozenset()), {}
    everywhere: set[str] = set()
    told: dict[str, tuple[str, ...]] = {}
    for key, section in doc.hosts.items():
        hosts = scope.expand((key,), (*path, key))
        everywhere |= hosts
        for role in section.roles or ():
            known_role(role, component, settings, (*path, key, "roles"), scope.problems)
        if section.roles:
            told |= {host: (*told.get(host, ()), *section.roles) for host in hosts}
    return frozenset(everywhere), told
