"""Listening sockets as /proc/net/tcp tells them, and who is in the way of a lab's ports."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from bdops.errors import ConfigError
from bdops.lab import network
from bdops.lab.network import Listener, address, busy_ports, choose_network, listeners, parse_proc_net_tcp

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


@pytest.mark.parametrize(
    ("local", "state", "expected"),
    [
        ("0100007F:0885", "0A", Listener("127.0.0.1", 2181, 4711)),
        ("0102BC7F:23F0", "0A", Listener("127.188.2.1", 9200, 4711)),
        ("00000000:0016", "0A", Listener("0.0.0.0", 22, 4711)),
        ("00000000000000000000000000000000:0016", "0A", Listener("0.0.0.0", 22, 4711)),
        ("0000000000000000FFFF00000100007F:0885", "0A", Listener("127.0.0.1", 2181, 4711)),
        ("00000000000000000000000001000000:0885", "0A", None),  # ::1 is nobody's lab address
        ("0100007F:0885", "01", None),  # a connection, not a listener
    ],
)
def test_a_line_of_proc_net_tcp_is_a_listener_on_an_ipv4_address_or_on_all(
    local: str, state: str, expected: Listener | None
) -> None:
    line = f"   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n"
    assert parse_proc_net_tcp(HEAD + line) == ([expected] if expected else [])


def test_a_real_listener_is_seen_with_its_owner() -> None:
    with socket.create_server(("127.77.9.1", 0)) as server:
        port = server.getsockname()[1]
        found = [one for one in listeners() if (one.address, one.port) == ("127.77.9.1", port)]
        assert [network.owner(one) for one in found] == [os.getpid()]
        assert busy_ports([("127.77.9.1", port)])[0].startswith(
            f"port {port} of 127.77.9.1 is taken by pid {os.getpid()}"
        )
        assert busy_ports([("127.77.9.1", port)], ours={os.getpid()}) == []
        assert busy_ports([("127.77.8.1", port)]) == []
    assert busy_ports([("127.77.9.1", port)]) == []


def test_a_listener_on_every_address_takes_the_port_of_each() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        assert "listens on every address" in busy_ports([("127.77.9.1", port)])[0]


def test_a_folder_gets_the_same_network_unless_that_is_taken() -> None:
    first = choose_network(Path("/somewhere/labs/x"), [], 4)
    assert choose_network(Path("/somewhere/labs/x"), [], 4) == first
    assert choose_network(Path("/somewhere/labs/x"), [first], 4) != first
    with socket.create_server((address(first, 3), 0)):
        assert choose_network(Path("/somewhere/labs/x"), [], 4) != first


def test_every_network_is_a_valid_second_byte_and_having_none_left_is_an_error() -> None:
    networks = {choose_network(Path(f"/labs/{n}"), [], 4) for n in range(50)}
    assert networks <= set(range(1, 255))
    with pytest.raises(ConfigError, match="no loopback network"):
        choose_network(Path("/labs/x"), range(1, 255), 4)
