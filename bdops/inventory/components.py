"""The instances of one component: which hosts, which roles, and the settings of every level merged."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bdops.core.component import ComponentSettings, Role
from bdops.core.model import Host, Instance, Service
from bdops.inventory import edge
from bdops.inventory.layers import merge_docs, said_in
from bdops.inventory.origins import Layer, Origins
from bdops.inventory.problems import Problems, likely_or_known
from bdops.inventory.ranges import BadRange
from bdops.inventory.shape import SettingsReader
from bdops.inventory.terms import UnknownHost, hosts_matching

Path = tuple[str, ...]

_FILLED = ("unit", "config", "start", "stop", "status")
"""Fields of a service in which {host} and its like are filled in."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class _Level:
    """One section of the file that says something of instances."""

    level: str
    path: Path
    settings: Mapping[str, Any]
    service: edge.ServiceDoc
    vars: Mapping[str, Any]


def resolve_component(
    *,
    cluster: str,
    component: str,
    doc: edge.ComponentDoc,
    path: Path,
    cluster_doc: edge.ClusterDoc,
    hosts: tuple[Host, ...],
    host_sections: Mapping[str, tuple[str, edge.HostDoc]],
    hosts_complete: bool,
    settings: ComponentSettings,
    reader: SettingsReader,
    problems: Problems,
    origins: Origins,
) -> tuple[tuple[Instance, ...], Any]:
    """The instances in the order of the cluster's hosts, and the settings of the component's own level."""
    resolver = _Component(
        cluster, component, doc, path, cluster_doc, hosts, host_sections, hosts_complete, settings, reader, problems
    )
    return resolver.resolve(origins)


class _Component:
    def __init__(
        self,
        cluster: str,
        component: str,
        doc: edge.ComponentDoc,
        path: Path,
        cluster_doc: edge.ClusterDoc,
        hosts: tuple[Host, ...],
        host_sections: Mapping[str, tuple[str, edge.HostDoc]],
        hosts_complete: bool,
        settings: ComponentSettings,
        reader: SettingsReader,
        problems: Problems,
    ) -> None:
        self.name = f"{cluster}/{component}"
        self.cluster, self.component, self.doc, self.path = cluster, component, doc, path
        self.cluster_doc, self.hosts, self.host_sections = cluster_doc, hosts, host_sections
        self.hosts_complete = hosts_complete
        self.settings, self.reader, self.problems = settings, reader, problems
        self.roles = {role.name: role for role in settings.roles}
        self._merged: dict[tuple[int, ...], Any] = {}

    def resolve(self, origins: Origins) -> tuple[tuple[Instance, ...], Any]:
        own = self._level("component " + self.component, self.path, self.doc, edge.ComponentDoc)
        role_levels = {
            name: self._level(f"role {name}", (*self.path, "roles", name), section, edge.RoleDoc)
            for name, section in self.doc.roles.items()
            if self._known_role(name, (*self.path, "roles", name))
        }
        places = self._places()
        instance_levels = self._instance_levels(places)
        component_settings = self._settings([own], f"the component {self.name}")
        ssh_layers = {host.name: origins.layers[f"{self.cluster}/{host.name}"] for host in self.hosts}
        defaults = _plain_defaults(self.settings.type())
        instances = []
        for host in self.hosts:
            played = [role for role in self.roles if host.name in places.get(role, ())]
            groups = [played] if self.settings.shared_process and played else [[role] for role in played]
            for roles in groups:
                process = None if self.settings.shared_process else roles[0]
                levels = [own, *(role_levels[role] for role in roles if role in role_levels)]
                mine = [
                    *instance_levels.get((host.name, None), ()),
                    *(instance_levels.get((host.name, process), ()) if process else ()),
                ]
                instance = self._instance(host, roles, process, levels, mine)
                if instance is None:
                    continue
                instances.append(instance)
                host_layers = ssh_layers[host.name]
                origins.layers[instance.name] = {
                    "settings": (
                        Layer("default", defaults),
                        *(Layer(f"default of role {r}", self.roles[r].defaults) for r in roles),
                        *(Layer(level.level, level.settings, level.path) for level in (*levels, *mine)),
                    ),
                    "service": tuple(
                        Layer(name, self._filled_service(section, self._words(host, process), at), (*at, "service"))
                        for name, section, at in self._service_sections(host, levels, mine)
                    ),
                    "vars": tuple(
                        Layer(name, values, (*at, "vars")) for name, values, at in self._vars(host, levels, mine)
                    ),
                    "host": host_layers["host"],
                    "ssh": host_layers["ssh"],
                }
        origins.layers[self.name] = {
            "settings": (Layer("default", defaults), Layer(own.level, own.settings, own.path)),
            "service": (
                Layer(
                    f"cluster {self.cluster}",
                    said_in(self.cluster_doc.service),
                    ("clusters", self.cluster, "service"),
                ),
                Layer(own.level, said_in(own.service), (*own.path, "service")),
            ),
            "vars": (
                Layer(f"cluster {self.cluster}", self.cluster_doc.vars, ("clusters", self.cluster, "vars")),
                Layer(own.level, own.vars, (*own.path, "vars")),
            ),
        }
        return tuple(instances), component_settings

    def _level(self, level: str, path: Path, section: Any, model: Any) -> _Level:
        values = self.reader.level(section.model_extra or {}, path, model, self.problems)
        return _Level(level, path, values, section.service, section.vars)

    def _known_role(self, name: str, path: Path) -> bool:
        if name in self.roles:
            return True
        self.problems.add(
            path,
            f"{name} is not a role of {self.component}",
            hint=likely_or_known(name, self.roles, "roles"),
        )
        return False

    # Where the component runs ---------------------------------------------------------------------------

    def _places(self) -> dict[str, frozenset[str]]:
        """The hosts of each role."""
        everywhere, played = self._placed()
        sections = {name: section for name, section in self.doc.roles.items() if name in self.roles}
        by_default = frozenset(role.name for role in self.settings.roles if role.by_default)
        if not self.doc.hosts and not any(section.hosts for section in sections.values()):
            if not any(self.problems.any_below((*self.path, part)) for part in ("hosts", "roles")):
                self.problems.add(
                    self.path,
                    "the component has no hosts",
                    hint=f'add `hosts: "*"`, or `hosts` to its roles: {", ".join(self.roles)}',
                )
            return {}
        if not played and not any(section.hosts for section in sections.values()):
            return dict.fromkeys((role for role in self.roles if role in by_default), everywhere)
        places = {role: frozenset(host for host, roles in played.items() if role in roles) for role in self.roles}
        for name, section in sections.items():
            at = (*self.path, "roles", name)
            if section.hosts:
                places[name] |= self._expand(section.hosts, (*at, "hosts"))
            elif self.doc.hosts and not played:
                places[name] = everywhere
            elif not places[name]:
                self.problems.add_consequence(at, "the role has no hosts", hint="add `hosts:` to it")
        idle = everywhere - frozenset().union(*places.values())
        if idle:
            self.problems.add_consequence(
                (*self.path, "hosts"),
                f"{len(idle)} of the hosts play no role: {', '.join(sorted(idle)[:5])}",
                hint="take them out, or add them to a role's hosts",
            )
        return places

    def _placed(self) -> tuple[frozenset[str], dict[str, tuple[str, ...]]]:
        """The hosts under the component's own `hosts`, and the roles of those that are told them."""
        path = (*self.path, "hosts")
        if not isinstance(self.doc.hosts, Mapping):
            return (self._expand(self.doc.hosts, path) if self.doc.hosts else frozenset()), {}
        everywhere: set[str] = set()
        played: dict[str, tuple[str, ...]] = {}
        for key, section in self.doc.hosts.items():
            names = self._expand((key,), (*path, key))
            everywhere |= names
            for role in section.roles or ():
                self._known_role(role, (*path, key, "roles"))
            if section.roles:
                played |= {name: (*played.get(name, ()), *section.roles) for name in names}
        return frozenset(everywhere), played

    def _expand(self, expressions: Sequence[str], path: Path) -> frozenset[str]:
        try:
            return frozenset(hosts_matching(",".join(expressions), self.hosts))
        except BadRange as e:
            self.problems.add(path, str(e))
        except UnknownHost as e:
            if self.hosts_complete:
                self.problems.add(
                    path,
                    f"{e.name} is not a {e.what} of cluster {self.cluster}",
                    hint=likely_or_known(e.name, e.known, f"{e.what}s"),
                )
        return frozenset()

    def _instance_levels(self, places: Mapping[str, frozenset[str]]) -> dict[tuple[str, str | None], list[_Level]]:
        """The sections under `instances` by host and process (None: every process of the host)."""
        found: dict[tuple[str, str | None], list[_Level]] = {}
        anywhere = frozenset().union(*places.values()) if places else frozenset()
        sections = [("instances", key, section) for key, section in self.doc.instances.items()]
        if isinstance(self.doc.hosts, Mapping):
            sections = [*(("hosts", key, section) for key, section in self.doc.hosts.items()), *sections]
        for part, key, section in sections:
            path = (*self.path, part, key)
            level = self._level(f"{part} {key}", path, section, type(section))
            if part == "hosts":
                for host in self._expand((key,), path):
                    found.setdefault((host, None), []).append(level)
                continue
            expression, process = _host_and_process(key)
            known = anywhere
            if process:
                if self.settings.shared_process:
                    self.problems.add(
                        path,
                        f"{self.component} has one process on each host, and this names a process of a host",
                        hint=f"write {expression}",
                    )
                    continue
                if process not in self.roles:
                    self.problems.add(
                        path,
                        f"{process} is not a process of {self.component}",
                        hint=likely_or_known(process, self.roles, "processes"),
                    )
                    continue
                known = places.get(process, frozenset())
            for host in sorted(self._expand((expression,), path)):
                if host in known:
                    found.setdefault((host, process or None), []).append(level)
                else:
                    self.problems.add_consequence(
                        path,
                        f"{self.component} does not run {f'its {process} ' if process else ''}on {host}",
                        hint=f"it runs on {', '.join(sorted(known)[:10]) or 'no host'}",
                    )
        return found

    # What each instance inherits ------------------------------------------------------------------------

    def _instance(
        self, host: Host, roles: list[str], process: str | None, levels: list[_Level], mine: list[_Level]
    ) -> Instance | None:
        self._ambiguous(roles, levels[1:], mine)
        name = f"{self.name}/{host.name}" + (f"/{process}" if process else "")
        settings = self._settings([*levels, *mine], name, [self.roles[role] for role in roles])
        if settings is None:
            return None
        sections = self._service_sections(host, levels, mine)
        merged = merge_docs(*(section for _, section, _ in sections))
        words = self._words(host, process)
        for field in _FILLED:
            if field in merged:
                at = next(path for _, section, path in reversed(sections) if getattr(section, field) is not None)
                merged[field] = self._filled(merged[field], words, (*at, "service", field))
        variables: dict[str, Any] = {}
        for _, values, _ in self._vars(host, levels, mine):
            variables |= values
        return Instance(
            cluster=self.cluster,
            component=self.component,
            host=host,
            roles=frozenset(roles),
            settings=settings,
            process=process,
            service=Service(**merged) if merged else None,
            vars=variables,
        )

    def _settings(self, levels: Sequence[_Level], owner: str, roles: Sequence[Role] = ()) -> Any:
        """The merged, validated settings; made once for instances whose levels are the same."""
        key = (*(id(role) for role in roles), *(id(level) for level in levels))
        if key not in self._merged:
            values: dict[str, Any] = {}
            for role in roles:
                values = self.reader.merge(values, role.defaults)
            for level in levels:
                values = self.reader.merge(values, level.settings)
            self._merged[key] = self.reader.merged(values, levels[-1].path, owner, self.problems)
        return self._merged[key]

    def _ambiguous(self, roles: list[str], role_levels: list[_Level], mine: list[_Level]) -> None:
        """Two roles of one process that want different values: neither is the nearer one."""
        said: dict[str, _Level] = {}
        for level in role_levels:
            for key, value in level.settings.items():
                other = said.setdefault(key, level)
                if other.settings[key] != value and not any(key in each.settings for each in mine):
                    self.problems.add(
                        (*level.path, key),
                        f"{other.level} says otherwise, and one process plays both roles",
                        hint="say it for the component, or under `instances`",
                    )

    def _service_sections(
        self, host: Host, levels: Sequence[_Level], mine: Sequence[_Level]
    ) -> list[tuple[str, edge.ServiceDoc, Path]]:
        key, section = self.host_sections[host.name]
        return [
            (f"cluster {self.cluster}", self.cluster_doc.service, ("clusters", self.cluster)),
            *((level.level, level.service, level.path) for level in levels),
            (f"host {key}", section.service, ("clusters", self.cluster, "hosts", key)),
            *((level.level, level.service, level.path) for level in mine),
        ]

    def _vars(
        self, host: Host, levels: Sequence[_Level], mine: Sequence[_Level]
    ) -> list[tuple[str, Mapping[str, Any], Path]]:
        key, section = self.host_sections[host.name]
        return [
            (f"cluster {self.cluster}", self.cluster_doc.vars, ("clusters", self.cluster)),
            *((level.level, level.vars, level.path) for level in levels),
            (f"host {key}", section.vars, ("clusters", self.cluster, "hosts", key)),
            *((level.level, level.vars, level.path) for level in mine),
        ]

    def _words(self, host: Host, process: str | None) -> dict[str, str]:
        """What {host} and its like stand for in a service."""
        own = {"host": host.name, "address": host.address, "process": process or self.component}
        return {**own, "component": self.component, "cluster": self.cluster}

    def _filled_service(self, section: edge.ServiceDoc, words: Mapping[str, str], path: Path) -> dict[str, Any]:
        return {
            key: self._filled(value, words, (*path, "service", key)) if key in _FILLED else value
            for key, value in said_in(section).items()
        }

    def _filled(self, value: Any, words: Mapping[str, str], path: Path) -> Any:
        """A text, or a list of them, with {host} and its like filled in."""
        if not isinstance(value, str):
            return tuple(self._filled(each, words, path) for each in value)

        def word(match: re.Match[str]) -> str:
            if match[1] in words:
                return words[match[1]]
            self.problems.add(
                path, f"{match[0]} cannot be filled in", hint=likely_or_known(match[1], words, "known words")
            )
            return match[0]

        return _PLACEHOLDER.sub(word, value)


def _host_and_process(key: str) -> tuple[str, str]:
    """The host expression of a key of `instances`, and the process after its slash (that of a step is in brackets)."""
    head, slash, process = key.rpartition("/")
    return (key, "") if not slash or "]" in process else (head, process)


def _plain_defaults(value: Any) -> dict[str, Any]:
    """The settings' own defaults, nested ones as mappings."""
    values = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return {key: _plain_defaults(inner) if dataclasses.is_dataclass(inner) else inner for key, inner in values.items()}
