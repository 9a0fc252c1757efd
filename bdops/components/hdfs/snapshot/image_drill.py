"""A throw-away NameNode on this machine that loads an image: the proof that the namespace can be had from it.

It listens on the loopback address alone and stays in safe mode, for no DataNode ever reports to it: nothing is
deleted or replicated. It reads the image in its place, by a link, checks its MD5 itself, and is asked how much it has.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf.message import DecodeError

from bdops.components import throwaway
from bdops.components.hdfs.http import HttpServer
from bdops.components.hdfs.namenode import NameNode
from bdops.components.hdfs.proto import fsimage_pb2 as pb
from bdops.components.hdfs.rpc import Connection
from bdops.components.hdfs.server_files import WEBAPPS, log4j, xml
from bdops.components.hdfs.snapshot import calls
from bdops.components.throwaway import LOCALHOST
from bdops.core.actor import ActContext
from bdops.core.backups import BackupRecord
from bdops.core.plan import Step
from bdops.core.units import format_size
from bdops.errors import BdopsError, ConfigError, OperationFailed

MAIN = "org.apache.hadoop.hdfs.server.namenode.NameNode"
FSNAMESYSTEM = "Hadoop:service=NameNode,name=FSNamesystem"
NAMENODE_INFO = "Hadoop:service=NameNode,name=NameNodeInfo"
SETTINGS_FILE = "drill.json"
START_S = 180.0
LOADED_BYTES_PER_S = 4 << 20
CALL_S = 30.0
SMALLEST_HEAP_MB = 192
HEAP_PER_BYTE = 8
"""An inode takes some 500 bytes of memory with its blocks, and some 80 in the image."""
HEADER_BYTES = 1 << 16
AUDIT = "org.apache.hadoop.hdfs.server.namenode.FSNamesystem.audit"
"""The logger of who has asked for what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What an image says of itself. `inodes`: how many files and directories are in it (None: packed in a way that
    is not read here)."""

    layout: int
    namespace_id: int
    txid: int | None
    inodes: int | None


# -- the image -----------------------------------------------------------------------------------------------------


def image_facts(file: BinaryIO) -> ImageFacts:
    """Read the summary at the end of an image, and the heads of two sections. Raises OperationFailed (BACKUP_DAMAGED).

    FSImageFormatProtobuf: the last four bytes are the length of the summary before them, which begins with its own.
    """
    try:
        end = file.seek(-4, 2)
        length = struct.unpack(">i", file.read(4))[0]
        file.seek(end - length)
        summary = pb.FileSummary.FromString(_delimited(file.read(length)))
        heads = {s.name: _head(file, s, summary.codec) for s in summary.sections if s.name in ("NS_INFO", "INODE")}
        known = {name: _delimited(head) for name, head in heads.items() if head is not None}
        system = pb.NameSystemSection.FromString(known["NS_INFO"]) if "NS_INFO" in known else None
        inodes = pb.INodeSection.FromString(known["INODE"]).numInodes if "INODE" in known else None
    except (ValueError, OverflowError, OSError, struct.error, IndexError, zlib.error, DecodeError) as e:
        raise OperationFailed(f"it is no image of a NameNode, or a part of one: {e}", code="BACKUP_DAMAGED") from None
    return ImageFacts(
        layout=struct.unpack(">i", struct.pack(">I", summary.layoutVersion))[0],
        namespace_id=system.namespaceId if system else 1,
        txid=system.transactionId if system and system.HasField("transactionId") else None,
        inodes=inodes,
    )


def _head(file: BinaryIO, section: pb.FileSummary.Section, codec: str) -> bytes | None:
    """The first bytes of a section, unpacked where it is packed by zlib or gzip; None where by something else."""
    file.seek(section.offset)
    packed = file.read(min(section.length, HEADER_BYTES))
    if not codec:
        return packed
    if codec.rpartition(".")[2] not in ("DefaultCodec", "GzipCodec", "DeflateCodec"):
        return None
    return zlib.decompressobj(47).decompress(packed, HEADER_BYTES)


def _delimited(data: bytes) -> bytes:
    """The message behind its length, which is a varint. Raises IndexError."""
    size = shift = at = 0
    while True:
        byte = data[at]
        size |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return data[at : at + size]


# -- the server ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where it listens, and as whom it is asked."""

    rpc_port: int
    http_port: int
    user: str

    def namenode(self) -> NameNode:
        return NameNode(Connection(LOCALHOST, self.rpc_port, user=self.user, timeout_s=CALL_S))

    def web(self) -> HttpServer:
        return HttpServer(LOCALHOST, self.http_port, user=self.user, timeout_s=CALL_S)


def start(step: Step, record: BackupRecord, file: Path, user: str, context: ActContext) -> None:
    """Start it, unless it runs, and wait until it has loaded the image.

    Raises OperationFailed with the end of its log, ConfigError without a Java, or with too little memory.
    """
    folder = Path(step.args["folder"])
    if not throwaway.processes(folder):
        throwaway.remove(folder)
        throwaway.launch(folder, _prepared(step, folder, record, file, user))
    throwaway.await_serving(
        folder,
        lambda: serves(folder),
        context,
        what="the throw-away NameNode",
        timeout_s=START_S + (record.size_bytes or 0) / LOADED_BYTES_PER_S,
        hint="`hadoop_home` of the hdfs settings names another Hadoop, as new as the cluster's",
    )


def serves(folder: Path) -> bool:
    server = _load(folder)
    if server is None or not throwaway.processes(folder):
        return False
    namenode = server.namenode()
    try:
        namenode.in_safe_mode()
        return True
    except BdopsError:
        return False
    finally:
        namenode.close()


def _prepared(step: Step, folder: Path, record: BackupRecord, file: Path, user: str) -> list[str]:
    """The folder with all that it needs; its command line."""
    server = Server(rpc_port=throwaway.free_port(), http_port=throwaway.free_port(), user=user)
    heap_mb = SMALLEST_HEAP_MB + HEAP_PER_BYTE * (record.size_bytes or 0) // 2**20
    if (free_mb := _free_mb()) is not None and heap_mb > free_mb:
        raise ConfigError(
            f"a NameNode for an image of {format_size(record.size_bytes or 0)} takes some {heap_mb} MB of memory, and "
            f"{free_mb} MB are free here",
            hint="drill it on a larger machine: the image and its record are all that is needed there",
            code="NO_ROOM_HERE",
        )
    current, name = folder / "name" / "current", f"fsimage_{record.state['txid']:019}"
    try:
        with file.open("rb") as source:
            facts = image_facts(source)
        for made in (current, folder / "conf", *(folder / "classes" / "webapps" / app for app in WEBAPPS)):
            made.mkdir(mode=0o700, parents=True)
        (current / name).symlink_to(file.absolute())
        (current / f"{name}.md5").write_text(f"{record.state['md5']} *{name}\n")
        (current / "seen_txid").write_text(f"{record.state['txid']}\n")
        (current / "VERSION").write_text(_version(facts))
        (folder / "conf" / "log4j.properties").write_text(log4j(AUDIT))
        for site in ("core-site.xml", "hdfs-site.xml"):
            (folder / "conf" / site).write_text(xml(_site(folder, server)))
        kept = {"rpc_port": server.rpc_port, "http_port": server.http_port, "user": user}
        (folder / SETTINGS_FILE).write_text(json.dumps(kept))
    except OSError as e:
        raise ConfigError(f"a throw-away NameNode cannot be prepared: {e.strerror or e}", where=str(folder)) from None
    return [
        step.args["java"],
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        throwaway.marker(folder),
        f"-DHADOOP_USER_NAME={user}",
        f"-Dhadoop.log.dir={folder}",
        "-Djava.net.preferIPv4Stack=true",
        "-cp",
        f"{folder / 'conf'}:{folder / 'classes'}:{step.args['class_path']}",
        MAIN,
    ]


def _version(facts: ImageFacts) -> str:
    """What says of a name directory whose it is. The cluster's own ids are not in an image, and not needed."""
    values = {
        "namespaceID": facts.namespace_id,
        "clusterID": "CID-bdops-drill",
        "blockpoolID": f"BP-1-{LOCALHOST}-1",
        "cTime": 0,
        "storageType": "NAME_NODE",
        "layoutVersion": facts.layout,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _site(folder: Path, server: Server) -> dict[str, str]:
    return {
        "fs.defaultFS": f"hdfs://{LOCALHOST}:{server.rpc_port}",
        "hadoop.tmp.dir": str(folder / "tmp"),
        "dfs.namenode.name.dir": f"file://{folder / 'name'}",
        "dfs.namenode.rpc-address": f"{LOCALHOST}:{server.rpc_port}",
        "dfs.namenode.http-address": f"{LOCALHOST}:{server.http_port}",
        "dfs.namenode.rpc-bind-host": LOCALHOST,
        # More than all blocks, and DataNodes that it has not: it never leaves safe mode by itself.
        "dfs.namenode.safemode.threshold-pct": "1.5",
        "dfs.namenode.safemode.min.datanodes": "1",
        "dfs.namenode.handler.count": "2",
    }


def _free_mb() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _load(folder: Path) -> Server | None:
    try:
        return Server(**json.loads((folder / SETTINGS_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


# -- the comparison ------------------------------------------------------------------------------------------------


def compare(step: Step, record: BackupRecord, file: Path, context: ActContext) -> None:
    """What it has loaded against the image and its record. Raises OperationFailed (DRILL_DIFFERS)."""
    server = _load(Path(step.args["folder"]))
    if server is None:
        raise OperationFailed("the throw-away NameNode is gone", where=step.args["folder"])
    try:
        with file.open("rb") as source:
            facts = image_facts(source)
    except OSError as e:
        raise ConfigError(f"the image cannot be read: {e.strerror or e}", where=str(file)) from None
    with server.web() as web:
        counts, _ = web.bean(FSNAMESYSTEM)
        info, _ = web.bean(NAMENODE_INFO)
    loaded: dict[str, Any] = {
        "files and directories": counts.get("FilesTotal"),
        "transaction": _checkpoint(info),
    }
    wanted = {"files and directories": facts.inodes, "transaction": record.state["txid"]}
    wrong = [f"{k}: {loaded[k]} instead of {v}" for k, v in wanted.items() if v is not None and loaded[k] != v]
    if wrong:
        raise OperationFailed(
            f"what a NameNode loads from it differs: {'; '.join(wrong)}", where=record.id, code="DRILL_DIFFERS"
        )
    namenode = server.namenode()
    try:
        whole = calls.summary_of(namenode, "/")
    finally:
        namenode.close()
    context.say(
        f"a throw-away NameNode has loaded it: {loaded['files and directories']:,} files and directories as the image "
        f"says, {counts.get('BlocksTotal'):,} blocks, up to transaction {record.state['txid']}; walked through: "
        f"{whole.files:,} files, {format_size(whole.size_bytes)}"
    )


def _checkpoint(info: Mapping[str, Any]) -> int | None:
    """The transaction of the image that it has loaded, as it says itself."""
    try:
        return int(json.loads(str(info.get("JournalTransactionInfo")))["MostRecentCheckpointTxId"])
    except (ValueError, KeyError, TypeError):
        return None
