"""Errors of an inventory: where, what, what was expected, and the likely spelling; all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bdops.errors import ConfigError
from bdops.inventory.load import load_inventory
from tests.unit.inventory.kit import SETTINGS, errors_of

HEAD = "version: 1\nclusters:\n  c:\n    hosts: {'n[1-3]': {}}\n"
"""Four lines; the text under test begins in line 5."""

CASES: dict[str, tuple[str, int, str, str | None]] = {
    # name: (text after HEAD, line, part of the message, part of the hint)
    "unknown field of a cluster": ("    check: {}\n", 5, "clusters.c.check: unknown field", "checks"),
    "unknown setting": (
        "    components:\n      queue: {hosts: n1, prot: 1}\n",
        6,
        "clusters.c.components.queue.prot: unknown field",
        "did you mean port?",
    ),
    "unknown setting of a role": (
        "    components:\n      queue:\n        hosts: '*'\n        roles: {broker: {data_dir: [/a]}}\n",
        8,
        "queue.roles.broker.data_dir: unknown field",
        "data_dirs",
    ),
    "unknown setting of an instance": (
        "    components:\n      queue:\n        hosts: '*'\n        instances:\n          n1: {contoller_port: 1}\n",
        9,
        "queue.instances.n1.contoller_port: unknown field",
        "controller_port",
    ),
    "unknown nested setting": (
        "    components:\n      queue:\n        hosts: '*'\n        tls: {cert: /a}\n",
        8,
        "queue.tls.cert: unknown field",
        "known fields: ca, key",
    ),
    "wrong type": (
        "    components:\n      queue: {hosts: n1, port: many}\n",
        6,
        "queue.port: expected a whole number, found 'many'",
        None,
    ),
    "wrong word": (
        "    components:\n      queue: {hosts: n1, mode: tsl}\n",
        6,
        "expected 'plain' or 'tls', found 'tsl'",
        "did you mean tls?",
    ),
    "a rule of the settings": (
        "    components:\n      queue: {hosts: n1, mode: tls}\n",
        6,
        "mode tls needs tls.ca",
        None,
    ),
    "a list where a mapping belongs": ("    vars: [1]\n", 5, "clusters.c.vars: expected a mapping", None),
    "a mapping where a list belongs": (
        "    components:\n      queue: {hosts: n1, data_dirs: {a: 1}}\n",
        6,
        "data_dirs: expected a list, found a mapping",
        None,
    ),
    "unknown component": ("    components:\n      queu: {hosts: n1}\n", 6, "queu: unknown component", "queue"),
    "no hosts": ("    components:\n      queue: {port: 1}\n", 6, "queue: the component has no hosts", "hosts"),
    "nothing of a component": ("    components:\n      queue:\n", 6, "queue: the component has no hosts", "hosts"),
    "unknown host": (
        "    components:\n      queue: {hosts: 'n1,m2'}\n",
        6,
        "queue.hosts: m2 is not a host of cluster c",
        "n2",
    ),
    "unknown group": ("    components:\n      queue: {hosts: '@web'}\n", 6, "web is not a group", "no groups"),
    "unknown role": (
        "    components:\n      queue: {roles: {brokr: {hosts: n1}}}\n",
        6,
        "brokr is not a role of queue",
        "did you mean broker?",
    ),
    "unknown role of a host": (
        "    components:\n      queue: {hosts: {n1: {roles: [brokr]}}}\n",
        6,
        "brokr is not a role of queue",
        "did you mean broker?",
    ),
    "a host without a role": (
        "    components:\n      queue: {hosts: '*', roles: {broker: {hosts: n1}}}\n",
        6,
        "2 of the hosts play no role: n2, n3",
        None,
    ),
    "an instance elsewhere": (
        "    components:\n      queue: {hosts: n1, instances: {n2: {port: 1}}}\n",
        6,
        "queue does not run on n2",
        "it runs on n1",
    ),
    "a process that is none": (
        "    components:\n      store: {hosts: n1, instances: {n1/namenod: {id: a}}}\n",
        6,
        "namenod is not a process of store",
        "namenode",
    ),
    "a process of a component that has one": (
        "    components:\n      queue: {hosts: n1, instances: {n1/broker: {port: 1}}}\n",
        6,
        "has one process on each host",
        "write n1",
    ),
    "roles of one process that disagree": (
        "    components:\n      queue: {hosts: n1, roles: {broker: {port: 1},\n        controller: {port: 2}}}\n",
        6,
        "role controller says otherwise",
        "instances",
    ),
    "two ports of one instance": (
        "    components:\n      queue: {hosts: n1, port: 9093}\n",
        6,
        "c/queue/n1 (port) and c/queue/n1 (controller_port, by default) are both on port 9093 of n1",
        "another port",
    ),
    "two instances on one port": (
        "    components:\n      queue: {hosts: n1}\n      store:\n        roles: {datanode: {hosts: n1, port: 9092}}\n",
        8,
        "c/store/n1/datanode (port) and c/queue/n1 (port, by default) are both on port 9092 of n1",
        "another port",
    ),
    "a mute without an end": (
        "    mutes:\n      - {check: X, reason: r}\n",
        6,
        "clusters.c.mutes[0].until: is required",
        "a mute ends",
    ),
    "a mute without a reason": (
        "    mutes:\n      - {check: X, until: 2026-12-01}\n",
        6,
        "mutes[0].reason",
        "says why",
    ),
    "a mute until never": (
        "    mutes:\n      - {check: X, reason: r, until: never}\n",
        6,
        "expected a date such as 2026-12-01",
        None,
    ),
    "a limit that is none": (
        "    checks:\n      X: {warning: lots, critical: 1}\n",
        6,
        "checks.X.warning: expected a number, a percentage (80%), a duration (10m) or a size (5GB), found 'lots'",
        None,
    ),
    "half a limit": ("    checks:\n      X: {warning: 1}\n", 6, "expected both warning and critical", None),
    "a limit of two units": ("    checks:\n      X: {warning: 1s, critical: 2GB}\n", 6, "in the same unit", None),
    "an infinite limit": ("    checks:\n      X: {warning: .inf, critical: 1}\n", 6, "expected a number", None),
    "a port that is none": ("    ssh: {port: 70000}\n", 5, "ssh.port: expected a number of at most 65535", None),
    "an unknown service manager": ("    service: {manager: sytemd}\n", 5, "found 'sytemd'", "did you mean systemd?"),
    "an unknown placeholder": (
        "    components:\n      queue:\n        hosts: n1\n        service: {unit: 'q@{hots}'}\n",
        8,
        "queue.service.unit: {hots} cannot be filled in",
        "did you mean host?",
    ),
    "a duplicate key": (
        "    components:\n      queue:\n        hosts: n1\n        hosts: n2\n",
        8,
        "clusters.c.components.queue.hosts: the key is there twice; it was first given in line 7",
        None,
    ),
    "a duplicate host": ("    hosts: {n1: {}}\n", 5, "clusters.c.hosts: the key is there twice", None),
    "a secret reference to nothing": (
        "    components:\n      queue: {hosts: n1, password: {}}\n",
        6,
        "password: expected exactly one of",
        None,
    ),
    "a secret reference to two": ("    ssh: {password: {env: A, file: b}}\n", 5, "expected exactly one of", None),
    "a name with a slash": ("  a/b:\n    hosts: {x: {}}\n", 5, "clusters.a/b: expected a name of letters", None),
}


@pytest.mark.parametrize("name", CASES)
def test_an_error_names_its_line_its_path_and_the_likely_spelling(name: str, tmp_path: Path) -> None:
    text, line, message, hint = CASES[name]
    errors = errors_of(tmp_path, HEAD + text)
    found = [e for e in errors if message in e.message]
    assert found, [e.message for e in errors]
    assert found[0].where == f"{tmp_path}/inv.yaml:{line}"
    if hint:
        assert hint in (found[0].hint or "")
    assert len(errors) == 1, [e.message for e in errors]


HOSTS: dict[str, tuple[str, str]] = {
    "node[1-99999999]": ("stands for 99999999 hosts; at most 20000", ""),
    "node[1-999999999999999999999]": ("too many digits", ""),
    "n[1-150]-[1-150]-[1-2]": ("stands for 45000 hosts", ""),
    "node[3-1]": ("runs backwards", ""),
    "node[1-": ("brackets", ""),
    "node1]": ("brackets", ""),
    "node[a-c]": ("not a range of numbers", ""),
    "node[]": ("not a range of numbers", ""),
    "node 1": ("cannot be part", ""),
    "@web": ("cannot be part", ""),
    "node*": ("cannot be part", ""),
    "node1!node2": ("cannot be part", ""),
    "a,,b": ("not a range", ""),
    "-rf": ("is not a host's name", ""),
    "": ("empty", ""),
}


@pytest.mark.parametrize("pattern", HOSTS)
def test_a_bad_range_is_an_error_and_no_explosion(pattern: str, tmp_path: Path) -> None:
    text = f"clusters:\n  c:\n    hosts:\n      {pattern!r}: {{}}\n    components: {{queue: {{hosts: x1}}}}\n"
    errors = errors_of(tmp_path, text)
    assert len(errors) == 1, "the unknown host is a consequence and not named"
    assert HOSTS[pattern][0] in errors[0].message
    assert errors[0].where == f"{tmp_path}/inv.yaml:4"


def test_a_host_in_two_ranges_is_an_error_that_names_both(tmp_path: Path) -> None:
    (error,) = errors_of(tmp_path, "clusters:\n  c:\n    hosts:\n      n[1-3]: {}\n      n[3-4]: {}\n")
    assert "n[3-4]: host n3 is there twice" in error.message
    assert "n[1-3]" in str(error.hint)
    assert error.where == f"{tmp_path}/inv.yaml:5"


def test_all_errors_of_a_file_come_together_in_its_order(tmp_path: Path) -> None:
    text = """
version: 2
clusters:
  a:
    hosts: {n1: {adress: x}, n1: {}}
    components:
      queue: {hosts: n2, prot: 1}
      stor: {}
  b:
    hots: {}
"""
    errors = errors_of(tmp_path, text)
    lines = [int((e.where or "").rpartition(":")[2]) for e in errors]
    assert lines == sorted(lines)
    assert {e.message.split(":")[0] for e in errors} == {
        "version",
        "clusters.a.hosts.n1",
        "clusters.a.hosts.n1.adress",
        "clusters.a.components.queue.prot",
        "clusters.a.components.queue.hosts",
        "clusters.a.components.stor",
        "clusters.b.hots",
        "clusters.b.hosts",
    }


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "    ssh: {password: hunter2}\n",
        HEAD + "    components: {queue: {hosts: n1, password: hunter2}}\n",
        HEAD + "    components: {queue: {hosts: n1, password: {value: hunter2}}}\n",
        HEAD + "    components: {queue: {hosts: n1, password: [hunter2]}}\n",
        HEAD + "    components: {queue: {hosts: n1, tls: {key: hunter2}}}\n",
        HEAD + "    components: {queue: {hosts: n1, passwd: hunter2}}\n",
        HEAD + "    ssh: {password: hunter2, password: hunter2}\n",
        HEAD + "    ssh: {password: {env: hunter2: x}}\n",
        HEAD + "    ssh: {password: 'hunter2\n",
    ],
)
def test_a_secret_in_clear_text_is_refused_and_not_repeated(text: str, tmp_path: Path) -> None:
    errors = errors_of(tmp_path, text)
    for error in errors:
        assert "hunter2" not in f"{error.message} {error.hint} {error.where}"


def test_a_secret_in_clear_text_is_told_the_forms_of_a_reference(tmp_path: Path) -> None:
    (error,) = errors_of(tmp_path, HEAD + "    ssh: {password: hunter2}\n")
    assert "{file: PATH}, {env: NAME}, {keyring: SERVICE/USER} or {command:" in error.message


def test_a_cluster_in_two_files_names_both(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("clusters:\n  prod: {hosts: {x: {}}}\n")
    (tmp_path / "b.yaml").write_text("version: 1\nclusters:\n  prod: {hosts: {x: {}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_inventory(tmp_path, SETTINGS)
    assert caught.value.where == f"{tmp_path}/b.yaml:3"
    assert f"first defined in {tmp_path}/a.yaml:2" in caught.value.message


def test_clusters_on_the_same_machine_clash_by_address(tmp_path: Path) -> None:
    text = """
clusters:
  a: {hosts: {x: {address: 10.0.0.1}}, components: {queue: {hosts: x}}}
  b: {hosts: {y: {address: 10.0.0.1}}, components: {queue: {hosts: y, port: 1}}}
"""
    (error,) = errors_of(tmp_path, text)
    assert "b/queue/y (controller_port) and a/queue/x (controller_port, by default)" in error.message


def test_a_folder_without_inventories_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no \*\.yaml"):
        load_inventory(tmp_path, SETTINGS)
    with pytest.raises(ConfigError, match="no such inventory"):
        load_inventory(tmp_path / "absent.yaml", SETTINGS)


@pytest.mark.parametrize("work_dir", ["relative", "~/x", "/a/../b", "/a/{name}", "/"])
def test_a_work_dir_that_is_no_absolute_path_is_told_once(tmp_path: Path, work_dir: str) -> None:
    (error,) = errors_of(tmp_path, f'clusters:\n  c:\n    work_dir: "{work_dir}"\n    hosts: {{"n[1-9]": {{}}}}\n')
    assert "is not an absolute path" in error.message
    assert error.where is not None
    assert error.where.endswith(":3")
