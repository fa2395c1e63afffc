"""The house's directions: who may import whom, who owns which package, what stays asleep."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import prunebench
import pytest

ROOT = Path(__file__).parents[1]
FRAMEWORK = ROOT / "framework" / "prunebench"

# A file imports only from floors below its own; files of one floor import each other only inside one package.
FLOORS = [
    (["__main__"], "`python -m prunebench`"),
    (["cli"], "one file per command; click and rich live here and nowhere else"),
    (
        ["doctor", "own", "pytest_plugin", "worker", "runner"],
        "checks of this machine; a network in hand; the kit as a pytest plugin; older names",
    ),
    (
        ["engine", "export", "testing", "publishing"],
        "many trials on many devices: sessions, executors, workers, activity; networks as files; the kit for plugins; "
        "folders and sites of results",
    ),
    (["trial", "report"], "one trial, from the dense network to its result; charts and the page"),
    (["grid", "judging"], "text -> checked trials; audits, claims, comparisons"),
    (["measure"], "what a network is worth: scores, counts, bytes, seconds"),
    (["plugins", "store"], "what a plugin is; the results database"),
    (
        ["splits", "shapes", "randomness", "anatomy"],
        "data in batches; layers as numbers; seeds that leave no trace; the coupled parts of transformers by name",
    ),
    (
        ["records", "errors", "interrupts", "samples", "writing"],
        "plain data, no torch; errors the user can fix; trees of tensors; text made safe, files written whole",
    ),
    (["recipe"], "how a network is trained, and the recipes that have a name"),
]
FLOOR = {name: len(FLOORS) - number for number, (names, _) in enumerate(FLOORS) for name in names}

MOST_ROOMS = 30  # files and folders at the top of the framework
MOST_LINES = 60  # of a function, from its `def` to its end
MOST_PARAMETERS = 8  # of a function, besides self
MOST_LETTERS = 70  # of a test's name

OWNERS = {
    "click": {"cli"},
    "rich": {"cli"},
    "pluggy": {"plugins"},
    "duckdb": {"store"},
    "altair": {"report"},
    "vl_convert": {"report"},
    "polars": {"store", "report", "cli", "own", "publishing"},
    "ray": {"engine"},
    "tensorly": set(),
    "torchvision": {"trial"},  # RandAugment's operations, where a recipe asks for them
    "sklearn": set(),
    "PIL": set(),
}


def module_files() -> list[Path]:
    return sorted(FRAMEWORK.rglob("*.py"))


def part_of(path: Path) -> str:
    first = path.relative_to(FRAMEWORK).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Module names that a file imports, and whether at import time (not in a function, not for typing only)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_typing_only(node)
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in late) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if node.module == "prunebench":
                found += [(f"prunebench.{alias.name}", id(node) not in late) for alias in node.names]
            else:
                found.append((node.module, id(node) not in late))
    return found


def _is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


@pytest.mark.parametrize("path", module_files(), ids=lambda p: str(p.relative_to(FRAMEWORK)))
def test_a_file_imports_only_from_the_floors_below(path: Path):
    own = part_of(path)
    if own == "__init__":
        return
    assert own in FLOOR, f"{own} has no floor: give it one in tests/test_architecture.py and docs/architecture.md"
    for name, _ in imports_of(path):
        parts = name.split(".")
        if parts[0] != "prunebench" or len(parts) == 1 or parts[1].startswith("__"):
            continue
        other = prunebench._HOME.get(parts[1], parts[1]).split(".")[0]
        if other in FLOOR:
            assert other == own or FLOOR[other] < FLOOR[own], f"{own} imports {other}, which is not below it"


@pytest.mark.parametrize("path", module_files(), ids=lambda p: str(p.relative_to(FRAMEWORK)))
def test_each_package_has_its_owner_and_the_framework_imports_no_plugin(path: Path):
    own = part_of(path)
    for name, _ in imports_of(path):
        package = name.split(".")[0]
        assert not (package.startswith("prunebench_")), f"{path.name} imports the plugin package {package}"
        if package in OWNERS:
            assert own in OWNERS[package], f"{own} imports {package}, which belongs to {OWNERS[package] or 'plugins'}"


def plugin_files() -> list[Path]:
    return sorted((ROOT / "plugins").rglob("*.py"))


@pytest.mark.parametrize("path", plugin_files(), ids=lambda p: str(p.relative_to(ROOT / "plugins")))
def test_a_bundled_plugin_uses_the_public_face_and_nothing_else(path: Path):
    own = path.relative_to(ROOT / "plugins").parts[0]
    for name, _ in imports_of(path):
        parts = name.split(".")
        if parts[0] == "prunebench":
            is_public = len(parts) == 2 and parts[1] in prunebench.__all__
            assert is_public, f"{path.name} imports {name}, which is not part of the face"
        if parts[0].startswith("prunebench_"):
            assert parts[0] == own, f"{path.name} imports another plugin package, {parts[0]}"


def arrows(path: Path, names: set[str]) -> set[str]:
    """The modules among `names` that a file imports, also inside functions; what is imported for typing is not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner) for node in ast.walk(tree) if _is_typing_only(node) for part in node.body for inner in ast.walk(part)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            if node.module == "prunebench":
                full = {name: f"prunebench.{prunebench._HOME.get(name, name)}" for name in full}
            found |= {dotted if dotted in names else node.module for dotted in full.values()}
    return found & names


def circles(root: Path, package: str) -> list[set[str]]:
    """Sets of modules of `package` that import each other in a circle."""
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((root / package).rglob("*.py"))
    }
    to = {name: arrows(path, set(files)) - {name} for name, path in files.items() if name != "prunebench"}
    reach = {name: _reached(name, to) for name in to}
    found = {frozenset(other for other in reach[name] if name in reach.get(other, ())) for name in to}
    return [{name.removeprefix(f"{package}.") for name in circle} for circle in found if circle]


def _reached(name: str, to: dict[str, set[str]]) -> set[str]:
    found, waiting = set(), [name]
    while waiting:
        news = to.get(waiting.pop(), set()) - found
        found |= news
        waiting += news
    return found


def test_no_file_of_the_framework_is_in_a_circle():
    assert circles(ROOT / "framework", "prunebench") == []


@pytest.mark.parametrize("package", sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir()))
def test_no_file_of_a_plugin_package_is_in_a_circle(package: str):
    assert circles(ROOT / "plugins", package) == []


def test_circles_are_found(tmp_path: Path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.py").write_text("def f():\n    from p.b import g\n")
    (tmp_path / "p" / "b.py").write_text("from p import c\n")
    (tmp_path / "p" / "c.py").write_text("import p.a\n")
    (tmp_path / "p" / "d.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import p.e\n")
    (tmp_path / "p" / "e.py").write_text("import p.d\nimport p.a\n")
    assert circles(tmp_path, "p") == [{"a", "b", "c"}]


def floors_table() -> str:
    """The table of docs/architecture.md."""
    lines = [
        f"| {', '.join(f'`{name}`' for name in names)} | {what} |" for names, what in FLOORS if names != ["__main__"]
    ]
    return "\n".join(["| floor | what it does |", "| --- | --- |", *lines])


def test_the_floors_of_the_docs_are_those_of_this_test():
    assert floors_table() in (ROOT / "docs" / "architecture.md").read_text(), f"write there:\n{floors_table()}"


def test_the_top_of_the_framework_has_at_most_thirty_rooms():
    rooms = [path for path in FRAMEWORK.iterdir() if path.name != "__pycache__"]
    assert len(rooms) <= MOST_ROOMS


def functions() -> list[tuple[str, int]]:
    """Place and length of every function of framework and plugins."""
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in [*module_files(), *plugin_files()]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_functions_are_short():
    lengths = sorted(length for _, length in functions())
    assert lengths[len(lengths) // 2] <= 10
    assert [place for place, length in functions() if length > MOST_LINES] == []


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The names of what a caller may hand over, besides the object itself and what `*` and `**` collect."""
    named = [item.arg for item in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return [name for place, name in enumerate(named) if place or name not in ("self", "cls")]


def test_functions_have_at_most_eight_parameters():
    found = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": parameters(node)
        for path in [*module_files(), *plugin_files()]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {place: names for place, names in found.items() if len(names) > MOST_PARAMETERS} == {}


def test_names_of_tests_have_at_most_seventy_letters():
    names = [
        node.name
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) > 100
    assert [name for name in names if len(name) > MOST_LETTERS] == []


def test_the_face_keeps_what_it_lists():
    assert all(getattr(prunebench, name) is not None for name in prunebench.__all__)
    assert len(set(prunebench.__all__)) == len(prunebench.__all__)


def test_every_package_that_is_imported_is_a_named_requirement():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(x for extra in project["optional-dependencies"].values() for x in extra)]
    required = {line.split(">")[0].split("<")[0].split("[")[0].split("=")[0].strip().lower() for line in lines}
    names = {"sklearn": "scikit-learn", "PIL": "pillow", "vl_convert": "vl-convert-python", "pynvml": "nvidia-ml-py"}
    names["tltorch"] = "tensorly-torch"
    for path in [*module_files(), *plugin_files()]:
        for name, _ in imports_of(path):
            package = name.split(".")[0]
            if package in sys.stdlib_module_names or package.startswith("prunebench") or package == "__future__":
                continue
            assert names.get(package, package).lower().replace("_", "-") in required, f"{path}: {package}"
