"""Random nameservices: whatever a gate lets go together, an independent model of blocks, votes and failover survives.

The model knows every block and every process. The state that the gate sees is derived from it the way a NameNode
counts and a survey names.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from bdops.components.hdfs.gates import gate_facts
from bdops.components.hdfs.state import (
    BlockCounts,
    BlockState,
    DataNodeProbe,
    DataNodeState,
    ErrorKind,
    ExpectedInstance,
    HdfsState,
    JournalNodeState,
    JournalStream,
    NameNodeState,
    Pending,
    RollingUpgrade,
    SingleCopies,
    Survey,
    ZkfcState,
)
from bdops.core.gate import Verdict, judge
from bdops.core.waves import Candidate, largest_safe_set, plan_waves

PORT = 9866
SURVIVABLE = 0
FATES = ("up", "up", "up", "up", "stopped", "dead", "silent")
"""Of a process: `stopped` is not known to the NameNode yet, `dead` is."""


@dataclass(frozen=True)
class Block:
    """`holders` are DataNodes by number; of them `needed` must serve for it to be readable."""

    holders: frozenset[int]
    wanted: int
    needed: int
    striped: bool


@dataclass(frozen=True)
class World:
    racks: tuple[str, ...]
    datanodes: tuple[str, ...]
    blocks: tuple[Block, ...]
    survey_complete: bool
    all_named: bool
    namenodes: tuple[tuple[str, bool], ...]
    """Fate, and whether it could take over. The first one is the active one, and up."""
    zkfcs: tuple[str, ...]
    journals: tuple[tuple[str, bool], ...]
    """Fate, and whether it takes the edits."""

    def datanode(self, number: int) -> str:
        return f"c/hdfs/dn{number}/datanode"


@st.composite
def worlds(draw: st.DrawFn) -> World:
    count = draw(st.integers(1, 7))
    racks = tuple(draw(st.sampled_from(["/a", "/b", "/c"][: draw(st.integers(1, 3))])) for _ in range(count))
    fates = tuple(draw(st.sampled_from(FATES)) for _ in range(count))

    def block() -> Block:
        striped = draw(st.integers(0, 4)) == 0
        holders = draw(st.frozensets(st.integers(0, count - 1), min_size=1, max_size=min(count, 4)))
        if striped:
            parity = draw(st.integers(1, 2))
            needed = draw(st.integers(1, 2))
            return Block(holders, needed + parity, needed, striped=True)
        wanted = draw(st.sampled_from([len(holders), len(holders), max(1, len(holders) - 1), len(holders) + 1]))
        return Block(holders, wanted, 1, striped=False)

    return World(
        racks=racks,
        datanodes=fates,
        blocks=tuple(block() for _ in range(draw(st.integers(0, 6)))),
        survey_complete=draw(st.booleans()),
        all_named=draw(st.booleans()),
        namenodes=(
            ("up", True),
            *((draw(st.sampled_from(FATES)), draw(st.booleans())) for _ in range(draw(st.integers(0, 2)))),
        ),
        zkfcs=tuple(draw(st.sampled_from(FATES)) for _ in range(draw(st.sampled_from([0, 3])))),
        journals=tuple((draw(st.sampled_from(FATES)), draw(st.booleans())) for _ in range(draw(st.integers(0, 5)))),
    )


def counted(world: World, block: Block) -> list[int]:
    """The holders that the NameNode believes in."""
    return [h for h in sorted(block.holders) if world.datanodes[h] != "dead"]


def state_of(world: World) -> HdfsState:
    """What a reader would make of it."""
    racks = {r for r, fate in zip(world.racks, world.datanodes, strict=True) if fate != "dead"}
    counts = {False: [0, 0, 0, 0, 0], True: [0, 0, 0, 0, 0]}  # low, highest, missing, badly, total
    degraded: list[BlockState] = []
    single: dict[str, int] = {}
    lowest: dict[bool, int] = {}
    for number, block in enumerate(world.blocks):
        here = counted(world, block)
        places = tuple(f"10.0.0.{h}:{PORT}" for h in here)
        of = counts[block.striped]
        of[4] += 1
        if len(here) < block.needed:
            of[2] += 1
            continue
        if len(here) < block.wanted:
            of[0] += 1
            of[1] += len(here) == block.needed
            degraded.append(
                BlockState(
                    file=f"/f{number}",
                    block=f"blk_{number}",
                    length_bytes=1,
                    wanted=block.wanted,
                    live=len(here),
                    needed=block.needed,
                    striped=block.striped,
                    locations=places,
                )
            )
        elif not block.striped and len({world.racks[h] for h in here}) < min(2, len(racks), block.wanted):
            of[0] += 1
            of[3] += 1
        if not block.striped and block.wanted == 1:
            for place in places:
                single[place] = single.get(place, 0) + 1
        else:
            value = block.wanted - block.needed if block.striped else block.wanted
            lowest[block.striped] = min(lowest.get(block.striped, value), value)
    named = tuple(degraded) if world.all_named else tuple(degraded[:1])
    kinds: dict[str, ErrorKind] = {"stopped": "not_running", "dead": "not_running", "silent": "silent"}

    def wrong(fate: str) -> dict[str, str]:
        return {} if fate == "up" else {"error": "no answer", "error_kind": kinds[fate]}

    return HdfsState(
        cluster="c",
        taken_at=datetime.now(UTC),
        expected=(
            *(
                ExpectedInstance(
                    name=world.datanode(n), role="datanode", host=f"dn{n}", address=f"10.0.0.{n}", port=PORT
                )
                for n in range(len(world.racks))
            ),
            *(
                ExpectedInstance(name=f"c/hdfs/nn{n}/{role}", role=role, host=f"nn{n}", address=f"10.0.1.{n}", port=1)  # type: ignore[arg-type]
                for role, those in (("namenode", world.namenodes), ("zkfc", world.zkfcs[: len(world.namenodes)]))
                for n in range(len(those))
            ),
            *(
                ExpectedInstance(
                    name=f"c/hdfs/jn{n}/journalnode", role="journalnode", host=f"jn{n}", address=f"10.0.2.{n}", port=2
                )
                for n in range(len(world.journals))
            ),
        ),
        namenodes=tuple(
            NameNodeState(
                instance=f"c/hdfs/nn{n}/namenode",
                **(
                    wrong(fate)  # type: ignore[arg-type]
                    or {
                        "state": "active" if n == 0 else "standby",
                        "safe_mode": False,
                        "ready": able,
                        "last_txid": 100,
                    }
                ),
            )
            for n, (fate, able) in enumerate(world.namenodes)
        ),
        zkfcs=tuple(
            ZkfcState(instance=f"c/hdfs/nn{n}/zkfc", **wrong(fate))  # type: ignore[arg-type]
            for n, fate in enumerate(world.zkfcs[: len(world.namenodes)])
        ),
        journalnodes=tuple(
            JournalNodeState(instance=f"c/hdfs/jn{n}/journalnode", **wrong(fate))  # type: ignore[arg-type]
            for n, (fate, _) in enumerate(world.journals)
        ),
        journal_streams=tuple(
            JournalStream(address=f"10.0.2.{n}:2", written_txid=100, out_of_sync=not takes)
            for n, (_, takes) in enumerate(world.journals)
        ),
        datanodes=tuple(
            DataNodeState(
                hostname=f"dn{n}",
                address=f"10.0.0.{n}",
                port=PORT,
                live=fate != "dead",
                rack=world.racks[n],
                contact_age_s=1.0 if fate in ("up", "stopped") else 30.0,
            )
            for n, fate in enumerate(world.datanodes)
        ),
        datanode_probes=tuple(
            DataNodeProbe(instance=world.datanode(n), **wrong(fate))  # type: ignore[arg-type]
            for n, fate in enumerate(world.datanodes)
            if fate != "up"
        ),
        replicated_blocks=_counts(counts[False]),
        ec_groups=_counts(counts[True]),
        pending=Pending(reconstruction=0),
        rolling_upgrade=RollingUpgrade(under_way=False),
        survey=Survey(
            scanned_files=len(world.blocks),
            complete=world.survey_complete,
            degraded_complete=world.all_named or len(degraded) <= 1,
            lowest_copies=lowest.get(False),
            lowest_parity=lowest.get(True),
            single=tuple(SingleCopies(address=a, blocks=n) for a, n in single.items()),
            degraded=named,
        ),
    )


def _counts(found: list[int]) -> BlockCounts:
    low, highest, missing, badly, total = found
    return BlockCounts(
        low_redundancy=low,
        highest_priority=highest,
        missing=missing,
        corrupt=0,
        badly_distributed=badly,
        total=total,
    )


def harm(world: World, gone: set[str], *, single_too: bool) -> list[str]:
    """What is lost when these go, that was there before."""
    before = lost_without(world, set(), single_too=single_too)
    return [what for what in lost_without(world, gone, single_too=single_too) if what not in before]


def lost_without(world: World, gone: set[str], *, single_too: bool) -> list[str]:
    """The model's own arithmetic, on what really runs."""
    lost = []
    left = {n for n, fate in enumerate(world.datanodes) if fate == "up" and world.datanode(n) not in gone}
    for number, block in enumerate(world.blocks):
        if not single_too and not block.striped and block.wanted == 1:
            continue
        if len(block.holders & left) < block.needed:
            lost.append(f"block {number} is unreadable")
    if world.journals:
        taking = [
            f"c/hdfs/jn{n}/journalnode" for n, (fate, takes) in enumerate(world.journals) if fate == "up" and takes
        ]
        if len([j for j in taking if j not in gone]) * 2 <= len(world.journals):
            lost.append("the edit log has no majority")
    up = [n for n, (fate, _) in enumerate(world.namenodes) if fate == "up" and f"c/hdfs/nn{n}/namenode" not in gone]
    controllers = {n for n, f in enumerate(world.zkfcs[: len(world.namenodes)]) if f == "up"}
    controllers -= {n for n in controllers if f"c/hdfs/nn{n}/zkfc" in gone}
    successors = [n for n in up if n != 0 and world.namenodes[n][1] and (n in controllers or not world.zkfcs)]
    if 0 not in up and not successors:
        lost.append("no NameNode serves")
    heirs = (controllers & set(up)) - set(successors)
    if 0 in up and world.zkfcs and 0 not in controllers and heirs and not successors:
        # Its lock is free: a controller whose NameNode cannot serve may take it.
        lost.append("a NameNode that cannot serve becomes the active one")
    return lost


EVERYTHING = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@EVERYTHING
@given(world=worlds(), data=st.data())
def test_nothing_that_a_gate_lets_go_takes_anything_with_it(world: World, data: st.DataObject) -> None:
    facts = gate_facts(state_of(world))
    candidates = data.draw(st.sets(st.sampled_from(sorted(facts.names)), min_size=1, max_size=4))
    if judge(facts, candidates).verdict is Verdict.OK:
        event("judged ok")
        assert harm(world, candidates, single_too=True) == []


@EVERYTHING
@given(world=worlds(), data=st.data())
def test_what_the_operator_accepts_costs_that_and_nothing_else(world: World, data: st.DataObject) -> None:
    facts = gate_facts(state_of(world))
    accepted = ("HDFS_SINGLE_COPY", "HDFS_SURVEY", "HDFS_SILENT", "HDFS_MISSING")
    candidates = data.draw(st.sets(st.sampled_from(sorted(facts.names)), min_size=1, max_size=4))
    if len(world.namenodes) > 1 and judge(facts, candidates, accepted).verdict is Verdict.OK:
        event("judged ok")
        assert harm(world, candidates, single_too=False) == []


@EVERYTHING
@given(world=worlds())
def test_no_wave_of_all_datanodes_and_no_largest_set_loses_anything(world: World) -> None:
    facts = gate_facts(state_of(world))
    names = [n for n in sorted(facts.names) if n.endswith("/datanode")]
    for wave in plan_waves([Candidate(name=n) for n in names], facts):
        if len(wave) > 1:
            event("more than one at once")
            assert harm(world, set(wave), single_too=True) == []
    assert harm(world, set(largest_safe_set(sorted(facts.names), facts).names), single_too=True) == []
