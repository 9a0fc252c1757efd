"""What a class's source says of its fields."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from bdops.components.hdfs.settings import HdfsRules
from bdops.core.said import said_of_fields
from bdops.errors import ExitCode


def test_the_string_below_a_field_is_what_it_is_for_and_line_breaks_are_none() -> None:
    said = said_of_fields(HdfsRules)
    assert said["blocks_share"] == "The part of its blocks that a DataNode must have again after its restart."
    assert "\n" not in "".join(said.values())


def test_fields_of_a_base_come_first_and_the_nearest_word_counts() -> None:
    said = said_of_fields(HdfsRules)
    assert next(iter(said)) == "gate_timeout_s"
    assert "NameNode" in said["gate_timeout_s"]
    assert said["act_timeout_s"].startswith("For an act")


def test_members_of_an_enumeration_are_fields_too() -> None:
    assert set(said_of_fields(ExitCode)) == {code.name for code in ExitCode}


def test_a_class_of_others_says_nothing() -> None:
    @dataclass
    class Local:
        here: int = 0
        """Told, but not in bdops."""

    class Code(IntEnum):
        ONE = 1

    assert said_of_fields(Local) == said_of_fields(Code) == {}
