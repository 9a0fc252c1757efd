"""Ansible inventories (YAML and INI) into one of bdops: hosts, their groups and their variables.

Group variables are merged into the hosts by Ansible's order (a child group before its parents, then the
host's own); `group_vars` and `host_vars` beside the file count too. What Ansible connects with becomes
`address` and `ssh`. Secrets are left out, and said to be.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bdops.errors import ConfigError
from bdops.inventory.ansible_ini import Group, Groups, ansible_error, expand_hosts, parse_ini
from bdops.inventory.ansible_output import inventory_text
from bdops.inventory.problems import looks_secret, raise_all
from bdops.inventory.ranges import NAME, fold
from bdops.inventory.yaml_source import Dialect, parse_yaml, plain, read_text


@dataclass(frozen=True, slots=True)
class _Vaulted:
    """A value that only Ansible Vault can read."""


class _Notes:
    """What there is to say, each thing once for all the hosts that it is true of."""

    def __init__(self) -> None:
        self._hosts: dict[str, list[str]] = {}

    def add(self, host: str, text: str) -> None:
        self._hosts.setdefault(text, []).append(host)

    def lines(self) -> list[str]:
        return [f"{fold(hosts)}: {text}" for text, hosts in self._hosts.items()]


_YAML_11 = {"yes": True, "Yes": True, "YES": True, "on": True, "On": True, "ON": True,
            "no": False, "No": False, "NO": False, "off": False, "Off": False, "OFF": False}  # fmt: skip
_DIALECT = Dialect(words=_YAML_11, tags={"!vault": lambda _: _Vaulted(), "!unsafe": str})

_SSH = {
    "ansible_user": "user", "ansible_ssh_user": "user", "ansible_port": "port", "ansible_ssh_port": "port",
    "ansible_ssh_private_key_file": "keys", "ansible_private_key_file": "keys",
}  # fmt: skip


def import_inventory(path: Path, cluster: str) -> tuple[str, list[str]]:
    """The text of a bdops inventory with the hosts of an Ansible one, and notes on what was left out and why.

    Raises ConfigError with file and line for what is not an Ansible inventory.
    """
    if not NAME.fullmatch(cluster):
        raise ansible_error(f"{cluster!r} is not a name for a cluster", "--name", hint="letters, digits, dashes, dots")
    groups = read_groups(path)
    _add_vars_files(groups, path.parent)
    notes = _Notes()
    common = _without_secrets(groups["all"].vars, "all", notes)
    hosts = {}
    for host in _all_hosts(groups):
        members = _groups_of(host, groups)
        merged: dict[str, Any] = {}
        for name in members:
            merged |= groups[name].vars
        for name in members:
            merged |= groups[name].hosts.get(host, {})
        own = {key: value for key, value in merged.items() if key not in common or common[key] != value}
        connection = {key: value for key, value in merged.items() if key.startswith("ansible_")}
        shown = [name for name in members if name not in ("all", "ungrouped")]
        data = _host(host, {**own, **connection}, shown, notes)
        hosts[_name(host)] = data
    variables = {key: value for key, value in common.items() if not key.startswith("ansible_")}
    if not hosts:
        raise ansible_error("the inventory has no hosts", str(path))
    used = {name for name in groups if name not in ("all", "ungrouped")}
    return inventory_text(cluster, variables, hosts, sorted(used), notes.lines()), notes.lines()


def read_groups(path: Path) -> Groups:
    """The groups of an inventory file, `all` and `ungrouped` among them. Raises ConfigError."""
    text = read_text(path)
    if text.startswith("#!"):
        raise ansible_error(
            "a script that prints an inventory is not run", str(path), hint="run it and import what it prints as YAML"
        )
    groups: Groups = {}
    if path.suffix != ".ini":
        found = _yaml_data(text, path)
        if isinstance(found, dict):
            for name, body in found.items():
                _add_yaml_group(name, body, groups, str(path))
    if not groups:
        groups = parse_ini(text, str(path))
    groups.setdefault("all", Group())
    groups.setdefault("ungrouped", Group())
    for group in list(groups.values()):
        for child in group.children:
            groups.setdefault(child, Group())
    _refuse_loops(groups, str(path))
    return groups


def _yaml_data(text: str, path: Path) -> dict[str, Any] | None:
    """The file as YAML; None when it is rather INI. A file that calls itself YAML gets YAML's errors."""
    errors: list[ConfigError] = []
    says_yaml = path.suffix in (".yaml", ".yml", ".json")
    try:
        found = plain(parse_yaml(text, str(path), errors, _DIALECT))
    except ConfigError:
        if says_yaml:
            raise
        return None
    if isinstance(found, dict):
        raise_all(errors)
        return found
    if says_yaml:
        raise ansible_error("expected groups: a mapping with `all:` at the top", str(path))
    return None


def _add_yaml_group(name: str, body: Any, groups: Groups, file: str) -> None:
    group = groups.setdefault(name, Group())
    if body is None:
        return
    if not isinstance(body, dict):
        raise ansible_error(f"group {name}: expected a mapping with hosts, children and vars", file)
    for key, value in body.items():
        if key not in ("hosts", "children", "vars"):
            raise ansible_error(f"group {name}: {key!r} is none of hosts, children and vars", file)
        if value is not None and not isinstance(value, dict):
            raise ansible_error(f"group {name}: {key} must be a mapping", file)
    for pattern, variables in (body.get("hosts") or {}).items():
        if variables is not None and not isinstance(variables, dict):
            raise ansible_error(f"host {pattern} of group {name}: expected its variables as a mapping", file)
        for host in expand_hosts(pattern, file):
            group.hosts.setdefault(host, {}).update(variables or {})
    group.vars |= body.get("vars") or {}
    for child, inner in (body.get("children") or {}).items():
        group.children.append(child)
        _add_yaml_group(child, inner, groups, file)


def _add_vars_files(groups: Groups, folder: Path) -> None:
    """`group_vars/NAME` and `host_vars/NAME` beside the inventory: a YAML file, or a folder of them."""
    for name, group in groups.items():
        for file in _vars_files(folder / "group_vars", name):
            group.vars |= _vars_of(file)
    for host in _all_hosts(groups):
        for file in _vars_files(folder / "host_vars", host):
            owner = next(group for group in groups.values() if host in group.hosts)
            values = _vars_of(file)
            for group in groups.values():
                if host in group.hosts:
                    group.hosts[host] = {k: v for k, v in group.hosts[host].items() if k not in values}
            owner.hosts[host] |= values


def _vars_files(folder: Path, name: str) -> list[Path]:
    if "/" in name or name.startswith("."):
        return []
    found = [folder / f"{name}{suffix}" for suffix in ("", ".yml", ".yaml", ".json")]
    files = [path for path in found if path.is_file()]
    if found[0].is_dir():
        files += sorted(path for path in found[0].iterdir() if path.is_file() and not path.name.startswith("."))
    return files


def _vars_of(file: Path) -> dict[str, Any]:
    text = read_text(file)
    if text.startswith("$ANSIBLE_VAULT"):
        return {f"{file.name} (a whole file)": _Vaulted()}
    errors: list[ConfigError] = []
    found = plain(parse_yaml(text, str(file), errors, _DIALECT))
    raise_all(errors)
    if found is not None and not isinstance(found, dict):
        raise ansible_error("expected variables: a mapping", str(file))
    return found or {}


# What a host inherits ---------------------------------------------------------------------------------------


def _all_hosts(groups: Groups) -> list[str]:
    return list(dict.fromkeys(host for group in groups.values() for host in group.hosts))


def _refuse_loops(groups: Groups, file: str) -> None:
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ansible_error(f"group {name} is a child of itself: {' > '.join((*above, name))}", file)
        if len(above) > 100:
            raise ansible_error("the groups are nested deeper than 100 levels", file)
        if name not in done:
            for child in groups[name].children:
                visit(child, (*above, name))
            done.add(name)

    for name in groups:
        visit(name, ())


def _groups_of(host: str, groups: Groups) -> list[str]:
    """The groups of a host in the order in which their variables apply: parents first, `all` before any."""
    parents: dict[str, list[str]] = {}
    for name, group in groups.items():
        for child in group.children:
            parents.setdefault(child, []).append(name)

    depths: dict[str, int] = {"all": 0}

    def depth(name: str) -> int:
        if name not in depths:
            depths[name] = 1 + max((depth(parent) for parent in parents.get(name, ())), default=0)
        return depths[name]

    found: set[str] = {"all"}
    waiting = [name for name, group in groups.items() if host in group.hosts]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += parents.get(name, [])

    def priority(name: str) -> int:
        value = groups[name].vars.get("ansible_group_priority", 1)
        return value if isinstance(value, int) else 1

    return sorted(found, key=lambda name: (depth(name), priority(name), name))


def _name(host: str) -> str:
    """The host's name in bdops, where an IPv6 address cannot be one."""
    return host if NAME.fullmatch(host) else "".join(c if c.isalnum() or c in "._-" else "-" for c in host).strip("-")


def _host(host: str, variables: dict[str, Any], groups: list[str], notes: _Notes) -> dict[str, Any]:
    """The section of one host: address, ssh, groups, vars."""
    ssh: dict[str, Any] = {}
    data: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    if _name(host) != host:
        data["address"] = host
    for key, value in _without_secrets(variables, host, notes).items():
        templated = isinstance(value, str) and "{{" in value
        if key in ("ansible_host", "ansible_ssh_host") and not templated:
            data["address"] = str(value)
        elif key in _SSH and not templated:
            field = _SSH[key]
            ssh[field] = [str(value)] if field == "keys" else value
        elif key in ("ansible_ssh_common_args", "ansible_ssh_extra_args") and not templated and _jump(str(value)):
            ssh["jump"] = _jump(str(value))
        elif key == "rack" and isinstance(value, str | int) and not templated:
            data["rack"] = str(value)
        elif key != "ansible_group_priority":
            if templated and key.startswith("ansible_"):
                notes.add(host, f"{key} is a Jinja template; it is kept as text under vars")
            kept[key] = value
    port = ssh.get("port")
    if isinstance(port, str) and port.isdigit():
        ssh["port"] = int(port)
    if ssh:
        data["ssh"] = ssh
    if groups:
        data["groups"] = sorted(groups)
    if kept:
        data["vars"] = kept
    return data


def _jump(arguments: str) -> str | None:
    """The jump host of `-J HOST` or `-o ProxyJump=HOST` among ssh's arguments."""
    try:
        words = shlex.split(arguments)
    except ValueError:
        return None
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        if word == "-J":
            return following or None
        if word == "-o" or word.startswith("-o"):
            option = following if word == "-o" else word[2:]
            key, _, value = option.partition("=")
            if key.strip().lower() == "proxyjump" and value.strip():
                return value.strip()
    return None


def _without_secrets(variables: dict[str, Any], owner: str, notes: _Notes) -> dict[str, Any]:
    kept = {}
    for key, value in variables.items():
        if _holds_vault(value):
            notes.add(owner, f"{key} is encrypted by Ansible Vault; left out: refer to the secret instead")
        elif _holds_secret(key, value):
            notes.add(owner, f"{key} looks like a secret; left out: refer to it by file, env, keyring or command")
        else:
            kept[key] = value
    return kept


def _holds_vault(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(_holds_vault(each) for each in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, _Vaulted) or (isinstance(value, str) and value.lstrip().startswith("$ANSIBLE_VAULT"))


def _holds_secret(key: str, value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_secret(str(inner), each) for inner, each in value.items())
    if isinstance(value, list):
        return any(_holds_secret(key, each) for each in value)
    if key.endswith("_file") or (isinstance(value, str) and "{{" in value):
        return False
    secret = looks_secret(key) or key in ("ansible_ssh_pass", "ansible_become_pass", "ansible_sudo_pass")
    return secret and isinstance(value, str | int) and not isinstance(value, bool)
