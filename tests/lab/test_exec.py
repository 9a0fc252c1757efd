"""`bdops exec`, `push` and `pull` on the lab's hosts, over their own sshd."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bdops.errors import OperationFailed
from bdops.hosts.files import local_file, push
from bdops.hosts.ssh import SshPool

pytestmark = pytest.mark.lab("zk")


@pytest.fixture
def hosts(lab: Any) -> list[str]:
    return [host.name for host in lab.hosts]


def by_host(done: Any) -> dict[str, dict[str, Any]]:
    return {row["host"]: row for row in done.json["data"]["hosts"]}


@pytest.fixture
def crippled(lab: Any, tmp_path: Path) -> str:
    """The lab's inventory with a port of node3 where nothing listens, and a host key of node4 that is not known."""
    content = yaml.safe_load(lab.inventory.read_text())
    (cluster,) = content["clusters"].values()
    cluster["hosts"]["node3"]["ssh"] = {"port": 1}
    cluster["hosts"]["node4"]["ssh"] = {"known_hosts": str(tmp_path / "nobody")}
    path = tmp_path / "crippled.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


class TestExec:
    def test_what_is_the_same_is_told_once(self, bdops, lab, hosts: list[str]) -> None:
        done = bdops("exec", lab.name, "--", "echo", "same")
        assert (done.returncode, done.stdout) == (0, f"node[1-{len(hosts)}]:\nsame\n")
        assert f"{len(hosts)} hosts: {len(hosts)} ok" in done.stderr

    def test_differing_output_and_exit_statuses_are_told_apart(self, bdops, lab) -> None:
        script = "case $SSH_CONNECTION in *.2.1\\ *) echo two; exit 3;; *) echo one;; esac"
        done = bdops("exec", "node[1-3]", "--", "sh", "-c", script)
        assert done.returncode == 1
        assert done.stdout == "node[1,3]:\none\nnode2 (exit 3):\ntwo\n"
        assert "3 hosts: 2 ok, 1 failed" in done.stderr

    def test_words_are_not_shell(self, bdops, lab) -> None:
        words = ["a b", "$HOME", "'", "; false", "*", "-o", "--parallel"]
        done = bdops("exec", "node1", "-o", "json", "--", "printf", "%s|", *words)
        assert by_host(done)["node1"]["stdout"] == "".join(f"{w}|" for w in words)

    def test_json_has_every_host(self, bdops, lab, hosts: list[str]) -> None:
        done = bdops("exec", lab.name, "-o", "json", "--", "sh", "-c", "echo out; echo err >&2; exit 5")
        assert done.returncode == 1
        assert (done.json["status"], done.json["command"]) == ("failed", "exec")
        assert done.json["data"]["counts"] == {"ok": 0, "failed": len(hosts), "unreachable": 0, "not_run": 0}
        row = by_host(done)["node1"]
        assert (row["outcome"], row["exit_status"], row["stdout"], row["stderr"]) == ("failed", 5, "out\n", "err\n")
        assert row["seconds"] > 0
        assert row["error"] is None

    def test_yaml_has_the_same(self, bdops, lab) -> None:
        done = bdops("exec", "node1", "-o", "yaml", "--", "echo", "hello")
        assert yaml.safe_load(done.stdout)["data"]["hosts"][0]["stdout"] == "hello\n"

    def test_unreachable_and_not_let_in_end_in_4_and_are_told(self, bdops, crippled: str) -> None:
        done = bdops("exec", "node[1-4]", "-i", crippled, "--", "echo", "here")
        assert done.returncode == 4
        assert "node[1-2]:\nhere\n" in done.stdout
        assert "node3 (unreachable): connection refused" in done.stdout
        assert "node4 (unreachable): the host key is not known" in done.stdout
        assert "ssh-keyscan" in done.stdout
        found = by_host(bdops("exec", "node[1-4]", "-i", crippled, "-o", "json", "--", "echo", "here"))
        assert found["node3"]["error"]["code"] == "SSH_REFUSED"
        assert found["node4"]["error"]["code"] == "HOST_KEY_UNKNOWN"
        assert found["node1"]["outcome"] == "ok"

    def test_failed_weighs_more_than_unreachable_and_both_are_told(self, bdops, crippled: str) -> None:
        done = bdops("exec", "node[1-3]", "-i", crippled, "-o", "json", "--", "false")
        assert done.returncode == 1
        assert done.json["data"]["counts"] == {"ok": 0, "failed": 2, "unreachable": 1, "not_run": 0}

    def test_a_command_that_does_not_end_costs_its_own_host_only(self, bdops, lab) -> None:
        script = "case $SSH_CONNECTION in *.1.1\\ *) sleep 60;; esac; echo done"
        started = time.monotonic()
        done = bdops("exec", "node[1-2]", "--timeout", "3s", "-o", "json", "--", "sh", "-c", script)
        assert time.monotonic() - started < 30
        found = by_host(done)
        assert done.returncode == 1
        assert found["node1"]["error"]["code"] == "SSH_COMMAND_TIMEOUT"
        assert found["node2"]["stdout"] == "done\n"

    def test_serial_stops_at_the_first_failure(self, bdops, lab, tmp_path: Path) -> None:
        script = f"echo $SSH_CONNECTION >>{tmp_path}/ran; case $SSH_CONNECTION in *.2.1\\ *) exit 1;; esac"
        done = bdops("exec", "node[1-4]", "--serial", "--", "sh", "-c", script)
        assert done.returncode == 1
        assert len((tmp_path / "ran").read_text().splitlines()) == 2
        assert "node[3-4] (not run)" in done.stdout
        bdops("exec", "node[1-4]", "--serial", "--keep-going", "--", "sh", "-c", script)
        assert len((tmp_path / "ran").read_text().splitlines()) == 6

    def test_batches_come_one_after_the_other(self, bdops, lab, tmp_path: Path) -> None:
        script = f"echo start >>{tmp_path}/log; sleep 0.3; echo end >>{tmp_path}/log"
        done = bdops("exec", "node[1-4]", "--batch", "1,50%", "--", "sh", "-c", script)
        assert done.returncode == 0
        # One, then two at once, then the one that is left.
        log = (tmp_path / "log").read_text().split()
        assert (log[:2], sorted(log[2:6]), log[6:]) == (["start", "end"], ["end"] * 2 + ["start"] * 2, ["start", "end"])

    def test_a_dry_run_runs_nothing(self, bdops, lab, tmp_path: Path) -> None:
        done = bdops("exec", "node[1-4]", "--batch", "1,50%", "--dry-run", "--", "touch", str(tmp_path / "ran"))
        assert done.returncode == 0
        assert "node[2-3]" in done.stdout
        assert not (tmp_path / "ran").exists()

    def test_sudo_is_put_before_it(self, bdops, lab) -> None:
        done = bdops("exec", "node1", "--sudo", "-o", "json", "--", "id", "-u")
        row = by_host(done)["node1"]
        assert done.json["data"]["argv"] == ["sudo", "-n", "--", "id", "-u"]
        assert row["stdout"] == "0\n" or row["exit_status"] == 127

    @pytest.mark.parametrize(
        ("argv", "words"),
        [
            (("nosuch", "--", "true"), "matches nothing"),
            (("node1", "--batch", "0", "--", "true"), "--batch"),
            (("node1", "--batch", "1", "--serial", "--", "true"), "give one of them"),
            (("node1", "--parallel", "0", "--", "true"), "parallel"),
            (("node1",), "COMMAND"),
        ],
    )
    def test_what_does_not_fit_together_is_a_usage_error(self, bdops, lab, argv: tuple[str, ...], words: str) -> None:
        done = bdops("exec", *argv)
        assert done.returncode == 2
        assert words in done.stderr

    def test_output_is_bounded_and_says_so(self, bdops, lab) -> None:
        done = bdops("exec", "node1", "-o", "json", "--", "head", "-c", "20000000", "/dev/zero")
        row = by_host(done)["node1"]
        assert row["truncated"]
        assert len(row["stdout"]) == 8 << 20

    def test_an_interrupt_says_where_it_may_still_run_and_exits_130(self, lab, home: Path, tmp_path: Path) -> None:
        script = f"echo x >>{tmp_path}/ran; case $SSH_CONNECTION in *.1.1\\ *) ;; *) sleep 20;; esac"
        child = subprocess.Popen(
            [sys.executable, "-m", "bdops", "exec", "node[1-3]", "--", "sh", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(home), "BDOPS_INVENTORY": str(lab.inventory)},
        )
        deadline = time.monotonic() + 60
        while not (tmp_path / "ran").exists() or len((tmp_path / "ran").read_text()) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
        assert child.returncode == 130, err
        assert "may still run on node[2-3]" in err
        assert "node1:" in out
        assert "Traceback" not in err


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "server.properties"
    path.write_bytes(os.urandom(300_000))
    path.chmod(0o640)
    return path


class TestPush:
    """The lab's hosts share one file system: one host at a time."""

    def push(self, bdops: Any, *argv: object, **more: Any) -> Any:
        return bdops("push", *map(str, argv), "-o", "json", **more)

    def test_a_file_gets_there_once(self, bdops, source: Path, tmp_path: Path) -> None:
        target = tmp_path / "there" / "a file"
        target.parent.mkdir()
        row = by_host(self.push(bdops, source, "node1", target))["node1"]
        assert (row["change"], row["verified"], row["size_bytes"]) == ("changed", True, 300_000)
        assert target.read_bytes() == source.read_bytes()
        assert target.stat().st_mode & 0o777 == 0o640
        before = target.stat()
        assert by_host(self.push(bdops, source, "node1", target))["node1"]["change"] == "unchanged"
        assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert [p.name for p in target.parent.iterdir()] == ["a file"]

    def test_a_folder_takes_the_files_name(self, bdops, source: Path, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        for target in (tmp_path / "there", f"{tmp_path}/there/"):
            done = self.push(bdops, source, "node1", target)
            assert by_host(done)["node1"]["path"] == str(tmp_path / "there" / source.name)

    def test_a_new_file_takes_the_place_mode_and_owner_of_the_old_one(
        self, bdops, source: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "old"
        target.write_text("old")
        target.chmod(0o604)
        if os.getuid() == 0:
            os.chown(target, 12345, 12346)
        before = target.stat()
        with target.open() as reader:
            self.push(bdops, source, "node1", target)
            # Whoever has the old one open reads it to its end.
            assert reader.read() == "old"
        after = target.stat()
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        assert target.read_bytes() == source.read_bytes()

    def test_a_mode_alone_is_a_change(self, bdops, source: Path, tmp_path: Path) -> None:
        target = tmp_path / "there"
        for mode, change in (("0600", "changed"), ("0644", "changed"), ("644", "unchanged")):
            assert by_host(self.push(bdops, source, "node1", target, "--mode", mode))["node1"]["change"] == change
            assert target.stat().st_mode & 0o777 == int(mode, 8)

    def test_a_dry_run_writes_nothing(self, bdops, source: Path, tmp_path: Path) -> None:
        target = tmp_path / "there"
        done = bdops("push", str(source), "node1", str(target), "--dry-run")
        assert (done.returncode, done.stdout) == (0, f"node1: {target} would change\n")
        assert not target.exists()

    def test_a_link_at_the_target_is_refused_and_what_it_leads_to_stays(
        self, bdops, source: Path, tmp_path: Path
    ) -> None:
        other, link = tmp_path / "other", tmp_path / "link"
        other.write_text("precious")
        link.symlink_to(other)
        done = self.push(bdops, source, "node1", link)
        assert done.returncode == 1
        assert by_host(done)["node1"]["error"]["code"] == "FILE_LINK"
        assert other.read_text() == "precious"
        assert link.is_symlink()

    @pytest.mark.parametrize("target", ["/proc/version", "/no/such/folder/file", "/dev/null"])
    def test_what_cannot_be_written_is_told_with_its_path(self, bdops, source: Path, target: str) -> None:
        done = self.push(bdops, source, "node1", target)
        error = by_host(done)["node1"]["error"]
        assert done.returncode == 1
        assert error["code"] in ("FILE_FAILED", "FILE_TARGET")
        assert Path(target).parent.as_posix() in error["message"]

    def test_a_host_that_cannot_be_reached_is_told_apart(
        self, bdops, crippled: str, source: Path, tmp_path: Path
    ) -> None:
        done = self.push(bdops, source, "node1,node3", tmp_path / "there", "-i", crippled)
        assert done.returncode == 4
        assert by_host(done)["node3"]["outcome"] == "unreachable"
        assert by_host(done)["node1"]["change"] == "changed"

    @pytest.mark.parametrize(
        ("argv", "words"),
        [
            (("/etc/passwd", "node1", "relative"), "not an absolute path"),
            (("/etc/passwd", "node1", "/tmp/x", "--mode", "u+x"), "not a mode"),
            (("/no/such/file", "node1", "/tmp/x"), "cannot read /no/such/file"),
            (("/etc", "node1", "/tmp/x"), "/etc"),
        ],
    )
    def test_what_makes_no_sense_is_a_usage_error(self, bdops, lab, argv: tuple[str, ...], words: str) -> None:
        done = bdops("push", *argv)
        assert done.returncode == 2
        assert words in done.stderr

    def test_a_large_file_takes_no_memory(self, bdops, lab, tmp_path: Path) -> None:
        big = tmp_path / "big"
        with big.open("wb") as file:
            for _ in range(64):
                file.write(os.urandom(1 << 20))
        program = (
            # Not ru_maxrss, in which the memory of these tests is: a process has it from the one that starts it.
            "import re, sys; from bdops.__main__ import run; code = run(sys.argv[1:])\n"
            "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr)\n"
            "sys.exit(code)"
        )
        env = {**os.environ, "BDOPS_INVENTORY": str(lab.inventory)}
        for argv in (("push", str(big), "node1", f"{tmp_path}/copy"), ("pull", "node1", str(big), f"{tmp_path}/back")):
            done = subprocess.run(
                [sys.executable, "-c", program, *argv], env=env, capture_output=True, text=True, timeout=170
            )
            assert done.returncode == 0, done.stderr
            # In KiB; without a file it is some 60,000.
            assert int(done.stderr.splitlines()[-1]) < 110_000, argv[0]
        sums = {
            hashlib.sha256(p.read_bytes()).hexdigest() for p in (big, tmp_path / "copy", tmp_path / "back/node1/big")
        }
        assert len(sums) == 1

    @pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size_bytes": 299_999}])
    def test_what_arrives_otherwise_than_it_was_read_replaces_nothing(
        self, lab, source: Path, tmp_path: Path, wrong: dict[str, Any]
    ) -> None:
        host = lab.deployment("zk").instances[0].host
        target = tmp_path / "there" / "conf"
        target.parent.mkdir()
        target.write_text("old")
        changed = replace(local_file(source), **wrong)
        with SshPool([host]) as pool, pytest.raises(OperationFailed) as caught:
            push(pool, host, changed, str(target), mode=None, timeout_s=30)
        assert caught.value.code == "FILE_CHECKSUM"
        assert target.read_text() == "old"
        assert [p.name for p in target.parent.iterdir()] == ["conf"]


class TestPull:
    def test_each_hosts_file_gets_a_folder_of_its_own(
        self, bdops, lab, hosts: list[str], source: Path, tmp_path: Path
    ) -> None:
        done = bdops("pull", lab.name, str(source), str(tmp_path / "got"))
        assert done.returncode == 0
        for host in hosts:
            copy = tmp_path / "got" / host / source.name
            assert copy.read_bytes() == source.read_bytes()
            assert copy.stat().st_mode & 0o777 == 0o640
            assert [p.name for p in copy.parent.iterdir()] == [source.name]
        again = bdops("pull", lab.name, str(source), str(tmp_path / "got"), "-o", "json")
        assert {row["change"] for row in again.json["data"]["hosts"]} == {"unchanged"}

    def test_a_file_that_grows_is_pulled_as_it_is(self, bdops, lab, tmp_path: Path) -> None:
        log = tmp_path / "log"
        log.write_bytes(b"x" * 5_000_000)
        writer = subprocess.Popen(["sh", "-c", f"while :; do echo more >>{log}; done"])
        try:
            done = bdops("pull", "node1", str(log), str(tmp_path / "got"), "-o", "json")
        finally:
            writer.kill()
            writer.wait(10)
        assert done.returncode == 0, done.stdout
        row = by_host(done)["node1"]
        got = (tmp_path / "got" / "node1" / "log").read_bytes()
        assert (row["verified"], row["size_bytes"]) == (True, len(got))
        assert log.read_bytes().startswith(got)

    @pytest.mark.parametrize(("path", "code"), [("/no/such/file", "FILE_MISSING"), ("/etc", "FILE_TARGET")])
    def test_what_is_not_there_or_no_file_is_told(self, bdops, lab, tmp_path: Path, path: str, code: str) -> None:
        done = bdops("pull", "node1", path, str(tmp_path / "got"), "-o", "json")
        assert done.returncode == 1
        assert by_host(done)["node1"]["error"]["code"] == code
        assert not (tmp_path / "got").exists()

    def test_a_link_here_is_replaced_and_not_followed(self, bdops, lab, source: Path, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.write_text("precious")
        place = tmp_path / "got" / "node1" / source.name
        place.parent.mkdir(parents=True)
        place.symlink_to(precious)
        assert bdops("pull", "node1", str(source), str(tmp_path / "got")).returncode == 0
        assert precious.read_text() == "precious"
        assert place.read_bytes() == source.read_bytes()


def test_the_envelope_of_an_error_before_any_host_is_the_usual_one(bdops: Callable[..., Any], lab: Any) -> None:
    done = bdops("exec", "nosuch", "-o", "json", "--", "true")
    assert json.loads(done.stdout)["errors"][0]["code"] == "USAGE"
