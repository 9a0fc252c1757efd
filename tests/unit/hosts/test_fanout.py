"""Work on many hosts: how many at once, when it stops, what it ends in."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Sequence

import pytest

from bdops.core.model import Host
from bdops.errors import ExitCode, NotAuthorised, OperationFailed, Unreachable
from bdops.hosts.fanout import Interrupted, Target, counts, exit_code, fan_out


def targets(count: int) -> list[Target]:
    return [Target(f"n{i}", Host(name=f"n{i}", address="127.0.0.1")) for i in range(count)]


def outcomes(batches: Sequence[Sequence[Target]], errors: dict[str, Exception], **more: bool) -> list[str]:
    def work(target: Target) -> str:
        if target.name in errors:
            raise errors[target.name]
        return target.name

    return [result.outcome for result in fan_out(batches, work, **more)]


def test_results_come_in_the_hosts_order_whatever_ends_first() -> None:
    def work(target: Target) -> str:
        time.sleep(0.05 if target.name == "n0" else 0)
        return target.name

    assert [r.value for r in fan_out([targets(5)], work)] == [f"n{i}" for i in range(5)]


def test_so_many_are_at_work_at_once_and_no_more() -> None:
    lock, gate = threading.Lock(), threading.Barrier(3, timeout=20)
    now, most = 0, 0

    def work(_: Target) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        gate.wait()
        with lock:
            now -= 1

    fan_out([targets(9)], work, parallel=3)
    assert most == 3


def test_a_batch_that_failed_is_the_last_one() -> None:
    one, two, three = targets(2), targets(4)[2:], targets(5)[4:]
    assert outcomes([one, two, three], {"n2": OperationFailed("no")}) == ["ok", "ok", "failed", "ok", "not_run"]
    assert outcomes([one, two, three], {"n2": Unreachable("no")}) == ["ok", "ok", "unreachable", "ok", "not_run"]
    assert outcomes([one, two, three], {"n2": OperationFailed("no")}, keep_going=True)[-1] == "ok"


def test_a_value_may_be_a_failure() -> None:
    results = fan_out([targets(1), targets(2)[1:]], lambda _: 3, failed=lambda status: status != 0)
    assert [r.outcome for r in results] == ["failed", "not_run"]
    assert results[0].value == 3


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ({}, ExitCode.OK),
        ({"n0": Unreachable("x")}, ExitCode.UNREACHABLE),
        ({"n0": NotAuthorised("x")}, ExitCode.UNREACHABLE),
        ({"n0": OperationFailed("x")}, ExitCode.FAILED),
        ({"n0": Unreachable("x"), "n1": OperationFailed("x")}, ExitCode.FAILED),
    ],
)
def test_failed_and_unreachable_end_in_different_codes(errors: dict[str, Exception], code: ExitCode) -> None:
    def work(target: Target) -> None:
        if target.name in errors:
            raise errors[target.name]

    results = fan_out([targets(3)], work)
    assert exit_code(results) == code
    assert sum(counts(results).values()) == 3


def test_a_bug_is_no_result() -> None:
    with pytest.raises(ZeroDivisionError):
        outcomes([targets(3)], {"n1": ZeroDivisionError()})


def test_an_interrupt_tells_who_still_runs_and_begins_nobody_else() -> None:
    release, begun = threading.Event(), list[str]()

    def work(target: Target) -> str:
        begun.append(target.name)
        if target.name == "n0":
            return "done"
        if len(begun) == 3:
            _thread.interrupt_main()
        release.wait(20)
        return "late"

    with pytest.raises(Interrupted) as caught:
        fan_out([targets(6)], work, parallel=2)
    release.set()
    assert caught.value.exit_code == ExitCode.INTERRUPTED
    assert sorted(caught.value.running) == ["n1", "n2"]
    assert [r.target.name for r in caught.value.results] == ["n0"]
    time.sleep(0.2)
    assert len(begun) == 3
