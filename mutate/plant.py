"""Faults that can be planted in a source file, one at a time.

Why not a kept tool: mutmut 3 rewrites functions alone, so that no threshold at the top
of a file and no default of a policy is ever changed; cosmic-ray starts a process for
each fault, which is most of the time here. Neither drops a command, sends an epoch
astray or removes a statement, which are the faults that this core is prone to.

Left alone: annotations, names, words for people (strings and what is formatted into
them), imports, assertions, and the assignments of `__init__`, without which nothing
runs.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
EXTREMES = {"max": "min", "min": "max"}
UNTOUCHED = {"annotation", "returns", "decorator_list", "bases", "keywords", "simple"}
"""Fields of a definition that say nothing of behaviour; those of calls do."""
DECLARED = {"__slots__", "__all__", "__match_args__"}
LONGEST = 800

_Statement: TypeAlias = ast.stmt | ast.match_case


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """The `nth` fault of a file, and words for it that outlive a change of lines."""

    file: str
    nth: int
    line: int
    where: str
    """The class and function around it."""
    before: str
    after: str
    alike: int = 0
    """How many faults before it in the file have the same words."""

    @property
    def key(self) -> str:
        again = f" ({self.alike + 1})" if self.alike else ""
        return f"{self.file} {self.where}: {self.before} => {self.after}{again}"


@dataclass(frozen=True, slots=True)
class _Site:
    """A field of a node that a fault sets to another value."""

    node: ast.AST
    field: str
    value: Any
    where: str
    statement: _Statement
    removes: bool = False


def faults(path: Path) -> list[Fault]:
    """All faults that can be planted in a file, in the order of its lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[Fault] = []
    words: Counter[tuple[str, str, str]] = Counter()
    for nth, site in enumerate(_sites(tree, "module", None, sends=False)):
        before, usual = _text(site.statement), getattr(site.node, site.field)
        setattr(site.node, site.field, site.value)
        after = "(removed)" if site.removes else _text(site.statement)
        setattr(site.node, site.field, usual)
        line = _line(site.statement)
        alike = words[site.where, before, after]
        words[site.where, before, after] += 1
        found.append(Fault(path.name, nth, line, site.where, before, after, alike))
    return found


def planted(path: Path, fault: Fault) -> str:
    """The source with this fault in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    site = list(_sites(tree, "module", None, sends=False))[fault.nth]
    setattr(site.node, site.field, site.value)
    return ast.unparse(ast.fix_missing_locations(tree))


def _line(statement: _Statement) -> int:
    if isinstance(statement, ast.match_case):
        return statement.pattern.lineno
    return statement.lineno


def _text(statement: _Statement) -> str:
    """The first line of a statement, without what decorates it."""
    lines = ast.unparse(statement).split("\n")
    line = next(line for line in lines if not line.startswith("@"))
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


# --- where ------------------------------------------------------------------------


def _sites(
    node: ast.AST, where: str, statement: _Statement | None, *, sends: bool
) -> Iterator[_Site]:
    """All sites below a node; `sends`: the function around returns a list."""
    for field, value in ast.iter_fields(node):
        if field in UNTOUCHED and not isinstance(node, ast.Call):
            continue
        for at, item in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(item, ast.AST) or _is_left_alone(item):
                continue
            around, within, returns_list = where, statement, sends
            if isinstance(item, ast.FunctionDef | ast.ClassDef):
                around = item.name if where == "module" else f"{where}.{item.name}"
            if isinstance(item, ast.FunctionDef):
                returned = "" if item.returns is None else ast.unparse(item.returns)
                returns_list = returned.startswith("list[")
            if isinstance(item, ast.stmt | ast.match_case):
                within = item
            if within is not None:
                place = at if isinstance(value, list) else None
                slot = (node, field, place, around, within)
                yield from _of(item, slot, sends=returns_list)
            yield from _sites(item, around, within, sends=returns_list)


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.JoinedStr() | ast.Assert():
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=targets):
            return any(isinstance(t, ast.Name) and t.id in DECLARED for t in targets)
        case ast.AnnAssign(annotation=annotation):
            return ast.unparse(annotation) == "TypeAlias"
        case _:
            return False


# --- what -------------------------------------------------------------------------

_Slot: TypeAlias = tuple[ast.AST, str, int | None, str, _Statement]


def _of(node: ast.AST, slot: _Slot, *, sends: bool) -> Iterator[_Site]:
    """Every fault of one node itself."""
    _, _, _, where, within = slot

    def change(changed: ast.AST, field: str, value: Any) -> _Site:
        return _Site(changed, field, value, where, within)

    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARED:
            yield change(node, "ops", [COMPARED[type(op)]()])
        case ast.BoolOp(op=both):
            yield change(
                node, "op", ast.Or() if isinstance(both, ast.And) else ast.And()
            )
        case ast.BinOp(op=sign) if type(sign) in COUNTED:
            yield change(node, "op", COUNTED[type(sign)]())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield _instead(operand, slot)
        case ast.Constant(value=bool(truth)):
            yield change(node, "value", not truth)
        case ast.Constant(value=int(number)):
            yield change(node, "value", number + 1)
        case ast.Constant(value=float(number)):
            yield change(node, "value", number * 2 or 1.0)
        case ast.Call(func=ast.Name(id=name) as called) if name in EXTREMES:
            yield change(called, "id", EXTREMES[name])
        case ast.Attribute(attr="epoch", ctx=ast.Load()):
            yield _instead(ast.BinOp(node, ast.Sub(), ast.Constant(1)), slot)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield change(node, "test", ast.UnaryOp(ast.Not(), test))
        case ast.Return(value=ast.expr() as value) if sends and not _is_empty(value):
            yield change(node, "value", ast.List([], ast.Load()))
        case ast.stmt() if _can_be_removed(node, where):
            yield _instead(ast.Pass(), slot, removes=True)
        case _:
            pass


def _instead(value: ast.AST, slot: _Slot, *, removes: bool = False) -> _Site:
    """Put another node into the place of one."""
    parent, field, at, where, within = slot
    if at is None:
        return _Site(parent, field, value, where, within, removes)
    items = getattr(parent, field)
    others = [*items[:at], value, *items[at + 1 :]]
    return _Site(parent, field, others, where, within, removes)


def _is_empty(value: ast.expr) -> bool:
    return isinstance(value, ast.List) and not value.elts


def _can_be_removed(node: ast.stmt, where: str) -> bool:
    if where.endswith("__init__"):
        return False
    match node:
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Delete():
            return True
        case ast.Assign(targets=targets):
            return any(isinstance(t, ast.Attribute | ast.Subscript) for t in targets)
        case _:
            return False
