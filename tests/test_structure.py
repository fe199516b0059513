"""The house: no import circles, files and classes of a readable size, nothing that packaging would pass over."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
LINES, CLASS_LINES = 400, 250


def sources() -> list[str]:
    """Python files of the package on disk, boards and simulation by their links too."""
    folders = (ROOT / "hwseg", ROOT / "boards", ROOT / "sim")
    return sorted(p.relative_to(ROOT).as_posix() for folder in folders for p in folder.rglob("*.py"))


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or not: Tarjan's strongly connected components."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in imports[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(imports):
        if module not in index:
            visit(module)
    return found


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("hwseg", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 200
    assert circles(imports) == []


def classes(path: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ClassDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", sources())
def test_files_and_classes_are_small_enough_to_read(path: str) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= LINES
    assert [name for name, lines in classes(path) if lines > CLASS_LINES] == []


def test_no_source_is_ignored() -> None:
    """A folder named `build` would be passed over by git, and so by the wheel (`test_wheel` compares it with git's)."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs the checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "hwseg", "boards", "sim"]
    known = set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines())
    assert set(sources()) <= known
