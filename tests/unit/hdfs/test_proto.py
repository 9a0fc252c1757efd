"""The generated protobuf code is that of the .proto files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

TOOL = Path(__file__).parents[3] / "tools" / "generate_proto.py"


def test_the_generated_code_is_fresh() -> None:
    spec = importlib.util.spec_from_file_location("generate_proto", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.generate_proto(check=True) == []


def test_the_generated_code_loads_with_the_oldest_protobuf_that_is_allowed() -> None:
    for path in (TOOL.parents[1] / "bdops" / "components" / "hdfs" / "proto").glob("*_pb2.py"):
        assert "# Protobuf Python Version: 6.31.0" in path.read_text()
