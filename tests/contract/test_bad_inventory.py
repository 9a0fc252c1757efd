"""Malformed inventories in a hundred ways: each a ConfigError that names the file, never another exception."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bdops.errors import ConfigError, ConfigErrors
from bdops.inventory.ansible import import_inventory
from bdops.inventory.load import load_inventory
from bdops.registry import COMPONENTS
from bdops.registry import settings as settings_of

ROOT = Path(__file__).parents[2]
SETTINGS = {name: settings_of(name) for name in COMPONENTS}
VALID = (ROOT / "inventory/three-hosts.yaml").read_text()
LARGE = (ROOT / "inventory/sixty-hosts.yaml").read_text()

BAD: dict[str, bytes] = {
    "empty": b"",
    "only blanks": b"  \n\n",
    "only a comment": b"# nothing\n",
    "only a marker": b"---\n",
    "null": b"null\n",
    "a number": b"42\n",
    "a word": b"inventory\n",
    "a list": b"- version: 1\n",
    "JSON list": b"[1, 2]",
    "an empty mapping": b"{}",
    "no clusters": b"version: 1\n",
    "clusters is nothing": b"version: 1\nclusters:\n",
    "clusters is empty": b"version: 1\nclusters: {}\n",
    "clusters is a list": b"version: 1\nclusters: [prod]\n",
    "clusters is text": b"version: 1\nclusters: prod\n",
    "a cluster is nothing": b"clusters:\n  prod:\n",
    "a cluster is text": b"clusters: {prod: yes}\n",
    "hosts is a list": b"clusters: {prod: {hosts: [a, b]}}\n",
    "hosts is empty": b"clusters: {prod: {hosts: {}}}\n",
    "a host is text": b"clusters: {prod: {hosts: {a: 10.0.0.1}}}\n",
    "an address that is none": b"clusters: {prod: {hosts: {a: {address: 'a b'}}}}\n",
    "an address with a placeholder": b"clusters: {prod: {hosts: {a: {address: '{nam}.x'}}}}\n",
    "components is a list": b"clusters: {prod: {hosts: {a: {}}, components: [zk]}}\n",
    "a component is a list": b"clusters: {prod: {hosts: {a: {}}, components: {zk: [a]}}}\n",
    "a role is text": b"clusters: {prod: {hosts: {a: {}}, components: {kafka: {roles: {broker: a}}}}}\n",
    "an instance is a number": b"clusters: {prod: {hosts: {a: {}}, components: {zk: {hosts: a, instances: {a: 1}}}}}\n",
    "hosts of a component is a number": b"clusters: {prod: {hosts: {a: {}}, components: {zk: {hosts: 3}}}}\n",
    "hosts of a component is empty": b"clusters: {prod: {hosts: {a: {}}, components: {zk: {hosts: []}}}}\n",
    "version 2": b"version: 2\nclusters: {a: {hosts: {b: {}}}}\n",
    "version as text": b"version: '1'\nclusters: {a: {hosts: {b: {}}}}\n",
    "version as true": b"version: true\nclusters: {a: {hosts: {b: {}}}}\n",
    "a tab": b"version: 1\nclusters:\n\tprod: {}\n",
    "a tab after blanks": b"clusters:\n  prod:\n  \thosts: {}\n",
    "an unclosed bracket": b"clusters: {prod: {hosts: {a: {}}\n",
    "an unclosed quote": b"clusters: {prod: {hosts: {a: {rack: 'r1}}}}\n",
    "an unopened bracket": b"clusters: }\n",
    "a colon in a value": b"clusters: {prod: {hosts: {a: {}}}}\nvars: a: b\n",
    "no blank after a colon": b"clusters:prod\n",
    "wrong indentation": b"clusters:\n  prod:\n    hosts: {a: {}}\n   vars: {}\n",
    "two documents": b"version: 1\n---\nversion: 1\n",
    "an unknown directive": b"%FOO bar\n",
    "a bad directive": b"%YAML 9.9\n---\na: 1\n",
    "an unknown alias": b"clusters: *prod\n",
    "an alias within itself": b"clusters: &a {prod: *a}\n",
    "an alias as a key": b"a: &a b\n*a : 1\n",
    "a mapping as a key": b"{a: 1}: 2\n",
    "a list as a key": b"? [a, b]\n: 2\n",
    "a python tag": b"clusters: !!python/object/apply:os.system [id]\n",
    "a vault tag": b"clusters: {prod: {hosts: {a: {vars: {x: !vault y}}}}}\n",
    "a binary tag": b"clusters: !!binary aGk=\n",
    "a lying tag": b"version: !!int one\n",
    "a merge of text": b"clusters: {<<: prod}\n",
    "a merge of a list of text": b"clusters: {<<: [prod]}\n",
    "a reserved character": b"clusters: @prod\n",
    "a backtick": b"clusters: `prod`\n",
    "a percent sign": b"clusters: %prod\n",
    "a bad escape": b'clusters: "\\q"\n',
    "a NUL": b"clusters: a\x00b\n",
    "a control character": b"clusters: a\x07b\n",
    "a surrogate": b"clusters: a\xed\xa0\x80b\n",
    "Latin-1": b"clusters: {prod: {hosts: {a: {rack: b\xe4r}}}}\n",
    "UTF-16": "clusters: {}\n".encode("utf-16"),
    "a gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "a tarball of nulls": b"\x00" * 4096,
    "duplicate top key": b"version: 1\nversion: 1\nclusters: {a: {hosts: {b: {}}}}\n",
    "duplicate cluster": b"clusters:\n  a: {hosts: {b: {}}}\n  a: {hosts: {b: {}}}\n",
    "a huge range": b"clusters: {a: {hosts: {'n[1-99999999]': {}}}}\n",
    "huge ranges": b"clusters: {a: {hosts: {'n[1-9999][1-9999]x[1-9999]': {}}}}\n",
    "many large ranges": b"clusters: {a: {hosts: {'a[1-19999]': {}, 'b[1-19999]': {}}}}\n",
    "a range in a component": b"clusters: {a: {hosts: {b: {}}, components: {zk: {hosts: 'n[1-99999999]'}}}}\n",
    "a range in an instance": b"clusters: {a: {hosts: {b: {}}, components: {zk: {hosts: b, instances: {'b[': {}}}}}}\n",
    "a bomb of aliases": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9)),
    "a bomb of merges": b"a: &a {" + b",".join(b"k%d: 1" % i for i in range(1000)) + b"}\n"
    + b"b: &b [" + b",".join([b"*a"] * 1000) + b"]\nc: [" + b",".join([b"*b"] * 1000) + b"]\n",
    "ten thousand brackets": b"[" * 10_000,
    "deep mappings": b"{a: " * 1000,
    "deep lists": b"- " * 10_000,
    "a very long line": b"a" * 1_000_000,
    "a long key": b"? " + b"k" * 5000 + b"\n: 1\n",
    "a long number": b"version: " + b"1" * 10_000 + b"\nclusters: {a: {hosts: {b: {}}}}\n",
    "an unknown field": b"clusters: {a: {hosts: {b: {}}}}\nclusterz: {}\n",
    "an empty key": b"'': 1\n",
    "an empty name": b"clusters: {'': {hosts: {b: {}}}}\n",
    "a name with a blank": b"clusters: {'a b': {hosts: {b: {}}}}\n",
    "a name with a newline": b'clusters: {"a\\nb": {hosts: {b: {}}}}\n',
    "a null name": b"clusters: {~: {hosts: {b: {}}}}\n",
    "not a number": b"clusters: {a: {hosts: {b: {}}, checks: {X: {warning: .nan, critical: 1}}}}\n",
    "a port of text": b"clusters: {a: {hosts: {b: {}}, components: {zk: {hosts: b, client_port: http}}}}\n",
    "a port of true": b"clusters: {a: {hosts: {b: {}}, ssh: {port: [22]}}}\n",
    "a secret in the clear": b"clusters: {a: {hosts: {b: {}}, ssh: {password: s3cr3t}}}\n",
    "a secret as a number": b"clusters: {a: {hosts: {b: {}}, components: {es: {hosts: b, password: 1234}}}}\n",
}  # fmt: skip


def load_bytes(folder: Path, content: bytes) -> None:
    file = folder / "inventory.yaml"
    file.write_bytes(content)
    load_inventory(file, SETTINGS)


def require_clear(error: ConfigError, folder: Path) -> None:
    """The error and each of its parts says where and what, in words for a person."""
    for each in error.errors if isinstance(error, ConfigErrors) else [error]:
        assert (each.where or "").startswith(str(folder)), (each.message, each.where)
        assert 8 < len(each.message) < 2000
        for jargon in ("Traceback", "object at 0x", "pydantic", "Error(", "ctx", "Input should"):
            assert jargon not in each.message


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_inventory_is_one_clear_error(name: str, tmp_path: Path) -> None:
    began = time.process_time()
    with pytest.raises(ConfigError) as caught:
        load_bytes(tmp_path, BAD[name])
    require_clear(caught.value, tmp_path)
    assert time.process_time() - began < 5
    if "secret" in name:
        assert "s3cr3t" not in str(caught.value)
        assert "1234" not in str(caught.value)


def attempt(folder: Path, content: bytes) -> None:
    """Loading either works or is a clear ConfigError; anything else fails the test."""
    try:
        load_bytes(folder, content)
    except ConfigError as e:
        require_clear(e, folder)


relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@relaxed
@given(st.binary(max_size=200))
def test_any_bytes_are_judged(tmp_path: Path, content: bytes) -> None:
    attempt(tmp_path, content)


@relaxed
@given(st.text(alphabet="abc: \n\t-[]{}&*!|>'\"#%@,?~<1.0", max_size=120))
def test_any_text_of_yaml_characters_is_judged(tmp_path: Path, text: str) -> None:
    attempt(tmp_path, text.encode())


@relaxed
@given(
    st.sampled_from([VALID, LARGE]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.binary(max_size=6)), min_size=1, max_size=4),
)
def test_a_valid_inventory_with_bytes_changed_is_judged(
    tmp_path: Path, text: str, edits: list[tuple[float, int, bytes]]
) -> None:
    content = text.encode()
    for place, removed, added in edits:
        at = int(place * len(content))
        content = content[:at] + added + content[at + removed :]
    attempt(tmp_path, content)


TOKENS = [
    "[]",
    "{}",
    "null",
    "-1",
    "1e999",
    "x",
    "'*'",
    "{file: /x}",
    "[[1]]",
    "{a: {b: c}}",
    "true",
    "!!str",
    "&a",
    "*a",
]


@relaxed
@given(st.sampled_from([VALID, LARGE]), st.data())
def test_a_valid_inventory_with_lines_changed_is_judged(tmp_path: Path, text: str, data: st.DataObject) -> None:
    lines = text.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["drop", "double", "indent", "value", "key"]))
        head, colon, _ = lines[at].partition(":")
        if kind == "drop" and len(lines) > 1:
            del lines[at]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "indent":
            lines[at] = " " * data.draw(st.integers(1, 5)) + lines[at]
        elif kind == "value" and colon:
            lines[at] = f"{head}: {data.draw(st.sampled_from(TOKENS))}"
        elif kind == "key" and colon:
            lines[at] = lines[at].replace(head.strip(), head.strip()[::-1], 1)
    attempt(tmp_path, "\n".join(lines).encode())


@relaxed
@given(st.text(alphabet="ab1[]:=#;'\" \n{}-vars children,%$!", max_size=150), st.sampled_from(["h", "h.ini", "h.yml"]))
def test_any_ansible_inventory_is_judged(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / name).write_text(text)
    with suppress(ConfigError):
        import_inventory(tmp_path / name, "x")


def test_an_unreadable_place_is_an_error(tmp_path: Path) -> None:
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    for path in (tmp_path / "absent.yaml", loop, tmp_path / "a" / "b.yaml"):
        with pytest.raises(ConfigError) as caught:
            load_inventory(path, SETTINGS)
        assert str(path) in (caught.value.where or "")


def test_a_file_without_read_permission_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(VALID)
    file.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything; nobody may not
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match="Permission denied"):
            load_inventory(file, SETTINGS)
    finally:
        os.seteuid(user)


# Through the command line -----------------------------------------------------------------------------------

COMMANDS = [
    "empty",
    "a tab",
    "UTF-16",
    "a bomb of aliases",
    "a secret in the clear",
    "version 2",
    "ten thousand brackets",
]


def bdops(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bdops", *words], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_exits_3_without_a_traceback(name: str, tmp_path: Path) -> None:
    file = tmp_path / "inventory.yaml"
    file.write_bytes(BAD[name])
    done = bdops("-i", str(file), "inventory", "validate")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert str(file) in done.stderr
    assert done.stdout == ""
    assert "s3cr3t" not in done.stderr


def test_every_error_is_in_the_json_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "inventory.yaml"
    file.write_text("version: 1\nclusters:\n  a:\n    hosts: {b: {adress: c}}\n    components: {zk: {hosts: d}}\n")
    done = bdops("inventory", "validate", "-i", str(file), "-o", "json")
    assert done.returncode == 3
    errors = json.loads(done.stdout)["errors"]
    assert [(e["where"], e["hint"]) for e in errors] == [
        (f"{file}:4", "did you mean address?"),
        (f"{file}:5", "hosts: b"),
    ]


@pytest.mark.parametrize("words", [["inventory", "show", "prdo"], ["inventory", "explain", "prod/kafka/nod"]])
def test_a_misspelt_selector_or_key_is_a_usage_error(words: list[str]) -> None:
    done = bdops("-i", str(ROOT / "inventory/sixty-hosts.yaml"), *words)
    assert done.returncode == 2
    assert "did you mean prod" in done.stderr


def test_a_misspelt_check_exits_3(tmp_path: Path) -> None:
    file = tmp_path / "inventory.yaml"
    file.write_text(LARGE.replace("KAFKA_DISK_USE", "KAFKA_DISC_USE"))
    done = bdops("-i", str(file), "inventory", "validate")
    assert done.returncode == 3
    assert "did you mean KAFKA_DISK_USE?" in done.stderr
