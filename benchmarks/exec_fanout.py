"""One command on 100 hosts by `bdops exec`, by Ansible's raw module and by clush: the same sshd, in one run.

    python benchmarks/exec_fanout.py

The hosts are 100 loopback addresses, with strict host keys, a fan-out of 32, and a new connection for each host, by one
key exchange for all (`--kex any`: each as it prefers; OpenSSH's post-quantum one alone costs it 60 ms of CPU). The
requirements: faster than both, and at most half of clush's CPU (user and system, of the client and its children).
Ansible and ClusterShell are installed into a virtual environment that is thrown away (`--tools FOLDER` keeps it).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from timing import BDOPS

from bdops.lab.hosts import find_sshd

NETWORK, PORT = "127.0.77", 22977
FANOUT = 32
# sshd listens on at most so many addresses (MAX_LISTEN_SOCKS).
PER_SSHD = 16


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall and CPU time of one run, in seconds."""

    wall_s: float
    cpu_s: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument(
        "--tools", type=Path, help="a virtual environment with ansible-core and ClusterShell, made if absent"
    )
    parser.add_argument("--kex", choices=("same", "any"), default="same")
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bdops-fanout-")))
        bin_ = tools(asked.tools or folder / "tools")
        stack.enter_context(
            sshds(folder, asked.hosts, "KexAlgorithms curve25519-sha256@libssh.org\n" if asked.kex == "same" else "")
        )
        commands = commands_of(folder, bin_, asked.hosts)
        taken: dict[str, list[Cost]] = {name: [] for name in commands}
        # They take turns, so that all see the same load; the first round is thrown away.
        for _ in range(asked.runs + 1):
            for name, (argv, env) in commands.items():
                taken[name].append(measured(argv, env, asked.hosts))
    return tell(taken, asked.hosts)


def tools(venv: Path) -> Path:
    """The programs of Ansible and ClusterShell."""
    if not (venv / "bin" / "clush").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "ansible-core", "ClusterShell"], check=True)
    return venv / "bin"


@contextmanager
def sshds(folder: Path, hosts: int, more: str = "") -> Iterator[None]:
    """The sshd of all addresses: one host key, one key that is let in."""
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    public = (folder / "host_key.pub").read_text().split()[:2]
    addresses = [f"{NETWORK}.{n}" for n in range(1, hosts + 1)]
    (folder / "known_hosts").write_text("".join(f"[{a}]:{PORT} {' '.join(public)}\n" for a in addresses))
    (folder / "home").mkdir()
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    running = []
    try:
        for first in range(0, hosts, PER_SSHD):
            config = folder / f"sshd_config.{first}"
            config.write_text(
                "\n".join(f"ListenAddress {a}:{PORT}" for a in addresses[first : first + PER_SSHD])
                + f"\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/key.pub\nPidFile none\nStrictModes no\n"
                # Not this user's own start-up files, whose work would drown what is measured.
                f"SetEnv HOME={folder}/home\n"
                "UsePAM no\nPasswordAuthentication no\nUseDNS no\nMaxStartups 500\nPermitRootLogin prohibit-password\n"
                + more
            )
            running.append(
                subprocess.Popen([find_sshd() or "sshd", "-D", "-f", str(config)], stderr=subprocess.DEVNULL)
            )
        wait_for(folder, addresses[-1])
        yield
    finally:
        for process in running:
            process.terminate()
            process.wait(30)


def wait_for(folder: Path, address: str) -> None:
    deadline = time.monotonic() + 30
    while subprocess.run(["ssh", *ssh_options(folder), address, "true"], capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise SystemExit("the sshd did not come up")
        time.sleep(0.1)


def ssh_options(folder: Path) -> list[str]:
    return [
        "-F", "none", "-i", str(folder / "key"), "-p", str(PORT), "-o", f"UserKnownHostsFile={folder}/known_hosts",
        "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ControlMaster=no", "-o", "IdentitiesOnly=yes",
    ]  # fmt: skip


def commands_of(folder: Path, bin_: Path, hosts: int) -> Mapping[str, tuple[Sequence[str], Mapping[str, str]]]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("BDOPS_", "ANSIBLE_", "SSH_", "PYTHON"))}
    names = f"{NETWORK}.[1-{hosts}]"
    (folder / "inventory.yaml").write_text(
        f"clusters:\n  bench:\n    ssh: {{port: {PORT}, keys: {folder}/key, agent: false, "
        f"known_hosts: {folder}/known_hosts}}\n    hosts:\n      '{names}': {{}}\n"
    )
    (folder / "hosts.ini").write_text("".join(f"{NETWORK}.{n} ansible_port={PORT}\n" for n in range(1, hosts + 1)))
    (folder / "ansible.cfg").write_text("[defaults]\n")
    options = " ".join(ssh_options(folder))
    ansible = {
        "ANSIBLE_SSH_ARGS": options,
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return {
        "bdops exec": (
            [
                BDOPS,
                "exec",
                "-i",
                str(folder / "inventory.yaml"),
                "bench",
                "--parallel",
                str(FANOUT),
                "--",
                "echo",
                "hello",
            ],
            env,
        ),
        "clush -b": (
            [str(bin_ / "clush"), "-b", "-f", str(FANOUT), "-o", options, "-w", names, "echo hello"],
            env,
        ),
        "ansible -m raw": (
            [
                str(bin_ / "ansible"),
                "all",
                "-i",
                str(folder / "hosts.ini"),
                "-f",
                str(FANOUT),
                "-m",
                "raw",
                "-a",
                "echo hello",
            ],
            env | ansible,
        ),
    }


def measured(argv: Sequence[str], env: Mapping[str, str], hosts: int) -> Cost:
    """One run, which must have said hello on every host."""
    before = os.times()
    started = time.perf_counter()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    wall_s = time.perf_counter() - started
    after = os.times()
    said = done.stdout.count("hello")
    folded = f"{NETWORK}.[1-{hosts}]" in done.stdout
    if done.returncode != 0 or not (said >= hosts or (said == 1 and folded)):
        raise SystemExit(f"{argv[0]} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(wall_s, cpu_s)


def tell(taken: Mapping[str, list[Cost]], hosts: int) -> int:
    wall = {name: statistics.median(c.wall_s for c in costs[1:]) for name, costs in taken.items()}
    cpu = {name: statistics.median(c.cpu_s for c in costs[1:]) for name, costs in taken.items()}
    ours = "bdops exec"
    print(f"{hosts} hosts, fan-out {FANOUT}; medians; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name in taken:
        ratios = (
            ""
            if name == ours
            else f"   bdops takes {wall[ours] / wall[name]:.2f} of it, {cpu[ours] / cpu[name]:.2f} CPU"
        )
        print(f"{name:16} {wall[name]:7.2f} s wall {cpu[name]:7.2f} s CPU{ratios}")
    faster = all(wall[ours] < wall[name] for name in wall if name != ours)
    half = cpu[ours] <= 0.5 * cpu["clush -b"]
    print(f"faster than both: {'met' if faster else 'NOT met'}")
    print(f"at most half of clush's CPU: {'met' if half else 'NOT met'}")
    return 0 if faster and half else 1


if __name__ == "__main__":
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        raise SystemExit("needs OpenSSH's client")
    sys.exit(main())
