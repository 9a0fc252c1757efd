"""What the fields of a class are for, as its source says: for schemas and reference pages.

A string that stands below a field documents it where it is read, and costs nothing when the program runs. Only
`make generate` and tests read sources.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise


def said_of_fields(kind: type) -> dict[str, str]:
    """The string below each field (or member) of a class in its source, of its bases too, in their order."""
    found = {}
    for base in reversed(kind.__mro__):
        if not base.__module__.startswith("bdops."):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, text in pairwise(definition.body):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                    ast.Expr(value=ast.Constant(value=str(said))),
                ):
                    found[name] = " ".join(said.split())
    return found
