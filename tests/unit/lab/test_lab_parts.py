"""Small parts of the lab: versions, memory, names, records, and the order of recipes."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bdops.errors import ConfigError, UsageError
from bdops.lab import es_users, hosts, java, kafka_users, operations, paths, preflight, recipes, security, store, zk
from bdops.lab.hosts import LabHost
from bdops.lab.lab import Lab
from bdops.registry import COMPONENTS


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.LabRecord:
    monkeypatch.setenv("BDOPS_STATE_DIR", str(tmp_path))
    volume = store.Volume(component="es", host="node4", image="/i", mount="/m")
    return store.LabRecord(name="x", network=7, components=("zk",), up=True, volumes=(volume,), faults=("f zk/node1",))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ('Picked up JAVA_TOOL_OPTIONS: -Dx\nopenjdk version "21.0.1" 2023', 21),
        ("command not found", None),
    ],
)
def test_javas_version_is_read_from_what_it_says(text: str, version: int | None) -> None:
    assert java.parse_version(text) == version


def test_available_memory_is_what_the_kernel_estimates_not_what_is_free() -> None:
    meminfo = "MemTotal:       24684212 kB\nMemFree:          100000 kB\nMemAvailable:   20480000 kB\n"
    assert preflight.available_memory_mb(meminfo) == 20000
    assert preflight.available_memory_mb("MemTotal: 1 kB\n") is None


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "Lab", "-x", "x" * 40, "a b"])
def test_a_labs_name_is_a_plain_folder_name(name: str) -> None:
    with pytest.raises(UsageError):
        store.lab_folder(name)


def test_a_record_comes_back_as_it_was_written(record: store.LabRecord) -> None:
    assert store.read("x") is None
    store.write(record)
    assert store.read("x") == record
    assert store.names() == ["x"]
    assert store.change("x", up=False) == replace(record, up=False) == store.read("x")
    assert store.lab_folder("x").stat().st_mode & 0o777 == 0o700


def test_a_lab_whose_supervisords_are_gone_is_not_running(record: store.LabRecord) -> None:
    store.write(record)
    (store.lab_folder("x") / "inventory.yaml").write_text("")
    assert store.running_labs() == []


def test_the_runtime_folder_is_short_and_refused_when_another_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = Path("/" + "x" * 200) / "labs" / "y"
    assert len(str(paths.runtime_dir(deep) / "node1.sock")) < 60
    private = paths.private_folder(tmp_path / "a" / "b")
    assert private.stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(private)
    with pytest.raises(ConfigError):
        paths.private_folder(tmp_path / "link")
    monkeypatch.setattr("os.getuid", lambda: 12345)
    with pytest.raises(ConfigError, match="not a folder of this user"):
        paths.private_folder(private)


def test_what_a_component_requires_comes_before_it_and_once() -> None:
    assert recipes.with_required(["hdfs"]) == ["zk", "hdfs"]
    assert recipes.with_required(["hdfs", "zk"]) == ["zk", "hdfs"]
    assert sorted(recipes.with_required([])) == sorted(COMPONENTS)
    with pytest.raises(UsageError):
        recipes.with_required(["zk", "mysql"])


@pytest.mark.parametrize("name", list(COMPONENTS))
def test_a_recipe_is_named_as_its_component_and_its_faults_name_checks_that_exist(name: str) -> None:
    from bdops.registry import component

    recipe = recipes.recipe(name)
    assert recipe.name == name
    assert set(recipe.ports) <= set(store.HOST_RACKS)
    codes = {check.code for check in component(name).checks} | {c.code for c in component("host").checks}
    for fault in recipe.faults:
        assert set(fault.shows) <= codes, fault.name


def test_no_two_faults_share_a_name() -> None:
    names = [fault.name for name in COMPONENTS for fault in recipes.recipe(name).faults]
    assert len(names) == len(set(names))


def test_no_two_recipes_want_one_port_of_a_host() -> None:
    ports = [(host, p) for n in COMPONENTS for host, all_of in recipes.recipe(n).ports.items() for p in all_of]
    assert len(ports) == len(set(ports))


def test_instances_are_named_with_and_without_the_lab_and_by_host(record: store.LabRecord) -> None:
    lab = Lab(record)
    lab.programs = tuple(  # type: ignore[misc]
        hosts_program(component, host, process)
        for component, host, process in (
            ("zk", "node1", None), ("zk", "node2", None), ("hdfs", "node1", "namenode"), ("hdfs", "node1", "zkfc"),
        )
    )  # fmt: skip

    def names(given: str) -> list[str]:
        return [p.instance for p in lab.named(given)]

    assert names("zk/node2") == names("x/zk/node2") == ["zk/node2"]
    assert names("hdfs/node1") == ["hdfs/node1/namenode", "hdfs/node1/zkfc"]
    assert names("hdfs/node1/zkfc") == ["hdfs/node1/zkfc"]
    assert names("node1") == ["zk/node1", "hdfs/node1/namenode", "hdfs/node1/zkfc"]
    for unknown in ("zk/node", "node", "node3", "y/zk/node1", "kafka", ""):
        with pytest.raises(UsageError):
            lab.named(unknown)


def hosts_program(component: str, host: str, process: str | None) -> zk.Program:
    path = "/".join(p for p in (component, host, process) if p)
    return zk.Program(name=process or component, host=host, instance=path, argv=["x"])


def test_sshd_listens_on_the_hosts_own_address_alone_and_takes_keys_alone(tmp_path: Path) -> None:
    host = LabHost(name="n", address="127.9.1.1", rack="r", folder=tmp_path, runtime=tmp_path)
    lines = hosts.sshd_config(tmp_path, host, tmp_path / "key").splitlines()
    assert [line for line in lines if line.startswith(("Listen", "Port"))] == ["ListenAddress 127.9.1.1:22022"]
    assert "PasswordAuthentication no" in lines


def test_zookeepers_super_digest_is_the_one_of_its_own_generator() -> None:
    # DigestAuthenticationProvider.generateDigest("super:test"), from ZooKeeper's documentation of superDigest
    assert zk.super_digest("test") == "super:D/InIHSb7yEEbrWz8b9l71RjZJU="


def privileges(user: str) -> list[tuple[str, ...]]:
    """What the lab gives a user, Kafka's ACLs first, as docs/security.md writes it in the cells of a row."""
    acls = kafka_users.ACLS[user]
    kafka = tuple(", ".join(o.title().replace("_", "") for o in acls[kind]) for kind in ("cluster", "topic", "group"))
    role = es_users.ROLES[user]
    indices = [p for each in role.get("indices", ()) for p in each["privileges"]]
    return [kafka, (", ".join(role["cluster"]), ", ".join(indices))]


@pytest.mark.parametrize(("user", "first"), [(security.READER, "check, status, "), (security.OPERATOR, "all of them")])
def test_the_documented_least_privileges_are_those_of_the_secured_labs_users(user: str, first: str) -> None:
    lines = (Path(__file__).parents[3] / "docs" / "security.md").read_text().splitlines()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith(f"| **{first}")]
    assert [tuple(cells[1:]) for cells in rows] == privileges(user)


def test_what_cannot_be_secured_is_refused_by_name_and_left_out_of_everything(record: store.LabRecord) -> None:
    said: list[str] = []
    with pytest.raises(UsageError, match="hdfs cannot be secured"):
        operations.up("y", ["hdfs", "kafka"], secure=True, say=said.append)
    assert store.read("y") is None
    assert set(recipes.securable()) == {"zk", "kafka", "es"}


def test_a_lab_that_is_there_without_security_cannot_be_secured_any_more(record: store.LabRecord) -> None:
    store.write(record)
    with pytest.raises(ConfigError, match="without security") as caught:
        operations.up("x", ["zk"], secure=True, say=lambda line: None)
    assert caught.value.code == "LAB_NOT_SECURE"
    assert store.read("x") == record


def test_a_certificate_is_of_its_authority_and_its_names_and_nobody_else_may_read_its_key(tmp_path: Path) -> None:
    authority = security.Authority.make("test")
    made = authority.issue(tmp_path, "node1", ("node1", "127.9.1.1"))
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.pem)
    found = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", ca, "-verify_ip", "127.9.1.1", made.certificate],
        capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    other = tmp_path / "other.crt"
    other.write_bytes(security.Authority.make("test").pem)
    assert subprocess.run(["openssl", "verify", "-CAfile", other, made.certificate], capture_output=True).returncode
    assert {f.stat().st_mode & 0o777 for f in (made.key, made.both)} == {0o600}
