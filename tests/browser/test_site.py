"""The static site of a published folder, opened from the folder: it filters, links, draws and keeps its state."""

import csv
import json
import shutil
import time
from urllib.parse import quote

import pytest
from prunebench.publishing.publish import publish

from tests.framework.report import synthetic
from tests.framework.report.conftest import store_results
from tests.framework.report.test_page import HOSTILE, hostile_results


class Site:
    """The site at one address after another."""

    def __init__(self, browser, folder):
        self.browser, self.folder = browser, folder

    def at(self, state="", **size):
        """Open the page at this part of its address."""
        self.browser.open(self.folder / "index.html", **size)
        self.browser.js("location.hash = arguments[0]", state)
        time.sleep(0.3)
        return self.browser

    def found(self):
        """How many trials the filter lets through."""
        return int(self.browser.js("return document.getElementById('found').textContent").split()[0].replace(",", ""))


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    """A small site with a hostile name in it."""
    place = tmp_path_factory.mktemp("site")
    path = store_results(place, synthetic.grid_results(["digits"], ["lenet5"], compressions=(2, 32), seeds=2))
    publish(path, [], place / "out", title="<img src=x onerror=alert(1)>")
    return Site(browser, place / "out")


def test_the_front_page_says_what_came_out_and_what_was_asked(site):
    page = site.at()
    text = page.js("return document.body.innerText")
    assert "no method stayed as good as its dense network" in text and "What was asked" in text
    assert "<img src=x" in text and page.js("return document.images.length") == 0
    assert page.errors() == []


def test_search_filters_and_sorting_are_in_the_address(site):
    page = site.at("#/table")
    assert site.found() == 18
    page.js("const box = document.querySelector('input[name=q]'); box.value = 'magnitude 0.5';"
            "box.dispatchEvent(new Event('input', {bubbles: true}))")  # fmt: skip
    assert site.found() == 2 and "q=magnitude+0.5" in page.js("return location.hash")
    site.at("#/table?method=low_rank&sort=-compression_ratio")
    cells = page.js(
        "return [...document.querySelectorAll('#rows td:nth-child(8)')].map((cell) => parseFloat(cell.textContent))"
    )
    assert len(cells) == site.found() == 4 and cells == sorted(cells, reverse=True)
    assert page.js("return document.querySelector('select[name=method]').value") == "low_rank"


def test_a_permalink_opens_the_page_of_a_trial(site):
    page = site.at("#/table?method=low_rank")
    page.find("#rows a").click()
    page.wait("document.getElementById('grid')")
    text, address = page.js("return [document.body.innerText, location.href]")
    assert "/trial/" in address and 'use = "low_rank"' in text
    for part in ("Training", "Timing samples", "Layers", "Provenance", "Example CPU"):
        assert part in text
    assert "[object" not in text and page.errors() == []


def test_two_methods_and_two_runs_stand_side_by_side(site):
    page = site.at("#/compare?a=magnitude&b=low_rank")
    assert page.js("return document.querySelectorAll('svg circle').length") == 2
    assert page.js("return document.querySelectorAll('svg rect').length") == 2
    assert page.js("return document.querySelectorAll('tbody tr').length") == 2
    site.at("#/compare?by=run")
    assert "pairs of data set, model, method" in page.js("return document.body.innerText")
    assert page.errors() == []


def test_a_download_obeys_the_filter(site):
    page = site.at("#/table?method=pca")
    file = page.downloads / "trials.csv"
    file.unlink(missing_ok=True)
    page.find("button.act").click()
    for _ in range(100):
        if file.exists() and file.stat().st_size:
            break
        time.sleep(0.1)
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == site.found() == 4 and {row["method"] for row in rows} == {"pca"}


def test_hostile_names_are_text_on_every_page(site, tmp_path):
    path = store_results(tmp_path, hostile_results(), grid=HOSTILE)
    publish(path, [], tmp_path / "out", publisher=HOSTILE, licence=HOSTILE)
    hostile = Site(site.browser, tmp_path / "out")
    for state in (
        "#/",
        "#/table",
        "#/table?q=%3Cimg&sort=label",
        "#/compare",
        f"#/compare?a={quote(HOSTILE)}",
        "#/compare?by=run",
    ):
        page = hostile.at(state)
        assert page.js("return document.images.length + document.querySelectorAll('main script').length") == 0
    page = hostile.at("#/table")
    page.find("#rows a").click()
    page.wait("document.getElementById('grid')")
    assert page.js("return [document.images.length, typeof window.hacked]") == [0, "undefined"]
    assert "<img src=x" in page.js("return document.body.innerText") and page.errors() == []


def test_a_phone_scrolls_tables_and_never_the_page(site):
    for state in ("", "#/table", "#/compare?a=magnitude&b=low_rank"):
        page = site.at(state, width=390, height=844, touch=True)
        assert page.js("return document.documentElement.scrollWidth") <= 390


def test_a_missing_file_is_said(site, tmp_path):
    folder = shutil.copytree(site.folder, tmp_path / "copy")
    (folder / "site" / "trials-0.js").unlink()
    page = Site(site.browser, folder).at("#/table")
    page.find("#rows a").click()
    page.wait("document.body.innerText.includes('the folder is incomplete')")
    page.driver.get_log("browser")


def test_five_thousand_trials_answer_a_filter_at_once(site, tmp_path):
    """The rows of a real folder, repeated under other ids: what is timed is the page's own filter and drawing."""
    folder = shutil.copytree(site.folder, tmp_path / "large")
    file = folder / "site" / "rows-0.js"
    start = 'prunebench("rows", 0, '
    columns = json.loads(file.read_text()[len(start) : -3])
    for name, column in columns.items():
        key = "values" if "values" in column else "numbers"
        column[key] = (column[key] * 278)[:5000]
        if name == "id":
            column[key] = [f"{number:016x}" for number in range(5000)]
    file.write_text(f"{start}{json.dumps(columns)});\n")
    front = folder / "site" / "front.js"
    front.write_text(front.read_text().replace('"row_count":18', '"row_count":5000'))
    large = Site(site.browser, folder)
    page = large.at("#/table")
    assert large.found() == 5000
    for query in ("?q=magnitude+worse&sort=-score", "?status=ok&speed_verdict=slower", "?q=no+such+words"):
        site.browser.js("location.hash = arguments[0]", "#/table" + query)
        time.sleep(0.5)
        assert large.found() < 5000
        assert float(page.js("return document.documentElement.dataset.filterMs")) < 2000
    assert page.js("return document.querySelectorAll('#rows tr').length") <= 101
