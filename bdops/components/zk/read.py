"""Reading an ensemble: every server at once, each by its AdminServer and its four-letter words.

The AdminServer tells most on one connection; the word `conf` adds the configuration's version and the
observers. Where the AdminServer does not answer, the words `srvr`, `mntr` and `isro` stand in for it.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bdops.components.reading import read_all, why_unread
from bdops.components.zk import parse
from bdops.components.zk.client import four_letter
from bdops.components.zk.client.admin import AdminServer
from bdops.components.zk.client.wire import tls_context
from bdops.components.zk.settings import Settings
from bdops.components.zk.state import ExpectedServer, Server, ZkState, Zxid
from bdops.core.model import Deployment, Instance
from bdops.errors import BdopsError

# Of a hung AdminServer's time, so that the words still get theirs.
_ADMIN_SHARE = 0.5
# How often a server that seems behind is asked again: the leader's transactions need a moment to arrive.
_AGAIN_EVERY_S = 0.1
_AGAIN_FOR_S = 0.5

_NO_CONNECTION = {"ZK_REFUSED", "ZK_CONNECT_TIMEOUT", "ZK_NO_ROUTE", "ZK_NO_NAME"}
_NOT_SERVING = _NO_CONNECTION | {"ZK_SILENT", "ZK_NOT_SERVING"}

# What each word's answer has in it when it is ZooKeeper's.
_MARKERS = {"srvr": "Zookeeper version", "mntr": "zk_version", "conf": "clientPort", "isro": "r"}


def read_state(deployment: Deployment, *, timeout_s: float, readings: frozenset[str] | None = None) -> ZkState:
    """The ensemble as it is now. Never raises for a server that does not answer; back by `timeout_s`.

    `readings` is of no use here: one connection a server brings everything.
    """
    end = time.monotonic() + timeout_s
    # A little less, so that a server's own reason arrives before the deadline of all does.
    each_s = timeout_s * 0.7
    read = read_all(
        {i.name: partial(read_server, i, timeout_s=each_s) for i in deployment.instances}, timeout_s=each_s * 1.1
    )
    servers = {i.name: read.values.get(i.name) or _late(i, read.unread[i.name]) for i in deployment.instances}
    servers |= _read_again(deployment, servers, until=min(end, time.monotonic() + _AGAIN_FOR_S))
    return ZkState(
        cluster=deployment.cluster,
        taken_at=datetime.now(UTC),
        unread={f"servers/{i.host.name}": s.error for i in deployment.instances if (s := servers[i.name]).error},
        expected=tuple(_expected(i) for i in deployment.instances),
        servers=tuple(servers[i.name] for i in deployment.instances),
    )


def read_server(instance: Instance, *, timeout_s: float) -> Server:
    """One server, by whichever of its interfaces answer. What fails is told in the Server's errors."""
    settings: Settings = instance.settings
    end = time.monotonic() + timeout_s
    try:
        tls = tls_context(settings.tls) if settings.tls else None
    except BdopsError as e:
        return Server(name=instance.name, error=why_unread(e), error_code=e.code)
    admin: dict[str, Any] = {}
    admin_error: BdopsError | None = None
    if settings.admin_port is not None:
        admin, admin_error = _by_admin(instance, settings.admin_port, tls, timeout_s=timeout_s * _ADMIN_SHARE)
    words: dict[str, Any] = {}
    words_error: BdopsError | None = None
    if admin_error is None or admin_error.code != "ZK_NOT_SERVING":
        wanted = ("conf",) if admin else ("srvr", "mntr", "conf", "isro")
        if settings.four_letter_words or not admin:
            words, words_error = _by_words(instance, wanted, tls, until=end)
    # Where both know a value the words' is as good; but `members` of `conf` has the observers too.
    fields = {**admin, **words} if "members" in words else {**words, **admin}
    if "members" in words:
        fields["observers_known"] = True
    return _server(instance, fields, admin_error, words_error)


def _server(
    instance: Instance, fields: dict[str, Any], admin_error: BdopsError | None, words_error: BdopsError | None
) -> Server:
    """Put together what was read, and decide whether the server serves."""
    server = Server(
        name=instance.name,
        admin_error=why_unread(admin_error) if admin_error else None,
        words_error=why_unread(words_error) if words_error else None,
        **fields,
    )
    if "mode" in fields:
        return replace(server, serving=True)
    # The client port's own words count more: that is where clients go.
    telling = words_error or admin_error
    serving = False if telling and telling.code in _NOT_SERVING else None
    why, code = (why_unread(telling), telling.code) if telling else ("no answer told its mode", None)
    return replace(server, serving=serving, error=why, error_code=code)


def _by_admin(
    instance: Instance, port: int, tls: ssl.SSLContext | None, *, timeout_s: float
) -> tuple[dict[str, Any], BdopsError | None]:
    settings: Settings = instance.settings
    fields: dict[str, Any] = {}
    admin_tls = (tls or ssl.create_default_context()) if settings.admin_tls else None
    try:
        with AdminServer(
            (instance.host.address, port), settings.admin_path, timeout_s=timeout_s, tls=admin_tls
        ) as admin:
            # First: it says so when the server does not serve, where `monitor` breaks with a 500.
            fields |= parse.stats_fields(admin.ask("server_stats"))
            fields |= parse.monitor_fields(admin.ask("monitor"))
            if fields.get("mode") != "standalone":
                fields |= parse.voting_view_fields(admin.ask("voting_view"))
                fields |= parse.leader_fields(admin.ask("leader"))
    except BdopsError as e:
        return fields, e
    return fields, None


def _by_words(
    instance: Instance, words: tuple[str, ...], tls: ssl.SSLContext | None, *, until: float
) -> tuple[dict[str, Any], BdopsError | None]:
    """Ask each word; a word that is not whitelisted does not end it, a server that does not answer does."""
    settings: Settings = instance.settings
    address = (instance.host.address, settings.client_port)
    where = f"{address[0]}:{address[1]}"
    fields: dict[str, Any] = {}
    refused: list[BdopsError] = []
    refused_words: list[str] = []
    for word in words:
        try:
            text = four_letter.ask(word, address, timeout_s=max(0.01, until - time.monotonic()), tls=tls)
            four_letter.expect(text, _MARKERS[word], word=word, where=where)
        except BdopsError as e:
            if e.code != "ZK_WORD_NOT_WHITELISTED":
                return fields, e
            refused.append(e)
            refused_words.append(word)
            continue
        if word == "isro":
            fields["read_only"] = text.strip() == "ro"
        else:
            parser = {"srvr": parse.srvr_fields, "mntr": parse.mntr_fields, "conf": parse.conf_fields}[word]
            fields |= parser(text)
    if not refused:
        return fields, None
    error = refused[0]
    if len(refused) > 1:
        error.message = f"the words {', '.join(refused_words)} are not executed because they are not in the whitelist"
    return fields, error


def _read_again(deployment: Deployment, servers: dict[str, Server], *, until: float) -> dict[str, Server]:
    """Zxids once more of those behind the leader, until they have reached what the leader had, or `until`."""
    leader = next((s for s in servers.values() if s.mode == "leader" and s.zxid), None)
    if leader is None or leader.zxid is None:
        return {}
    goal = Zxid.of(leader.zxid)
    behind = {i.name: i for i in deployment.instances if (z := servers[i.name].zxid) and Zxid.of(z).behind(goal)}
    again: dict[str, Server] = {}
    while behind and time.monotonic() < until:
        left_s = until - time.monotonic()
        read = read_all({n: partial(_zxid, i, timeout_s=left_s) for n, i in behind.items()}, timeout_s=left_s)
        for name, zxid in read.values.items():
            if zxid:
                again[name] = replace(servers[name], zxid=zxid)
                if not Zxid.of(zxid).behind(goal):
                    del behind[name]
        time.sleep(min(_AGAIN_EVERY_S, max(0.0, until - time.monotonic())))
    return again


def _zxid(instance: Instance, *, timeout_s: float) -> str | None:
    settings: Settings = instance.settings
    tls = tls_context(settings.tls) if settings.tls else None
    fields: dict[str, Any] = {}
    if settings.admin_port is not None:
        admin_tls = (tls or ssl.create_default_context()) if settings.admin_tls else None
        address = (instance.host.address, settings.admin_port)
        try:
            with AdminServer(address, settings.admin_path, timeout_s=timeout_s, tls=admin_tls) as admin:
                fields = parse.stats_fields(admin.ask("server_stats"))
        except BdopsError:
            pass  # the words may answer
    if "zxid" not in fields:
        fields, _ = _by_words(instance, ("srvr",), tls, until=time.monotonic() + timeout_s)
    return fields.get("zxid")


def _expected(instance: Instance) -> ExpectedServer:
    settings: Settings = instance.settings
    return ExpectedServer(
        name=instance.name,
        host=instance.host.name,
        address=instance.host.address,
        client_port=settings.client_port,
        myid=settings.myid,
        role="observer" if "observer" in instance.roles else "participant",
        rack=instance.host.rack,
    )


def _late(instance: Instance, why: str) -> Server:
    return Server(name=instance.name, serving=False, error=why, error_code="ZK_SILENT")
