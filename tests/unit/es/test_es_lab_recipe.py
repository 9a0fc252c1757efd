"""What the lab writes to a server's standard input, byte by byte as its launcher would."""

from __future__ import annotations

from pathlib import Path

from bdops.lab.es import server_args
from bdops.lab.es_faults import FAULTS

# Written by org.elasticsearch.bootstrap.ServerArgs of 8.19.21, with its keystore's one entry taken out.
FROM_THE_SERVER = bytes.fromhex(
    "000000316f72672e656c61737469637365617263682e636f6d6d6f6e2e73657474696e67732e4b657953746f726557726170706572"
    "00000007000000000009"
    "2f746d702f636f6e66092f746d702f6c6f6773"
)


def test_the_arguments_are_those_of_the_launcher() -> None:
    assert server_args({}, Path("/tmp/conf"), Path("/tmp/logs")) == FROM_THE_SERVER


def test_lengths_over_127_take_two_bytes() -> None:
    found = server_args({"k": "x" * 200}, Path("/c"), Path("/l"))
    assert b"\x01\x01k\x00\xc8\x01" + b"x" * 200 in found


def test_every_fault_says_what_shows_it() -> None:
    assert all(fault.shows for fault in FAULTS)
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
