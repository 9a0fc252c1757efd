"""ssh_config: what we take from it is what OpenSSH's own client takes (`ssh -G`), and the rest is refused."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bdops.errors import ConfigError
from bdops.hosts.ssh_config import settings_of
from tests.unit.inventory.kit import errors_of, load

CONFIG = """
# A comment
Host node1
    HostName 10.0.0.1
    Port 2201
    IdentityFile ~/.ssh/one
    IdentityFile "/keys/with space"

Host node[1] node2 *.prod.example.com !bad.prod.example.com
    User=ops
    Port 2202
    IdentityFile /keys/%h-%r-%p
    ConnectTimeout 7

host BASTION
    HostName %h.example.com
    ProxyJump none
    IdentitiesOnly yes
    IdentityFile /keys/b
    identitiesonly no

Host *
    ProxyJump jumper@bastion:2222
    UserKnownHostsFile /known/%h
    User last
    ForwardAgent yes   # cannot matter
    StrictHostKeyChecking ask
    ServerAliveInterval 30

Match all
    User never
    ConnectTimeout 3
"""


def settings(folder: Path, text: str, word: str) -> dict[str, Any]:
    file = folder / "config"
    file.write_text(text)
    return dict(settings_of(file, word))


@pytest.mark.parametrize(
    "word", ["node1", "node2", "a.prod.example.com", "bad.prod.example.com", "BASTION", "bastion", "other", "NODE1"]
)
def test_what_we_take_is_what_openssh_takes(tmp_path: Path, word: str) -> None:
    ours = settings(tmp_path, CONFIG, word)
    done = subprocess.run(["ssh", "-G", "-F", str(tmp_path / "config"), word], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition(" ")
        theirs.setdefault(name, []).append(value)
    assert ours.get("address", word.lower()) == theirs["hostname"][0]
    assert ours.get("user") == theirs["user"][0]
    assert str(ours.get("port", 22)) == theirs["port"][0]
    assert ours.get("jump") == theirs.get("proxyjump", [None])[0]
    assert ours.get("connect_timeout_s") == float(theirs["connecttimeout"][0])
    if "keys" in ours:
        # ssh -G leaves the tokens in identity files as they are.
        home = str(Path.home())
        tokens = {"%h": ours.get("address", word), "%r": ours["user"], "%p": str(ours.get("port", 22)), "~": home}
        expected = theirs["identityfile"]
        for token, value in tokens.items():
            expected = [each.replace(token, value) for each in expected]
        assert list(ours["keys"]) == expected
    assert (ours.get("agent") is False) == (theirs["identitiesonly"] == ["yes"])


def test_tokens_are_filled_in(tmp_path: Path) -> None:
    text = "IdentityFile %d/%u/%n/%%\nUserKnownHostsFile ~/known-%h\nHost x\nHostName %h.example.com\nUser me"
    found = settings(tmp_path, text, "x")
    assert found["keys"] == (f"{Path.home()}/{getpass.getuser()}/x/%",)
    assert found["known_hosts"] == f"{Path.home()}/known-x.example.com"
    assert found["address"] == "x.example.com"


@pytest.mark.parametrize("value", ["none", "SSH_AUTH_SOCK"])
def test_the_agent_can_be_switched_off(tmp_path: Path, value: str) -> None:
    assert settings(tmp_path, f"IdentityAgent {value}", "x") == {"agent": value != "none"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ProxyCommand nc %h %p", "proxycommand nc"),
        ("HostKeyAlias other", "hostkeyalias"),
        ("StrictHostKeyChecking no", "stricthostkeychecking no"),
        ("CertificateFile /c", "certificatefile"),
        ("Ciphers aes128-ctr", "ciphers"),
        ("Include other", "include"),
        ("SetEnv A=b", "setenv"),
        ("RemoteCommand true", "remotecommand"),
        ("BindAddress 10.0.0.9", "bindaddress"),
        ("ProxyJump a,b", "ProxyJump a,b"),
        ("IdentityAgent /run/agent", "IdentityAgent /run/agent"),
        ("UserKnownHostsFile /a /b", "UserKnownHostsFile /a /b"),
        ("NoSuchOption x", "nosuchoption"),
    ],
)
def test_what_is_not_supported_is_an_error_with_its_line_where_it_applies(
    tmp_path: Path, line: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, f"Host x\n  User me\n  {line}\n", "x")
    assert caught.value.where == f"{tmp_path}/config:3"
    assert words in caught.value.message
    assert caught.value.hint
    assert settings(tmp_path, f"Host x\n  User me\n  {line}\n", "y") == {}


def test_a_match_block_is_an_error_for_every_host_because_nobody_knows_whether_it_applies(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="match exec") as caught:
        settings(tmp_path, 'Host x\n  User me\nMatch exec "true"\n  User other\n', "x")
    assert caught.value.where == f"{tmp_path}/config:3"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Port many", "Port many: expected a number"),
        ("Port 0", "expected a number"),
        ("IdentitiesOnly maybe", "expected yes or no"),
        ("Port", "expected an option and its value"),
        ('User "me', "no end of the quotation"),
        ("User a b", "takes one value"),
        ("IdentityFile /k/%i", "%i cannot be filled in"),
        ("IdentityFile ${HOME}/k", "cannot be filled in"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, f"\n{line}\n", "x")
    assert words in caught.value.message
    assert caught.value.where == f"{tmp_path}/config:2"


def test_a_file_that_changed_is_read_again_and_one_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert settings(tmp_path, "User first", "x") == {"user": "first"}
    assert settings(tmp_path, "User another", "x") == {"user": "another"}
    with pytest.raises(ConfigError, match="cannot read the ssh_config"):
        settings_of(tmp_path / "absent", "x")


INVENTORY = """
clusters:
  c:
    ssh: {config: CONFIG, port: 22}
    hosts:
      node1: {}
      node2: {address: 10.9.9.9, ssh: {user: mine}}
"""


def test_the_inventory_wins_over_the_ssh_config(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host node1\n HostName 10.0.0.1\n Port 2201\n User ops\nHost 10.9.*\n User other\n Port 9\n")
    loaded = load(tmp_path, INVENTORY.replace("CONFIG", str(config)))
    one, two = loaded.clusters[0].hosts
    # Port 22 is said by the inventory, default or not.
    assert (one.address, one.ssh.port, one.ssh.user) == ("10.0.0.1", 22, "ops")
    assert (two.address, two.ssh.port, two.ssh.user) == ("10.9.9.9", 22, "mine")
    said = loaded.origins.explain("c/node1", "ssh.user").said
    assert (said.value, said.level) == ("ops", f"ssh_config {config}")
    assert said.origin
    assert said.origin.line == 4


def test_an_ssh_config_that_is_not_supported_is_an_error_of_the_inventory_with_both_lines(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n  ProxyCommand nc %h %p\n")
    (error,) = errors_of(tmp_path, INVENTORY.replace("CONFIG", str(config)))
    assert f"{config}:2" in error.message
    assert error.where is not None
    assert error.where.endswith("inv.yaml:4")
