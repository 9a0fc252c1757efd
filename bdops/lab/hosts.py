"""The hosts of a lab: a loopback address, an sshd and a supervisord each."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bdops.errors import ConfigError, OperationFailed
from bdops.lab.network import SSH_PORT
from bdops.lab.paths import private_folder
from bdops.lab.processes import MARKER


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHost:
    """One host. `runtime` is the short folder of the sockets and pid files of the lab's hosts."""

    name: str
    address: str
    rack: str
    folder: Path
    runtime: Path

    @property
    def socket(self) -> Path:
        return self.runtime / f"{self.name}.sock"

    @property
    def pid_file(self) -> Path:
        return self.runtime / f"{self.name}.pid"

    @property
    def supervisor_config(self) -> Path:
        return self.folder / "supervisord.conf"

    @property
    def sshd_config(self) -> Path:
        return self.folder / "sshd" / "sshd_config"

    @property
    def sshd_pid_file(self) -> Path:
        return self.runtime / f"{self.name}-sshd.pid"

    @property
    def programs_folder(self) -> Path:
        """One file per component with its supervisord programs."""
        return self.folder / "programs"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"


def find_sshd() -> str | None:
    """The path of sshd, which is often not on the PATH of ordinary users."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"])
    return shutil.which("sshd", path=path)


def client_key(lab_folder: Path) -> Path:
    return lab_folder / "ssh" / "id_ed25519"


def known_hosts(lab_folder: Path) -> Path:
    return lab_folder / "ssh" / "known_hosts"


def user() -> str:
    """The user whose processes the lab's are. Not by USER or LOGNAME, which sudo and containers leave as they were."""
    return pwd.getpwuid(os.getuid()).pw_name


def prepare_hosts(lab_folder: Path, hosts: Sequence[LabHost]) -> None:
    """Write what sshd and supervisord need: keys (once), configurations, folders."""
    ssh = private_folder(lab_folder / "ssh")
    _make_key(client_key(lab_folder), "bdops-lab")
    (ssh / "authorized_keys").write_text(client_key(lab_folder).with_suffix(".pub").read_text())
    lines = []
    for host in hosts:
        for folder in (host.folder, host.folder / "sshd", host.programs_folder, host.logs):
            private_folder(folder)
        key = host.folder / "sshd" / "ssh_host_ed25519_key"
        _make_key(key, host.name)
        host.sshd_config.write_text(sshd_config(lab_folder, host, key))
        lines.append(f"[{host.address}]:{SSH_PORT} {' '.join(key.with_suffix('.pub').read_text().split()[:2])}")
    known_hosts(lab_folder).write_text("\n".join(lines) + "\n")
    if os.getuid() == 0:
        # sshd as root wants its empty folder, which the distribution's service would make at boot.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def sshd_config(lab_folder: Path, host: LabHost, host_key: Path) -> str:
    return "\n".join(
        [
            f"ListenAddress {host.address}:{SSH_PORT}",
            f"HostKey {host_key}",
            f"PidFile {host.sshd_pid_file}",
            f"AuthorizedKeysFile {lab_folder / 'ssh' / 'authorized_keys'}",
            f"AllowUsers {user()}",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            f"UsePAM {'yes' if _root_is_locked() else 'no'}",
            "UseDNS no",
            # The folders above the lab may be of any mode; those of the lab are 0700.
            "StrictModes no",
            "MaxStartups 200",
            "MaxSessions 200",
            "PrintMotd no",
            # At the first level (SHLVL) under sshd bash reads the person's ~/.bashrc, for every command.
            f"SetEnv {MARKER}={lab_folder} SHLVL=1",
            "Subsystem sftp internal-sftp",
            "",
        ]
    )


def _root_is_locked() -> bool:
    """Whether this is a root account locked by `!`, which sshd lets in with a key only through PAM."""
    if os.getuid() != 0:
        return False
    try:
        lines = Path("/etc/shadow").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith("root:!") for line in lines)


def _make_key(path: Path, comment: str) -> None:
    if path.exists() and path.with_suffix(".pub").exists():
        return
    keygen = shutil.which("ssh-keygen")
    if keygen is None:
        raise ConfigError(
            "ssh-keygen is not on the PATH", hint="apt-get install openssh-client (Fedora: openssh)", code="LAB_NO_SSHD"
        )
    path.unlink(missing_ok=True)
    done = subprocess.run(
        [keygen, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise OperationFailed(f"ssh-keygen could not write {path}: {done.stderr.strip()}")
