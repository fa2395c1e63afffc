"""docs/faults.md from the tests beside this file: `python tests/faults/table.py --write`, without it to the screen."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- begin of the table -->\n", "<!-- end of the table -->\n"
STATES = {  # a word in a test's marks -> when it runs
    "gpu": "needs a GPU",
    "importorskip": "holds, with Ray installed",
    "slow": "holds, takes a while",
    "xfail": "does not hold yet",
}


@dataclass(frozen=True, order=True)
class Line:
    """One test of one fault."""

    number: int
    place: int
    given: str
    seen: str
    test: str
    state: str


CLUSTER, QUERY = "tests/framework/executors/test_cluster.py", "tests/framework/store/test_query.py"
LEASES, SUPERVISOR = "tests/framework/executors/test_leases.py", "tests/framework/executors/test_supervisor.py"
RAY = STATES["importorskip"]
ELSEWHERE = [
    Line(66, 0, "71 attempts to read, write, attach, load, fetch or unlock by SQL", "each refused; nothing changes",
         f"{QUERY}::test_an_attack_is_denied_and_changes_nothing", "holds"),
    Line(60, 0, "a device that another run has", "it is said whose; the first Ctrl-C ends a run that only waits",
         f"{LEASES}::test_a_run_that_only_waits_says_for_whom_and_ends_when_it_is_told_to", "holds"),
    Line(60, 1, "two slots, of which one must wait for its device", "it leaves its networks to the other",
         f"{SUPERVISOR}::test_who_must_wait_for_its_device_leaves_its_network_to_who_has_one", "holds"),
    Line(79, 0, "a node that is killed", "its trials run again elsewhere, none is lost or stored twice",
         f"{CLUSTER}::test_a_killed_node_costs_its_trials_an_attempt_and_nothing_else", RAY),
    Line(80, 0, "a node that freezes", "noticed within 30 s, its trials run elsewhere",
         f"{CLUSTER}::test_a_frozen_node_is_noticed_within_thirty_seconds", RAY),
    Line(81, 0, "the head is killed", "one line, exit code 2; finished trials are kept",
         f"{CLUSTER}::test_a_lost_head_ends_the_run_in_one_line", RAY),
    Line(82, 0, "more GPUs or cores than the cluster has", "refused before anything waits",
         f"{CLUSTER}::test_what_a_cluster_could_never_give_is_refused_before_anything_waits", RAY),
    Line(83, 0, "another version on a node", "refused, both versions and the node named",
         f"{CLUSTER}::test_another_version_on_a_node_is_refused_with_both_named", RAY),
]  # fmt: skip


def lines() -> list[Line]:
    """Every test that carries a number, by number."""
    here = [line for path in sorted(HERE.glob("test_*.py")) for line in _lines_of(path)]
    return sorted([*here, *ELSEWHERE])


def names_in(path: Path) -> set[str]:
    """The names of the tests in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def _lines_of(path: Path) -> Iterator[Line]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    shared = [node.value for node in tree.body if isinstance(node, ast.Expr) or _is_pytestmark(node)]
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "fault":
                number, given, seen = (ast.literal_eval(argument) for argument in mark.args)
                state = _state([*node.decorator_list, *shared])
                yield Line(number, node.lineno, given, seen, f"{path.relative_to(ROOT)}::{node.name}", state)


def _is_pytestmark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(getattr(name, "id", "") == "pytestmark" for name in node.targets)


def _state(marks: list[ast.expr]) -> str:
    """`holds` where nothing but the test itself decides."""
    words = {inner.attr for mark in marks for inner in ast.walk(mark) if isinstance(inner, ast.Attribute)}
    return next((state for word, state in STATES.items() if word in words), "holds")


def table() -> str:
    """The table in Markdown."""
    rows = ["| no. | given | what the user sees | state | test |", "| --- | --- | --- | --- | --- |"]
    for line in lines():
        cells = (_cell(line.given), _cell(line.seen), line.state, f"`{line.test.removeprefix('tests/')}`")
        rows.append(f"| {line.number} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def page(current: str) -> str:
    """`current` with the table as it is now."""
    before, rest = current.split(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    made = page(PAGE.read_text(encoding="utf-8"))
    if "--write" in sys.argv:
        PAGE.write_text(made, encoding="utf-8")
    else:
        sys.stdout.write(made)
