"""What the SSH layer refuses before it opens a connection."""

from __future__ import annotations

import pytest

from bdops.core.model import Host, Ssh
from bdops.errors import ConfigError
from bdops.hosts.ssh import SshPool


def host(name: str, jump: str | None) -> Host:
    return Host(name=name, address="127.0.0.1", ssh=Ssh(port=1, jump=jump, agent=False))


def test_jump_hosts_in_a_circle_are_a_configuration_error() -> None:
    hosts = [host("a", "b"), host("b", "c"), host("c", "b")]
    with SshPool(hosts) as pool, pytest.raises(ConfigError, match="a -> b -> c -> b"):
        pool.run(hosts[0], ["true"], timeout_s=2)


@pytest.mark.parametrize("jump", ["user@", "user@host:port", ":22"])
def test_a_jump_host_that_is_no_address_is_a_configuration_error(jump: str) -> None:
    with SshPool() as pool, pytest.raises(ConfigError, match="user@host:port"):
        pool.run(host("a", jump), ["true"], timeout_s=2)
