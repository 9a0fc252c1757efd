"""What is made of the texts of Hadoop's web ports, as captured from servers of version 3.5.0."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.components.hdfs import beans
from bdops.components.hdfs.http import HttpServer, corrupt_copies, fsck_problem, parse_beans
from bdops.components.hdfs.state import JournalStream
from bdops.errors import BdopsError, NotAuthorised, OperationFailed, StateUnknown, Unreachable
from tests.servers import answers, serving, silent

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def info() -> dict[str, object]:
    (bean,) = parse_beans((DATA / "namenode_info.json").read_bytes(), where="file")
    return dict(bean)


class TestBeans:
    def test_how_far_each_journalnode_is(self, info: dict[str, object]) -> None:
        assert beans.journal_streams(info) == (
            JournalStream(address="127.161.1.1:8485", written_txid=1356),
            JournalStream(address="127.161.2.1:8485", written_txid=1356),
            JournalStream(
                address="127.161.3.1:8485", written_txid=1355, behind_txns=1, behind_s=1.283, out_of_sync=True
            ),
        )

    def test_a_standby_writes_to_no_journalnode(self) -> None:
        status = '[{"manager":"QJM to [10.0.0.1:8485]","stream":"open for read"}]'
        assert beans.journal_streams({"NameJournalStatus": status}) == ()

    def test_a_journalnode_with_a_name(self) -> None:
        stream = "Writing segment beginning at txid 1. \\njn1.example/10.0.0.1:8485 (Written txid 9)"
        status = f'[{{"manager":"QJM","stream":"{stream}"}}]'
        assert [s.address for s in beans.journal_streams({"NameJournalStatus": status})] == ["10.0.0.1:8485"]

    def test_failed_volumes_are_named_by_their_paths(self, info: dict[str, object]) -> None:
        facts = beans.live_nodes(info)
        failed = {uuid: f for uuid, f in facts.items() if f.failed_volume_count}
        assert len(facts) == 4
        assert [(f.failed_volumes, f.failed_volume_count) for f in failed.values()] == [(("/data/hdfs/data2",), 1)]

    def test_transactions_and_name_directories(self, info: dict[str, object]) -> None:
        assert beans.txids(info) == (1356, 0)
        assert beans.failed_name_dirs(info) == ()
        assert beans.failed_name_dirs({"NameDirStatuses": '{"active":{},"failed":{"/b":"X","/a":"X"}}'}) == ("/a", "/b")

    @pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"beans": 3}', b'{"beans": [1]}'])
    def test_what_is_no_jmx_answer_is_an_error(self, body: bytes) -> None:
        with pytest.raises(Unreachable, match="not what Hadoop"):
            parse_beans(body, where="x")

    @given(st.binary(max_size=100))
    def test_garbage_is_never_more_than_an_error(self, body: bytes) -> None:
        with pytest.raises(Unreachable):
            parse_beans(body, where="x")


class TestFsck:
    def test_a_standby_answers_200_and_says_no(self) -> None:
        lines = (DATA / "fsck_standby.txt").read_text().splitlines()
        problems = [p for p in map(fsck_problem, lines) if p]
        assert problems[0].startswith("Operation category READ is not supported in state standby")

    def test_a_healthy_answer_has_no_problem(self) -> None:
        assert [p for p in map(fsck_problem, (DATA / "fsck_healthy.txt").read_text().splitlines()) if p] == []

    def test_corrupt_copies_are_found_with_their_datanodes(self) -> None:
        lines = (DATA / "fsck_corrupt.txt").read_text().splitlines()
        assert corrupt_copies(lines) == {"blk_1073742073_1267": ("127.161.3.1:9866",)}
        assert corrupt_copies((DATA / "fsck_healthy.txt").read_text().splitlines()) == {}

    def test_a_path_that_is_not_there(self) -> None:
        assert fsck_problem("Path '/nope' does not exist") == "Path '/nope' does not exist"

    def test_the_failure_of_a_standby_is_raised(self) -> None:
        body = (DATA / "fsck_standby.txt").read_bytes()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        standby = pytest.raises(OperationFailed, match="not supported in state standby")
        with serving(answers(head + body)) as port, http(port) as one, standby:
            list(one.fsck("/"))


def http(port: int, timeout_s: float = 5.0) -> HttpServer:
    return HttpServer("127.0.0.1", port, user="tester", timeout_s=timeout_s)


class TestHttp:
    def test_a_bean_that_is_not_there(self) -> None:
        body = b'{"beans": []}'
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with serving(answers(head + body)) as port, http(port) as one, pytest.raises(StateUnknown, match="no JMX bean"):
            one.bean("Hadoop:service=NameNode,name=Nope")

    def test_the_servers_clock_is_taken_from_the_first_of_two_dates(self) -> None:
        dates = "Date: Mon, 23 Nov 2026 11:47:04 GMT\r\n" * 2
        data = f'HTTP/1.1 200 OK\r\n{dates}Content-Length: 17\r\n\r\n{{"beans": [{{}}] }}'.encode()
        with serving(answers(data)) as port, http(port) as one:
            _, clock = one.bean("x")
        assert clock is not None
        assert clock.isoformat() == "2026-11-23T11:47:04+00:00"

    def test_kerberos_on_the_web_port_is_named(self) -> None:
        data = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n"
        with serving(answers(data)) as port, http(port) as one, pytest.raises(NotAuthorised, match="Kerberos"):
            one.get("/jmx")

    def test_a_half_open_port(self) -> None:
        with serving(silent) as port, http(port, 0.3) as one, pytest.raises(Unreachable, match="within 300 ms"):
            one.get("/jmx")

    @pytest.mark.parametrize("data", [b"\x15\x03\x03\x00\x02\x02\x28", b"hello\r\n\r\n", b""])
    def test_what_is_not_http(self, data: bytes) -> None:
        with serving(answers(data)) as port, http(port) as one, pytest.raises(Unreachable):
            one.get("/jmx")

    def test_tls_asked_of_a_plain_port(self) -> None:
        with serving(answers(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
            one = HttpServer("127.0.0.1", port, user="tester", timeout_s=5, scheme="https")
            with one, pytest.raises(Unreachable, match="no TLS") as raised:
                one.get("/jmx")
        assert raised.value.hint is not None

    @given(st.binary(max_size=80))
    def test_garbage_is_never_more_than_an_error_of_ours(self, data: bytes) -> None:
        with serving(answers(data)) as port, http(port, 0.5) as one, suppress(BdopsError):
            one.get("/jmx")
