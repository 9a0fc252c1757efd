"""Selectors: what each form means, the algebra's laws, and folding."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdops.core.model import Inventory
from bdops.errors import UsageError
from bdops.inventory.ranges import BadRange, expand, fold
from bdops.inventory.selectors import fold_instances, narrow, select, select_hosts
from bdops.inventory.terms import Term, combine, parse_terms
from tests.unit.inventory.kit import load

TEXT = """
clusters:
  prod:
    hosts: {"node[1-2]": {rack: r1}, "node[3-4]": {rack: r2, groups: [web]}, spare: {rack: r2}}
    components:
      queue: {roles: {controller: {hosts: "node[1-3]"}, broker: {hosts: "node[1-4]"}}}
      store: {roles: {namenode: {hosts: node1}, datanode: {hosts: "node[1-4]", port: 7}}}
  test:
    hosts: {"t[01-12]": {address: "10.0.0.{name}"}}
    components: {queue: {hosts: "*"}}
"""


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    return load(tmp_path_factory.mktemp("inventory"), TEXT)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("prod/queue/node[2-4]", ["prod/queue/node[2-4]"]),
        ("prod/store/*/datanode", ["prod/store/node[1-4]/datanode"]),
        ("prod/store/node1", ["prod/store/node1/datanode", "prod/store/node1/namenode"]),
        ("prod/queue", ["prod/queue/node[1-4]"]),
        ("store/node[1-2]/datanode", ["prod/store/node[1-2]/datanode"]),
        ("queue/node1", ["prod/queue/node1"]),
        ("prod/node3", ["prod/queue/node3", "prod/store/node3/datanode"]),
        ("node1/namenode", ["prod/store/node1/namenode"]),
        ("test", ["test/queue/t[01-12]"]),
        ("queue", ["prod/queue/node[1-4]", "test/queue/t[01-12]"]),
        ("t[01-03,11]", ["test/queue/t[01-03,11]"]),
        ("t0*", ["test/queue/t[01-09]"]),
        ("rack:r2", ["prod/queue/node[3-4]", "prod/store/node[3-4]/datanode"]),
        ("rack:r[1-2]&node1,store", None),
        ("@namenode", ["prod/store/node1/namenode"]),
        ("@controller &prod", ["prod/queue/node[1-3]"]),
        ("@web &queue", ["prod/queue/node[3-4]"]),
        ("prod !store !rack:r1", ["prod/queue/node[3-4]"]),
        ("!test, !store", ["prod/queue/node[1-4]"]),
        ("&rack:r1 &queue", ["prod/queue/node[1-2]"]),
        ("node[1-9] &queue", ["prod/queue/node[1-4]"]),
    ],
)
def test_a_selector_means(inventory: Inventory, selector: str, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(UsageError):
            select(inventory, selector)
    else:
        assert sorted(fold_instances(i.name for i in select(inventory, selector))) == expected


@pytest.mark.parametrize("selector", [None, "", "  ", ","])
def test_no_selector_is_everything(inventory: Inventory, selector: str | None) -> None:
    assert len(select(inventory, selector)) == 4 + 5 + 12
    assert len(select_hosts(inventory, selector)) == 5 + 12


@pytest.mark.parametrize(
    ("selector", "message", "hint"),
    [
        ("quue", "'quue' matches nothing", "did you mean queue?"),
        ("prd/queue", "matches nothing", "did you mean prod/queue?"),
        ("prod/queue/noed1", "matches nothing", "did you mean prod/queue/node1?"),
        ("queue !nod4", "matches nothing", "did you mean node4?"),
        ("queue &@brocker", "'brocker'", "did you mean broker?"),
        ("broker", "matches nothing", "did you mean @broker?"),
        ("rack:r9", "no rack is called 'r9'", "rack:r1"),
        ("node[1-", "brackets", "a selector is like"),
        ("node[1-99999999]", "99999999 hosts", "a selector is like"),
        ("!", "stands alone", "a selector is like"),
        ("a//b", "is not a selector", "a selector is like"),
        ("a/b/c/d/e", "is not a selector", "a selector is like"),
        ("node1 &test", "leaves nothing", None),
        ("no;de", "cannot be part", "a selector is like"),
    ],
)
def test_a_selector_that_cannot_be_meant_says_why(
    inventory: Inventory, selector: str, message: str, hint: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        select(inventory, selector)
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


def test_a_word_that_is_a_cluster_and_a_component_must_be_said_whole(tmp_path: Path) -> None:
    text = """
clusters:
  queue: {hosts: {a: {}}, components: {store: {hosts: a}}}
  prod: {hosts: {a: {}}, components: {queue: {hosts: a, port: 1, controller_port: 2}}}
"""
    found = load(tmp_path, text)
    with pytest.raises(UsageError, match="may mean cluster queue or component queue") as caught:
        select(found, "queue")
    assert caught.value.hint == "write queue/*/* or */queue/*"
    assert [i.name for i in select(found, "*/queue/*")] == ["prod/queue/a"]
    assert {i.cluster for i in select(found, "queue/*/*")} == {"queue"}


def test_hosts_without_instances_are_selected_as_hosts(inventory: Inventory) -> None:
    assert [h.name for h in select_hosts(inventory, "prod/spare")] == ["spare"]
    assert [h.name for h in select_hosts(inventory, "rack:r2 !@datanode")] == ["spare"]
    with pytest.raises(UsageError):
        select(inventory, "spare")


def test_excluding_a_component_excludes_its_hosts(inventory: Inventory) -> None:
    assert fold(h.name for h in select_hosts(inventory, "prod !@controller")) == "node4,spare"


def test_narrowing_keeps_the_whole_cluster_to_read(inventory: Inventory) -> None:
    (selection,) = narrow(inventory, "queue", "prod/queue/node2")
    assert selection.names == ("prod/queue/node2",)
    assert len(selection.deployment.instances) == 4


def test_narrowing_without_a_component_gives_each_one_touched(inventory: Inventory) -> None:
    assert [(s.deployment.name, len(s.names)) for s in narrow(inventory, None, "node1")] == [
        ("prod/queue", 1),
        ("prod/store", 2),
    ]
    assert [s.deployment.name for s in narrow(inventory, "queue", None, cluster="test")] == ["test/queue"]


def test_narrowing_to_what_a_component_does_not_have_is_an_error(inventory: Inventory) -> None:
    with pytest.raises(UsageError, match="names no instance of store"):
        narrow(inventory, "store", "test")
    with pytest.raises(UsageError, match="there is no store in cluster test"):
        narrow(inventory, "store", None, cluster="test")
    with pytest.raises(UsageError, match="no cluster 'tset'") as caught:
        narrow(inventory, None, None, cluster="tset")
    assert caught.value.hint == "did you mean test?"


# Laws of the algebra ----------------------------------------------------------------------------------------

UNIVERSE = [f"n{i}" for i in range(8)]
WORDS = {f"w{a}{b}": {x for i, x in enumerate(UNIVERSE) if i % 3 == a or i == b} for a in range(3) for b in range(4)}
words = st.sampled_from(sorted(WORDS))
terms = st.lists(st.builds(Term, st.sampled_from("+&!"), words), max_size=6)


def chosen(given_terms: list[Term]) -> set[str]:
    return set(combine(given_terms, UNIVERSE, WORDS.__getitem__))


@given(terms, st.randoms())
def test_the_order_of_the_words_does_not_matter(found: list[Term], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert chosen(found) == chosen(shuffled)


@given(terms, words)
def test_excluding_takes_exactly_that_away(found: list[Term], word: str) -> None:
    assert chosen([*found, Term("!", word)]) == chosen(found) - WORDS[word]


@given(terms, words)
def test_intersecting_keeps_exactly_that(found: list[Term], word: str) -> None:
    assert chosen([*found, Term("&", word)]) == chosen(found) & WORDS[word]


@given(st.lists(words, min_size=1, max_size=5))
def test_a_list_is_the_union(found: list[str]) -> None:
    assert chosen([Term("+", word) for word in found]) == set().union(*(WORDS[word] for word in found))


@given(terms)
def test_what_is_selected_keeps_the_order_of_the_inventory(found: list[Term]) -> None:
    result = combine(found, UNIVERSE, WORDS.__getitem__)
    assert list(result) == [x for x in UNIVERSE if x in result]


@given(terms)
def test_terms_are_read_as_they_are_written(found: list[Term]) -> None:
    written = " , ".join(term.body if term.op == "+" else term.op + term.body for term in found)
    assert list(parse_terms(written)) == found


# Ranges -----------------------------------------------------------------------------------------------------

names = st.builds(
    lambda head, number, width, tail: f"{head}{number:0{width}d}{tail}",
    st.sampled_from(["node", "db-", "r1n", "x.y", "a"]),
    st.integers(0, 1200),
    st.integers(1, 4),
    st.sampled_from(["", ".example.com", "-b", "x2"]),
)


@given(st.sets(names, min_size=1, max_size=40))
def test_folding_and_expanding_gives_the_same_hosts(found: set[str]) -> None:
    assert set(expand(fold(found))) == found


@given(st.text(alphabet="node[]-,/0123456789 !&^@*.%", max_size=25))
def test_any_text_is_a_range_or_a_clear_error(text: str) -> None:
    try:
        found = expand(text)
    except BadRange:
        return
    assert found
    assert set(expand(fold(found))) == set(found)


@given(st.text(alphabet="prodqueuestore/node[1-4]*!&@rack:, ", max_size=25))
def test_any_text_is_a_selector_or_a_usage_error(inventory: Inventory, text: str) -> None:
    for function in (select, select_hosts):
        with suppress(UsageError):
            assert function(inventory, text)
