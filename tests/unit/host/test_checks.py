"""What the host checks say of a state, by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bdops.components.host.checks import CHECKS, judge_service
from bdops.components.host.state import DataDir, ExpectedHost, HostService, HostState, ObservedHost
from bdops.components.state_file import load_state, save_state
from bdops.core.checks import CheckResult, run_checks

GIB = 1 << 30


def data_dir(path: str = "/data/1", mount: str = "/data", used: int = 10, free: int = 90, **more: int) -> DataDir:
    return DataDir(
        path=path,
        exists=True,
        mount=mount,
        size_bytes=100 * GIB,
        used_bytes=used * GIB,
        available_bytes=free * GIB,
        inodes=more.get("inodes", 1000),
        inodes_used=more.get("inodes_used", 10),
    )


def host(
    number: int, *, offset_s: float = 0.0, dirs: tuple[DataDir, ...] = (), service: str = "running"
) -> ObservedHost:
    instance = f"prod/zk/node{number}"
    return ObservedHost(
        name=f"node{number}",
        clock_offset_s=offset_s,
        clock_error_s=0.01,
        data_dirs=dirs or (data_dir(),),
        services=(HostService(instance=instance, state=service, detail=service.upper()),),  # type: ignore[arg-type]
    )


def state(*hosts: ObservedHost, **serving: bool | None) -> HostState:
    return HostState(
        cluster="prod",
        taken_at=datetime(2026, 1, 1, tzinfo=UTC),
        expected=tuple(ExpectedHost(name=h.name, address="10.0.0.1", data_dirs=("/data/1",)) for h in hosts),
        hosts=hosts,
        serving={f"prod/zk/node{i}": serving.get(f"node{i}", True) for i in range(1, 9)},
    )


def results(of: HostState) -> dict[str, CheckResult]:
    return {r.code: r for r in run_checks(CHECKS, of, component="host")}


def bad(of: HostState) -> dict[str, tuple[str, list[str]]]:
    return {
        code: (r.severity.value, [f.object for f in r.objects])
        for code, r in results(of).items()
        if r.severity.value != "ok"
    }


def test_hosts_that_are_well_are_well() -> None:
    assert bad(state(host(1), host(2), host(3))) == {}


@pytest.mark.parametrize(
    ("code", "severity"),
    [
        ("SSH_REFUSED", "critical"),
        ("SSH_TIMEOUT", "critical"),
        ("HOST_KEY_CHANGED", "critical"),
        ("SSH_AUTH", "unknown"),
        ("HOST_KEY_UNKNOWN", "unknown"),
    ],
)
def test_a_host_that_cannot_be_asked_is_reachables_finding_alone(code: str, severity: str) -> None:
    lost = ObservedHost(name="node4", error="why", error_code=code, hint="do this")
    of = state(host(1), host(2), host(3), lost)
    assert bad(of) == {"HOST_REACHABLE": (severity, ["node4"])}
    assert results(of)["HOST_REACHABLE"].hint == "do this"


def test_no_host_at_all_leaves_everything_unknown() -> None:
    lost = ObservedHost(name="node1", error="why", error_code="SSH_REFUSED")
    found = bad(state(lost))
    assert found.pop("HOST_REACHABLE")[0] == "critical"
    assert {severity for severity, _ in found.values()} == {"unknown"}
    assert len(found) == 4


@pytest.mark.parametrize(
    ("offset_s", "severity"), [(0.4, None), (0.6, "warning"), (-0.6, "warning"), (9.0, "critical")]
)
def test_a_clock_is_held_against_the_median_of_the_hosts(offset_s: float, severity: str | None) -> None:
    found = bad(state(host(1), host(2), host(3, offset_s=offset_s)))
    assert found == ({"HOST_CLOCK_SKEW": (severity, ["node3"])} if severity else {})


def test_this_machines_wrong_clock_is_one_finding_and_not_one_for_each_host() -> None:
    of = state(*(host(i, offset_s=60 + i / 100) for i in range(1, 9)))
    assert bad(of) == {"HOST_CLOCK_SKEW": ("warning", ["this machine"])}


def test_what_a_slow_round_trip_leaves_open_counts_for_the_host() -> None:
    slow = replace(host(3, offset_s=0.9), clock_error_s=0.8)
    assert bad(state(host(1), host(2), slow)) == {}


def test_two_hosts_that_differ_are_judged_with_this_machine_as_the_third() -> None:
    assert bad(state(host(1), host(2, offset_s=3.0))) == {"HOST_CLOCK_SKEW": ("warning", ["node2"])}


@pytest.mark.parametrize(("used", "free", "severity"), [(79, 21, None), (80, 20, "warning"), (90, 10, "critical")])
def test_disk_use_is_judged_as_df_counts_it(used: int, free: int, severity: str | None) -> None:
    found = bad(state(host(1, dirs=(data_dir(used=used, free=free),))))
    assert found == ({"HOST_DISK_USE": (severity, ["node1:/data"])} if severity else {})


def test_space_that_is_reserved_for_root_does_not_count_as_free() -> None:
    # 100 GiB, 86 used, 5 left to others: 95 % full for a server that is not root.
    assert bad(state(host(1, dirs=(data_dir(used=86, free=5),))))["HOST_DISK_USE"][0] == "critical"


def test_directories_on_one_filesystem_are_one_finding_that_names_them_all() -> None:
    dirs = (data_dir("/data/1", used=95, free=5), data_dir("/data/2", used=95, free=5))
    of = state(host(1, dirs=dirs))
    assert bad(of) == {"HOST_DISK_USE": ("critical", ["node1:/data"])}
    detail = results(of)["HOST_DISK_USE"].objects[0].detail
    assert "/data/1" in detail
    assert "/data/2" in detail


def test_a_data_directory_that_does_not_exist_is_a_finding() -> None:
    of = state(host(1, dirs=(DataDir(path="/data/1", exists=False),)))
    assert bad(of) == {"HOST_DISK_USE": ("critical", ["node1:/data/1"])}


def test_a_data_directory_that_was_not_told_is_unknown() -> None:
    of = state(host(1, dirs=(data_dir("/data/9"),)))
    assert bad(of)["HOST_DISK_USE"] == ("unknown", ["node1:/data/1"])


def test_inodes_are_judged_on_their_own() -> None:
    of = state(host(1, dirs=(data_dir(inodes_used=950),)))
    assert bad(of) == {"HOST_INODE_USE": ("critical", ["node1:/data"])}


@pytest.mark.parametrize(
    ("service", "serving", "severity"),
    [
        ("running", True, "ok"),
        ("running", False, "critical"),
        ("running", None, "unknown"),
        ("stopped", True, "warning"),
        ("stopped", False, "critical"),
        ("stopped", None, "critical"),
        ("failed", False, "critical"),
        ("failed", True, "warning"),
        ("absent", True, "critical"),
        ("starting", False, "warning"),
        ("unknown", True, "unknown"),
    ],
)
def test_the_service_managers_state_is_held_against_the_api(service: str, serving: bool | None, severity: str) -> None:
    seen = HostService(instance="prod/zk/node1", state=service)  # type: ignore[arg-type]
    assert judge_service(seen, serving)[0].value == severity


def test_a_service_that_runs_and_does_not_serve_blames_its_instance() -> None:
    of = state(host(1), host(2), node2=False)
    (finding,) = results(of)["HOST_SERVICE"].objects
    assert (finding.object, finding.blames) == ("zk/node2", ("prod/zk/node2",))
    assert "does not serve" in finding.detail


def test_without_the_apis_answers_services_are_unknown() -> None:
    of = replace(state(host(1)), serving=None)
    assert bad(of) == {"HOST_SERVICE": ("unknown", [])}


def test_a_state_survives_saving_and_loading(tmp_path: Path) -> None:
    of = state(host(1), ObservedHost(name="node2", error="why", error_code="SSH_AUTH"))
    save_state(of, tmp_path / "state.json")
    assert load_state(tmp_path / "state.json", {"host": HostState}) == of
