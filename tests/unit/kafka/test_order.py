"""Who goes when, where leaderships go, and when a server is whole again: pure functions of a state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bdops.components.kafka import leaders, order
from bdops.components.kafka.standing import Cluster
from bdops.components.kafka.state import KafkaState, Reassignment, Topic
from bdops.core.plan import Target
from tests.unit.kafka.kit import cluster, name, partition, topic

ORDERS = topic("orders", (1, 2, 3), (2, 3, 4), (3, 4, 1), (4, 1, 2))
DIRS: dict[str, dict[str, str | None]] = {str(n): {"/data": None} for n in (1, 2, 3, 4)}
ALL = [name(n) for n in (1, 2, 3, 4)]
APART: dict[str, Any] = {"controllers": (11, 12, 13), "apart": True, "leader": 11}


def of(size: int = 4, *topics: Topic, **fields: Any) -> Cluster:
    return Cluster(cluster(size, *topics, **{"dir_errors": DIRS, **fields}))


def targets(found: Cluster, verb: str = "restart") -> list[Target]:
    return list(order.targets(found, list(found.servers), verb))


def hosts(found: list[Target]) -> list[int]:
    return [int(t.name.removeprefix(name(0)[:-1])) for t in found]


# -- order ---------------------------------------------------------------------------------------------------


def test_the_active_controller_goes_last_and_what_is_down_first() -> None:
    assert hosts(targets(of(4, ORDERS, leader=2))) == [1, 3, 4, 2]
    assert hosts(targets(of(4, ORDERS, leader=2, refused=(4,), fenced=(4,)))) == [4, 1, 3, 2]


def test_only_servers_with_a_vote_are_asked_whether_they_lead() -> None:
    found = {t.name: t for t in targets(of(4, ORDERS))}
    assert [found[name(n)].leader_last for n in (1, 2, 3, 4)] == [True, True, True, False]
    assert order.leads(of(4, leader=2), name(2)) is True
    assert order.leads(of(4, leader=None), name(2)) is None
    assert order.leads(of(4, leader=None), name(4)) is False


def test_a_controller_of_its_own_has_no_leaderships_to_move() -> None:
    found = {t.name: t.acts for t in targets(of(4, ORDERS, **APART))}
    assert found[name(4)] == ("move-leaders", "restart", "elect-preferred")
    assert found[name(11)] == ("restart",)


def test_a_stop_moves_leaders_away_and_a_start_lets_them_come_back() -> None:
    assert targets(of(), "stop")[0].acts == ("move-leaders", "stop")
    assert targets(of(), "start")[0].acts == ("start", "elect-preferred")
    found = order.targets(of(), ALL, "restart", move_leaders=False)
    assert found[0].acts == ("restart", "elect-preferred")


def test_what_clients_will_notice_is_told_with_numbers() -> None:
    found = order.consequences(of(4, ORDERS, topic("tmp", (4,)), minimum={"orders": 3, "tmp": 1}), ALL, "restart")
    text = "; ".join(found)
    assert "5 leaderships move" in text
    assert "active controller, node1, goes last" in text
    assert "1 partition with one replica" in text
    assert "4 partitions with no more replicas than min.insync.replicas" in text
    assert order.consequences(of(4, ORDERS), ALL, "start") == ()


def test_who_is_down_is_named_with_why() -> None:
    assert order.down(of(4, ORDERS)) == {}
    assert order.down(of(4, ORDERS, fenced=(4,))) == {name(4): "it answers, and is fenced by the controllers"}
    assert order.down(of(4, ORDERS, silent=(3,))) == {name(3): "no answer to ApiVersions"}
    assert set(order.down(of(4, ORDERS, brokers=None))) == set(ALL)
    assert set(order.down(of(4, ORDERS, servers=None))) == set(ALL)


# -- leaderships ---------------------------------------------------------------------------------------------


def test_leaderships_go_to_the_replicas_that_lead_least() -> None:
    crowded = topic("a", (2, 3), (2, 3), (4, 1, 2), (4, 1, 2), (4, 2, 1))
    moves = leaders.moves_away(of(4, crowded), 4)
    assert moves.before == {"a-2": (4, 1, 2), "a-3": (4, 1, 2), "a-4": (4, 2, 1)}
    assert [order[0] for order in moves.after.values()] == [1, 1, 2]
    assert set(moves.elect) == {"a-2", "a-3", "a-4"}


def test_a_leadership_does_not_go_to_one_that_leaves_as_well_nor_out_of_sync_nor_down() -> None:
    assert leaders.moves_away(of(4, ORDERS), 1, {2}).after == {"orders-0": (3, 1, 2)}
    behind = topic("a", ((1, 2, 3), (1, 3)))
    assert leaders.moves_away(of(4, behind), 1).after == {"a-0": (3, 1, 2)}
    assert leaders.moves_away(of(4, ORDERS, refused=(2,)), 1).after == {"orders-0": (3, 1, 2)}
    assert leaders.moves_away(of(4, ORDERS, fenced=(2,)), 1).after == {"orders-0": (3, 1, 2)}


def test_where_only_such_are_left_one_that_leaves_gets_it_for_the_time_being() -> None:
    assert leaders.moves_away(of(4, topic("a", (1, 2))), 1, {1, 2}).after == {"a-0": (2, 1)}


def test_one_replica_cannot_be_moved_and_is_not_waited_for() -> None:
    alone = of(4, topic("a", (4,)))
    assert leaders.moves_away(alone, 4).elect == ()
    assert order.leaders_moved(alone, name(4)).done


def test_a_broker_that_leads_for_another_gives_it_back_without_a_change_of_order() -> None:
    off = topic("a", partition(0, (2, 1, 3), leader=1))
    moves = leaders.moves_away(of(4, off), 1)
    assert (moves.before, moves.elect) == ({}, ("a-0",))


def test_a_partition_that_is_being_moved_is_left_alone() -> None:
    moving = of(4, ORDERS, reassignments=(Reassignment(partition="orders-0", adding=(4,), removing=(3,)),))
    assert leaders.moves_away(moving, 1).elect == ()
    assert order.leaders_moved(moving, name(1)).done


def test_only_what_is_still_in_another_order_is_put_back() -> None:
    before = {"orders-0": (1, 2, 3), "orders-1": (4, 3, 2), "gone-0": (1, 2), "orders-2": (1, 2, 3)}
    assert leaders.to_put_back(of(4, ORDERS), before) == {"orders-1": (4, 3, 2)}


@given(st.data())
def test_moved_leaderships_leave_the_same_replicas_in_order_behind_one_that_can_lead(data: st.DataObject) -> None:
    partitions = [
        partition(n, replicas, data.draw(st.lists(st.sampled_from(replicas), min_size=1, unique=True)))
        for n in range(5)
        for replicas in [data.draw(st.permutations(range(1, 6)))[:3]]
    ]
    found = Cluster(cluster(5, topic("a", *partitions)))
    for broker in range(1, 6):
        moves = leaders.moves_away(found, broker)
        by_name = {f"a-{p.id}": p for p in partitions}
        for named, replicas in moves.after.items():
            p = by_name[named]
            assert sorted(replicas) == sorted(p.replicas)
            assert replicas[0] in p.isr
            assert replicas[0] != broker
            assert [b for b in p.replicas if b != replicas[0]] == list(replicas[1:])
        left = [n for n, p in by_name.items() if p.leader == broker and set(p.isr) - {broker}]
        assert sorted(moves.elect) == sorted(left)


def test_elections_are_asked_for_what_is_off_its_preferred_replica() -> None:
    off = of(4, topic("orders", partition(0, (2, 1, 3), leader=1), partition(1, (4, 1, 3), (1, 3))), ORDERS_AT_HOME)
    (found,) = order.elect_targets(off, ALL, leaders.partitions_of(off, None))
    assert found.args == {"partitions": ["orders-0"]}
    assert order.elect_targets(off, [name(1)], leaders.partitions_of(off, None)) == ()
    assert order.elect_targets(off, ALL, leaders.partitions_of(off, "log*")) == ()
    assert not order.elected(off, ["orders-0"]).done
    assert order.elected(off, ["orders-1"]).done


ORDERS_AT_HOME = topic("logs", (1, 2, 3))

# -- whole again ---------------------------------------------------------------------------------------------


def waits(found: Cluster, number: int, before: dict[str, Any] | None = None) -> str:
    progress = order.whole(found, name(number), before or {})
    assert progress.done == (not progress.waiting_for)
    return progress.waiting_for


def test_a_server_is_whole_when_it_serves_and_all_its_replicas_are_in_sync() -> None:
    assert waits(of(4, ORDERS), 4) == ""
    assert waits(of(4, ORDERS, **APART), 12) == ""


def test_what_is_missing_is_named() -> None:
    behind = topic("orders", ((2, 3, 4), (2, 3)), (4, 1, 2))
    assert "it answers: connection refused" in waits(of(4, ORDERS, refused=(4,)), 4)
    assert "registered" in waits(of(4, ORDERS, unregistered=(4,)), 4)
    assert "unfenced" in waits(of(4, ORDERS, fenced=(4,)), 4)
    assert "a controller leads" in waits(of(4, ORDERS, leader=None), 4)
    assert "follows the metadata log: 9 s behind" in waits(of(4, ORDERS, lags={4: 9000}), 4)
    assert "1 of its 2 replicas are in sync; orders-0" in waits(of(4, behind), 4)
    assert "log directories are told" in waits(of(4, ORDERS, dir_errors=None), 4)
    assert "its replicas are in sync: not read" in waits(without(of(4, ORDERS), "topics"), 4)
    assert waits(of(4, behind), 2) == "", "what another lacks is not its own"


def test_a_controller_that_lags_is_not_whole() -> None:
    assert "follows the metadata log" in waits(of(4, ORDERS, lags={12: 9000}, **APART), 12)
    assert "not heard of it" in waits(of(4, ORDERS, lags={12: None}, **APART), 12)


def test_a_disk_that_fails_with_the_restart_is_waited_for_and_an_old_one_is_not() -> None:
    broken = {**DIRS, "4": {"/data": "KafkaStorageError"}}
    lost = topic("orders", partition(0, (1, 2, 4), (1, 2), offline=(4,)))
    found = of(4, lost, dir_errors=broken)
    assert "online: /data" in waits(found, 4)
    before = order.baseline(found)
    assert before == {"dir_errors": {"4": {"/data": "KafkaStorageError"}}, "offline": {name(4): ["orders-0"]}}
    assert waits(found, 4, before) == ""


def test_a_replica_that_a_reassignment_adds_is_not_waited_for() -> None:
    adding = topic("orders", partition(0, (1, 2, 3, 4), (1, 2, 3)))
    move = Reassignment(partition="orders-0", adding=(4,), removing=(3,))
    assert waits(of(4, adding, reassignments=(move,)), 4) == ""


def test_leaders_are_back_when_the_broker_leads_what_it_is_preferred_for() -> None:
    off = of(4, topic("orders", partition(0, (4, 1, 2), leader=1)))
    assert not order.leaders_back(off, name(4)).done
    assert order.leaders_back(of(4, ORDERS), name(4)).done
    assert not order.leaders_moved(of(4, ORDERS), name(4)).done


def without(found: Cluster, reading: str) -> Cluster:
    state: KafkaState = replace(found.state, **{reading: None})
    return Cluster(state)
