"""What to ask service managers, and what their answers mean."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bdops.core.model import Service
from bdops.hosts.service_acts import LOG_LINES
from bdops.hosts.services import log_argv, pid_argv, restart_argv, start_argv, status_questions, statuses, stop_argv

SUPERVISED = Service(manager="supervisord", unit="kafka", config="/etc/s.conf")
UNIT = Service(manager="systemd", unit="kafka")
OWN = Service(manager="commands", start=("run", "it"), stop=("end", "it"), status=("is it", "up"))


def state_of(service: Service, output: str, exit_status: int = 0) -> tuple[str, int | None]:
    (question,) = status_questions({"i": service})
    status = statuses(question, exit_status, output)["i"]
    return status.state, status.pid


def test_units_of_one_manager_are_asked_for_in_one_command() -> None:
    services = {
        "a": SUPERVISED,
        "b": Service(manager="supervisord", unit="zookeeper", config="/etc/s.conf"),
        "c": UNIT,
        "d": Service(manager="systemd", unit="zookeeper"),
        "e": Service(manager="supervisord", unit="hdfs", config="/etc/other.conf"),
        "f": OWN,
        "g": OWN,
    }
    questions = status_questions(services)
    assert [tuple(q.services) for q in questions] == [("a", "b"), ("c", "d"), ("e",), ("f",), ("g",)]
    assert questions[0].argv == ("supervisorctl", "-c", "/etc/s.conf", "status", "kafka", "zookeeper")
    assert questions[1].argv[:2] == ("systemctl", "show")
    assert questions[1].argv[-3:] == ("--", "kafka", "zookeeper")
    assert questions[3].argv == ("is it", "up")


def test_sudo_never_asks_for_a_password() -> None:
    sudo = Service(manager="systemd", unit="kafka", sudo=True)
    assert status_questions({"i": sudo})[0].argv[:4] == ("sudo", "-n", "--", "systemctl")
    assert start_argv(sudo) == ("sudo", "-n", "--", "systemctl", "start", "--", "kafka")


def test_start_and_stop_go_through_the_manager() -> None:
    assert start_argv(SUPERVISED) == ("supervisorctl", "-c", "/etc/s.conf", "start", "kafka")
    assert stop_argv(UNIT) == ("systemctl", "stop", "--", "kafka")
    assert start_argv(OWN) == ("run", "it")
    assert stop_argv(OWN) == ("end", "it")


def test_a_restart_goes_through_the_manager() -> None:
    assert restart_argv(SUPERVISED) == ("supervisorctl", "-c", "/etc/s.conf", "restart", "kafka")
    assert restart_argv(UNIT) == ("systemctl", "restart", "--", "kafka")


SHELLS = [
    [shell, *applet] for shell, *applet in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell)
]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_a_restart_by_plain_commands_is_the_stop_and_then_the_start_word_by_word(shell: list[str]) -> None:
    words = ("a b", "", "$HOME", "'", "*")
    own = Service(manager="commands", stop=("printf", "[%s]", *words), start=("printf", "<%s>", "x y", *words))
    _, *argv = restart_argv(own)
    done = subprocess.run([*shell, *argv], capture_output=True, text=True, timeout=30)
    assert done.stdout == "".join(f"[{w}]" for w in words) + "<x y>" + "".join(f"<{w}>" for w in words)


@pytest.mark.parametrize(("stop", "start"), [("false", "true"), ("true", "false")])
def test_a_restart_by_plain_commands_fails_with_either(stop: str, start: str) -> None:
    done = subprocess.run(restart_argv(Service(manager="commands", stop=(stop,), start=(start,))), timeout=30)
    assert done.returncode == 1


def test_what_was_not_stopped_is_not_started() -> None:
    own = Service(manager="commands", stop=("sh", "-c", "exit 5"), start=("echo", "started"))
    done = subprocess.run(restart_argv(own), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (5, "")


def test_sudo_is_before_both_commands_of_a_restart() -> None:
    own = Service(manager="commands", stop=("end",), start=("run",), sudo=True)
    assert restart_argv(own)[3:] == ("sh", "4", "sudo", "-n", "--", "end", "sudo", "-n", "--", "run")


def test_the_main_process_is_asked_for_where_the_status_does_not_tell_it() -> None:
    assert pid_argv(SUPERVISED) == ("supervisorctl", "-c", "/etc/s.conf", "pid", "kafka")
    assert pid_argv(Service(manager="commands", pid=("cat", "/run/it.pid"))) == ("cat", "/run/it.pid")
    assert pid_argv(UNIT) == pid_argv(OWN) == ()


@pytest.mark.parametrize(
    ("line", "state", "pid"),
    [
        ("kafka                            RUNNING   pid 123, uptime 0:00:12", "running", 123),
        ("kafka                            STARTING  ", "starting", None),
        ("kafka                            STOPPED   Nov 23 11:53 AM", "stopped", None),
        ("kafka                            STOPPED   Not started", "stopped", None),
        ("kafka                            EXITED    Nov 23 11:53 AM", "failed", None),
        (
            "kafka                            BACKOFF   Exited too quickly (process log may have details)",
            "failed",
            None,
        ),
        ("kafka                            FATAL     can't find command '/x'", "failed", None),
        ("kafka: ERROR (no such process)", "absent", None),
        ("kafka2                           RUNNING   pid 123, uptime 0:00:12", "unknown", None),
        ("unix:///run/s.sock no such file", "unknown", None),
        ("Error: could not find config file /etc/s.conf", "unknown", None),
        ("", "unknown", None),
    ],
)
def test_supervisords_words(line: str, state: str, pid: int | None) -> None:
    assert state_of(SUPERVISED, line + "\n", exit_status=3) == (state, pid)


@pytest.mark.parametrize(
    ("block", "state", "pid"),
    [
        ("LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nMainPID=77", "running", 77),
        ("LoadState=loaded\nActiveState=activating\nSubState=start\nResult=success\nMainPID=78", "starting", 78),
        (
            "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=exit-code\nMainPID=0",
            "failed",
            None,
        ),
        ("LoadState=loaded\nActiveState=active\nSubState=exited\nResult=success\nMainPID=0", "stopped", None),
        ("LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\nMainPID=0", "stopped", None),
        ("LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=oom-kill\nMainPID=0", "failed", None),
        ("LoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\nMainPID=0", "absent", None),
        ("LoadState=masked\nActiveState=odd\nSubState=odd", "unknown", None),
    ],
)
def test_systemds_words(block: str, state: str, pid: int | None) -> None:
    other = "Id=zookeeper.service\nNames=zookeeper.service\nLoadState=loaded\nActiveState=failed\nSubState=failed"
    output = f"{other}\n\nId=kafka.service\nNames=kafka.service\n{block}\n"
    assert state_of(UNIT, output) == (state, pid)


def test_a_unit_is_found_by_its_alias() -> None:
    output = (
        "Id=confluent-kafka.service\nNames=kafka.service confluent-kafka.service\nActiveState=active\nSubState=running"
    )
    assert state_of(UNIT, output)[0] == "running"


def test_what_failed_is_told_in_systemds_words() -> None:
    output = "Id=kafka.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=oom-kill\nMainPID=0"
    (question,) = status_questions({"i": UNIT})
    assert statuses(question, 0, output)["i"].detail == "failed (failed), result oom-kill"


@pytest.mark.parametrize(("exit_status", "state"), [(0, "running"), (3, "stopped"), (1, "stopped"), (127, "unknown")])
def test_a_status_command_tells_by_its_exit_status(exit_status: int, state: str) -> None:
    assert state_of(OWN, "some words\n", exit_status)[0] == state


@pytest.mark.parametrize("service", [SUPERVISED, UNIT, OWN])
def test_a_manager_that_could_not_be_asked_is_unknown_with_its_words(service: Service) -> None:
    (question,) = status_questions({"i": service})
    status = statuses(question, 1, "sudo: a password is required\n")["i"]
    assert (status.state, status.detail) == ("unknown", "sudo: a password is required")
    assert statuses(question, 127, "sh: 1: supervisorctl: not found")["i"].state == "unknown"


def test_the_sudoers_of_the_documentation_are_what_is_called() -> None:
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    (alias,) = re.findall(r"^Cmnd_Alias BDOPS = (.*?[^\\])$", page.replace("\\\n", ""), re.MULTILINE)
    shown = {re.sub(r"\\(.)", r"\1", command).strip() for command in re.split(r"(?<!\\),", alias)}
    kafka = replace(UNIT, unit="kafka.service", sudo=True)
    (question,) = status_questions({"kafka": kafka})
    called = [question.argv, log_argv(kafka, LOG_LINES), *(f(kafka) for f in (start_argv, stop_argv, restart_argv))]
    assert {argv[:3] for argv in called} == {("sudo", "-n", "--")}
    assert shown == {f"/usr/bin/{' '.join(argv[3:])}" for argv in called}
