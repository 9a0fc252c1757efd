"""The instances of one component, with the settings of every level merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bdops.core.component import ComponentSettings, Role
from bdops.core.model import Host, Instance, Service
from bdops.inventory import edge
from bdops.inventory.levels import Level, cluster_level, default_values, filler, host_level, over
from bdops.inventory.origins import Layer, Origins
from bdops.inventory.placement import Path, Scope, hosts_of_roles, known_role
from bdops.inventory.problems import likely_or_known
from bdops.inventory.shape import SettingsReader


class ComponentResolver:
    """Resolves one component of a cluster; errors go to the scope's problems."""

    def __init__(
        self, scope: Scope, component: str, doc: edge.ComponentDoc, settings: ComponentSettings, reader: SettingsReader
    ) -> None:
        self._scope, self._component, self._doc = scope, component, doc
        self._settings, self._reader, self._problems = settings, reader, scope.problems
        self._name = f"{scope.name}/{component}"
        self._path = (*scope.path, "components", component)
        self._roles = {role.name: role for role in settings.roles}
        self._defaults = Layer("default", default_values(settings.type()))
        self._merged: dict[tuple[int, ...], Any] = {}

    def resolve(self, origins: Origins) -> tuple[tuple[Instance, ...], Any]:
        """The instances in the order of the cluster's hosts, and the settings of the component's own level.

        `origins` has the layers of the hosts already, and gets those of the component and its instances.
        """
        own = self._level(f"component {self._component}", self._path, self._doc)
        role_levels = {
            name: self._level(f"role {name}", (*self._path, "roles", name), section)
            for name, section in self._doc.roles.items()
            if known_role(name, self._component, self._settings, (*self._path, "roles", name), self._problems)
        }
        places = hosts_of_roles(self._scope, self._component, self._doc, self._settings)
        nearest = self._nearest_levels(places)
        component_settings = self._merged_settings((), [own], f"the component {self._name}")
        instances = []
        for host in self._scope.hosts:
            played = [role for role in self._roles if host.name in places.get(role, ())]
            for process, roles in self._processes(played):
                of_roles = [role_levels[role] for role in roles if role in role_levels]
                mine = [
                    *nearest.get((host.name, None), ()),
                    *(nearest.get((host.name, process), ()) if process else ()),
                ]
                self._refuse_ambiguous(of_roles, mine)
                instance = self._instance(host, process, roles, [own, *of_roles], mine, origins)
                if instance:
                    instances.append(instance)
        cluster = cluster_level(self._scope)
        origins.layers[self._name] = {
            "settings": (self._defaults, own.settings_layer()),
            "service": (cluster.service_layer(), own.service_layer()),
            "vars": (cluster.vars_layer(), own.vars_layer()),
        }
        return tuple(instances), component_settings

    def _level(self, name: str, path: Path, section: edge.ComponentDoc | edge.RoleDoc | edge.InstanceDoc) -> Level:
        settings = self._reader.level(section.model_extra or {}, path, type(section), self._problems)
        return Level(name, path, settings, section.service, section.vars)

    def _processes(self, played: list[str]) -> list[tuple[str | None, list[str]]]:
        """The processes of a host that plays these roles, each with its own roles."""
        if self._settings.shared_process:
            return [(None, played)] if played else []
        return [(role, [role]) for role in played]

    def _nearest_levels(self, places: Mapping[str, frozenset[str]]) -> dict[tuple[str, str | None], list[Level]]:
        """What is said of single hosts, by host and process (None: every process of the host)."""
        found: dict[tuple[str, str | None], list[Level]] = {}
        if isinstance(self._doc.hosts, Mapping):
            for key, section in self._doc.hosts.items():
                path = (*self._path, "hosts", key)
                level = self._level(f"hosts {key}", path, section)
                for host in sorted(self._scope.expand((key,), path)):
                    found.setdefault((host, None), []).append(level)
        anywhere = frozenset().union(*places.values())
        for key, part in self._doc.instances.items():
            path = (*self._path, "instances", key)
            level = self._level(f"instances {key}", path, part)
            expression, process = _host_and_process(key)
            if process and not self._is_process(process, expression, path):
                continue
            known = places.get(process, frozenset()) if process else anywhere
            for host in sorted(self._scope.expand((expression,), path)):
                if host in known:
                    found.setdefault((host, process or None), []).append(level)
                else:
                    self._problems.add_consequence(
                        path,
                        f"{self._component} does not run {f'its {process} ' if process else ''}on {host}",
                        hint=f"it runs on {', '.join(sorted(known)[:10]) or 'no host'}",
                    )
        return found

    def _is_process(self, process: str, expression: str, path: Path) -> bool:
        if self._settings.shared_process:
            message = f"{self._component} has one process on each host, and this names a process of a host"
            self._problems.add(path, message, hint=f"write {expression}")
            return False
        if process not in self._roles:
            hint = likely_or_known(process, self._roles, "processes")
            self._problems.add(path, f"{process} is not a process of {self._component}", hint=hint)
            return False
        return True

    def _instance(
        self,
        host: Host,
        process: str | None,
        roles: list[str],
        levels: list[Level],
        mine: list[Level],
        origins: Origins,
    ) -> Instance | None:
        """One instance, its layers added to `origins`; None when its settings are wrong."""
        name = f"{self._name}/{host.name}" + (f"/{process}" if process else "")
        settings = self._merged_settings([self._roles[role] for role in roles], [*levels, *mine], name)
        if settings is None:
            return None
        words = {"host": host.name, "address": host.address, "process": process or self._component}
        fill = filler(self._scope, {**words, "component": self._component, "cluster": self._scope.name})
        everything = [cluster_level(self._scope), *levels, host_level(self._scope, host), *mine]
        of_host = origins.hosts[f"{self._scope.name}/{host.name}"]
        layers = {
            "settings": (
                self._defaults,
                *(Layer(f"default of role {role}", self._roles[role].defaults) for role in roles),
                *(level.settings_layer() for level in (*levels, *mine)),
            ),
            "service": tuple(level.service_layer(fill) for level in everything),
            "vars": tuple(level.vars_layer() for level in everything),
            "host": of_host["host"],
            "ssh": of_host["ssh"],
        }
        origins.layers[name] = layers
        service = over(layers["service"])
        return Instance(
            cluster=self._scope.name,
            component=self._component,
            host=host,
            roles=frozenset(roles),
            settings=settings,
            process=process,
            service=Service(**service) if service else None,
            vars=over(layers["vars"]),
        )

    def _merged_settings(self, roles: Sequence[Role], levels: Sequence[Level], owner: str) -> Any:
        """The merged, validated settings; made once for instances whose levels are the same."""
        key = (*(id(role) for role in roles), *(id(level) for level in levels))
        if key not in self._merged:
            values: dict[str, Any] = {}
            for said in (*(role.defaults for role in roles), *(level.settings for level in levels)):
                values = self._reader.merge(values, said)
            self._merged[key] = self._reader.merged(values, levels[-1].path, owner, self._problems)
        return self._merged[key]

    def _refuse_ambiguous(self, of_roles: Sequence[Level], mine: Sequence[Level]) -> None:
        """Two roles of one process that want different values: neither is the nearer one."""
        said: dict[str, Level] = {}
        for level in of_roles:
            for key, value in level.settings.items():
                other = said.setdefault(key, level)
                if other.settings[key] != value and not any(key in each.settings for each in mine):
                    self._problems.add(
                        (*level.path, key),
                        f"{other.name} says otherwise, and one process plays both roles",
                        hint="say it for the component, or under `instances`",
                    )


def _host_and_process(key: str) -> tuple[str, str]:
    """The host expression of a key of `instances`, and the process after its slash (a range's step has one too)."""
    head, slash, process = key.rpartition("/")
    return (key, "") if not slash or "]" in process else (head, process)
