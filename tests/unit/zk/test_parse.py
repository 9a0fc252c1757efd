"""ZooKeeper's answers, as a 3.9.5 server gave them, in terms of the state."""

from __future__ import annotations

import pytest

from bdops.components.zk import parse
from bdops.components.zk.state import Member, Zxid

MNTR = """\
zk_version\t3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC
zk_server_state\tleader
zk_peer_state\tleading - broadcast
zk_avg_latency\t8.25
zk_max_latency\t102
zk_outstanding_requests\t0
zk_znode_count\t20026
zk_watch_count\t7
zk_max_file_descriptor_count\t20000
zk_approximate_data_size\t2300000
zk_open_file_descriptor_count\t59
zk_uptime\t4718
zk_synced_followers\t2
zk_pending_syncs\t0
zk_p99_updatelatency\t102
"""

SRVR = """\
Zookeeper version: 3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC
Latency min/avg/max: 0/1.5/12
Received: 6
Sent: 7
Connections: 1
Outstanding: 0
Zxid: 0x100000a0b
Mode: follower
Node count: 5
"""

CONF = """\
clientPort=2181
secureClientPort=-1
dataDir=/data/zk/version-2
serverId=1
peerType=0
membership:
server.1=10.0.0.1:2888:3888:participant;10.0.0.1:2181
server.2=10.0.0.2:2888:3888|10.1.0.2:2888:3888:participant;0.0.0.0:2181
server.10=[2001:db8::3]:2888:3888:observer;[2001:db8::3]:2181
version=10000000a"""


def test_mntr_gives_numbers_in_our_units() -> None:
    fields = parse.mntr_fields(MNTR)
    assert fields["version"] == "3.9.5"
    assert fields["mode"] == "leader"
    assert fields["uptime_s"] == 4.718
    assert fields["latency_avg_ms"] == 8.25
    assert fields["update_latency_p99_ms"] == 102
    assert (fields["synced_followers"], fields["pending_syncs"]) == (2, 0)


def test_a_key_that_is_missing_is_left_out_and_not_zero() -> None:
    without = "\n".join(line for line in MNTR.splitlines() if "pending_syncs" not in line)
    assert "pending_syncs" not in parse.mntr_fields(without)


@pytest.mark.parametrize("value", ["", "nonsense", "-1", None, True, [1]])
def test_a_metric_that_is_no_count_is_left_out(value: object) -> None:
    assert "open_files" not in parse.monitor_fields({"open_file_descriptor_count": value})


def test_the_admin_servers_monitor_is_read_as_the_words_are() -> None:
    as_json = {key.removeprefix("zk_"): value for key, value in (line.split("\t") for line in MNTR.splitlines())}
    assert parse.monitor_fields(as_json) == parse.mntr_fields(MNTR)


def test_srvr_gives_mode_zxid_and_latency() -> None:
    fields = parse.srvr_fields(SRVR)
    assert fields["mode"] == "follower"
    assert fields["read_only"] is False
    assert fields["zxid"] == "0x100000a0b"
    assert (fields["latency_avg_ms"], fields["latency_max_ms"]) == (1.5, 12.0)
    assert (fields["requests_received"], fields["connections"], fields["znodes"]) == (6, 1, 5)


def test_a_read_only_server_says_so_in_srvr() -> None:
    fields = parse.srvr_fields(SRVR.replace("Mode: follower", "Mode: read-only"))
    assert fields["mode"] == "read-only"
    assert fields["read_only"] is True


def test_conf_gives_the_membership_with_roles_several_addresses_and_the_version() -> None:
    fields = parse.conf_fields(CONF)
    assert fields["myid"] == 1
    assert fields["config_version"] == "10000000a"
    assert fields["members"] == (
        Member(id=1, address="10.0.0.1:2888:3888", client="10.0.0.1:2181"),
        Member(id=2, address="10.0.0.2:2888:3888|10.1.0.2:2888:3888", client="0.0.0.0:2181"),
        Member(id=10, role="observer", address="[2001:db8::3]:2888:3888", client="[2001:db8::3]:2181"),
    )


@pytest.mark.parametrize("line", ["group.1=1:2:10", "weight.2=0"])
def test_conf_tells_a_quorum_that_is_no_plain_majority(line: str) -> None:
    assert parse.conf_fields(CONF)["weighted"] is False
    assert parse.conf_fields(f"{CONF}\n{line}\n")["weighted"] is True


def test_conf_of_a_server_that_stands_alone_has_no_membership() -> None:
    alone = "".join(line for line in CONF.splitlines(keepends=True) if not line.startswith(("server.", "version=")))
    assert "members" not in parse.conf_fields(alone)


def test_the_voting_view_gives_the_voters_as_conf_does_and_leaves_observers_open() -> None:
    view = {
        "current_config": {
            "1": {
                "server_addresses": ["10.0.0.1:2888"],
                "election_addresses": ["10.0.0.1:3888"],
                "client_address": "10.0.0.1:2181",
                "learner_type": "participant",
            }
        }
    }
    assert parse.voting_view_fields(view) == {
        "members": (parse.conf_fields(CONF)["members"][0],),
        "observers_known": False,
    }


def test_server_stats_give_the_zxid_in_hex() -> None:
    answer = {"read_only": False, "server_stats": {"last_processed_zxid": 4294967299}}
    assert parse.stats_fields(answer) == {"zxid": "0x100000003", "read_only": False}


@pytest.mark.parametrize("text", ["", "\x00\x01", "zk_", "a=b", "server.x=1", "Mode: king", "zk_avg_latency"])
def test_what_is_not_an_answer_gives_no_fields(text: str) -> None:
    assert not parse.srvr_fields(text)
    assert not parse.mntr_fields(text)
    assert not parse.conf_fields(text)


@pytest.mark.parametrize(
    ("follower", "leader", "behind"),
    [
        ("0x500000010", "0x500000010", 0),
        ("0x500000010", "0x50000001a", 10),
        ("0x50000001a", "0x500000010", 0),
        # A new leader that has written nothing yet: its followers are still in the epoch before, and in step.
        ("0x4000009ff", "0x500000000", 0),
        ("0x0", "0x100000000", 0),
        # Behind by at least what the new leader has written.
        ("0x4000009ff", "0x500000007", 7),
        # Ahead of a leader of an older epoch.
        ("0x600000001", "0x5000000ff", 0),
    ],
)
def test_lag_is_counted_within_an_epoch(follower: str, leader: str, behind: int) -> None:
    assert Zxid.of(follower).behind(Zxid.of(leader)) == behind
