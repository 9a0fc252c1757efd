"""A throw-away server on this machine that is started from a snapshot, and what it is compared with."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdops.components import throwaway
from bdops.components.throwaway import LOCALHOST
from bdops.components.zk.client.transfer import Endpoint, snapshot_stream
from bdops.components.zk.snapshot.format import (
    CHUNK_BYTES,
    GZIP,
    Acl,
    Damaged,
    Node,
    SnapshotReader,
    Summary,
    summarise,
)
from bdops.core.actor import ActContext
from bdops.core.plan import Step
from bdops.core.units import plural
from bdops.errors import ConfigError, OperationFailed, Unreachable

if TYPE_CHECKING:
    from kazoo.client import KazooClient

MAIN = "org.apache.zookeeper.server.ZooKeeperServerMain"
SETTINGS_FILE = "drill.json"
SUPER = "super"
TICK_MS = 60_000
"""Sessions of the snapshot begin anew, and end after two ticks at the earliest: until then ephemerals are there."""
START_S = 120.0
ANSWER_S = 120.0
SAMPLE = 50
SMALLEST_HEAP_MB = 128
BIGGEST_ZNODE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """Where a drill's server is. `password` is of its own superuser, and nobody else's."""

    folder: Path
    client_port: int
    admin_port: int
    password: str

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(address=(LOCALHOST, self.admin_port), identity=f"{SUPER}:{self.password}")


# -- the server --------------------------------------------------------------------------------------------------


def start(step: Step, snapshot: Path, summary: Summary, context: ActContext) -> None:
    """Start the server from a copy of the snapshot, unless it runs, and wait until it serves.

    Raises OperationFailed with the end of its log, ConfigError without a Java.
    """
    folder = Path(step.args["folder"])
    if not throwaway.processes(folder):
        throwaway.remove(folder)
        throwaway.launch(folder, _prepared(step, folder, snapshot, summary))
    throwaway.await_serving(
        folder,
        lambda: serves(folder),
        context,
        what="the throw-away server",
        timeout_s=START_S,
        hint="`zookeeper_home` of the zk settings names another ZooKeeper",
    )


def serves(folder: Path) -> bool:
    drill = _load(folder)
    if drill is None or not throwaway.processes(folder):
        return False
    try:
        with socket.create_connection((LOCALHOST, drill.client_port), timeout=2) as connection:
            connection.sendall(b"srvr")
            answer = connection.makefile("rb").read(4096)
        with socket.create_connection((LOCALHOST, drill.admin_port), timeout=2):
            pass
    except OSError:
        return False
    return b"Mode: standalone" in answer


def _prepared(step: Step, folder: Path, snapshot: Path, summary: Summary) -> list[str]:
    """The folder with all that the server needs; its command line."""
    data = folder / "data" / "version-2"
    drill = Drill(
        folder=folder,
        client_port=throwaway.free_port(),
        admin_port=throwaway.free_port(),
        password=secrets.token_urlsafe(18),
    )
    try:
        folder.mkdir(mode=0o700, parents=True)
        data.mkdir(parents=True)
        _copy(snapshot, data / f"snapshot.{summary.last_zxid or summary.newest_zxid:x}")
        (folder / "zoo.cfg").write_text(_config(drill))
        settings = folder / SETTINGS_FILE
        settings.touch(mode=0o600)
        settings.write_text(json.dumps({k: getattr(drill, k) for k in ("client_port", "admin_port", "password")}))
    except OSError as e:
        raise ConfigError(f"a throw-away server cannot be prepared: {e.strerror or e}", where=str(folder)) from None
    return _argv(step.args, drill, summary)


def _copy(source: Path, target: Path) -> None:
    """A copy by the name that the server looks for; unzipped, so that it needs no setting."""
    import gzip

    with source.open("rb") as file:
        zipped = file.read(2) == GZIP
    with gzip.open(source, "rb") if zipped else source.open("rb") as file, target.open("wb") as out:
        shutil.copyfileobj(file, out, CHUNK_BYTES)


def _config(drill: Drill) -> str:
    settings = {
        "tickTime": TICK_MS,
        "dataDir": drill.folder / "data",
        "clientPort": drill.client_port,
        "clientPortAddress": LOCALHOST,
        "admin.serverAddress": LOCALHOST,
        "admin.serverPort": drill.admin_port,
        "admin.rateLimiterIntervalInMS": 1,
        "serializeLastProcessedZxid.enabled": "true",
        "4lw.commands.whitelist": "srvr",
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _argv(args: Mapping[str, Any], drill: Drill, summary: Summary) -> list[str]:
    digest = hashlib.sha1(f"{SUPER}:{drill.password}".encode(), usedforsecurity=False).digest()
    # A znode takes some hundred bytes beside its data, and the snapshot that is read back takes as much again.
    heap_mb = SMALLEST_HEAP_MB + (summary.data_bytes * 2 + summary.znodes * 1000) // 2**20
    return [
        args["java"],
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        throwaway.marker(drill.folder),
        f"-Djute.maxbuffer={BIGGEST_ZNODE_BYTES}",
        "-Dzookeeper.extendedTypesEnabled=true",
        # Empty containers and znodes that have had their time stay as they are in the snapshot.
        "-Dznode.container.checkIntervalMs=86400000",
        f"-Dzookeeper.DigestAuthenticationProvider.superDigest={SUPER}:{base64.b64encode(digest).decode()}",
        "-Dzookeeper.jmx.log4j.disable=true",
        "-cp",
        args["class_path"],
        MAIN,
        str(drill.folder / "zoo.cfg"),
    ]


def _load(folder: Path) -> Drill | None:
    try:
        return Drill(folder=folder, **json.loads((folder / SETTINGS_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


# -- the comparison ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What one znode must be when a client reads it."""

    path: str
    data: bytes
    acl: frozenset[Acl]
    version: int
    mzxid: int
    owner: int


def compare(step: Step, snapshot: Path, context: ActContext) -> None:
    """Hold the server's whole tree against the snapshot: count, ephemerals, digest, ACLs; then read some as a client.

    Raises OperationFailed (DRILL_DIFFERS) with what is not the same.
    """
    drill = _load(Path(step.args["folder"]))
    if drill is None:
        raise OperationFailed("the throw-away server is gone", where=step.args["folder"])
    try:
        with snapshot.open("rb") as source:
            wanted, sample = sampled(SnapshotReader(source))
        with snapshot_stream(drill.endpoint, timeout_s=ANSWER_S) as stream:
            found = summarise(stream)
    except Damaged as e:
        raise OperationFailed(f"a snapshot is damaged: {e}", where=str(snapshot), code="BACKUP_DAMAGED") from None
    except OSError as e:
        raise ConfigError(f"the snapshot cannot be read: {e.strerror or e}", where=str(snapshot)) from None
    wrong = differing(wanted, found)
    with _client(drill) as client:
        wrong += [why for one in sample if (why := _differs(client, one))]
    if wrong:
        raise OperationFailed(
            f"the restored tree differs: {'; '.join(wrong[:5])}", where=step.args["id"], code="DRILL_DIFFERS"
        )
    context.say(
        f"a throw-away server has all {plural(found.znodes, 'znode')} ({found.ephemerals:,} ephemeral), digest "
        f"{found.digest:#x}, ACLs {found.acl_digest:#x}; "
        f"{plural(len(sample), 'sampled znode')} read with data, ACL and owner"
    )


def sampled(reader: SnapshotReader, size: int = SAMPLE) -> tuple[Summary, list[Sampled]]:
    """A snapshot's summary, and a random sample of its znodes (the server's own apart). Raises Damaged. Pure."""
    chance = random.Random(7)
    sample: list[Sampled] = []
    seen = 0
    for node in reader:
        if node.path.startswith(b"/zookeeper"):
            continue
        seen += 1
        at = chance.randrange(seen)
        if len(sample) < size:
            sample.append(_sampled(node))
        elif at < size:
            sample[at] = _sampled(node)
    return reader.summary, sample


def _sampled(node: Node) -> Sampled:
    return Sampled(
        path=node.name,
        data=node.data or b"",
        acl=frozenset(node.acl),
        version=node.version,
        mzxid=node.mzxid,
        owner=node.owner,
    )


def differing(wanted: Summary, found: Summary) -> list[str]:
    """What two summaries of the same tree do not have in common, in words. Pure."""
    names = ("znodes", "ephemerals", "digest", "acl_digest")
    pairs = ((n, getattr(wanted, n), getattr(found, n)) for n in names)
    return [
        f"{n} {f:#x} instead of {w:#x}" if "digest" in n else f"{n} {f} instead of {w}" for n, w, f in pairs if w != f
    ]


def _differs(client: KazooClient, one: Sampled) -> str | None:
    from kazoo.exceptions import KazooException

    try:
        data, stat = client.get(one.path)
        entries, _ = client.get_acls(one.path)
    except KazooException as e:
        return f"{one.path}: {type(e).__name__}"
    acl = frozenset(Acl(a.perms, a.id.scheme, a.id.id) for a in entries)
    if (data, stat.version, stat.mzxid) != (one.data, one.version, one.mzxid):
        return f"{one.path}: its data or version"
    if acl != one.acl:
        return f"{one.path}: its ACL"
    return None if stat.ephemeralOwner == one.owner else f"{one.path}: its owner"


@contextmanager
def _client(drill: Drill) -> Iterator[KazooClient]:
    """A session of the server's superuser with a drill's server."""
    from kazoo.client import KazooClient
    from kazoo.handlers.threading import KazooTimeoutError

    client = KazooClient(hosts=f"{LOCALHOST}:{drill.client_port}", auth_data=[("digest", f"{SUPER}:{drill.password}")])
    try:
        client.start(timeout=30)
        yield client
    except KazooTimeoutError:
        raise Unreachable("the throw-away server gives no session", code="ZK_NO_SESSION") from None
    finally:
        client.stop()
        client.close()
