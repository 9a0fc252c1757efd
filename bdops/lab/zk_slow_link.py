"""A slow link in front of one ZooKeeper server, and a client that writes without pause: `zk-lagging`'s process.

Run as `python -m bdops.lab.zk_slow_link FOLDER LAB HOST`; ends with SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING

from bdops.errors import Unreachable
from bdops.lab import zk
from bdops.lab.lab import Lab
from bdops.lab.network import address

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

# Longer than a reader waits for a server to catch up, shorter than syncLimit, after which the leader lets go of it.
DELAY_S = 2.0
WRITES_EACH = 10
WRITE_EVERY_S = 0.025
ZNODE = "/bdops-lab-writes"


async def copy(source: StreamReader, target: StreamWriter, delay_s: float) -> None:
    """Copy a stream, each piece `delay_s` after it came."""
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def read() -> None:
        data = b"-"
        while data:
            data = await source.read(65536)
            waiting.put_nowait((loop.time() + delay_s, data))

    reading = asyncio.create_task(read())
    try:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                return
            target.write(data)
            await target.drain()
    except OSError:
        return  # the other side is gone
    finally:
        reading.cancel()
        target.close()


async def link(listen: str, to: str, port: int, delay_s: float) -> None:
    """Pass connections on to the same port of another address; what comes back from there is late."""

    async def accept(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(to, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, up_writer, 0.0), copy(up_reader, writer, delay_s), return_exceptions=True)

    await asyncio.start_server(accept, listen, port)


def write(lab: Lab, victim: str, stop: threading.Event) -> None:
    """Write to one znode, some hundred times a second, by the servers that are not slow."""
    from bdops.components.zk.client.session import session

    servers = [i for i in lab.deployment("zk").instances if i.host.name != victim]
    while not stop.is_set():
        with contextlib.suppress(Unreachable), session(servers, timeout_s=10) as client:
            client.ensure_path(ZNODE)
            while client.connected and not stop.wait(WRITE_EVERY_S):
                for _ in range(WRITES_EACH):
                    client.set_async(ZNODE, b"x")


async def main(name: str, victim: str) -> None:
    lab = Lab.open(name)
    for number, host in enumerate(zk.HOSTS, start=1):
        if host != victim:
            via = address(lab.network, zk.LINK_HOST + number)
            await link(via, lab.host(host).address, zk.PEER_PORT, DELAY_S)
            await link(via, lab.host(host).address, zk.ELECTION_PORT, 0.0)
    stop = threading.Event()
    writer = threading.Thread(target=write, args=(lab, victim, stop))
    writer.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    stop.set()
    await asyncio.to_thread(writer.join, 3)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[2:]))
