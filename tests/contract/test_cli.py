"""Exit codes, the envelope, and the options that work anywhere: the promises of every command."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer

from bdops.cli.app import COMMANDS
from tests.contract.cli import bdops, environment

INVENTORY = """\
version: 1
clusters:
  prod:
    hosts:
      node1: {address: 127.0.0.1}
    components:
      zk: {hosts: node1, client_port: 1, admin_port: 2}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.yaml"
    path.write_text(INVENTORY)
    return path


def test_a_misspelt_command_is_usage_with_the_likely_spelling(tmp_path: Path) -> None:
    done = bdops("kafak", "status", home=tmp_path)
    assert done.returncode == 2
    assert "bdops kafka" in done.stderr


def test_a_misspelt_option_is_usage(tmp_path: Path) -> None:
    done = bdops("kafka", "topics", "--under-replicatd", home=tmp_path)
    assert done.returncode == 2
    assert "--help" in done.stderr


def test_errors_before_dispatch_are_in_the_envelope_too(tmp_path: Path) -> None:
    answer = bdops("kafka", "topics", "--nonsense", "-o", "json", home=tmp_path).json
    assert (answer["bdops"], answer["status"]) == (1, "failed")
    assert answer["errors"][0]["code"] == "USAGE"
    assert set(answer) == {"bdops", "command", "status", "data", "errors"}


@pytest.mark.parametrize(
    "argv",
    [
        ("check", "--nonsense"),
        ("kafka", "check", "--nonsense"),
        ("check", "-i", "nowhere"),
        ("--columns", "a", "zk", "check", "--nonsense"),
    ],
)
def test_whatever_stops_a_check_is_unknown(argv: tuple[str, ...], tmp_path: Path) -> None:
    assert bdops(*argv, home=tmp_path).returncode == 3


@pytest.mark.parametrize("argv", [("run", "check", "--nonsense"), ("cron", "check")])
def test_what_has_check_for_another_word_is_no_plugin(argv: tuple[str, ...], tmp_path: Path) -> None:
    assert bdops(*argv, home=tmp_path).returncode == 2


def test_a_monitoring_system_gets_a_status_line_even_for_an_error(tmp_path: Path) -> None:
    done = bdops("check", "-i", "nowhere.yaml", "-o", "nagios", home=tmp_path)
    assert done.returncode == 3
    assert done.stdout.startswith("BDOPS UNKNOWN - ")


def test_no_inventory_says_how_to_give_one(tmp_path: Path) -> None:
    done = bdops("kafka", "status", home=tmp_path)
    assert done.returncode == 3
    assert "-i FILE" in done.stderr


def test_the_config_file_names_the_inventory(tmp_path: Path, inventory: Path) -> None:
    folder = tmp_path / ".config/bdops"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"inventory: {inventory}\n")
    assert bdops("inventory", "validate", home=tmp_path).returncode == 0
    (folder / "config.yaml").write_text("inventory: [unclosed\n")
    broken = bdops("inventory", "validate", home=tmp_path)
    assert broken.returncode == 3
    assert "config.yaml" in broken.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ("-o", "json", "-i", "{}", "inventory", "hosts"),
        ("inventory", "-o", "json", "-i", "{}", "hosts"),
        ("inventory", "hosts", "-i", "{}", "-o", "json"),
    ],
)
def test_common_options_work_before_and_after_the_command(
    argv: tuple[str, ...], tmp_path: Path, inventory: Path
) -> None:
    done = bdops(*(word.format(inventory) for word in argv), home=tmp_path)
    assert done.returncode == 0
    assert done.json["command"] == "inventory hosts"


def test_monitoring_formats_are_for_checks_alone(tmp_path: Path, inventory: Path) -> None:
    done = bdops("inventory", "hosts", "-i", str(inventory), "-o", "nagios", home=tmp_path)
    assert done.returncode == 2


def test_a_cluster_that_is_down_is_not_ok_and_the_run_ends(tmp_path: Path, inventory: Path) -> None:
    done = bdops("check", "-i", str(inventory), "-o", "json", "prod/zk", home=tmp_path)
    assert done.returncode in (2, 3)
    assert done.json["status"] in ("critical", "unknown")


def test_a_reader_that_went_away_is_no_error(inventory: Path) -> None:
    script = f"{sys.executable} -m bdops inventory hosts -i {inventory} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_is_for_with_an_example(name: str) -> None:
    app = import_module(f"bdops.cli.{name}").app
    command = typer.main.get_command(app)
    leaves = list(command.commands.items()) if hasattr(command, "commands") else [(name, command)]
    for leaf, found in leaves:
        if hasattr(found, "commands"):
            continue
        assert found.help, f"{name} {leaf}"
        assert "Example: bdops " in found.help, f"{name} {leaf} has no example"


@pytest.mark.parametrize("argv", [("zk", "restart"), ("zk", "can-stop", "node1"), ("host", "restart", "node1")])
def test_a_risk_that_no_gate_knows_is_usage_with_the_likely_rule(argv: tuple[str, ...], inventory: Path) -> None:
    done = bdops(*argv, "-i", str(inventory), "--accept-risk", "ZK_QUORM", home=inventory.parent)
    assert done.returncode == 2, done.stderr
    assert "did you mean ZK_QUORUM" in done.stderr


def config(home: Path, text: str) -> None:
    folder = home / ".config/bdops"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)


def test_the_config_file_has_defaults_and_the_command_line_goes_before_them(tmp_path: Path, inventory: Path) -> None:
    config(tmp_path, "inventory: ../../inventory.yaml\ncluster: nowhere\n")
    assert inventory.exists()
    done = bdops("zk", "status", home=tmp_path)
    assert (done.returncode, "nowhere" in done.stderr) == (2, True)
    assert bdops("inventory", "hosts", "-c", "prod", "-o", "name", home=tmp_path).stdout == "prod/node1\n"


def test_every_mistake_in_the_config_file_is_named_with_its_line(tmp_path: Path, inventory: Path) -> None:
    config(tmp_path, "timeot: 5s\ntimeout: 0\nverbose: 9\ncluster: [a]\nyes: true\n")
    done = bdops("inventory", "hosts", "-i", str(inventory), home=tmp_path)
    assert done.returncode == 3
    for line, words in enumerate(
        ("did you mean timeout", "no time", "0, 1 or 2", "no text", "no such setting"), start=1
    ):
        assert f"config.yaml:{line}: " in done.stderr
        assert words in done.stderr


@pytest.mark.parametrize(
    ("argv", "likely"),
    [
        (("kafak",), "kafka"),
        (("kafka", "topcs"), "topics"),
        (("zk", "snapshot", "creat"), "create"),
        (("check", "--recrd"), "--record"),
        (("check", "-c", "prd"), "prod"),
        (("check", "prod/node2"), "node1"),
        (("exec", "nodee1", "--", "ls"), "node1"),
        (("inventory", "hosts", "--columns", "adress"), "address"),
        (("why", "ZK_QUORM"), "ZK_QUORUM"),
        (("cron", "print", "--", "chekc"), "check"),
    ],
)
def test_what_is_misspelt_is_answered_with_the_likely_spelling(
    argv: tuple[str, ...], likely: str, tmp_path: Path, inventory: Path
) -> None:
    done = bdops(*argv[:1], "-i", str(inventory), "--timeout", "2", *argv[1:], home=tmp_path)
    assert done.returncode in (2, 3)
    assert likely in done.stderr


@pytest.mark.parametrize(("argv", "code"), [(("zk", "status"), 130), (("check", "prod/zk"), 3)])
def test_an_interrupt_ends_a_command_in_the_envelope_and_a_plugin_as_unknown(
    argv: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        path = tmp_path / "inventory.yaml"
        path.write_text(INVENTORY.replace("client_port: 1", f"client_port: {silent.getsockname()[1]}"))
        words = [sys.executable, "-m", "bdops", *argv, "-i", str(path), "--timeout", "60s", "-o", "json"]
        running = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path)
        )
        connection, _ = silent.accept()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
        connection.close()
    assert running.returncode == code, err
    assert json.loads(out)["errors"][0]["code"] == "INTERRUPTED"
    assert "Traceback" not in err
