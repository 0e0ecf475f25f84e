"""What the code looks like from above: typed borders between packages, no import cycle, Markdown in short lines."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
UNTYPED_ALLOWED = 0
"""Annotations ``dict[str, Any]`` or ``Mapping[str, Any]`` that may cross a border between packages."""
UNTYPED = re.compile(r"\b(dict|Mapping|MutableMapping)\[str, Any\]")
LONGEST_LINE = 120
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
)


class Module:
    """One file of the package: what it defines, and what each name it imports stands for."""

    def __init__(self, path: Path) -> None:
        parts = path.relative_to(SOURCE).with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self.tree = ast.parse(path.read_text())
        self.defined: dict[str, ast.stmt] = {}
        for statement in self.tree.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.defined[statement.name] = statement
            elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                self.defined[statement.targets[0].id] = statement
        self.imported: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                self.imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                self.imported |= {alias.asname: alias.name for alias in node.names if alias.asname}

    def package(self) -> str:
        """Name below ``episode``: of a folder, or of a module that lies beside them."""
        return [*self.name.split("."), ""][1]

    def used(self) -> Iterator[str]:
        """Dotted names of all that it imports, or reads of a module that it imports."""
        yield from self.imported.values()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.imported:
                yield f"{self.imported[node.value.id]}.{node.attr}"


@functools.cache
def modules() -> dict[str, Module]:
    return {module.name: module for module in map(Module, sorted(SOURCE.rglob("*.py")))}


def resolved(name: str) -> tuple[Module, str] | None:
    """The module that defines a dotted name, through packages that hand it on."""
    owner, _, symbol = name.rpartition(".")
    module = modules().get(owner)
    if module is None:
        return None
    if symbol in module.defined:
        return module, symbol
    return resolved(module.imported[symbol]) if symbol in module.imported else None


def crossing() -> Iterator[tuple[Module, str]]:
    """Everything that a module of another package imports, once."""
    seen = set()
    for module in modules().values():
        for name in module.used():
            found = resolved(name)
            if found and found[0].package() != module.package() and (found[0].name, found[1]) not in seen:
                seen.add((found[0].name, found[1]))
                yield found


def untyped(module: Module, annotation: ast.expr | None) -> bool:
    """Whether an annotation is open, in plain sight or by another name."""
    if annotation is None:
        return False
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name | ast.Subscript) and UNTYPED.fullmatch(ast.unparse(node)):
            return True
        found = resolved(f"{module.name}.{node.id}") if isinstance(node, ast.Name) else None
        alias = found and found[0].defined[found[1]]
        if found and isinstance(alias, ast.Assign) and untyped(found[0], alias.value):
            return True
    return isinstance(annotation, ast.Constant) and bool(UNTYPED.search(str(annotation.value)))


def annotated(definition: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    """Parameters and return of a function; fields, and those of public methods, of a class."""
    if isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        given = definition.args
        for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
            if argument:
                yield argument.arg, argument.annotation
        yield "return", definition.returns
    elif isinstance(definition, ast.ClassDef):
        for part in definition.body:
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                yield part.target.id, part.annotation
            elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and (
                not part.name.startswith("_") or part.name in ("__init__", "__call__")
            ):
                yield from ((f"{part.name}.{name}", annotation) for name, annotation in annotated(part))


def test_no_open_dictionary_crosses_a_border_between_packages() -> None:
    found = sorted(
        f"{module.name}.{symbol}: {place}"
        for module, symbol in crossing()
        for place, annotation in annotated(module.defined[symbol])
        if untyped(module, annotation)
    )
    print(*found, sep="\n")
    assert len(found) <= UNTYPED_ALLOWED, f"{len(found)} open dictionaries cross a border:\n" + "\n".join(found)


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("episode", cache_dir=None)
    assert len(graph.modules) >= len(modules())
    TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()


@pytest.mark.parametrize("page", PAGES)
def test_lines_of_markdown_are_short(page: str) -> None:
    """But for code, and for rows of tables, which cannot be broken."""
    long, code = [], False
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        if line.startswith("```"):
            code = not code
        elif len(line) > LONGEST_LINE and not (code or line.startswith("|")):
            long.append(number)
    assert not long, f"lines {long} are longer than {LONGEST_LINE} characters"
