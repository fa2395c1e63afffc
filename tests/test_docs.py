"""Documentation that is tested: commands exist, grids plan, code runs, generated pages are current."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import store_samples as samples
from prunebench.cli import VERBS, bench
from prunebench.grid.grid import Grid
from prunebench.grid.plan import plan
from prunebench.plugins.discovery import find_installed
from prunebench.store import Store
from prunebench.store.sealed_client import sealed_query
from zoo_networks import ZOO

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.S | re.M)


def named(pages: list[Path], language: str):
    return [pytest.param(text, id=f"{p.name}-{i}") for p in pages for i, text in enumerate(blocks(p, language))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_and_option_that_a_page_shows_exists(page):
    for line in re.findall(r"^(?: {4}.*?|\$ )\b(bench .*)$", page.read_text(), flags=re.M):
        words = line.split("#")[0].split("&&")[-1].split()
        if words[1].startswith("-"):
            continue
        assert words[1] in VERBS, f"{page.name}: {line}"
        command = bench.get_command(None, words[1])
        known = {name for item in command.params for name in (*item.opts, *item.secondary_opts)}
        for sub in getattr(command, "commands", {}).values():
            known |= {name for item in sub.params for name in (*item.opts, *item.secondary_opts)}
        quoted = re.sub(r"\"[^\"]*\"|'[^']*'", "", " ".join(words))
        options = [w.split("=")[0] for w in quoted.split() if w.startswith("--")]
        assert set(options) <= known | {"--help", "--json"}, f"{page.name}: {line}"


def test_every_page_has_a_place_in_the_order_of_the_site():
    placed = re.findall(r"^ +- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.M)
    assert sorted(placed) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_inside_the_project_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("text", named(PAGES, "toml"))
def test_every_grid_in_a_page_plans(text):
    if "[[block]]" in text:
        assert plan(Grid.parse(text), find_installed()).trials


@pytest.mark.parametrize("text", named([ROOT / "docs" / "author.md"], "python"))
def test_every_plugin_in_the_tutorial_passes_the_kit(text, tmp_path):
    from prunebench.testing import check_chart, check_method, check_metric, check_model

    others = {"model": check_model, "metric": check_metric, "chart": check_chart}
    checks = {"method": lambda cls: check_method(cls, speed=False), **others}
    path = tmp_path / "my_method.py"
    path.write_text(text)
    (plugin,) = [p for p in find_installed([path]).plugins if p.code]
    assert checks[plugin.kind](plugin.cls) == []


def test_the_objective_of_its_page_and_its_data_pass_the_kit(tmp_path):
    from prunebench.testing import check_dataset, check_objective

    path = tmp_path / "my_objective.py"
    path.write_text("\n\n".join(blocks(ROOT / "docs" / "objectives.md", "python")))
    brought = {p.kind: p.cls for p in find_installed([path]).plugins if p.code}
    assert check_objective(brought["objective"]) == check_dataset(brought["dataset"]) == []


def test_the_method_of_the_readme_passes_the_kit(tmp_path):
    from prunebench.testing import check_method

    (text,) = blocks(ROOT / "README.md", "python")
    path = tmp_path / "my_method.py"
    path.write_text(
        text + "\nfrom prunebench import hookimpl\n\n\n@hookimpl\ndef methods():\n    return [SmallestRows]\n"
    )
    (plugin,) = [p for p in find_installed([path]).plugins if p.code]
    assert check_method(plugin.cls, speed=False) == []


def test_the_readme_is_read_in_two_minutes():
    assert 40 <= len((ROOT / "README.md").read_text().splitlines()) <= 60


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "grids").glob("*.toml")))
def test_every_bundled_grid_plans(name):
    assert plan(Grid.load(ROOT / "grids" / name), find_installed()).trials


def test_the_smallest_method_plugin_has_at_most_25_lines():
    first = blocks(ROOT / "docs" / "author.md", "python")[0]
    assert len([line for line in first.splitlines() if line.strip()]) <= 25


def test_the_readme_names_the_commands_that_ci_and_newcomers_type():
    readme = (ROOT / "README.md").read_text()
    first_screen = "\n".join(readme.splitlines()[:20])
    assert "pip install -e . && bench run --grid grids/quickstart.toml" in first_screen
    test_command = "pip install -e '.[test]' && pytest"
    assert test_command in first_screen
    ci = (ROOT / ".ci" / "run").read_text()
    assert test_command.replace("install -e", "install --quiet -e") in ci or test_command in ci


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_has_help_that_begins_as_the_list_says(verb):
    command = bench.get_command(None, verb)
    assert command.name == verb and command.help, verb
    for item in command.params:
        if "--" in "".join(item.opts):
            assert getattr(item, "help", None), f"bench {verb} {item.opts} has no help"


@pytest.mark.parametrize("name", ["commands", "methods", "ledger", "papers", "seed_rows", "smollm2"])
def test_generated_pages_are_current(name):
    script, page = f"{name}.py", {"papers": "papers-offline.md", "seed_rows": "seed-rows.md"}.get(name, f"{name}.md")
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "make" / script], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert made == (ROOT / "docs" / page).read_text(), f"run: python docs/make/{script} > docs/{page}"


def test_every_method_of_the_founding_papers_has_a_seed_row():
    rows = tomllib.loads((ROOT / "docs" / "make" / "seed_rows.toml").read_text())["row"]
    installed = find_installed()
    for name in ("ravan-ebanks-2024", "rohlicek-2020"):
        grid = Grid.parse(installed.find("paper", name).cls().grid("offline"), source=name)
        used = {trial.method.use for trial in plan(grid, installed).trials} - {"dense"}
        assert used <= {row["method"] for row in rows}, name
    cited = ("denton-2014", "jaderberg-2014", "lebedev-2015", "jin-2014", "gong-2014", "levin-1993", "garg-2020")
    assert {*cited, "han-2015", "frankle-2019"} <= {row["paper"] for row in rows}


def test_the_reference_has_every_promised_name_with_its_methods_and_words():
    import prunebench

    text = (ROOT / "docs" / "reference.md").read_text()
    assert [name for name in prunebench.__all__ if f"\n## {name}\n" not in text] == []
    for wanted in (
        "### Task.fit",
        "### Method.storage",
        "### Method.check",
        "### Model.anatomy",
        "### Dataset.available",
    ):
        assert f"\n{wanted}\n" in text, wanted
    for wanted in ("choices", "unit: str = ", "`stochastic: bool = False`", "$published", "left_alone", "extra_loss"):
        assert wanted in text, wanted
    for part in text.split("\n## ")[1:]:
        assert len(part.split("\n", 1)[1].split()) > 2, f"nothing is said of {part.splitlines()[0]}"
    assert " at 0x" not in text, "an address of memory is another one each time"


def test_hooks_are_documented_by_their_names():
    from prunebench.plugins import hookspecs

    hooks = [name for name, value in vars(hookspecs).items() if getattr(value, "prunebench_spec", None) is not None]
    said = (ROOT / "docs" / "author.md").read_text()
    assert hooks and [hook for hook in hooks if f"`{hook}`" not in said and f"def {hook}()" not in said] == []


def test_the_table_of_applicability_is_complete_and_without_fault():
    text = (ROOT / "docs" / "applicability.md").read_text()
    for name, plugin in find_installed().of_kind("method").items():
        if plugin.distribution == "prunebench" and not name.startswith("peer_") and name != "dense":
            assert f"`{name}`" in text, f"run: python docs/make/zoo.py zoo.json > docs/applicability.md ({name})"
    assert [name for name in ZOO if f"\n| {name} |" not in text] == []
    assert not re.search(r"\*\*(fails|wrong)\*\* \|", text)


QUERIES = [
    pytest.param(sql, id=f"{page.name}-{index}")
    for page in PAGES
    for index, sql in enumerate(re.findall(r"bench query \"(select [^\"…]+)\"", page.read_text()))
]


@pytest.fixture
def results(tmp_path):
    store = Store(tmp_path / "runs" / "results.duckdb")
    with store.open_run(samples.run()) as journal:
        for rank in (None, 4):
            journal.append(samples.result(samples.trial(rank)))
    store.merge()
    return store.path


@pytest.mark.parametrize("sql", QUERIES)
def test_every_query_that_a_page_shows_is_answered(results, sql):
    assert sealed_query(results, sql).columns


@pytest.mark.parametrize("text", named([page for page in PAGES if page.name != "author.md"], "python"))
def test_every_program_that_a_page_shows_runs(results, text, monkeypatch):
    monkeypatch.chdir(results.parents[1])
    exec(compile(text, "page", "exec"), {})


WORKFLOWS = ROOT / ".github" / "workflows"


def test_the_workflows_do_what_the_release_recipe_says():
    """Without a YAML reader: the steps are compared as words."""
    test, wheel, release = ((WORKFLOWS / f"{name}.yml").read_text() for name in ("test", "wheel", "release"))
    recipe = (ROOT / "docs" / "releasing.md").read_text()
    for step in ("python -m build", "twine check dist/*", "papers", "new method example", "run --grid quickstart"):
        assert step in wheel and step in recipe, step
    assert "uses: ./.github/workflows/wheel.yml" in test and "uses: ./.github/workflows/wheel.yml" in release
    assert 'python: ["3.11", "3.12", "3.13"]' in test and "mkdocs build --strict" in test
    assert "id-token: write" in release and "secrets." not in release, "a trusted publisher needs no token"


def test_a_tag_is_compared_with_the_version_by_the_line_that_holds_it():
    (command,) = re.findall(r"version=\$\((sed .*)\)$", (WORKFLOWS / "release.yml").read_text(), flags=re.M)
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    from prunebench import __version__

    assert done.stdout.strip() == __version__


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_block_of_a_page_is_of_a_kind_that_no_test_reads(page):
    kinds = set(re.findall(r"^```(\w+)", page.read_text(), flags=re.M))
    assert kinds <= {"toml", "python", "sql", "yaml", "text", "console"}, kinds
