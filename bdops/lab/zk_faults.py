"""What can be broken in the lab's ZooKeeper, and healed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdops.errors import NotAuthorised, UsageError
from bdops.lab.recipe import Fault

if TYPE_CHECKING:
    from bdops.lab.lab import Lab

LINK = "zk-slow-link"
VISIBLE_LAG = 50
OLD_PEER_PORT = 2887
SEEN_TIMES = 5


def followers(lab: Lab) -> list[str]:
    from bdops.lab import zk

    return [host for host in zk.HOSTS if zk.field(lab, host, "Mode") == "follower"]


def host_of(lab: Lab, target: str | None, default: str) -> str:
    """The host of a target such as `zk/node2`. Raises UsageError when it has no server."""
    return lab.named(target)[0].host if target else default


def restart(lab: Lab, host: str) -> None:
    """Restart one server, and return when it serves again."""
    from bdops.lab import zk

    lab.stop(zk.PROGRAM, host)
    lab.start(zk.PROGRAM, host)
    zk.await_serving(lab, [host])


def lag(lab: Lab, host: str) -> int:
    """How many of the leader's transactions a server has not applied."""
    from bdops.lab import zk

    mine = int(zk.field(lab, host, "Zxid") or "0", 16)
    leader = next((h for h in zk.HOSTS if zk.field(lab, h, "Mode") == "leader"), None)
    return int(zk.field(lab, leader, "Zxid") or "0", 16) - mine if leader else 0


def break_lagging(lab: Lab, target: str | None) -> None:
    """Put a slow link between one follower and the others, and write without pause."""
    from bdops.lab import zk

    victim = host_of(lab, target, followers(lab)[-1])
    if zk.field(lab, victim, "Mode") == "leader":
        raise UsageError(f"{victim} leads, and a leader cannot lag", hint=f"choose from {', '.join(followers(lab))}")
    others = [h for h in zk.HOSTS if h != victim]
    lab.start_helper(LINK, "bdops.lab.zk_slow_link", lab.name, victim)
    zk.write_hosts_file(lab, victim, linked=others)
    restart(lab, victim)
    seen = 0

    def lags() -> bool:
        nonlocal seen
        seen = seen + 1 if lag(lab, victim) >= VISIBLE_LAG else 0
        return seen >= SEEN_TIMES

    lab.wait(f"ZooKeeper on {victim} to lag", lags, 40)


def heal_lagging(lab: Lab, target: str | None) -> None:
    from bdops.lab import zk

    lab.stop_helper(LINK)
    for host in zk.HOSTS:
        before = zk.hosts_file(lab, host).read_text()
        zk.write_hosts_file(lab, host)
        if zk.hosts_file(lab, host).read_text() != before:
            restart(lab, host)
            lab.wait(f"ZooKeeper on {host} to catch up", lambda host=host: lag(lab, host) == 0, 30)  # type: ignore[misc]


def break_quorum(lab: Lab, target: str | None) -> None:
    """Kill two of three; the one that is left must say that it does not serve."""
    from bdops.lab import zk

    left = host_of(lab, target, "node1")
    for host in zk.HOSTS:
        if host != left and lab.pid(zk.PROGRAM, host):
            lab.kill(zk.PROGRAM, host)
    lab.wait(f"ZooKeeper on {left} to lose its quorum", lambda: not zk.serves(lab, left), 30)


def start_all(lab: Lab, target: str | None) -> None:
    from bdops.lab import zk

    zk.start(lab, lab.say)


def break_config(lab: Lab, target: str | None) -> None:
    """Give one follower a membership in which another has its old quorum port, as after an edit on some hosts only.

    The election ports stay: without them the follower could not find the leader.
    """
    from bdops.lab import zk

    victim = host_of(lab, target, followers(lab)[-1])
    moved = next(h for h in followers(lab) if h != victim)
    lab.stop(zk.PROGRAM, victim)
    file = zk.dynamic_file(lab, victim)
    file.write_text(file.read_text().replace(f"={moved}:{zk.PEER_PORT}:", f"={moved}:{OLD_PEER_PORT}:"))
    lab.start(zk.PROGRAM, victim)
    zk.await_serving(lab, [victim])


def heal_config(lab: Lab, target: str | None) -> None:
    from bdops.lab import zk

    for host in zk.HOSTS:
        file = zk.dynamic_file(lab, host)
        text = file.read_text()
        if f":{OLD_PEER_PORT}:" in text:
            file.write_text(text.replace(f":{OLD_PEER_PORT}:", f":{zk.PEER_PORT}:"))
            restart(lab, host)


def set_option(lab: Lab, host: str, key: str, value: str) -> None:
    """Change one line of a server's zoo.cfg, and restart it."""
    from bdops.lab import zk

    file = zk.config_file(lab, host)
    lines = [f"{key}={value}" if line.startswith(f"{key}=") else line for line in file.read_text().splitlines()]
    if lines != file.read_text().splitlines():
        file.write_text("\n".join(lines) + "\n")
        lab.stop(zk.PROGRAM, host)
        lab.start(zk.PROGRAM, host)


def break_words(lab: Lab, target: str | None) -> None:
    """Whitelist `srvr` alone, as ZooKeeper does by default."""
    from bdops.lab import zk

    host = host_of(lab, target, "node3")
    set_option(lab, host, "4lw.commands.whitelist", "srvr")
    zk.await_serving(lab, [host])

    def is_refused() -> bool:
        try:
            zk.ask(lab, host, "mntr")
        except NotAuthorised:
            return True
        return False

    lab.wait("four-letter words to be refused", is_refused, 10)


def heal_words(lab: Lab, target: str | None) -> None:
    from bdops.lab import zk

    for host in zk.HOSTS:
        set_option(lab, host, "4lw.commands.whitelist", "*")
    zk.await_serving(lab)


def break_admin(lab: Lab, target: str | None) -> None:
    from bdops.lab import zk

    host = host_of(lab, target, "node3")
    set_option(lab, host, "admin.enableServer", "false")
    zk.await_serving(lab, [host])


def heal_admin(lab: Lab, target: str | None) -> None:
    from bdops.lab import zk

    for host in zk.HOSTS:
        set_option(lab, host, "admin.enableServer", "true")
    zk.await_serving(lab)


FAULTS = (
    Fault(
        name="zk-lagging",
        help="a follower behind a slow link while clients write (default: the last follower)",
        shows=("ZK_ZXID_LAG",),
        break_it=break_lagging,
        heal=heal_lagging,
    ),
    Fault(
        name="zk-quorum-lost",
        help="two of three servers killed; TARGET is the one left (default: zk/node1)",
        shows=("ZK_QUORUM", "ZK_LEADER", "ZK_SERVER_DOWN"),
        break_it=break_quorum,
        heal=start_all,
    ),
    Fault(
        name="zk-config-differs",
        help="a follower whose membership has another server's old port (default: the last follower)",
        shows=("ZK_CONFIG",),
        break_it=break_config,
        heal=heal_config,
    ),
    Fault(
        name="zk-no-4lw",
        help="a server with nothing but srvr whitelisted (default: zk/node3)",
        shows=("ZK_INTERFACES",),
        break_it=break_words,
        heal=heal_words,
    ),
    Fault(
        name="zk-no-admin",
        help="a server without AdminServer (default: zk/node3)",
        shows=("ZK_INTERFACES",),
        break_it=break_admin,
        heal=heal_admin,
    ),
)
