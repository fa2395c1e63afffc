"""What SECURITY.md promises, held by reading the code and by trying."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from numbered import Bench
from prunebench.records import NAME

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "framework").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file with its dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_weights_are_read_only_as_weights() -> None:
    """Said explicitly at every call: the argument wins over the environment, the default does not."""
    careless = [
        f"{path.name}:{call.lineno}"
        for path in SOURCES
        for name, call in calls(path)
        if name in ("torch.load", "load_state_dict_from_url", "torch.hub.load_state_dict_from_url")
        and not any(k.arg == "weights_only" and getattr(k.value, "value", None) is True for k in call.keywords)
    ]
    # A worker hands the two networks of a measured pair to its own child in a private folder; nothing else is pickled.
    assert [place.split(":")[0] for place in careless] == ["one_round.py"]


def test_nothing_is_unpickled() -> None:
    """`pickle` is imported for the names of its errors; nobody calls it."""
    forbidden = {"cloudpickle", "dill", "shelve", "marshal", "joblib"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not forbidden & {name.split(".")[0] for name in names}, path
        called = {name for name, _ in calls(path)}
        assert not called & {"eval", "exec", "torch.hub.load", "pickle.load", "pickle.loads", "pickle.Unpickler"}, path


def test_a_file_of_numpy_arrays_is_read_without_pickles() -> None:
    for path in SOURCES:
        for name, call in calls(path):
            if name in ("np.load", "numpy.load"):
                assert not any(k.arg == "allow_pickle" and k.value.value for k in call.keywords), path  # type: ignore


def test_no_shell_reads_what_a_user_or_a_plugin_wrote() -> None:
    for path in SOURCES:
        for name, call in calls(path):
            assert name not in ("os.system", "os.popen", "subprocess.getoutput"), f"{path}:{call.lineno}"
            assert not any(k.arg == "shell" for k in call.keywords), f"{path}:{call.lineno}"


def test_a_whole_pickled_module_is_refused_when_weights_are_read(tmp_path: Path) -> None:
    import pickle

    import torch

    torch.save(torch.nn.Linear(1, 1), tmp_path / "whole.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "whole.pt", weights_only=True)


def test_every_database_is_opened_without_extensions_or_the_network() -> None:
    from prunebench.store.database import connect
    from prunebench.store.sealed_child import seal

    connection = connect()
    try:
        for setting in ("autoinstall_known_extensions", "autoload_known_extensions", "allow_community_extensions"):
            assert connection.execute(f"select current_setting('{setting}')").fetchone() == (False,)
        seal(connection, 1)
        assert connection.execute("select current_setting('enable_external_access')").fetchone() == (False,)
        assert connection.execute("select current_setting('lock_configuration')").fetchone() == (True,)
    finally:
        connection.close()


def test_nobody_opens_duckdb_but_by_the_one_door() -> None:
    openers = {path.name for path in SOURCES for name, _ in calls(path) if name == "duckdb.connect"}
    assert openers == {"database.py"}


def test_a_page_has_a_policy_that_lets_nothing_in() -> None:
    page = (ROOT / "framework" / "prunebench" / "report" / "assets" / "page.html").read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]+)"', page)
    assert policy, "the page has a content security policy"
    assert "default-src 'none'" in policy[1]
    assert "unsafe-inline" not in policy[1].split("script-src")[1].split(";")[0]
    assert not re.search(r'(src|href)="https?:', page)


def test_names_of_runs_grids_and_plugins_follow_one_pattern() -> None:
    assert NAME.pattern == r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def test_a_bad_plugin_can_be_left_out_by_an_option_or_by_the_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(*words: str) -> set[str]:
        return {plugin["name"] for plugin in json.loads(bench("plugins", "--json", *words).out)["installed"]}

    assert {"magnitude", "lenet5"} <= names()
    without = names("--disable-plugin", "prunebench_methods")
    assert "magnitude" not in without and "lenet5" in without
    monkeypatch.setenv("PRUNEBENCH_DISABLE_PLUGINS", "prunebench_methods,prunebench_papers")
    assert "magnitude" not in names()


def test_no_telemetry_and_no_address_is_built_into_the_framework() -> None:
    for path in (ROOT / "framework").rglob("*.py"):
        modules = {alias.name.split(".")[0] for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                   if isinstance(node, ast.Import) for alias in node.names}  # fmt: skip
        assert not modules & {"urllib", "requests", "httpx", "http", "aiohttp"}, path
