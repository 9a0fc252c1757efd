"""A real systemd beside this machine's own: PID 1 of namespaces of its own, with an sshd, on a root of its own.

Its root is a tmpfs that sees this machine's /usr, read-only, and nothing else of it: not /etc, /run or /tmp, nor its
units (SYSTEMD_UNIT_PATH). What it makes goes with its last process. The network is this machine's loopback.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from bdops.core.model import Host, Ssh
from bdops.errors import BdopsError
from bdops.hosts.ssh import SshPool

UP_TIMEOUT_S = 60
ADDRESS, PORT = "127.0.0.1", 22973

# Parameters: the root's mount point, what goes to its /etc. Runs as PID 1, which systemd then becomes.
_BOOT = """\
set -eu
mount -t tmpfs -o mode=0755 tmpfs "$1"
cd "$1"
mkdir -p usr etc run var/tmp tmp proc sys dev root old
chmod 1777 tmp var/tmp
for each in bin sbin lib lib32 lib64 libx32; do
  if [ -h "/$each" ]; then cp -a "/$each" "$each"
  elif [ -d "/$each" ]; then mkdir "$each"; mount --bind "/$each" "$each"; mount -o remount,bind,ro "$each"
  fi
done
mount --bind /usr usr; mount -o remount,bind,ro usr
cp -a /etc/ld.so.cache etc/ 2>/dev/null || :
cp -a "$2/." etc/
mount -t proc proc proc
# systemd raises limits of the whole machine there.
mount --bind proc/sys proc/sys; mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=0755 tmpfs dev
for each in null zero full random urandom tty; do touch "dev/$each"; mount --bind "/dev/$each" "dev/$each"; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=0755 tmpfs run
mkdir run/sshd
pivot_root . old
umount -l old
exec env -i container=bdops-test PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/etc/units \\
  /lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=no
"""

_SSHD_CONFIG = f"""\
ListenAddress {ADDRESS}:{PORT}
HostKey /etc/ssh_host_ed25519_key
AuthorizedKeysFile /etc/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
StrictModes no
MaxSessions 50
PidFile none
"""


@contextmanager
def systemd_host(folder: Path, units: Mapping[str, str]) -> Iterator[Host]:
    """The host, up and let in, with these units (by name) besides its sshd. Raises AssertionError where none can be."""
    assert os.getuid() == 0, "a systemd in namespaces wants root, and so does CI run this"
    assert Path("/lib/systemd/systemd").exists(), "there is no systemd to boot: apt-get install systemd"
    host = _write_etc(folder, units)
    cgroup = _new_cgroup(f"bdops-test-{os.getpid()}")
    root = folder / "root"
    root.mkdir()
    log = folder / "systemd.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            # Should the tests be killed, systemd goes with them.
            ["setpriv", "--pdeathsig", "KILL", "sh", "-c", 'echo $$ >"$0/cgroup.procs"; exec "$@"', str(cgroup),
             "unshare", "--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc", "--cgroup",
             "sh", "-c", _BOOT, "boot", str(root), str(folder / "etc")],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        _wait_until_up(host, process, log)
        yield host
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        _remove_cgroup(cgroup)


def _write_etc(folder: Path, units: Mapping[str, str]) -> Host:
    etc = folder / "etc"
    (etc / "units").mkdir(parents=True)
    (etc / "systemd").mkdir()
    files = {
        "systemd/system.conf": "[Manager]\nDefaultStandardOutput=null\nDefaultStandardError=null\n",
        "units/test.target": "[Unit]\nDefaultDependencies=no\nWants=sshd.service\n",
        "units/sshd.service": unit(
            f"ExecStart={shutil.which('sshd', path='/usr/sbin:/sbin:/usr/bin')} -D -f /etc/sshd"
        ),
        "sshd": _SSHD_CONFIG,
        "passwd": "root:x:0:0:root:/root:/bin/sh\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n",
        "shadow": "root:*:19000:0:99999:7:::\n",
        "group": "root:x:0:\nnogroup:x:65534:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\n",
        **{f"units/{name}": text for name, text in units.items()},
    }
    for name, text in files.items():
        (etc / name).write_text(text)
    for key in (etc / "ssh_host_ed25519_key", folder / "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=60)
    shutil.copy(folder / "key.pub", etc / "authorized_keys")
    public = (etc / "ssh_host_ed25519_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[{ADDRESS}]:{PORT} {public}")
    ssh = Ssh(user="root", port=PORT, keys=(str(folder / "key"),), known_hosts=str(folder / "known_hosts"), agent=False)
    return Host(name="systemd", address=ADDRESS, ssh=ssh)


def unit(*lines: str) -> str:
    """A service that depends on nothing."""
    return "\n".join(["[Unit]", "DefaultDependencies=no", "StartLimitIntervalSec=0", "[Service]", *lines, ""])


def _new_cgroup(name: str) -> Path:
    mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    unified = [left.split()[4] for left, right in mounts if right.startswith("cgroup2 ")]
    assert unified, "no cgroup2 is mounted"
    path = Path(unified[0]) / name
    path.mkdir()
    return path


def _remove_cgroup(path: Path) -> None:
    deadline = time.monotonic() + 20
    while path.exists():
        for folder in sorted(path.rglob("*"), reverse=True):
            if folder.is_dir():
                with suppress(OSError):
                    folder.rmdir()
        with suppress(OSError):
            path.rmdir()
        assert time.monotonic() < deadline, f"{path} stays: {(path / 'cgroup.procs').read_text()}"
        time.sleep(0.05)


def _wait_until_up(host: Host, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + UP_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with SshPool() as pool, suppress(BdopsError):
            assert pool.run(host, ["cat", "/proc/1/comm"], timeout_s=10).stdout == "systemd\n"
            return
        time.sleep(0.1)
    raise AssertionError(f"systemd did not come up:\n{log.read_text(errors='replace')}")
