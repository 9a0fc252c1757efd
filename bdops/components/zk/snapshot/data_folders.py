"""A server's data folders on its host: where they are, what is in them, and a snapshot in place of it, over SSH.

ZooKeeper Administrator's Guide, "The Data Directory" and "Recovery": a server's tree is what is in `version-2` of its
dataDir (snapshots, epochs) and of its dataLogDir (transactions, which are played on top of the snapshot). So both are
moved aside, and the first one comes back with the snapshot alone. What is moved aside stays below
`bdops-aside-STAMP`. Each script may be run again after any end that it came to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bdops.components.zk.client import four_letter
from bdops.components.zk.client.admin import AdminServer
from bdops.components.zk.client.transfer import endpoint_of
from bdops.components.zk.client.wire import tls_context
from bdops.components.zk.settings import Settings
from bdops.components.zk.snapshot.format import GZIP
from bdops.core.model import Instance
from bdops.errors import BdopsError, ConfigError, OperationFailed, StateUnknown
from bdops.hosts.files import LocalFile, local_file, push
from bdops.hosts.ssh import SshPool

READ_S = 20.0
CHANGE_S = 120.0
PUSH_S = 600.0
PUSH_BYTES_PER_S = 1 << 20
"""So slow a connection is waited for."""
VERSION = "version-2"
_CONFIG = re.compile(r"^\s*(dataDir|dataLogDir)\s*[=:]\s*(\S.*?)\s*$", re.MULTILINE)

# Parameters: configuration files. What they say of data folders.
_CONFIGURED = 'for file; do cat "$file" 2>/dev/null; echo; done'
# Parameters: the stamp, then folders.
_LOOK = """\
stamp=$1; shift
for folder; do
  there=$folder/version-2
  [ -d "$folder" ] || { echo "@absent"; continue; }
  myid=no aside=no placed=no
  [ ! -e "$folder/myid" ] || myid=yes
  [ ! -d "$folder/bdops-aside-$stamp" ] || aside=yes
  [ ! -e "$there/.bdops-$stamp" ] || placed=yes
  files=$(ls "$there" 2>/dev/null | wc -l)
  grown=$(ls "$there" 2>/dev/null | grep -c -v '^snapshot[.]')
  logs=$(ls "$there" 2>/dev/null | grep -c '^log[.]')
  kb=$(du -sk "$there" 2>/dev/null | cut -f1)
  echo "@folder $myid $aside $placed $((files)) $((grown)) $((logs)) ${kb:-0}"
done
"""
# Parameters: the stamp, the data folder, the folder of transactions (the same, or another one). Says where the new
# file is to be written by the user that logs in, who need not be the one whose the folder is.
_PREPARE = """\
stamp=$1 data=$2 log=$3
for folder in "$data" "$log"; do
  mkdir -p "$folder/bdops-aside-$stamp" || exit
  [ -e "$folder/version-2/.bdops-$stamp" ] || mkdir -p "$folder/bdops-new-$stamp" || exit
done
new=$data/bdops-new-$stamp
[ ! -d "$new" ] || [ -z "${SUDO_UID-}" ] || chown "$SUDO_UID:$SUDO_GID" "$new" || exit
echo ok
"""
# Parameters: the stamp, one data folder, its file ("" for the folder of transactions), where that was written, its sum.
_PLACE = """\
stamp=$1 folder=$2 file=$3 staged=$4 sum=$5
new=$folder/bdops-new-$stamp aside=$folder/bdops-aside-$stamp there=$folder/version-2
if [ ! -e "$there/.bdops-$stamp" ]; then
  like=$there
  [ -d "$like" ] || like=$aside/version-2
  [ -d "$like" ] || like=$folder
  owner=$(stat -c %u:%g "$like") && mode=$(stat -c %a "$like") || exit
  if [ "$file" ]; then
    [ "$staged" = "$new" ] || cp "$staged/$file" "$new/$file" || exit
    rm -f "$new"/.snapshot.*
    found=$(sha256sum <"$new/$file") || exit
    [ "${found%% *}" = "$sum" ] || { echo "the checksum is ${found%% *}"; exit 1; }
    old=$(ls -d "$like"/snapshot.* "$like"/log.* 2>/dev/null | head -n 1)
    bits=640
    [ -z "$old" ] || bits=$(stat -c %a "$old") || exit
    chmod "$bits" "$new/$file" && chown "$owner" "$new/$file" || exit
  fi
  : >"$new/.bdops-$stamp" || exit
  chmod "$mode" "$new" && chown "$owner" "$new" "$new/.bdops-$stamp" || exit
  sync "$new"/* "$new" 2>/dev/null || sync
  if [ -e "$there" ]; then
    n=
    while [ -e "$aside/version-2$n" ]; do n=.$((${n#.} + 1)); done
    mv "$there" "$aside/version-2$n" || exit
  fi
  mv "$new" "$there" || exit
  sync "$folder" "$aside" 2>/dev/null || sync
fi
echo ok
"""
# Parameters: the stamp, then folders. Back to what was there; a server has not run since.
_PUT_BACK = """\
stamp=$1; shift
for folder; do
  aside=$folder/bdops-aside-$stamp there=$folder/version-2
  if [ -e "$there/.bdops-$stamp" ]; then
    rm -rf "$folder/bdops-new-$stamp" && mv "$there" "$folder/bdops-new-$stamp" || exit
  fi
  if [ -e "$aside/version-2" ] && [ ! -e "$there" ]; then mv "$aside/version-2" "$there" || exit; fi
  rm -rf "$folder/bdops-new-$stamp" || exit
  rmdir "$aside" 2>/dev/null
done
echo ok
"""
# Parameters: the stamp, then folders. What was moved aside stays.
_TIDY = """\
stamp=$1; shift
for folder; do
  rm -f "$folder/version-2/.bdops-$stamp" || exit
  rm -rf "$folder/bdops-new-$stamp" || exit
  rmdir "$folder/bdops-aside-$stamp" 2>/dev/null
done
echo ok
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFolders:
    """Where one server keeps its tree: `data` its dataDir, `log` its dataLogDir (often the same), both absolute."""

    data: str
    log: str

    @property
    def each(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.data, self.log)))

    def as_data(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is in one data folder. `aside`, `placed`: a restore of this stamp has begun here, has put its file here.

    `files` are those in version-2, `grown` those of them that are no snapshots: a server has run on it; `logs` those
    with transactions.
    """

    there: bool = True
    myid: bool = False
    aside: bool = False
    placed: bool = False
    files: int = 0
    grown: int = 0
    logs: int = 0
    size_bytes: int = 0


# -- where they are ----------------------------------------------------------------------------------------------


def data_folders(pool: SshPool, instance: Instance) -> DataFolders:
    """Where a server keeps its tree: as it says itself, else as its zoo.cfg does, else as the inventory does.

    zoo.cfg is looked for among the `files` of its service. Raises ConfigError (ZK_DATA_DIR_UNKNOWN, ZK_NO_MYID,
    ZK_NO_DATA_DIR), and what the host raises.
    """
    told = _told_by_server(instance) or _told_by_files(pool, instance) or _told_by_inventory(pool, instance)
    if told is None:
        raise ConfigError(
            f"where {instance.name} keeps all its data is not known: it does not answer, nor does the inventory say",
            where=instance.host.name,
            hint="`data_dirs: [DATADIR, DATALOGDIR]` of the zk settings, or its zoo.cfg in `files` of its service",
            code="ZK_DATA_DIR_UNKNOWN",
        )
    return told


def require_usable(pool: SshPool, instance: Instance, folders: DataFolders, *, alone: bool) -> tuple[Found, ...]:
    """What is in the folders. Raises ConfigError when one is not there, or (but for a server alone) has no myid."""
    found = look(pool, instance, folders, "none")
    for folder, one in zip(folders.each, found, strict=True):
        if not one.there:
            raise ConfigError(
                f"there is no {folder}",
                where=instance.host.name,
                hint="make it, with the owner that the server runs as",
                code="ZK_NO_DATA_DIR",
            )
    if not found[0].myid and not alone:
        number = instance.settings.myid or "N"
        raise ConfigError(
            f"{folders.data} has no myid: the server would not know which one it is",
            where=instance.host.name,
            hint=f"write the server's number into it: echo {number} >{folders.data}/myid",
            code="ZK_NO_MYID",
        )
    return found


def _told_by_server(instance: Instance) -> DataFolders | None:
    settings: Settings = instance.settings
    try:
        endpoint = endpoint_of(instance)
        with AdminServer(endpoint.address, endpoint.path, timeout_s=READ_S / 4, tls=endpoint.tls) as admin:
            told = admin.ask("configuration")
        return _of_version_2(told.get("data_dir"), told.get("data_log_dir"))
    except BdopsError:
        pass  # it is down, as a rule; the word may be answered where the AdminServer is off
    try:
        tls = tls_context(settings.tls) if settings.tls else None
        address = (instance.host.address, settings.client_port)
        return folders_in(four_letter.ask("conf", address, timeout_s=READ_S / 4, tls=tls))
    except BdopsError:
        return None


def _told_by_files(pool: SshPool, instance: Instance) -> DataFolders | None:
    service = instance.service
    if service is None or not (files := [f for f in service.files if f.endswith(".cfg")]):
        return None
    return folders_in(_run(pool, instance, _CONFIGURED, files))


def _told_by_inventory(pool: SshPool, instance: Instance) -> DataFolders | None:
    """`data_dirs` has both, or one that is both. The one with myid in it is the dataDir.

    One that has snapshots and no transactions is not both: those are somewhere else, and would be played on top.
    """
    named: tuple[str, ...] = instance.settings.data_dirs
    if not 1 <= len(named) <= 2:
        return None
    found = _looked(_run(pool, instance, _LOOK, ("none", *named)), len(named), instance)
    if len(named) == 1 and found[0].files and not found[0].logs:
        return None
    first = next((folder for folder, one in zip(named, found, strict=True) if one.myid), named[0])
    return DataFolders(data=first, log=next((f for f in named if f != first), first))


def folders_in(text: str) -> DataFolders | None:
    """The folders of a zoo.cfg, or of the answer to `conf`, which has version-2 in them. Pure."""
    values = dict(_CONFIG.findall(text))
    return _of_version_2(values.get("dataDir"), values.get("dataLogDir"))


def _of_version_2(data: Any, log: Any) -> DataFolders | None:
    if not isinstance(data, str) or not data.startswith("/"):
        return None
    both = [
        str(folder).rstrip("/").removesuffix(f"/{VERSION}")
        for folder in (data, log if isinstance(log, str) and log.startswith("/") else data)
    ]
    return DataFolders(data=both[0], log=both[1])


# -- what is in them ---------------------------------------------------------------------------------------------


def look(pool: SshPool, instance: Instance, folders: DataFolders, stamp: str) -> tuple[Found, ...]:
    """What is in each of a server's folders, its dataDir first. Raises what the host raises, and StateUnknown."""
    return _looked(_run(pool, instance, _LOOK, (stamp, *folders.each)), len(folders.each), instance)


def _looked(answer: str, count: int, instance: Instance) -> tuple[Found, ...]:
    found = looked(answer)
    if len(found) != count:
        raise StateUnknown("what its data folders have is not told", where=instance.host.name, code="ZK_DATA_DIR")
    return found


def looked(answer: str) -> tuple[Found, ...]:
    """The answer of the script that looks. Pure."""
    found = []
    for line in answer.splitlines():
        match line.split():
            case ["@absent"]:
                found.append(Found(there=False))
            case ["@folder", myid, aside, placed, files, grown, logs, kb]:
                yes = [word == "yes" for word in (myid, aside, placed)]
                found.append(
                    Found(
                        myid=yes[0],
                        aside=yes[1],
                        placed=yes[2],
                        files=int(files),
                        grown=int(grown),
                        logs=int(logs),
                        size_bytes=int(kb) * 1024,
                    )
                )
    return tuple(found)


# -- what is done to them ----------------------------------------------------------------------------------------


def prepare(pool: SshPool, instance: Instance, folders: DataFolders, stamp: str) -> None:
    """Note on the host that a restore of this stamp has begun: the folders that it needs."""
    _change(pool, instance, _PREPARE, (stamp, folders.data, folders.log))


def unchanged(snapshot: Path, sha256: str) -> LocalFile:
    """A snapshot's file, read to its end. Raises OperationFailed when it is not what was written, and UsageError."""
    found = local_file(snapshot)
    if found.sha256 != sha256:
        raise OperationFailed(
            "it is not what was written (SHA-256)",
            where=str(snapshot),
            hint="bdops zk snapshot verify",
            code="BACKUP_DAMAGED",
        )
    return found


def place(pool: SshPool, instance: Instance, folders: DataFolders, stamp: str, snapshot: LocalFile, zxid: int) -> None:
    """The snapshot in place of all that is there, which is moved aside. The server must not run.

    The file is streamed, compared by its SHA-256 on the host, and has its name when it is whole; the folder that it is
    in takes the place of version-2 with one rename. Raises OperationFailed, and what the host raises.
    """
    name = file_name(snapshot.path, zxid)
    new = f"{folders.data}/bdops-new-{stamp}"
    if not look(pool, instance, folders, stamp)[0].placed:
        staged = _staging(pool, instance, new, stamp)
        timeout_s = PUSH_S + snapshot.size_bytes / PUSH_BYTES_PER_S
        push(pool, instance.host, snapshot, f"{staged}/{name}", mode=0o600, timeout_s=timeout_s)
        if folders.log != folders.data:
            _change(pool, instance, _PLACE, (stamp, folders.log, "", "", ""))
        _change(pool, instance, _PLACE, (stamp, folders.data, name, staged, snapshot.sha256))
    _unstage(pool, instance, stamp)


def file_name(snapshot: Path, zxid: int) -> str:
    """The name that a server looks for: it reads a zipped file by its suffix (SnapStream.getStreamMode)."""
    with snapshot.open("rb") as file:
        return f"snapshot.{zxid:x}" + (".gz" if file.read(len(GZIP)) == GZIP else "")


def put_back(pool: SshPool, instance: Instance, folders: DataFolders, stamp: str) -> None:
    """What was moved aside, where it was. The server must not have run since."""
    _change(pool, instance, _PUT_BACK, (stamp, *folders.each))
    _unstage(pool, instance, stamp)


def tidy(pool: SshPool, instance: Instance, folders: DataFolders, stamp: str) -> None:
    """Remove what the restore needed for itself. What was moved aside stays."""
    _change(pool, instance, _TIDY, (stamp, *folders.each))


def _staging(pool: SshPool, instance: Instance, new: str, stamp: str) -> str:
    """Where the user that logs in may write the file: the new folder itself, else one of bdops' own."""
    script = 'if [ -w "$1" ] && [ -x "$1" ]; then echo "$1"; else umask 077; mkdir -p "$2/$3" && echo "$2/$3"; fi'
    argv = ("sh", "-c", script, "bdops-zk", new, instance.host.work_dir, f"zk-restore-{stamp}")
    done = pool.run(instance.host, argv, timeout_s=READ_S)
    if done.exit_status or not done.stdout.startswith("/"):
        raise OperationFailed(
            f"nothing can be written to {new}: {done.stderr.strip()}", where=instance.host.name, code="ZK_DATA_DIR"
        )
    return done.stdout.strip()


def _unstage(pool: SshPool, instance: Instance, stamp: str) -> None:
    script = 'rm -rf "$1/zk-restore-$2"; rmdir "$1" 2>/dev/null; exit 0'
    pool.run(instance.host, ("sh", "-c", script, "bdops-zk", instance.host.work_dir, stamp), timeout_s=READ_S)


def _change(pool: SshPool, instance: Instance, script: str, words: Sequence[str]) -> None:
    said = _run(pool, instance, script, words, timeout_s=CHANGE_S)
    if said.strip() != "ok":
        raise OperationFailed(
            f"its data folder could not be changed: {said.strip() or 'silence'}",
            where=instance.host.name,
            hint="may the user that logs in write there? `sudo: true` of its service",
            code="ZK_DATA_DIR",
        )


def _run(pool: SshPool, instance: Instance, script: str, words: Sequence[str], *, timeout_s: float = READ_S) -> str:
    sudo = ("sudo", "-n", "--") if instance.service and instance.service.sudo else ()
    argv = (*sudo, "sh", "-c", f"export LC_ALL=C\n{script}", "bdops-zk", *words)
    done = pool.run(instance.host, argv, timeout_s=timeout_s)
    return done.stdout if not done.stderr.strip() or done.exit_status == 0 else f"{done.stdout}{done.stderr}"


def folders_of(step_args: Mapping[str, Any]) -> dict[str, DataFolders]:
    """By instance, as a step has them."""
    return {name: DataFolders(**folders) for name, folders in step_args["folders"].items()}
