"""From what a playbook gives an operation to the words of its command line."""

from __future__ import annotations

import pytest

from bdops.cli.operations import operations, words
from bdops.errors import UsageError


def test_an_empty_word_of_a_command_is_a_word_and_an_empty_option_is_none() -> None:
    run = operations()["exec"]
    assert words(run, {"selector": "node1", "command": ["grep", "", "f"]})[-4:] == ["node1", "grep", "", "f"]
    create = operations()["zk snapshot create"]
    assert words(create, {"name": "", "destination": "/b"}) == ["--destination=/b"]


def test_no_word_takes_the_place_of_one_that_is_left_out() -> None:
    for name, given in (
        ("exec", {"selector": "", "command": ["node1", "reboot"]}),
        ("zk snapshot drill", {"snapshot": "", "selector": "zk/node1"}),
    ):
        with pytest.raises(UsageError, match="before it is not"):
            words(operations()[name], given)


def test_no_operation_takes_a_file_of_this_machine_as_an_option() -> None:
    assert [o.key for o in operations()["why"].options] == ["target"]
    for operation in operations().values():
        assert not {"state", "textfile", "racks"} & {o.key for o in operation.options}, operation.name
