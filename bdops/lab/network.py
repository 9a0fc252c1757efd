"""Loopback addresses and ports: each lab has a 127.L.0.0/16 of its own, and each host of it one address there."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from bdops.errors import ConfigError
from bdops.lab.processes import describe

SSH_PORT = 22022
ANY = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket; address `0.0.0.0` for any address, of IPv4 or IPv6."""

    address: str
    port: int
    inode: int


def address(network: int, host_number: int) -> str:
    return f"127.{network}.{host_number}.1"


def parse_proc_net_tcp(text: str) -> list[Listener]:
    """The listening sockets of /proc/net/tcp or tcp6 (state 0A). Addresses are words in the machine's byte order."""
    listeners = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != "0A":
            continue
        host, _, port = fields[1].partition(":")
        if len(host) == 32 and host[:24] == "0000000000000000FFFF0000":  # IPv4 in IPv6
            host = host[24:]
        if len(host) == 32:
            if int(host, 16) != 0:
                continue
            host = "00000000"
        listeners.append(Listener(socket.inet_ntoa(int(host, 16).to_bytes(4, "little")), int(port, 16), int(fields[9])))
    return listeners


def listeners() -> list[Listener]:
    """The listening TCP sockets of this machine that can take a loopback address of ours."""
    found = []
    for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if path.exists():
            found += parse_proc_net_tcp(path.read_text())
    return found


def choose_network(folder: Path, taken: Iterable[int], hosts: int) -> int:
    """The L of a new lab in this folder: derived from it, and not in use by another lab or anything else.

    `taken` are the networks of other labs of the same state folder, running or not. Labs of other users and
    state folders are seen by what listens.
    """
    used = set(taken) | {int(one.address.split(".")[1]) for one in listeners() if one.address.startswith("127.")}
    start = int.from_bytes(hashlib.sha256(f"{os.getuid()}:{folder}".encode()).digest()[:4], "big")
    for i in range(254):
        network = (start + i) % 254 + 1
        if network not in used and all(_can_bind(address(network, n + 1), SSH_PORT) for n in range(hosts)):
            return network
    raise ConfigError(
        "no loopback network 127.1.0.0/16 to 127.254.0.0/16 is free", hint="take a lab down: bdops lab down"
    )


def busy_ports(wanted: Iterable[tuple[str, int]], *, ours: Collection[int] = ()) -> list[str]:
    """A line for each address and port that cannot be had, with who has it where that is known.

    `ours` are pids that may have them: servers of the same lab that run already.
    """
    in_use = listeners()
    lines = []
    for host_address, port in wanted:
        taken = next((one for one in in_use if one.port == port and one.address in (host_address, ANY)), None)
        if taken is None:
            if not _can_bind(host_address, port):
                lines.append(f"port {port} of {host_address} cannot be had")
            continue
        pid = owner(taken)
        if pid is None or pid not in ours:
            who = describe(pid) if pid else "a process of another user"
            everywhere = ", which listens on every address" if taken.address == ANY else ""
            lines.append(f"port {port} of {host_address} is taken by {who}{everywhere}")
    return lines


def owner(listener: Listener) -> int | None:
    """The pid that has a socket; None where it is another user's process."""
    target = f"socket:[{listener.inode}]"
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            if any(os.readlink(fd.path) == target for fd in os.scandir(f"{entry.path}/fd")):  # noqa: PTH115
                return int(entry.name)
        except OSError:  # gone, or another user's
            continue
    return None


def _can_bind(host_address: str, port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: a closed connection that lingers in TIME_WAIT must not count as busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host_address, port))
        except OSError as e:
            if e.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
                return False
            raise
    return True
