"""Databases of synthetic results."""

from pathlib import Path

import pytest
from prunebench.report import Scope
from prunebench.report.build import Extras, build
from prunebench.store import Store, open_results

from tests.framework.report import synthetic


def store_results(folder, results, name="synthetic", missing=0, **run):
    """A database in `folder` that holds `results` as one run."""
    path = Path(folder) / "results.duckdb"
    kept = list(results)
    ids = tuple(result.trial.id for result in kept)
    record = synthetic.run_record(name, len(set(ids)) + missing, **run)
    journal = Store(path).open_run(record)
    for result in kept:
        journal.append(result)
    journal.close()
    return path


def page_of(path, scope=None):
    """The text of the page about everything in the database."""
    with open_results(path) as results:
        return build(results, scope or Scope(), Extras(path))


@pytest.fixture(scope="session")
def usual(tmp_path_factory):
    """Two models, four methods, three seeds, with declined and failed cells."""
    path = store_results(
        tmp_path_factory.mktemp("usual"),
        synthetic.grid_results(["digits"], ["lenet5", "simple_fcn"], compressions=(1.5, 2, 8, 32)),
        missing=3,
    )
    Store(path).merge()
    return path


@pytest.fixture(scope="session")
def usual_page(usual):
    """The text of its page."""
    return page_of(usual, Scope("synthetic-1"))


@pytest.fixture()
def results(usual):
    """The usual results, open."""
    with open_results(usual) as opened:
        yield opened
