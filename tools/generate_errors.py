"""docs/errors.md: the code of every error, with its exit code and words, found where it is raised; and gates' rules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bdops.errors import ExitCode
from bdops.registry import COMPONENTS, component

HEAD = """# Errors

Every error has a code, in `errors[].code` of `-o json`; what it says and the next command are on stderr. This page is
generated from the places where errors are raised by `make generate`; `...` is what is filled in. The exit codes are
those of a command; an error of a job's step pauses the job, which exits 7 (or 130, 143 when a signal did it), and
`bdops jobs resume` goes on. [troubleshooting.md](troubleshooting.md) goes from what is seen to what to do.
"""
RULES_HEAD = """
## Rules of the gates

A gate that refuses names the rule, the objects and the numbers; its code is the rule's. `--accept-risk RULE` accepts
one rule, and nothing else.
"""
CODE = re.compile(r"[A-Z][A-Z0-9]+(_([A-Z0-9]+|…))*")
MAX_SHOWN = 2
SET_ELSEWHERE = {
    "BUG": [70], "USAGE": [2], "INTERRUPTED": [130, 143], "NOT_APPROVED": [7], "PAUSED_ON_REQUEST": [7],
    "STOP_AFTER": [7], "WINDOW_ENDS": [7],
}  # fmt: skip
"""Exit codes that the job or the process sets where it ends, whatever the class of the error."""


@dataclass(frozen=True)
class Kind:
    """A class of errors: its base, and what it says of itself."""

    base: str
    about: str
    exit_code: str | None = None
    code: str | None = None


@dataclass
class Told:
    """What is known of a code."""

    exit_codes: dict[int, None] = field(default_factory=dict)
    messages: dict[str, None] = field(default_factory=dict)
    abouts: dict[str, None] = field(default_factory=dict)
    """What the functions say that raise it, for messages that are made elsewhere."""
    hints: dict[str, None] = field(default_factory=dict)


def errors_page(source: Path) -> str:
    """The whole page. Raises ValueError for an error whose code or exit code cannot be found out."""
    lines = [HEAD, "\n| code | exit | says | next |\n| --- | --- | --- | --- |\n"]
    for code, told in sorted(errors_in(source).items()):
        exits = ", ".join(str(e) for e in sorted(told.exit_codes))
        says = "; or: ".join([*(told.messages or told.abouts)][:MAX_SHOWN])
        lines.append(f"| {code.replace('…', '*')} | {exits} | {_cell(says)} | {_cell(next(iter(told.hints), ''))} |\n")
    lines.append(RULES_HEAD)
    for name, title in COMPONENTS.items():
        lines.append(f"\n### {title}\n\n| rule | refuses or waits because |\n| --- | --- |\n")
        lines += [f"| {rule} | {_cell(meaning)} |\n" for rule, meaning in component(name).gate_rules.items()]
    return "".join(lines)


def errors_in(source: Path) -> dict[str, Told]:
    """Every code of the errors that are made below a folder."""
    modules = {path: ast.parse(path.read_text()) for path in sorted(source.rglob("*.py")) if "proto" not in path.parts}
    kinds = dict(_kinds(modules.values()))
    constants = dict(_constants(modules.values()))
    found: dict[str, Told] = {}
    for name, kind in kinds.items():
        if kind.code:
            told = found.setdefault(kind.code, Told())
            told.exit_codes[_exit_code(name, kinds)] = None
            told.messages[kind.about] = None
    for path, module in modules.items():
        for call, around in _calls(module, ()):
            given = {k.arg: k.value for k in call.keywords}
            classes = _classes(call, around, kinds) if "code" in given else []
            if not classes:
                continue
            # A private function is called in its module alone.
            private = bool(around) and getattr(around[-1], "name", "_").startswith("_")
            callers = [module] if private else [*modules.values()]
            for code in _codes(given["code"], around, callers, constants):
                if not CODE.fullmatch(code):
                    raise ValueError(f"{path}:{call.lineno}: {code!r} is no code of an error")
                told = found.setdefault(code, Told())
                exits = SET_ELSEWHERE.get(code) or [_exit_code(name, kinds) for name in classes]
                told.exit_codes |= dict.fromkeys(exits)
                said = [text for text in _messages(call, around, callers) if re.search(r"[a-z]{3}", text)]
                told.messages |= dict.fromkeys(said)
                if not said:
                    about = _first_line(around[-1]) if around else ""
                    told.abouts[about or "in the words of what failed"] = None
                if hint := _text(given["hint"]) if "hint" in given else "":
                    told.hints |= {hint: None} if hint.strip("…") else {}
    return found


def _kinds(modules: Iterable[ast.Module]) -> Iterator[tuple[str, Kind]]:
    """The classes of errors by name, a base before what is made of it."""
    known = {"BdopsError"}
    classes = [node for module in modules for node in ast.walk(module) if isinstance(node, ast.ClassDef)]
    classes.sort(key=lambda node: node.name != "BdopsError")
    while left := [n for n in classes if n.name == "BdopsError" or any(b in known for b in _names(n.bases))]:
        classes = [n for n in classes if n not in left]
        for node in left:
            said = {t.id: s.value for s in node.body if isinstance(s, ast.Assign | ast.AnnAssign) for t in _targets(s)}
            base = next((b for b in _names(node.bases) if b in known), "")
            about = _first_line(node)
            exit_code, code = said.get("exit_code"), said.get("default_code")
            known.add(node.name)
            yield (
                node.name,
                Kind(
                    base,
                    about,
                    exit_code.attr if isinstance(exit_code, ast.Attribute) else None,
                    code.value if isinstance(code, ast.Constant) else None,
                ),
            )


def _first_line(node: ast.AST) -> str:
    documented = isinstance(node, ast.FunctionDef | ast.ClassDef)
    return (ast.get_docstring(node) or "").split("\n")[0].rstrip(".") if documented else ""


def _targets(statement: ast.Assign | ast.AnnAssign) -> list[ast.Name]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return [t for t in targets if isinstance(t, ast.Name)]


def _names(nodes: list[ast.expr]) -> list[str]:
    return [n.id for n in nodes if isinstance(n, ast.Name)]


def _exit_code(name: str, kinds: Mapping[str, Kind]) -> int:
    kind = kinds[name]
    return int(ExitCode[kind.exit_code]) if kind.exit_code else _exit_code(kind.base, kinds)


def _constants(modules: Iterable[ast.Module]) -> Iterator[tuple[str, str]]:
    """Codes that have a name: NAME = "SOME_CODE" of a module."""
    for module in modules:
        for statement in module.body:
            match statement:
                case ast.Assign(value=ast.Constant(value=str(code))) if CODE.fullmatch(code):
                    yield from ((t.id, code) for t in _targets(statement))


def _calls(node: ast.AST, around: tuple[ast.AST, ...]) -> Iterator[tuple[ast.Call, tuple[ast.AST, ...]]]:
    """Every call with the functions and classes around it, the innermost last."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child, around
        inner = (*around, child) if isinstance(child, ast.FunctionDef | ast.ClassDef) else around
        yield from _calls(child, inner)


def _classes(call: ast.Call, around: tuple[ast.AST, ...], kinds: Mapping[str, Kind]) -> list[str]:
    """Which classes of errors a call can make: none, where it makes something else."""
    match call.func:
        case ast.Name(id=name) if name in kinds:
            return [name]
        case ast.Name(id="Problems"):
            return ["ConfigError"]
        case ast.Name(id=name) if around and (value := _assigned(name, around[-1])):
            return [n.id for n in ast.walk(value) if isinstance(n, ast.Name) and n.id in kinds]
        case ast.Attribute(attr="__init__"):
            return [n.name for n in around if isinstance(n, ast.ClassDef) and n.name in kinds]
    return []


def _assigned(name: str, function: ast.AST) -> ast.expr | None:
    """What a local variable is set to."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in [t.id for t in _targets(node)]:
            return node.value
    return None


def _codes(
    value: ast.expr, around: tuple[ast.AST, ...], callers: Sequence[ast.Module], constants: Mapping[str, str]
) -> Iterator[str]:
    """The codes that an expression can be: literal, named, or given to the function that makes the error.

    None of an error that is passed on, and of a gate's rule.
    """
    match value:
        case ast.Constant(value=str(code)):
            yield code
        case ast.JoinedStr():
            yield _text(value)
        case ast.IfExp(body=body, orelse=orelse):
            yield from _codes(body, around, callers, constants)
            yield from _codes(orelse, around, callers, constants)
        case ast.Name(id=name) if around and (assigned := _assigned(name, around[-1])):
            yield from _codes(assigned, around, callers, constants)
        case ast.Name(id=name) if name in constants:
            yield constants[name]
        case ast.Name() if around and isinstance(function := around[-1], ast.FunctionDef):
            for call in _calls_of(function, callers):
                texts = [n.value for n in ast.walk(call) if isinstance(n, ast.Constant)]
                yield from (text for text in texts if isinstance(text, str) and CODE.fullmatch(text))


def _messages(call: ast.Call, around: tuple[ast.AST, ...], callers: Sequence[ast.Module]) -> Iterator[str]:
    """What an error says: its first word, or that of the calls of the function that makes it."""
    match call.args:
        case [ast.Name(id=name), *_] if around and isinstance(function := around[-1], ast.FunctionDef):
            names = [a.arg for a in function.args.args]
            if name in names:
                found = (passed.args[names.index(name) :] for passed in _calls_of(function, callers))
                yield from (_text(rest[0]) for rest in found if rest)
        case [first, *_]:
            yield _text(first)


def _calls_of(function: ast.FunctionDef, callers: Sequence[ast.Module]) -> Iterator[ast.Call]:
    for module in callers:
        yield from _called(module).get(function.name, ())


@cache
def _called(module: ast.Module) -> dict[str, list[ast.Call]]:
    """The calls in a module by the name of what is called."""
    found: dict[str, list[ast.Call]] = {}
    for call, _ in _calls(module, ()):
        found.setdefault(getattr(call.func, "attr", getattr(call.func, "id", "")), []).append(call)
    return found


def _text(node: ast.expr) -> str:
    """An expression of text as people see it, with `…` for what is filled in."""
    match node:
        case ast.Constant(value=value):
            return str(value or "")
        case ast.JoinedStr(values=values):
            return "".join(_text(v) if isinstance(v, ast.Constant) else "…" for v in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.BoolOp(values=[*_, last]):
            return _text(last)
        case ast.IfExp(body=body, orelse=orelse):
            return _text(body) or _text(orelse)
    return "…"


def _cell(text: str) -> str:
    plain = " ".join(text.replace("|", "\\|").split())
    return re.sub(r"…+", "...", plain)
