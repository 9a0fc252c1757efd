"""`bdops cron` with a real crontab(1), in a spool folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import needs
from tests.contract.cli import bdops

INVENTORY = """\
version: 1
clusters:
  prod:
    hosts:
      node1: {address: 127.0.0.1, ssh: {port: 1}}
    components:
      zk: {hosts: node1, client_port: 1, admin_port: 2}
"""
OTHERS = b"MAILTO=ops@example.org\n# by \xff\xfe hand\n0 4 * * * /usr/bin/backup \\%F\n\n"
IN_OWN_SPOOL = """
set -e
mount -t tmpfs none /var/spool/cron
mkdir -m 1730 /var/spool/cron/crontabs
exec "$@"
"""
OWN_SPOOL = ["unshare", "--mount", "sh", "-c", IN_OWN_SPOOL, "sh"]


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    path = tmp_path / "my inventory.yaml"
    path.write_text(INVENTORY)
    return str(path)


SCENARIO = """
set -u
bdops() { "$PYTHON" -m bdops "$@"; }
step() { echo "== $1"; }
crontab others
step install; bdops cron install -i "$INVENTORY" --jitter 0 --yes; echo "code $?"; crontab -l >installed
step again; bdops cron install -i "$INVENTORY" --jitter 0 </dev/null; echo "code $?"; crontab -l >again
step second; bdops cron install -i "$INVENTORY" --name backup --at 03:10 --yes -- zk snapshot create prod/zk --yes
step unasked; bdops cron remove </dev/null; echo "code $?"
step dry; bdops cron remove --dry-run; echo "code $?"; crontab -l >with_both
step remove; bdops cron remove --yes; bdops cron remove --name backup --yes; echo "code $?"; crontab -l >removed
step gone; bdops cron remove --yes; echo "code $?"
crontab -r
step none; bdops cron install -i "$INVENTORY" --yes >/dev/null; bdops cron remove --yes >/dev/null
crontab -l; echo "code $?"
step damaged; echo '# BEGIN bdops check' | crontab -; bdops cron install -i "$INVENTORY" --yes; echo "code $?"
"""


def test_the_life_of_two_blocks_in_a_real_crontab(tmp_path: Path, inventory: str) -> None:
    needs.root("a folder of crontabs of its own")
    needs.program("crontab")
    (tmp_path / "others").write_bytes(OTHERS)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BDOPS_", "XDG_"))}
    env = {
        **clean,
        "HOME": str(tmp_path),
        "BDOPS_STATE_DIR": str(tmp_path / "state"),
        "PYTHON": sys.executable,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "INVENTORY": inventory,
    }
    done = subprocess.run(
        [*OWN_SPOOL, "bash", "-c", SCENARIO], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr
    parts = dict(part.split("\n", 1) for part in done.stdout.split("== ")[1:])
    assert "+# BEGIN bdops check" in parts["install"], done.stderr
    assert "code 0" in parts["install"]
    assert "nothing to do" in parts["again"]
    assert (tmp_path / "again").read_bytes() == (tmp_path / "installed").read_bytes()
    assert (tmp_path / "installed").read_bytes().startswith(OTHERS)
    assert "code 2" in parts["unasked"]
    assert "-# BEGIN bdops check" in parts["dry"]
    both = (tmp_path / "with_both").read_text(errors="replace")
    assert f"'{inventory}' check --record --only-changes" in both
    assert "10 3 * * * " in both
    assert (tmp_path / "removed").read_bytes() == OTHERS
    assert "code 2" in parts["gone"]
    assert parts["none"] == "code 1\n"  # crontab's own: there is none any more
    assert "code 3" in parts["damaged"]
    assert "no end" in done.stderr


def printed(inventory: str, home: Path, *argv: str) -> str:
    """What sh gets of the line that is printed."""
    done = bdops("cron", "print", "-i", inventory, "--jitter", "0", *argv, home=home)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[1].split(" ", 5)[5].replace("\\%", "%")


def test_the_printed_line_tells_what_is_wrong_once(tmp_path: Path, inventory: str) -> None:
    command = printed(inventory, tmp_path, "--", "check", "prod/zk", "--record", "--only-changes")
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    first, second = (
        subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, timeout=60) for _ in range(2)
    )
    assert "ZK_SERVER_DOWN" in first.stdout
    assert (second.stdout, second.stderr) == ("", "")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--every", "7m"), "an hour or a day"),
        (("--at", "25:00"), "time of a day"),
        (("--at", "03:00", "--every", "5m"), "exclude"),
        (("--name", "My Check"), "block's name"),
        (("--limit", "90d"), "--limit"),
        (("--", "chekc"), "did you mean `bdops check`"),
        (("--", "check", "a\nb"), "line break"),
    ],
)
def test_what_cannot_be_a_line_is_usage(argv: tuple[str, ...], words: str, tmp_path: Path, inventory: str) -> None:
    done = bdops("cron", "print", "-i", inventory, *argv, home=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_machine_without_crontab_says_so(tmp_path: Path, inventory: str) -> None:
    done = bdops("cron", "install", "-i", inventory, "--yes", home=tmp_path, PATH=str(tmp_path))
    assert done.returncode == 3
    assert "bdops cron print" in done.stderr


def test_an_inventory_that_does_not_load_is_not_put_into_a_crontab(tmp_path: Path) -> None:
    assert bdops("cron", "print", "-i", "nowhere.yaml", home=tmp_path).returncode == 3
