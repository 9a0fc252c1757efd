from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.causation import CAUSATION, STANDING_ALONE
from bdops.core.checks import CheckResult, Finding, Severity
from bdops.core.why import Causes, Explained, Problem, host_of, matching, problems_of
from bdops.registry import COMPONENTS, component

CODES = [check.code for name in (*COMPONENTS, "host") for check in component(name).checks]


def result(
    code: str,
    *findings: tuple[str, str, tuple[str, ...]],
    severity: Severity = Severity.CRITICAL,
    cluster: str = "prod",
) -> CheckResult:
    return CheckResult(
        code=code,
        severity=severity,
        subject=f"{cluster}/{code.partition('_')[0].lower()}",
        summary="as a whole",
        hint=f"what to do about {code}",
        objects=tuple(Finding(name, severity, detail, blames) for name, detail, blames in findings),
    )


LAG = result("KAFKA_GROUP_LAGGING", ("billing", "lag 300; worst orders-1: lag 300", ()), severity=Severity.WARNING)
UNDER = result(
    "KAFKA_UNDER_REPLICATED",
    *((f"orders-{i}", "2 of 3", ("prod/kafka/node3",)) for i in range(3)),
    severity=Severity.WARNING,
)
FENCED = result("KAFKA_BROKER_FENCED", ("prod/kafka/node3", "fenced", ("prod/kafka/node3",)))
DOWN = result("KAFKA_SERVER_UNREACHABLE", ("prod/kafka/node3", "refused", ("prod/kafka/node3",)))
SERVICE = result("HOST_SERVICE", ("kafka/node3", "failed", ("prod/kafka/node3",)))
DISK = result("HOST_DISK_USE", ("node3:/data", "100 % full", ("prod/node3",)))
OTHER_DISK = result("HOST_DISK_USE", ("node4:/data", "100 % full", ("prod/node4",)))


def why(target: str, *results: CheckResult) -> tuple[Explained, ...]:
    problems = problems_of(results)
    return Causes(problems, CAUSATION).explain(matching(problems, target))


def chain(one: Explained) -> list[str]:
    """The codes from the symptom to the last cause, where there is but one way."""
    assert len(one.because) <= 1
    return [one.code, *(chain(one.because[0]) if one.because else [])]


def test_a_group_lags_because_a_disk_on_another_component_s_host_is_full() -> None:
    (found,) = why("billing", LAG, UNDER, FENCED, DOWN, SERVICE, DISK, OTHER_DISK)
    assert chain(found) == [
        "KAFKA_GROUP_LAGGING",
        "KAFKA_UNDER_REPLICATED",
        "KAFKA_BROKER_FENCED",
        "KAFKA_SERVER_UNREACHABLE",
        "HOST_SERVICE",
        "HOST_DISK_USE",
    ]
    assert found.via == ("orders-1",)
    under = found.because[0]
    assert (under.objects, under.via) == (("orders-1",), ("prod/kafka/node3",))
    service = under.because[0].because[0].because[0]
    assert service.via == ("prod/node3",)
    assert service.because[0].objects == ("node3:/data",)


def test_a_link_that_is_missing_leaves_the_rest_of_the_chain() -> None:
    (found,) = why("orders-2", UNDER, DISK)
    assert chain(found) == ["KAFKA_UNDER_REPLICATED", "HOST_DISK_USE"]


def test_another_host_another_cluster_and_a_disk_that_only_warns_explain_nothing() -> None:
    elsewhere = result("KAFKA_BROKER_FENCED", ("x", "fenced", ("test/kafka/node3",)), cluster="test")
    nearly = result("HOST_DISK_USE", ("node3:/data", "82 % full", ("prod/node3",)), severity=Severity.WARNING)
    for found in why("KAFKA_UNDER_REPLICATED", UNDER, elsewhere, OTHER_DISK, nearly):
        assert found.because == ()


def test_partitions_for_the_same_reason_are_told_together_and_others_apart() -> None:
    mixed = result(
        "KAFKA_UNDER_REPLICATED",
        *((f"a-{i}", "", ("prod/kafka/node3",)) for i in range(40)),
        ("b-0", "", ("prod/kafka/node4",)),
        ("c-0", "", ("prod/kafka/node4", "prod/kafka/node3")),
    )
    fenced = result("KAFKA_BROKER_FENCED", *((n, "", (n,)) for n in ("prod/kafka/node3", "prod/kafka/node4")))
    found = why("KAFKA_UNDER_REPLICATED", mixed, fenced)
    assert sorted((len(e.objects), len(e.because)) for e in found) == [(1, 1), (1, 2), (40, 1)]


def test_what_is_at_min_isr_and_under_replicated_is_told_for_all_partitions_at_once() -> None:
    at = result("KAFKA_AT_MIN_ISR", *((f"orders-{i}", "", ("prod/kafka/node3",)) for i in range(3)))
    (found,) = why("KAFKA_AT_MIN_ISR", at, UNDER, FENCED)
    assert found.objects == found.because[0].objects == ("orders-0", "orders-1", "orders-2")
    assert chain(found)[-1] == "KAFKA_BROKER_FENCED"


def test_an_index_is_yellow_for_its_own_shards() -> None:
    status = result("ES_STATUS", ("logs", "2 replicas not active", ()), ("other", "1 replica", ()))
    shards = result("ES_UNASSIGNED_SHARDS", ("logs[0] replica", "NODE_LEFT", ("prod/es/node3",)))
    logs, other = sorted(why("ES_STATUS", status, shards), key=lambda e: e.objects)
    assert chain(logs) == ["ES_STATUS", "ES_UNASSIGNED_SHARDS"]
    assert other.because == ()


def test_a_quorum_that_is_lost_is_the_cause_in_its_own_cluster() -> None:
    active = result("HDFS_ACTIVE_NAMENODE", ("ns", "none is active", ()))
    for cluster, expected in (("prod", ["HDFS_ACTIVE_NAMENODE", "ZK_QUORUM"]), ("test", ["HDFS_ACTIVE_NAMENODE"])):
        quorum = result("ZK_QUORUM", ("node1", "not serving", (f"{cluster}/zk/node1",)), cluster=cluster)
        (found,) = why("HDFS_ACTIVE_NAMENODE", active, quorum)
        assert chain(found) == expected


def test_unknown_is_no_cause_and_no_symptom() -> None:
    unknown = result("HOST_DISK_USE", ("node3:/data", "not told", ("prod/node3",)), severity=Severity.UNKNOWN)
    (found,) = why("KAFKA_UNDER_REPLICATED", UNDER, unknown)
    assert found.because == ()
    assert why("prod", unknown) == ()


@pytest.mark.parametrize(
    ("target", "codes"),
    [
        ("prod", {"HOST_DISK_USE", "HOST_SERVICE", "KAFKA_BROKER_FENCED"}),
        ("prod/host", {"HOST_DISK_USE", "HOST_SERVICE"}),
        ("KAFKA_BROKER_FENCED", {"KAFKA_BROKER_FENCED"}),
        ("node3:/data", {"HOST_DISK_USE"}),
        ("prod/kafka/node3", {"KAFKA_BROKER_FENCED"}),
        ("prod/node3", {"HOST_DISK_USE", "HOST_SERVICE", "KAFKA_BROKER_FENCED"}),
        ("node3", {"HOST_DISK_USE", "HOST_SERVICE", "KAFKA_BROKER_FENCED"}),
        ("node", set()),
        ("ode3", set()),
    ],
)
def test_what_a_word_means(target: str, codes: set[str]) -> None:
    assert {p.code for p in matching(problems_of([DISK, SERVICE, FENCED]), target)} == codes


def test_the_symptoms_of_a_cluster_are_what_explains_nothing_else() -> None:
    causes = Causes(problems_of([LAG, UNDER, FENCED, DOWN, DISK]), CAUSATION)
    assert {(p.code, p.object) for p in causes.symptoms()} == {
        ("KAFKA_GROUP_LAGGING", "billing"),
        ("KAFKA_UNDER_REPLICATED", "orders-0"),
        ("KAFKA_UNDER_REPLICATED", "orders-2"),
    }


def test_a_process_s_host() -> None:
    assert host_of("prod/hdfs/node1/namenode") == host_of("prod/kafka/node1") == host_of("prod/node1") == "prod/node1"


def test_every_code_has_its_place_or_stands_alone_and_rules_name_codes_that_there_are() -> None:
    assert set(CAUSATION.tiers) | STANDING_ALONE == set(CODES)
    assert not set(CAUSATION.tiers) & STANDING_ALONE
    for rules in (CAUSATION.same_object, CAUSATION.cluster_wide):
        for effect, causes in rules.items():
            for cause in causes:
                assert CAUSATION.tiers[cause] < CAUSATION.tiers[effect], (effect, cause)
    assert (CAUSATION.only_critical | CAUSATION.any_severity) <= set(CAUSATION.tiers)


places = st.sampled_from(["prod/kafka/node1", "prod/kafka/node2", "prod/node1", "prod/node2", "prod/zk/node1"])
problems = st.lists(
    st.builds(
        Problem,
        st.sampled_from(["prod/kafka", "prod/host"]),
        st.sampled_from(CODES),
        st.sampled_from(["orders-1", "logs[0]", "logs", "prod/kafka/node1"]),
        st.sampled_from([Severity.WARNING, Severity.CRITICAL]),
        st.sampled_from(["", "worst orders-1: x", "logs"]),
        st.lists(places, max_size=2).map(tuple),
    ),
    max_size=15,
)


@given(problems)
def test_explanations_end_and_nobody_explains_himself(found: list[Problem]) -> None:
    causes = Causes(found, CAUSATION)
    for problem in found:
        for link in causes.of(problem):
            assert CAUSATION.tiers[link.cause.code] < CAUSATION.tiers[problem.code]
            assert link.by != "place" or set(link.cause.blames) & {link.via}
    explained = causes.explain(found)
    told = {(e.subject, e.code, name) for e in explained for name in e.objects}
    assert told == {(p.subject, p.code, p.object) for p in found}
    # Where there is a problem there is a symptom.
    assert bool(causes.symptoms()) == bool(found)
