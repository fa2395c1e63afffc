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
    ["__main__"],
    ["cli"],
    ["doctor", "own", "pytest_plugin", "worker", "runner"],
    ["engine", "testing"],
    ["trial", "report"],
    ["grid", "judging"],
    ["measure"],
    ["plugins", "store"],
    ["splits", "shapes", "randomness", "anatomy"],
    ["records", "errors", "interrupts", "samples"],
]
FLOOR = {name: len(FLOORS) - number for number, names in enumerate(FLOORS) for name in names}

OWNERS = {
    "click": {"cli"},
    "rich": {"cli"},
    "pluggy": {"plugins"},
    "duckdb": {"store"},
    "altair": {"report"},
    "vl_convert": {"report"},
    "polars": {"store", "report", "cli"},
    "ray": {"engine"},
    "tensorly": set(),
    "torchvision": set(),
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
        other = parts[1]
        if other == "API_VERSION":
            other = "plugins"
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
