"""Saved states, written by hand, and what the checks say of each: `bdops kafka check --state FILE`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bdops.components.backup_standing import Backups
from bdops.components.kafka.component import COMPONENT
from bdops.components.kafka.state import KafkaState
from bdops.components.state_file import load_state, save_state
from bdops.core.checks import CheckResult, Severity, run_checks
from bdops.core.model import CheckOverride
from bdops.errors import ConfigError

DATA = Path(__file__).parent / "data"
ALL = {c.code for c in COMPONENT.checks}


def of(topic: str, *numbers: int) -> set[str]:
    return {f"{topic}-{n}" for n in numbers}


NODE4 = {"prod/kafka/node4"}
MISSING_4 = of("orders", 1, 2, 3) | of("__consumer_offsets", 1, 2, 3)
LED_BY_4 = of("orders", 3) | of("__consumer_offsets", 3)
DOWN_4 = {
    "KAFKA_SERVER_UNREACHABLE": ("critical", NODE4),
    "KAFKA_BROKER_FENCED": ("critical", NODE4),
    "KAFKA_VOTER_LAG": ("warning", {"observer 4 (node4)"}),
    "KAFKA_UNDER_REPLICATED": ("warning", MISSING_4),
    "KAFKA_AT_MIN_ISR": ("warning", MISSING_4),
    "KAFKA_OFF_PREFERRED": ("warning", LED_BY_4),
    "KAFKA_THROTTLE_LEFT": ("unknown", NODE4),
    "KAFKA_LOG_DIR_OFFLINE": ("unknown", NODE4),
    "KAFKA_DISK_USE": ("unknown", NODE4),
}
DOWN_34 = {"prod/kafka/node3", "prod/kafka/node4"}
ALL_LEADERS = {f"broker {n} (node{n})" for n in (1, 2, 3, 4)}
SKEWED = {"KAFKA_LEADER_SKEW": ("warning", ALL_LEADERS), "KAFKA_REPLICA_SKEW": ("warning", {"broker 4 (node4)"})}
GROUP_CODES = {c for c in ALL if c.startswith("KAFKA_GROUP_")}

# State -> every check that is not OK, with its severity and the objects that it names.
EXPECTED: dict[str, dict[str, tuple[str, set[str]]]] = {
    "healthy": {},
    "known_by_address": {},
    "throttle_in_use": {},
    "broker_down": DOWN_4,
    "two_brokers_down": {
        "KAFKA_SERVER_UNREACHABLE": ("critical", DOWN_34),
        "KAFKA_BROKER_FENCED": ("critical", DOWN_34),
        "KAFKA_QUORUM": ("warning", {"voter 3 (node3)"}),
        "KAFKA_VOTER_LAG": ("warning", {"voter 3 (node3)", "observer 4 (node4)"}),
        "KAFKA_UNDER_MIN_ISR": ("critical", of("orders", 1, 3) | of("__consumer_offsets", 1, 3)),
        "KAFKA_AT_MIN_ISR": ("warning", of("orders", 0, 2) | of("__consumer_offsets", 0, 2)),
        "KAFKA_UNDER_REPLICATED": ("warning", of("orders", 0, 1, 2, 3) | of("__consumer_offsets", 0, 1, 2, 3)),
        "KAFKA_OFF_PREFERRED": ("warning", of("orders", 1, 3) | of("__consumer_offsets", 1, 3)),
        "KAFKA_THROTTLE_LEFT": ("unknown", DOWN_34),
        "KAFKA_LOG_DIR_OFFLINE": ("unknown", DOWN_34),
        "KAFKA_DISK_USE": ("unknown", DOWN_34),
    },
    "leaderless": {
        **DOWN_4,
        "KAFKA_OFFLINE_PARTITIONS": ("critical", {"single-0"}),
        "KAFKA_UNDER_REPLICATED": ("warning", MISSING_4 | {"single-0"}),
        "KAFKA_RF_LOW": ("warning", {"single"}),
    },
    "replication_one": {"KAFKA_RF_LOW": ("warning", {"single"})},
    "as_many_replicas_as_the_minimum": {"KAFKA_RF_LOW": ("warning", {"orders"})},
    "fenced_and_foreign": {
        "KAFKA_BROKER_FENCED": ("warning", {"broker 9"}),
        "KAFKA_BROKER_UNKNOWN": ("warning", {"broker 9"}),
    },
    "unknown_broker": {"KAFKA_BROKER_UNKNOWN": ("warning", {"broker 9"})},
    "never_registered": {"KAFKA_BROKER_MISSING": ("critical", {"prod/kafka/node5"})},
    "no_controller_leads": {
        "KAFKA_SERVER_UNREACHABLE": ("critical", {"prod/kafka/node2", "prod/kafka/node3"}),
        "KAFKA_QUORUM": ("critical", {"metadata quorum"}),
        "KAFKA_VOTER_LAG": ("unknown", set()),
        "KAFKA_OFFLINE_PARTITIONS": ("unknown", set()),
        "KAFKA_UNDER_MIN_ISR": ("unknown", set()),
        "KAFKA_UNDER_REPLICATED": ("unknown", set()),
        "KAFKA_AT_MIN_ISR": ("unknown", set()),
    },
    "not_let_in": {"KAFKA_SERVER_UNREACHABLE": ("unknown", {"prod/kafka/node2"})},
    "voter_never_seen": {
        "KAFKA_QUORUM": ("warning", {"voter 3 (node3)"}),
        "KAFKA_VOTER_LAG": ("unknown", {"voter 3 (node3)"}),
    },
    "two_voters_late": {
        "KAFKA_QUORUM": ("critical", {"voter 2 (node2)", "voter 3 (node3)"}),
        "KAFKA_VOTER_LAG": ("critical", {"voter 2 (node2)", "voter 3 (node3)"}),
    },
    "voter_not_in_the_inventory": {"KAFKA_QUORUM": ("warning", {"voter 8"})},
    "log_dir_offline": {"KAFKA_LOG_DIR_OFFLINE": ("critical", {"2 (node2):/data2"})},
    "replica_offline_on_a_live_broker": {
        "KAFKA_LOG_DIR_OFFLINE": ("critical", {"broker 2 (node2)"}),
        "KAFKA_UNDER_REPLICATED": ("warning", {"orders-0"}),
        "KAFKA_AT_MIN_ISR": ("warning", {"orders-0"}),
    },
    "disk_nearly_full": {"KAFKA_DISK_USE": ("critical", {"1 (node1):/data1", "4 (node4):/data2"})},
    "disk_skew": {"KAFKA_DISK_SKEW": ("warning", {"broker 1 (node1)"})},
    "throttle_left": {
        "KAFKA_THROTTLE_LEFT": (
            "warning",
            {
                "all brokers follower.replication.throttled.rate",
                "broker 3 (node3) leader.replication.throttled.rate",
                "topic orders leader.replication.throttled.replicas",
            },
        )
    },
    "reassignment_to_a_dead_broker": {**DOWN_4, "KAFKA_REASSIGNMENT_STUCK": ("critical", {"orders-0"})},
    "reassignment_without_progress": {"KAFKA_REASSIGNMENT_STUCK": ("warning", {"orders-0"})},
    "unclean": {"KAFKA_UNCLEAN_ELECTION": ("warning", {"broker 2 (node2)", "topic orders"})},
    "off_preferred": {"KAFKA_OFF_PREFERRED": ("warning", of("orders", 1) | of("__consumer_offsets", 1))},
    "skewed": SKEWED,
    "skewed_and_an_old_broker_left_fenced": {
        **SKEWED,
        "KAFKA_BROKER_FENCED": ("warning", {"broker 9"}),
        "KAFKA_BROKER_UNKNOWN": ("warning", {"broker 9"}),
    },
    "group_stopped": {"KAFKA_GROUP_STOPPED": ("critical", {"shipping"})},
    "group_stalled": {"KAFKA_GROUP_STALLED": ("critical", {"billing"})},
    "group_rewound": {"KAFKA_GROUP_REWOUND": ("critical", {"billing"})},
    "group_lagging": {"KAFKA_GROUP_LAGGING": ("warning", {"billing"})},
    "group_end_unknown": {code: ("unknown", {"billing"}) for code in GROUP_CODES},
    "offsets_partition_leaderless": {
        "KAFKA_OFFLINE_PARTITIONS": ("critical", {"__consumer_offsets-0"}),
        "KAFKA_UNDER_REPLICATED": ("warning", {"__consumer_offsets-0"}),
        **{code: ("unknown", {"__consumer_offsets-0"}) for code in GROUP_CODES},
    },
    "bare": {code: ("unknown", set()) for code in ALL},
    "topics_only": {
        **{
            code: ("unknown", set())
            for code in ALL - {"KAFKA_OFFLINE_PARTITIONS", "KAFKA_OFF_PREFERRED", "KAFKA_RF_LOW"}
        },
        "KAFKA_UNDER_REPLICATED": ("warning", {"orders-0"}),
    },
}


def state(name: str) -> KafkaState:
    found = load_state(DATA / f"{name}.json", {"kafka": KafkaState})
    assert isinstance(found, KafkaState)
    # Nobody asks for backups in these; in a state that knows next to nothing that is not known either.
    return found if name in ("bare", "topics_only") else replace(found, backups=Backups())


def results(name: str) -> dict[str, CheckResult]:
    return {r.code: r for r in run_checks(COMPONENT.checks, state(name), component="kafka")}


def test_every_data_file_has_an_expectation() -> None:
    assert {p.stem for p in DATA.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_state_gives_exactly_the_expected_findings(name: str) -> None:
    bad = {
        code: (r.severity.value, {f.object for f in r.objects})
        for code, r in results(name).items()
        if r.severity is not Severity.OK
    }
    assert bad == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_state_is_the_same_after_saving_and_loading(name: str, tmp_path: Path) -> None:
    save_state(state(name), tmp_path / "s.json")
    assert load_state(tmp_path / "s.json", {"kafka": KafkaState}) == state(name)


def test_missing_replicas_blame_the_broker_that_they_share() -> None:
    blamed = {b for f in results("broker_down")["KAFKA_UNDER_REPLICATED"].objects for b in f.blames}
    assert blamed == {"prod/kafka/node4"}


def test_a_leaderless_partition_blames_the_brokers_of_its_replicas_that_are_down() -> None:
    (finding,) = results("leaderless")["KAFKA_OFFLINE_PARTITIONS"].objects
    assert finding.blames == ("prod/kafka/node4",)


def test_a_replica_that_is_still_being_added_is_not_missing() -> None:
    assert results("throttle_in_use")["KAFKA_UNDER_REPLICATED"].severity is Severity.OK


def test_a_throttle_names_its_entity_key_and_value() -> None:
    found = {f.object: f.detail for f in results("throttle_left")["KAFKA_THROTTLE_LEFT"].objects}
    assert found["broker 3 (node3) leader.replication.throttled.rate"].startswith("is 1000000 B/s")
    assert found["topic orders leader.replication.throttled.replicas"] == "is 0:1,0:2"


def test_a_stalled_reassignment_says_for_how_long_nothing_was_copied() -> None:
    (finding,) = results("reassignment_without_progress")["KAFKA_REASSIGNMENT_STUCK"].objects
    assert "nothing copied for 6 m 40 s" in finding.detail


def test_the_window_of_the_groups_is_said() -> None:
    assert "(window 2 m)" in results("healthy")["KAFKA_GROUP_STALLED"].summary
    assert "no window yet" in results("group_stopped")["KAFKA_GROUP_STALLED"].summary


def test_the_inventory_moves_the_thresholds() -> None:
    def severity(code: str, limits: dict[str, tuple[float | None, float | None]], name: str) -> Severity:
        found = run_checks(
            [c for c in COMPONENT.checks if c.code == code],
            state(name),
            component="kafka",
            overrides={code: CheckOverride(limits=limits)},
        )
        return found[0].severity

    assert severity("KAFKA_DISK_USE", {"used": (99, 99)}, "disk_nearly_full") is Severity.OK
    assert severity("KAFKA_GROUP_STOPPED", {"floor": (1000, None)}, "group_stopped") is Severity.OK
    assert severity("KAFKA_GROUP_STALLED", {"enough": (300, None)}, "group_stalled") is Severity.OK
    assert severity("KAFKA_RF_LOW", {"replicas": (3, None)}, "healthy") is Severity.WARNING
    assert severity("KAFKA_OFF_PREFERRED", {"off": (30, None)}, "off_preferred") is Severity.OK


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("healthy", {1: True, 2: True, 3: True, 4: True}),
        ("broker_down", {1: True, 2: True, 3: True, 4: False}),
        ("never_registered", {1: True, 2: True, 3: True, 4: True, 5: False}),
    ],
)
def test_an_instance_serves_when_it_answers_and_is_unfenced(name: str, expected: dict[int, bool]) -> None:
    assert COMPONENT.serving(state(name)) == {f"prod/kafka/node{n}": up for n, up in expected.items()}


def test_an_unknown_key_is_an_error_that_says_where(tmp_path: Path) -> None:
    data = json.loads((DATA / "healthy.json").read_text())
    data["topics"][0]["partitions"][0]["ledaer"] = 1
    (tmp_path / "s.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=r"topics\[0\]\.partitions\[0\]\.ledaer"):
        load_state(tmp_path / "s.json", {"kafka": KafkaState})


def test_a_broker_at_another_port_of_the_same_host_is_another_broker() -> None:
    found = state("known_by_address")
    assert found.brokers
    moved = replace(found, brokers=(replace(found.brokers[0], port=19092), *found.brokers[1:]))
    result = {r.code: r for r in run_checks(COMPONENT.checks, moved, component="kafka")}
    assert [f.object for f in result["KAFKA_BROKER_MISSING"].objects] == ["prod/kafka/node1"]
    assert [f.object for f in result["KAFKA_BROKER_UNKNOWN"].objects] == ["broker 1"]
