"""What /proc says of a process, and when it says nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bdops.core.model import Host
from bdops.errors import OperationFailed, StateUnknown
from bdops.hosts.processes import ProcessIdentity, parse_identities
from bdops.hosts.ssh import Completed

HOST = Host(name="n", address="127.0.0.1")
BOOT = "11111111-2222-3333-4444-555555555555"


def answer(*lines: str, boot: str = f"@boot {BOOT} 1700000000 100") -> Completed:
    text = "\n".join([boot, *lines]) + "\n"
    return Completed(exit_status=0, stdout=text, stderr="", truncated=False, sent_at=0, answered_at=0)


def stat(pid: int, ticks: int, state: str = "S", name: str = "java") -> str:
    return f"{pid} ({name}) {state} 1 1 1 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 {ticks} 1 1"


def test_a_process_is_told_by_pid_start_and_boot() -> None:
    found = parse_identities(answer(f"@process 3 {stat(77, 12345)}"), HOST)
    started = datetime(2023, 11, 14, 22, 15, 23, 450000, UTC)
    assert found == {3: ProcessIdentity(77, 12345, BOOT, started)}
    identity = found[3]
    assert isinstance(identity, ProcessIdentity)
    assert identity.started_at == started


def test_a_clock_that_was_set_does_not_make_another_process_of_it() -> None:
    now = datetime.now(UTC)
    assert ProcessIdentity(1, 2, BOOT, now) == ProcessIdentity(1, 2, BOOT, datetime(2000, 1, 1, tzinfo=UTC))
    assert ProcessIdentity(1, 2, BOOT, now) != ProcessIdentity(1, 3, BOOT, now)


@pytest.mark.parametrize("name", ["a) S 1 (b", "with spaces", "(", ")"])
def test_the_programs_name_may_have_anything_in_it(name: str) -> None:
    found = parse_identities(answer(f"@process 0 {stat(77, 12345, name=name)}"), HOST)[0]
    assert isinstance(found, ProcessIdentity)
    assert found.start_ticks == 12345


@pytest.mark.parametrize("state", ["Z", "X"])
def test_a_zombie_is_dead(state: str) -> None:
    assert parse_identities(answer(f"@process 0 {stat(77, 12345, state)}"), HOST) == {}


def test_what_may_not_be_looked_at_is_not_dead() -> None:
    assert parse_identities(answer("@hidden 0"), HOST) == {0: "hidden"}


def test_a_host_without_proc_and_one_whose_shell_does_not_run_scripts_are_told_apart() -> None:
    with pytest.raises(StateUnknown):
        parse_identities(answer(boot="@boot   100"), HOST)
    with pytest.raises(OperationFailed, match="did not run our script"):
        parse_identities(answer(boot="This account is not available."), HOST)
