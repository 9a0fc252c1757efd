"""Saved states, written by hand, and what the checks say of each: `bdops zk check --state FILE`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bdops.components.state_file import load_state, save_state
from bdops.components.zk import ensemble, lists
from bdops.components.zk.component import COMPONENT
from bdops.components.zk.state import ZkState
from bdops.core.checks import CheckResult, run_checks
from bdops.errors import ConfigError

DATA = Path(__file__).parent / "data"
ALL = {c.code for c in COMPONENT.checks if "_BACKUP_" not in c.code}

# State -> every check that is not OK, with its severity and the objects that it names.
EXPECTED: dict[str, dict[str, tuple[str, set[str]]]] = {
    "healthy": {},
    "new_epoch_nothing_written": {},
    "observer": {},
    "young_server": {},
    "follower_down": {
        "ZK_QUORUM": ("warning", {"node2"}),
        "ZK_SYNCED_FOLLOWERS": ("warning", {"node2"}),
        "ZK_SERVER_DOWN": ("critical", {"node2"}),
    },
    "quorum_lost": {
        "ZK_QUORUM": ("critical", {"node1", "node2", "node3"}),
        "ZK_LEADER": ("critical", set()),
        "ZK_SERVER_DOWN": ("critical", {"node1", "node2", "node3"}),
        **{
            code: ("unknown", set())
            for code in ALL - {"ZK_QUORUM", "ZK_LEADER", "ZK_SERVER_DOWN", "ZK_INTERFACES"}
        },
    },
    "leader_paused": {
        "ZK_QUORUM": ("warning", {"node3"}),
        "ZK_LEADER": ("unknown", {"node3"}),
        "ZK_SYNCED_FOLLOWERS": ("unknown", set()),
        "ZK_PENDING_SYNCS": ("unknown", set()),
        "ZK_ZXID_LAG": ("unknown", set()),
        "ZK_SERVER_DOWN": ("critical", {"node3"}),
    },
    "voters_unreadable": {
        code: ("unknown", {"node1", "node2"})
        for code in ALL - {"ZK_LEADER", "ZK_SYNCED_FOLLOWERS", "ZK_PENDING_SYNCS", "ZK_VERSION_SKEW"}
    },
    "synchronizing": {
        "ZK_QUORUM": ("warning", {"node2"}),
        "ZK_SYNCED_FOLLOWERS": ("warning", {"node2"}),
    },
    "lagging": {"ZK_ZXID_LAG": ("warning", {"node2"})},
    "old_epoch_behind": {"ZK_ZXID_LAG": ("warning", {"node1"})},
    "far_behind": {"ZK_QUORUM": ("critical", {"node1", "node2"}), "ZK_ZXID_LAG": ("critical", {"node1", "node2"})},
    "two_leaders": {"ZK_LEADER": ("critical", {"node1", "node3"}), "ZK_SYNCED_FOLLOWERS": ("warning", set())},
    "leader_tells_nothing": {"ZK_SYNCED_FOLLOWERS": ("unknown", set()), "ZK_PENDING_SYNCS": ("unknown", set())},
    "busy": {
        "ZK_PENDING_SYNCS": ("warning", {"node3"}),
        **{
            code: ("critical", {"node2"})
            for code in (
                "ZK_LATENCY", "ZK_OUTSTANDING_REQUESTS", "ZK_FILE_DESCRIPTORS", "ZK_DATA_SIZE", "ZK_WATCHES"
            )
        },
    },
    "other_voters": {"ZK_CONFIG": ("critical", {"node2"})},
    "older_configuration": {"ZK_CONFIG": ("warning", {"node2"})},
    "wrong_id": {"ZK_CONFIG": ("warning", {"node1"})},
    "member_unknown_to_the_inventory": {
        "ZK_CONFIG": ("warning", {"server.5"}),
        "ZK_QUORUM": ("warning", {"server.5"}),
        "ZK_SYNCED_FOLLOWERS": ("warning", set()),
    },
    "instance_without_a_vote": {
        "ZK_LEADER": ("critical", {"node3", "node4"}),
        "ZK_CONFIG": ("critical", {"node4"}),
    },
    "read_only": {
        "ZK_QUORUM": ("critical", {"node1", "node2", "node3"}),
        "ZK_LEADER": ("critical", set()),
        "ZK_SERVER_DOWN": ("critical", {"node1", "node2", "node3"}),
        **{code: ("unknown", set()) for code in ("ZK_SYNCED_FOLLOWERS", "ZK_PENDING_SYNCS", "ZK_ZXID_LAG")},
        "ZK_CONFIG": ("unknown", set()),
    },
    "version_skew": {"ZK_VERSION_SKEW": ("warning", {"node1"})},
    "words_not_whitelisted": {"ZK_INTERFACES": ("warning", {"node2"})},
    "standalone": {"ZK_QUORUM": ("warning", set())},
    "bare": {c.code: ("unknown", set()) for c in COMPONENT.checks},
    "bare_servers": {
        "ZK_QUORUM": ("unknown", {"node1", "node2"}),
        **{code: ("unknown", set()) for code in ("ZK_SYNCED_FOLLOWERS", "ZK_PENDING_SYNCS", "ZK_ZXID_LAG")},
        **{code: ("unknown", set()) for code in ("ZK_CONFIG", "ZK_VERSION_SKEW")},
        **{
            code: ("unknown", {"node1", "node2", "node3"})
            for code in (
                "ZK_LATENCY", "ZK_OUTSTANDING_REQUESTS", "ZK_FILE_DESCRIPTORS", "ZK_DATA_SIZE", "ZK_WATCHES"
            )
        },
    },
}  # fmt: skip


def state_of(name: str) -> ZkState:
    return load_state(DATA / f"{name}.json", {"zk": ZkState})


def results_of(name: str) -> dict[str, CheckResult]:
    return {r.code: r for r in run_checks(COMPONENT.checks, state_of(name), component="zk")}


def test_every_state_file_is_expected_and_every_expectation_has_a_file() -> None:
    assert {path.stem for path in DATA.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_state_is_judged_as_expected_and_otherwise_found_well(name: str) -> None:
    found = {
        code: (r.severity.value, {f.object for f in r.objects})
        for code, r in results_of(name).items()
        if r.severity.value != "ok"
    }
    assert found == EXPECTED[name]


def test_no_check_breaks_on_any_state() -> None:
    for name in EXPECTED:
        for result in results_of(name).values():
            assert "the check itself failed" not in result.summary, (name, result.code, result.summary)


def test_the_leaders_own_count_is_told_where_the_voters_could_not_be_read() -> None:
    assert "the leader counts 3 with itself" in results_of("voters_unreadable")["ZK_QUORUM"].summary


def test_a_lagging_followers_finding_has_both_zxids_and_blames_the_instance() -> None:
    (finding,) = results_of("lagging")["ZK_ZXID_LAG"].objects
    assert "0x300000010" in finding.detail
    assert "0x300000100" in finding.detail
    assert finding.blames == ("prod/zk/node2",)


def test_a_check_that_is_not_ok_tells_what_to_do() -> None:
    for name in EXPECTED:
        for result in results_of(name).values():
            assert (result.hint is None) == (result.severity.value == "ok"), (name, result.code)


def test_observers_do_not_count_as_voters() -> None:
    quorum = ensemble.quorum(state_of("observer"), behind=1000)
    assert quorum is not None
    assert len(quorum.configured) == 3


def test_a_standalone_server_is_not_compared_with_the_ensembles_zxids() -> None:
    assert results_of("instance_without_a_vote")["ZK_ZXID_LAG"].severity.value == "ok"


def test_serving_tells_yes_no_and_unknown_apart() -> None:
    assert COMPONENT.serving(state_of("follower_down")) == {
        "prod/zk/node1": True,
        "prod/zk/node2": False,
        "prod/zk/node3": True,
    }
    assert COMPONENT.serving(state_of("voters_unreadable"))["prod/zk/node1"] is None


def test_a_server_of_the_inventory_that_is_not_in_the_state_is_unknown() -> None:
    from dataclasses import replace

    state = state_of("healthy")
    assert state.servers
    short = replace(state, servers=state.servers[1:])
    results = {r.code: r for r in run_checks(COMPONENT.checks, short, component="zk")}
    assert results["ZK_SERVER_DOWN"].severity.value == "unknown"
    assert results["ZK_SERVER_DOWN"].objects[0].object == "node1"


def test_a_state_survives_saving_and_loading(tmp_path: Path) -> None:
    for name in EXPECTED:
        state = state_of(name)
        save_state(state, tmp_path / "state.json")
        assert load_state(tmp_path / "state.json", {"zk": ZkState}) == state


def test_an_unknown_key_in_a_server_is_an_error_that_names_it(tmp_path: Path) -> None:
    text = (DATA / "healthy.json").read_text().replace('"watches": 300', '"watchers": 300', 1)
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(ConfigError, match=r"servers\[0\]\.watchers"):
        load_state(tmp_path / "state.json", {"zk": ZkState})


def test_status_has_a_row_for_every_server_and_says_who_may_stop() -> None:
    report = lists.status(state_of("follower_down"))
    rows = {row["server"]: row for row in report.tables[0].rows}
    assert rows["node2"]["mode"] == "down"
    assert "connection refused" in rows["node2"]["error"]
    assert rows["node3"]["mode"] == "leader"
    assert report.facts["leader"] == "node3"
    assert report.facts["may_stop"] == 0
    assert report.status == "warning"


def test_status_without_any_answer_is_unknown() -> None:
    assert lists.status(state_of("quorum_lost")).status == "unknown"
