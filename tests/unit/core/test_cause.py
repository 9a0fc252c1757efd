from __future__ import annotations

from bdops.core.cause import Place, common_cause
from bdops.core.checks import CheckResult, Finding, Severity

PLACES = {
    f"prod/{component}/node{n}": Place(f"prod/node{n}", f"prod/rack:r{(n + 1) // 2}")
    for component in ("kafka", "zk", "es")
    for n in (1, 2, 3, 4)
}


def result(code: str, *blames: tuple[str, ...]) -> CheckResult:
    findings = tuple(Finding(f"{code}-{i}", Severity.CRITICAL, "", names) for i, names in enumerate(blames))
    return CheckResult(code=code, severity=Severity.CRITICAL, subject="prod/x", summary="", objects=findings)


def test_forty_partitions_that_share_a_broker_are_one_broker() -> None:
    cause = common_cause([result("KAFKA_UNDER_REPLICATED", *[("prod/kafka/node3",)] * 40)], PLACES)
    assert cause is not None
    assert (cause.name, cause.kind, cause.explains, cause.of) == ("prod/kafka/node3", "instance", 40, 40)


def test_several_components_of_one_host_are_the_host() -> None:
    cause = common_cause(
        [
            result("KAFKA_X", ("prod/kafka/node3",)),
            result("ZK_X", ("prod/zk/node3",)),
            result("ES_X", ("prod/es/node3",)),
        ],
        PLACES,
    )
    assert cause is not None
    assert (cause.name, cause.kind, cause.codes) == ("prod/node3", "host", ("ES_X", "KAFKA_X", "ZK_X"))


def test_all_hosts_of_a_rack_are_the_rack() -> None:
    blames = [(f"prod/{c}/node{n}",) for c in ("kafka", "zk") for n in (1, 2)]
    cause = common_cause([result("X", *blames)], PLACES)
    assert cause is not None
    assert (cause.name, cause.kind) == ("prod/rack:r1", "rack")


def test_a_finding_that_may_be_either_of_two_is_explained_by_the_one_that_others_share() -> None:
    cause = common_cause(
        [result("X", ("prod/kafka/node1", "prod/kafka/node3"), ("prod/kafka/node3",), ("prod/kafka/node3",))], PLACES
    )
    assert cause is not None
    assert cause.name == "prod/kafka/node3"


def test_findings_all_over_the_place_have_no_common_cause() -> None:
    blames = [(f"prod/kafka/node{n}",) for n in (1, 2, 3, 4)]
    assert common_cause([result("X", *blames)], PLACES) is None


def test_one_finding_needs_no_common_cause() -> None:
    assert common_cause([result("X", ("prod/kafka/node1",))], PLACES) is None


def test_instances_that_the_inventory_does_not_know_can_still_be_blamed() -> None:
    cause = common_cause([result("X", ("prod/kafka/9",), ("prod/kafka/9",))], {})
    assert cause is not None
    assert cause.name == "prod/kafka/9"


def test_a_host_blamed_by_its_own_name_and_through_one_instance_is_the_host() -> None:
    cause = common_cause([result("HOST_X", ("prod/node3",)), result("ZK_X", ("prod/zk/node3",))], PLACES)
    assert cause is not None
    assert (cause.name, cause.kind) == ("prod/node3", "host")
