"""Ansible inventories, INI and YAML, read by Ansible's rules and written as one of bdops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bdops.core.model import Host
from bdops.errors import ConfigError
from bdops.inventory.ansible import import_inventory
from bdops.inventory.ansible_ini import expand_hosts, ini_value
from bdops.inventory.load import load_inventory

INI = """
; a comment, and # another
bastion ansible_host=10.0.0.1 ansible_user=root   # after the line

[web]
web[01:03].example.com rack=r1 flag=True text=FALSE numbers="[1, 2]"
web03.example.com heap=8

[db]
db-[a:c]:2222 ansible_ssh_common_args='-o ProxyJump=ops@bastion:22'

[site:children]
web
db

[web:vars]
heap=4
quoted="a b"
ansible_user=www

[site:vars]
heap=2
env=prod
template={{ inventory_hostname }}

[all:vars]
dc=eu
ansible_ssh_private_key_file=~/.ssh/site
"""

YAML = """
all:
  hosts:
    bastion: {ansible_host: 10.0.0.1, ansible_user: root}
  vars:
    dc: eu
    ansible_ssh_private_key_file: ~/.ssh/site
  children:
    site:
      vars: {heap: 2, env: prod, template: "{{ inventory_hostname }}"}
      children:
        web:
          hosts:
            web[01:03].example.com: {rack: r1, flag: yes, text: 'FALSE', numbers: [1, 2]}
            web03.example.com: {heap: 8}
          vars: {heap: 4, quoted: a b, ansible_user: www}
        db:
          hosts:
            db-[a:c]: {ansible_port: 2222, ansible_ssh_common_args: -o ProxyJump=ops@bastion:22}
"""


def imported(folder: Path, name: str, text: str) -> tuple[dict[str, Host], str, list[str]]:
    """The hosts that bdops then reads, the text written, and the notes."""
    source = folder / name
    source.write_text(text)
    written, notes = import_inventory(source, "site")
    target = folder / "bdops.yaml"
    target.write_text(written.partition("    components:")[0])
    (cluster,) = load_inventory(target, {}).clusters
    return {host.name: host for host in cluster.hosts}, written, notes


@pytest.mark.parametrize(("name", "text"), [("hosts.ini", INI), ("hosts", INI), ("hosts.yml", YAML), ("hosts2", YAML)])
def test_groups_and_host_variables_are_kept(name: str, text: str, tmp_path: Path) -> None:
    hosts, _, notes = imported(tmp_path, name, text)
    assert list(hosts) == ["bastion", *[f"web0{n}.example.com" for n in (1, 2, 3)], "db-a", "db-b", "db-c"]
    web = hosts["web01.example.com"]
    assert web.groups == ("site", "web")
    assert web.rack == "r1"
    assert web.vars == {
        "dc": "eu", "env": "prod", "heap": 4, "quoted": "a b", "flag": True, "text": "FALSE", "numbers": [1, 2],
        "template": "{{ inventory_hostname }}",
    }  # fmt: skip
    assert hosts["web03.example.com"].vars["heap"] == 8
    assert hosts["db-b"].vars["heap"] == 2
    assert notes == []


@pytest.mark.parametrize(("name", "text"), [("hosts.ini", INI), ("hosts.yml", YAML)])
def test_what_ansible_connects_with_becomes_address_and_ssh(name: str, text: str, tmp_path: Path) -> None:
    hosts, _, _ = imported(tmp_path, name, text)
    assert (hosts["bastion"].address, hosts["bastion"].ssh.user) == ("10.0.0.1", "root")
    assert (hosts["db-a"].ssh.port, hosts["db-a"].ssh.jump) == (2222, "ops@bastion:22")
    assert hosts["web02.example.com"].ssh.user == "www"
    assert {host.ssh.keys for host in hosts.values()} == {("~/.ssh/site",)}
    assert not any(key.startswith("ansible_") for host in hosts.values() for key in host.vars)


def test_a_child_group_goes_before_its_parents_whatever_their_names(tmp_path: Path) -> None:
    text = "[a_child]\nn1\n[z_parent:children]\na_child\n[a_child:vars]\nx=child\n[z_parent:vars]\nx=parent\ny=parent\n"
    hosts, _, _ = imported(tmp_path, "h.ini", text)
    assert hosts["n1"].vars == {"x": "child", "y": "parent"}


def test_hosts_that_are_alike_share_a_range(tmp_path: Path) -> None:
    _, written, _ = imported(tmp_path, "hosts.ini", INI)
    assert "web[01-02].example.com:" in written


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("web[1:3]", ["web1", "web2", "web3"]),
        ("web[01:03].x", ["web01.x", "web02.x", "web03.x"]),
        ("n[1:9:4]", ["n1", "n5", "n9"]),
        ("[a:c]-[1:2]", ["a-1", "a-2", "b-1", "b-2", "c-1", "c-2"]),
        ("[:2]", ["0", "1", "2"]),
        ("plain", ["plain"]),
        ("[2001:db8::1]", ["[2001:db8::1]"]),
    ],
)
def test_ranges_are_expanded_as_ansible_does(pattern: str, names: list[str]) -> None:
    assert expand_hosts(pattern, "f:1") == names


@pytest.mark.parametrize(
    "pattern", ["n[3:1]", "n[a:2]", "n[1:2:x]", "n[1:99999999]", "n[1:2:0]", "[1:900]x[1:900]", "n[08:100]"]
)
def test_a_range_that_is_none_is_an_error(pattern: str) -> None:
    with pytest.raises(ConfigError):
        expand_hosts(pattern, "f:1")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("1.5", 1.5), ("True", True), ("true", "true"), ("None", None), ("'x'", "x"), ("['a', 1]", ["a", 1]),
        ("{'a': (1, 2)}", {"a": [1, 2]}), ("0644", "0644"), ("a=b", "a=b"), ("", ""), ("[1", "[1"), ("b'x'", "b'x'"),
        ("__import__('os')", "__import__('os')"),
    ],
)  # fmt: skip
def test_ini_values_are_python_literals_or_text(text: str, value: Any) -> None:
    assert ini_value(text) == value


def test_secrets_and_vaults_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    text = """
all:
  vars: {ansible_become_password: hunter2}
  hosts:
    n[1:3]:
      db_password: hunter2
      nested: {api_token: hunter2}
      password_file: /etc/pw
      vaulted: !vault |
        $ANSIBLE_VAULT;1.1;AES256
        6162hunter2
      templated_password: "{{ lookup('x') }}"
"""
    hosts, written, notes = imported(tmp_path, "hosts.yml", text)
    assert "hunter2" not in written + "".join(notes)
    assert set(hosts["n1"].vars) == {"password_file", "templated_password"}
    assert "n[1-3]: vaulted is encrypted by Ansible Vault; left out: refer to the secret instead" in notes
    assert any(note.startswith("n[1-3]: db_password looks like a secret") for note in notes)
    assert all(f"# {note}\n" in written for note in notes)


def test_a_templated_address_is_kept_as_text_with_a_note(tmp_path: Path) -> None:
    hosts, _, notes = imported(tmp_path, "h.ini", "n1 ansible_host='{{ ip }}'\n")
    assert hosts["n1"].address == "n1"
    assert hosts["n1"].vars == {"ansible_host": "{{ ip }}"}
    assert notes == ["n1: ansible_host is a Jinja template; it is kept as text under vars"]


def test_variables_beside_the_inventory_count(tmp_path: Path) -> None:
    (tmp_path / "group_vars" / "web").mkdir(parents=True)
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("dc: us\n")
    (tmp_path / "group_vars" / "web" / "main.yml").write_text("heap: 16\n")
    (tmp_path / "host_vars" / "web02.example.com.yml").write_text("flag: false\n")
    hosts, _, _ = imported(tmp_path, "hosts.ini", INI)
    assert hosts["bastion"].vars["dc"] == "us"
    assert hosts["web01.example.com"].vars["heap"] == 16
    assert hosts["web02.example.com"].vars["flag"] is False
    assert hosts["db-a"].vars["heap"] == 2


def test_obvious_groups_become_components_and_others_comments(tmp_path: Path) -> None:
    text = "[zookeeper]\nz[1:3]\n[kafka_broker]\nk[1:4]\n[datanodes]\nd[1:2]\n[kafka_rest]\nr1\n[web]\nw1\n"
    _, written, _ = imported(tmp_path, "hosts.ini", text)
    assert "zk: {hosts: '@zookeeper'}" in written
    assert "broker: {hosts: '@kafka_broker'}" in written
    assert "datanode: {hosts: '@datanodes'}" in written
    assert "#   kafka: {hosts: '@kafka_rest'}" in written
    assert "@web" not in written


@pytest.mark.parametrize(
    ("name", "text", "message", "line"),
    [
        ("h.ini", "[a:things]\n", "not a section", ":1"),
        ("h.ini", "[a\nb\n", "not a section", ":1"),
        ("h.ini", "n1 alone\n", "expected key=value", ":1"),
        ("h.ini", "\nn1 a='b\n", "cannot be split", ":2"),
        ("h.ini", "[a:children]\nb\n[b:children]\na\n", "child of itself", ""),
        ("h.ini", "", "no hosts", ""),
        ("h.yml", "all: [1]\n", "expected a mapping with hosts", ""),
        ("h.yml", "all: {host: {}}\n", "none of hosts, children and vars", ""),
        ("h.yml", "all: {hosts: {a: 1}}\n", "expected its variables", ""),
        ("h.yml", "all: {hosts: [a]}\n", "must be a mapping", ""),
        ("h.yml", "all:\n  hosts: {a\n", "not YAML", ":"),
        ("h.yml", "just text\n", "expected groups", ""),
        ("h.py", "#!/usr/bin/python\n", "is not run", ""),
    ],
)
def test_what_is_no_inventory_is_an_error(name: str, text: str, message: str, line: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        import_inventory(tmp_path / name, "site")
    assert f"{name}{line}" in (caught.value.where or "")
