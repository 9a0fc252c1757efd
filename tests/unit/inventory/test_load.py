"""What an inventory comes to: inheritance, instances, hosts."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from bdops.core.model import CheckOverride, SecretRef
from bdops.inventory.load import load_inventory
from tests.unit.inventory.kit import SETTINGS, instances, load

WHOLE = """
version: 1
clusters:
  prod:
    ssh: {user: ops, port: 22, jump: node3}
    service: {manager: systemd, sudo: true}
    vars: {a: cluster, b: cluster, c: cluster, d: cluster}
    hosts:
      node[1-2]: {rack: r1, address: "{name}.example.com"}
      node3: {rack: 2, ssh: {port: 2222}, vars: {b: host}, groups: web, service: {sudo: false}}
      node4:
    checks: {HOST_CLOCK: {warning: 100ms, critical: 1s}, X: {enabled: false}}
    mutes: [{check: "Q_*", object: "tmp-*", until: 2026-12-01, reason: "moved"}]
    components:
      queue:
        port: 9000
        vars: {b: component, c: component}
        service: {unit: "queue@{host}", sudo: true}
        tls: {ca: /ca}
        roles:
          controller: {hosts: "node[1-3]"}
          broker: {hosts: "node[1-4]", data_dirs: [/d], vars: {d: role}}
        instances:
          node[3-4]: {port: 9100}
          node4: {tls: {key: {env: KEY}}, vars: {a: instance}, service: {unit: other}}
        checks: {X: {limits: {lag: {warning: null, critical: 5}}}}
      store:
        hosts: "node[1-2]"
        service: {unit: "{component}-{process}"}
        instances:
          node1/namenode: {id: nn1}
          node2: {id: both}
"""


def test_every_level_overrides_the_one_before(tmp_path: Path) -> None:
    found = instances(load(tmp_path, WHOLE))
    ports = {name: i.settings.port for name, i in found.items() if "/queue/" in name}
    assert ports == {
        "prod/queue/node1": 9000,
        "prod/queue/node2": 9000,
        "prod/queue/node3": 9100,
        "prod/queue/node4": 9100,
    }
    assert found["prod/queue/node3"].vars == {"a": "cluster", "b": "host", "c": "component", "d": "role"}
    assert found["prod/queue/node4"].vars == {"a": "instance", "b": "component", "c": "component", "d": "role"}


def test_nested_settings_merge_field_by_field(tmp_path: Path) -> None:
    tls = instances(load(tmp_path, WHOLE))["prod/queue/node4"].settings.tls
    assert (tls.ca, tls.key) == ("/ca", SecretRef(env="KEY"))


def test_a_secret_of_a_nearer_level_replaces_the_other_whole(tmp_path: Path) -> None:
    text = """
clusters:
  c:
    hosts: {a: {}, b: {}}
    components:
      queue: {hosts: "*", password: {file: /p}, instances: {b: {password: {env: P}}}}
"""
    found = instances(load(tmp_path, text))
    assert found["c/queue/a"].settings.password == SecretRef(file="/p")
    assert found["c/queue/b"].settings.password == SecretRef(env="P")


def test_roles_of_one_host_share_a_process_or_have_one_each(tmp_path: Path) -> None:
    found = instances(load(tmp_path, WHOLE))
    assert found["prod/queue/node1"].roles == {"controller", "broker"}
    assert found["prod/queue/node4"].roles == {"broker"}
    assert found["prod/queue/node1"].process is None
    assert {name for name in found if "/store/" in name} == {
        "prod/store/node1/namenode",
        "prod/store/node1/datanode",
        "prod/store/node2/namenode",
        "prod/store/node2/datanode",
    }
    assert found["prod/store/node1/namenode"].settings.id == "nn1"
    assert found["prod/store/node1/datanode"].settings.id is None
    assert found["prod/store/node2/datanode"].settings.id == "both"


def test_a_role_has_its_own_defaults(tmp_path: Path) -> None:
    found = instances(load(tmp_path, WHOLE))
    assert found["prod/store/node1/namenode"].settings.port == 8020
    assert found["prod/store/node1/datanode"].settings.port is None


def test_services_merge_and_name_their_host_and_process(tmp_path: Path) -> None:
    found = instances(load(tmp_path, WHOLE))
    service = found["prod/queue/node3"].service
    assert service
    assert (service.manager, service.unit, service.sudo) == ("systemd", "queue@node3", False)
    other = found["prod/queue/node4"].service
    assert other
    assert (other.unit, other.sudo) == ("other", True)
    store = found["prod/store/node2/datanode"].service
    assert store
    assert store.unit == "store-datanode"


def test_hosts_get_address_rack_ssh_and_groups(tmp_path: Path) -> None:
    hosts = {h.name: h for h in load(tmp_path, WHOLE).clusters[0].hosts}
    assert [h.address for h in hosts.values()] == ["node1.example.com", "node2.example.com", "node3", "node4"]
    assert (hosts["node1"].ssh.user, hosts["node1"].ssh.port, hosts["node1"].ssh.jump) == ("ops", 22, "node3")
    assert (hosts["node3"].rack, hosts["node3"].ssh.port, hosts["node3"].groups) == ("2", 2222, ("web",))


def test_a_jump_host_is_not_reached_through_itself(tmp_path: Path) -> None:
    hosts = {h.name: h for h in load(tmp_path, WHOLE).clusters[0].hosts}
    assert hosts["node3"].ssh.jump is None


def test_checks_of_the_component_override_those_of_the_cluster(tmp_path: Path) -> None:
    cluster = load(tmp_path, WHOLE).clusters[0]
    queue = cluster.deployments[0]
    assert cluster.checks["HOST_CLOCK"] == CheckOverride(limits={"": (0.1, 1.0)}, units={"": "s"})
    assert cluster.checks["X"].enabled is False
    assert queue.checks["X"] == CheckOverride(limits={"lag": (None, 5.0)})
    assert queue.checks["HOST_CLOCK"] == cluster.checks["HOST_CLOCK"]
    assert queue.mutes[0].until == datetime(2026, 12, 1, tzinfo=UTC)


def test_hosts_of_a_component_may_say_what_is_particular_to_each(tmp_path: Path) -> None:
    text = """
clusters:
  c:
    hosts: {"n[1-3]": }
    components:
      queue:
        hosts:
          n[1-2]: {roles: [controller, broker], port: 1}
          n3: {roles: observer, service: {unit: x}}
        instances: {n2: {port: 2}}
"""
    found = instances(load(tmp_path, text))
    assert {name: (i.settings.port, sorted(i.roles)) for name, i in found.items()} == {
        "c/queue/n1": (1, ["broker", "controller"]),
        "c/queue/n2": (2, ["broker", "controller"]),
        "c/queue/n3": (9092, ["observer"]),
    }


def test_without_roles_a_host_plays_those_of_the_default(tmp_path: Path) -> None:
    text = "clusters: {c: {hosts: {a: {}}, components: {queue: {hosts: a}}}}"
    assert instances(load(tmp_path, text))["c/queue/a"].roles == {"controller", "broker"}


def test_host_expressions_know_groups_racks_patterns_and_exclusions(tmp_path: Path) -> None:
    text = """
clusters:
  c:
    hosts: {"n[1-4]": {rack: r1, groups: [g]}, "m[1-2]": {rack: r2}}
    components: {queue: {hosts: "%s"}}
"""

    def hosts(expression: str) -> list[str]:
        return [i.host.name for i in instances(load(tmp_path, text % expression)).values()]

    assert hosts("*") == ["n1", "n2", "n3", "n4", "m1", "m2"]
    assert hosts("@g !n4") == ["n1", "n2", "n3"]
    assert hosts("rack:r2, n1") == ["n1", "m1", "m2"]
    assert hosts("n* &n[2-3]") == ["n2", "n3"]


def test_a_folder_is_read_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("clusters: {a: {hosts: {x: {}}}}")
    (tmp_path / "b.yml").write_text("clusters: {b: {hosts: {x: {}}}}")
    (tmp_path / "notes.txt").write_text(": not read")
    (tmp_path / ".hidden.yaml").write_text(": not read")
    assert [c.name for c in load_inventory(tmp_path, SETTINGS).clusters] == ["a", "b"]


def test_yaml_anchors_and_merge_keys_are_understood(tmp_path: Path) -> None:
    text = """
clusters:
  c:
    hosts: {a: &a {rack: r1, vars: {x: 1}}, b: {<<: *a, rack: r2}}
"""
    hosts = load(tmp_path, text).clusters[0].hosts
    assert [(h.rack, h.vars) for h in hosts] == [("r1", {"x": 1}), ("r2", {"x": 1})]


def test_words_that_are_booleans_in_old_yaml_stay_text(tmp_path: Path) -> None:
    text = "clusters: {c: {hosts: {a: {rack: no, vars: {t: 22:30, mode: 0644, on: yes}}}}}"
    host = load(tmp_path, text).clusters[0].hosts[0]
    assert (host.rack, host.vars) == ("no", {"t": "22:30", "mode": "0644", "on": "yes"})


def test_a_thousand_hosts_load_within_a_second_of_cpu(tmp_path: Path) -> None:
    hosts = "".join(
        f"      h{n}: {{rack: r{n % 10}, address: 10.0.{n // 250}.{n % 250}, vars: {{n: {n}}}}}\n" for n in range(1000)
    )
    each = "".join(f"          h{n}: {{data_dirs: [/data/{n}]}}\n" for n in range(1000))
    queue = f"      queue:\n        hosts: '*'\n        instances:\n{each}"
    text = f"clusters:\n  c:\n    hosts:\n{hosts}    components:\n{queue}"
    began = time.process_time()
    found = load(tmp_path, text)
    assert len(found.clusters[0].deployments[0].instances) == 1000
    assert time.process_time() - began < 1.0


def test_the_work_dir_is_the_hosts_own_else_the_clusters_else_the_built_in(tmp_path: Path) -> None:
    text = """
clusters:
  a: {work_dir: "/srv/{host}/bdops/", hosts: {"n[1-2]": {}, n3: {work_dir: /opt/b}}}
  b: {hosts: {n1: {}}}
"""
    loaded = load(tmp_path, text)
    found = {f"{c.name}/{h.name}": h.work_dir for c in loaded.clusters for h in c.hosts}
    assert found == {"a/n1": "/srv/n1/bdops", "a/n2": "/srv/n2/bdops", "a/n3": "/opt/b", "b/n1": "/var/tmp/bdops"}
    for name, work_dir in found.items():
        assert loaded.origins.explain(name, "work_dir").said.value == work_dir
    origin = loaded.origins.explain("a/n2", "work_dir").said.origin
    assert origin
    assert origin.line == 3


def test_a_service_names_its_process_id_and_the_files_that_make_it_stale(tmp_path: Path) -> None:
    text = """
clusters:
  c:
    hosts: {a: {}}
    components:
      queue:
        hosts: a
        service: {manager: commands, pid: [cat, "/run/{process}.pid"], files: "/etc/{host}/{process}"}
"""
    service = instances(load(tmp_path, text))["c/queue/a"].service
    assert service
    assert service.pid == ("cat", "/run/queue.pid")
    assert service.files == ("/etc/a/queue",)
