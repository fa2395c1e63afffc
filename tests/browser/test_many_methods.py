"""A page of twenty-six methods: marks, legends, paper, names of rows, order, and what one press does."""

import time

import pytest

from tests.framework.report.test_page import grid

NAMES = [f"method_{letter}" for letter in "abcdefghijklmnopqrstuvw"] + ["data_aware_low_rank_by_parts", "pca"]
CHART = "accuracy_compression"

# The marks of the first 24 methods, black on white in a box of nine pixels: the least share of ink by which two differ.
LEAST_DIFFERENCE = """
const inks = [...document.querySelectorAll('.chip:not([disabled]) path')].slice(0, 24).map((path) => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 9;
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  pen.setTransform(4.5, 0, 0, 4.5, 4.5, 4.5);
  pen.fill(new Path2D(path.getAttribute('d')));
  return pen.getImageData(0, 0, 9, 9).data.filter((_, at) => at % 4 === 3);
});
const sum = (values) => values.reduce((total, value) => total + value, 0);
let least = 1;
for (let i = 0; i < 24; i++) for (let j = 0; j < i; j++) {
  const apart = sum([...inks[i]].map((ink, at) => Math.abs(ink - inks[j][at])));
  least = Math.min(least, apart / Math.max(sum([...inks[i]]), sum([...inks[j]])));
}
return [inks.length, least];
"""


@pytest.fixture(scope="module")
def many(page):
    """Two panels: one with all methods, one with two of them."""
    usual = {"compressions": (16, 2, 32), "batches": (1,)}
    results = grid(methods=[*NAMES, "random"], **usual)
    results += grid(models=["simple_fcn"], methods=NAMES[:2], **{**usual, "compressions": (2,)})
    return page(results, grid='name = "synthetic"\ntitle = "Many methods"\n')


@pytest.fixture()
def opened(browser, many):
    """The page in a wide window."""
    return browser.open(many)


def texts(browser, selector):
    """The text of every element of a CSS selector."""
    return browser.js("return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector)


def press(browser, chart, title):
    """Press a button under a chart."""
    code = "[...document.querySelectorAll(arguments[0])].find((one) => one.textContent === arguments[1]).click()"
    browser.js(code, f"#chart-{chart} .tools button", title)


def ticks(browser):
    """The labels of the axis of scores of the first panel, as numbers."""
    found = browser.js(
        f"return [...document.querySelector('#chart-{CHART} .view.drawn').querySelectorAll('.role-axis-label text')]"
        ".map((one) => one.textContent).filter((text) => /^[−-]?[0-9.]+%?$/.test(text))"
    )
    return [float(text.rstrip("%").replace("−", "-")) for text in found]


def test_twenty_four_methods_have_marks_that_differ_without_colour(opened):
    count, least = opened.js(LEAST_DIFFERENCE)
    assert count == 24 and least > 0.18


@pytest.mark.parametrize("width", [1280, 375])
def test_the_legend_shows_every_method_and_hides_all_in_one_line(browser, many, width):
    browser.open(many, width=width, touch=width < 500)
    hidden, line = browser.js(
        "const legend = document.querySelector('#legend').getBoundingClientRect();"
        "const outside = (box) => box.bottom > legend.bottom + 1 || box.right > legend.right + 1 || !box.width;"
        "const chips = [...document.querySelectorAll('.chip')].map((chip) => chip.getBoundingClientRect());"
        "return [chips.filter(outside).length, document.querySelector('#legend .quiet').offsetHeight]"
    )
    assert hidden == 0 and line < 40


def test_on_paper_every_chart_has_a_legend_and_every_row_is_there(opened):
    opened.js(
        "window.seen = null; addEventListener('beforeprint', () => { const all = (s) => document.querySelectorAll(s);"
        "window.seen = [[...all('.key')].map((key) => key.children.length), all('#headline tbody tr').length,"
        "all('details:not([open])').length]; })"
    )
    assert opened.pdf().startswith(b"%PDF")
    keys, rows, closed = opened.js("return window.seen")
    assert len(keys) >= 8 and set(keys) <= {26, 27}, "25 methods and random, mostly dense, too"
    assert rows == (len(NAMES) + 1) * 3 + 1 + 3 and closed == 0
    assert texts(opened, ".key") == [] and len(texts(opened, "#headline tbody tr")) == 60, "the screen is as before"


def test_tables_are_not_cut_on_paper(browser, many):
    browser.open(many, width=718)
    try:
        browser.command("Emulation.setEmulatedMedia", media="print")
        cut = browser.js("return [...document.querySelectorAll('table')].filter((t) => t.scrollWidth > 718).length")
        shown = browser.js("return getComputedStyle(document.querySelector('#headline').parentNode).overflowX")
    finally:
        browser.command("Emulation.setEmulatedMedia", media="")
    assert (cut, shown) == (0, "visible")


def test_names_of_rows_keep_their_numbers_on_a_phone(browser, many):
    browser.open(many, width=375, touch=True)
    browser.draw("layer_kept")
    labels = texts(browser, "#chart-layer_kept .view.drawn .role-axis .role-axis-label text")
    long = [label for label in labels if label.startswith("data")]
    assert [label.rpartition("=")[2] for label in long] == ["0.5", "0.0625", "0.0312"]
    assert all("…" in label and not label.endswith("…") for label in long)


def test_settings_stand_in_the_order_of_their_numbers(opened):
    opened.find("#search").send_keys("method_b")
    opened.js(
        "[...document.querySelectorAll('#headline th button')].find((b) => b.textContent.startsWith('method')).click()"
    )
    shown = [text for text in texts(opened, "#headline tbody td:nth-child(2)")]
    assert [text.rpartition("=")[2] for text in shown] == ["0.0312", "0.0625", "0.5", "0.5"]


def test_a_download_beside_a_filtered_table_obeys_the_filter(opened):
    file = opened.downloads / "headline.csv"
    file.unlink(missing_ok=True)
    opened.find("#search").send_keys("method_c keep=0.5")
    opened.js("document.querySelector('#table-csv').click()")
    for _ in range(100):
        if file.exists() and file.stat().st_size:
            break
        time.sleep(0.05)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and "method_c" in lines[1]
    file.unlink()


def test_the_first_table_and_the_data_of_a_chart_obey_the_tabs(opened):
    opened.js("[...document.querySelectorAll('.tab')].find((one) => one.textContent.includes('simple_fcn')).click()")
    shown = "return [...document.querySelectorAll('.reach tbody tr')].filter((one) => one.offsetParent).length"
    assert opened.js(shown) == 2
    press(opened, CHART, "Data")
    assert len(texts(opened, f"#chart-{CHART} .drawer tbody tr")) == 3
    opened.js("[...document.querySelectorAll('.tab')].find((one) => one.textContent.startsWith('All')).click()")
    assert opened.js(shown) > 20 and len(texts(opened, f"#chart-{CHART} .drawer tbody tr")) > 60


def test_one_press_zooms_to_five_points_and_one_draws_drops(opened):
    opened.draw(CHART)
    assert min(ticks(opened)) < 80
    press(opened, CHART, "Within 5 points")
    opened.wait(f"![...document.querySelectorAll('#chart-{CHART} text')].some((one) => one.textContent === '60%')")
    near = ticks(opened)
    assert max(near) - min(near) <= 7 and len(set(near)) == len(near) >= 3
    press(opened, CHART, "Drop from dense")
    opened.wait(f"document.querySelector('#chart-{CHART} .view.drawn').textContent.includes('minus dense, points')")
    assert -6 < min(ticks(opened)) < -2 and 0 <= max(ticks(opened)) < 2
    press(opened, CHART, "Within 5 points")
    opened.wait(f"[...document.querySelectorAll('#chart-{CHART} text')].some((one) => one.textContent === '−60')")
    assert opened.errors() == []
