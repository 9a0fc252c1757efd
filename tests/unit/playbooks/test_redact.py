"""What is taken for a secret in what servers' files, commands and logs look like, and what is not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.playbooks.redact import HIDDEN, redacted, redacted_text

SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "ssl.keystore.password=hunter2",
        "ssl.keystore.password = hunter2  # old",
        "xpack.security.http.ssl.keystore.secure_password: hunter2",
        '{"api_key": "hunter2", "a": 1}',
        "{'token':'hunter2'}",
        'sasl.jaas.config=x.PlainLoginModule required username="a" password="hunter2";',
        "<property><name>ssl.server.keystore.password</name><value>hunter2</value></property>",
        "java -Djavax.net.ssl.trustStorePassword=hunter2 -cp x",
        "tool --admin-password hunter2 --verbose",
        "https://elastic:hunter2@node1:9200/_cat",
        "Authorization: Basic hunter2",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2 cut off",
        "export DB_PASSWORD=hunter2",
    ],
)
def test_a_secret_is_hidden(text: str) -> None:
    assert SECRET not in redacted_text(text)
    assert HIDDEN in redacted_text(text)


@pytest.mark.parametrize(
    "text",
    ["broker.id=3", "log.dirs=/data/kafka", "2026-11-26 INFO leader elected", "a: b", "http://node1:9870/jmx"],
)
def test_what_is_none_stays(text: str) -> None:
    assert redacted_text(text) == text


def test_data_is_redacted_by_its_names_and_its_texts() -> None:
    found = redacted({"password": "hunter2", "rows": [{"line": "token=hunter2"}], "count": 3, "token": None})
    assert found == {"password": HIDDEN, "rows": [{"line": f"token={HIDDEN}"}], "count": 3, "token": None}


@pytest.mark.parametrize(
    "text",
    ["a" * 500_000, "a.a-" * 125_000, "-" * 500_000, "--a" * 160_000, "token" * 100_000, 'token="' * 70_000,
     "<name>" * 80_000, "://:" * 125_000, "-----BEGIN " * 45_000, " " * 500_000, "token= " * 70_000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_long_log_of_anything_costs_no_time(text: str) -> None:
    began = time.process_time()
    redacted_text(text)
    assert time.process_time() - began < 5


@given(st.text())
def test_what_is_redacted_once_is_redacted(text: str) -> None:
    once = redacted_text(text)
    assert redacted_text(once) == once


def test_names_of_secrets_are_the_same_for_data_and_for_text() -> None:
    assert redacted({"api-key": SECRET, "private.key": SECRET, "tokens": 5}) == {
        "api-key": HIDDEN, "private.key": HIDDEN, "tokens": 5,
    }  # fmt: skip
