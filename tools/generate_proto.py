"""Write bdops/components/hdfs/proto/*_pb2.py(i) from the .proto files, or say which are stale.

Generated code may not be newer than the protobuf runtime that loads it, so it is always written by the one
pinned compiler below (in a throwaway environment), whose protobuf version is the least that pyproject.toml
allows. The check compares what the code *describes* with what any installed compiler makes of the .proto files.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "bdops" / "components" / "hdfs" / "proto"
COMPILER = "grpcio-tools==1.73.1"
"""Stamps its output with protobuf 6.31.0, the minimum in pyproject.toml."""


def generate_proto(check: bool) -> list[str]:
    """The stale files as paths in the repository; without `check` they are written anew, by a compiler from PyPI."""
    stale = [path for path in sorted(FOLDER.glob("*.proto")) if _described(path) != _compiled(path)]
    if stale and not check:
        with tempfile.TemporaryDirectory(prefix="bdops-proto-") as folder:
            venv.create(folder, with_pip=True)
            python = Path(folder) / "bin" / "python"
            subprocess.run([python, "-m", "pip", "install", "--quiet", COMPILER], check=True)
            _compile(python, [path.relative_to(ROOT) for path in stale])
    return [str(path.with_name(f"{path.stem}_pb2.py").relative_to(ROOT)) for path in stale]


def _compile(python: Path, sources: list[Path]) -> None:
    command = [python, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--pyi_out=.", *sources]
    subprocess.run(command, check=True, cwd=ROOT)


def _described(path: Path) -> object:
    """What the committed code describes; None when there is none."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    name = f"bdops.components.hdfs.proto.{path.stem}_pb2"
    if not path.with_name(f"{path.stem}_pb2.py").exists() or not path.with_name(f"{path.stem}_pb2.pyi").exists():
        return None
    return FileDescriptorProto.FromString(import_module(name).DESCRIPTOR.serialized_pb)


def _compiled(path: Path) -> object:
    """What the installed compiler makes of the .proto file."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    with tempfile.TemporaryDirectory(prefix="bdops-proto-") as folder:
        out = Path(folder) / "descriptors"
        source = path.relative_to(ROOT)
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--descriptor_set_out={out}", source]
        subprocess.run(command, check=True, cwd=ROOT)
        descriptor = FileDescriptorSet.FromString(out.read_bytes()).file[0]
    messages = list(descriptor.message_type)
    while messages:  # the names for JSON are in the compiler's output and never in the code
        message = messages.pop()
        messages += message.nested_type
        for field in message.field:
            field.ClearField("json_name")
    return descriptor


if __name__ == "__main__":
    found = generate_proto(check="--check" in sys.argv[1:])
    print("\n".join(found) or "up to date")
    sys.exit(1 if found and "--check" in sys.argv[1:] else 0)
