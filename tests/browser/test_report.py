"""The page in a real browser: it draws, answers, adapts, and lets no name become a script."""

import json
import time

import pytest
from prunebench.plugins.discovery import find_installed
from prunebench.records import Choice
from prunebench.report import write_report
from prunebench.report.charts import NAMES

from tests.framework.report import synthetic
from tests.framework.report.conftest import store_results
from tests.framework.report.test_page import BAD, HOSTILE, grid, hostile_results

OTHER = "#chart-accuracy_theoretical_speedup svg .mark-symbol path"

PLUGIN = '''
from dataclasses import dataclass
import altair as alt
from prunebench import Chart, hookimpl

SQL = """with scope as (select trial_id from trials) -- window.hacked \u202e
select dataset_label || ' · ' || model_label as panel, method, method_label as setting, is_control as control,
    method_label as "what", parameter_count, top1_accuracy
from trials where trial_id in (from scope) and status = 'ok'"""

@dataclass(frozen=True)
class Strange(Chart):
    """Accuracy over the number of parameters that are stored, a mark a trial, with words that mean harm."""
    name, title, sql, columns = "strange", HOSTILE, SQL, {"what": (HOSTILE, "text")}

    def draw(self, rows, look):
        marks = alt.Chart(rows).mark_point(filled=True).encode(
            x=alt.X("parameter_count", **look.axis("number", HOSTILE)), color=look.colour(), shape=look.shape(),
            y=alt.Y("top1_accuracy", **look.axis("share", "Accuracy")), tooltip=look.tips())
        return alt.layer(marks)

class Unlucky(Strange):
    """Raises with a message that means harm, as a chart may that quotes what it was given."""
    name = "unlucky"

    def draw(self, rows, look):
        raise ValueError(HOSTILE)

@hookimpl
def charts():
    return [Strange, Unlucky]
'''


@pytest.fixture()
def opened(browser, report):
    """The usual report in a wide window."""
    return browser.open(report)


def drag(browser, name, start, end):
    """Press at `start` in the chart's plot, move, release at `end`; both are shares of its width and height."""
    browser.draw(name)
    box = browser.js(
        f"const r = document.querySelector('#chart-{name} .view svg .background').getBoundingClientRect();"
        "return [r.x, r.y, r.width, r.height]"
    )
    at = [(box[0] + x * box[2], box[1] + y * box[3]) for x, y in (start, end)]
    middle = tuple((a + b) / 2 for a, b in zip(*at, strict=True))
    pointer = {"button": "left", "clickCount": 1}
    browser.command("Input.dispatchMouseEvent", type="mouseMoved", x=at[0][0], y=at[0][1])
    browser.command("Input.dispatchMouseEvent", type="mousePressed", x=at[0][0], y=at[0][1], **pointer)
    for x, y in (middle, at[1]):
        browser.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1)
    browser.command("Input.dispatchMouseEvent", type="mouseReleased", x=at[1][0], y=at[1][1], **pointer)


def rows(browser):
    """The number of rows in the headline table, and what the page says it is."""
    return browser.js(
        "return [document.querySelectorAll('#headline tbody tr').length, document.querySelector('#count').textContent]"
    )


def test_the_page_opens_without_a_network_and_without_a_complaint(opened):
    for name in NAMES:
        opened.draw(name)
    assert opened.js("return performance.getEntriesByType('resource').length") == 0
    assert opened.errors() == []


@pytest.mark.parametrize("name", NAMES)
def test_every_chart_has_marks_a_description_and_a_table_behind_it(opened, name):
    browser = opened
    browser.draw(name)
    assert browser.marks(name) > 0
    view = browser.find(f"#chart-{name} .view")
    assert view.get_attribute("role") == "graphics-document" and len(view.get_attribute("aria-label")) > 60
    button = [b for b in browser.driver.find_elements("css selector", f"#chart-{name} .tools button")]
    own = ["Within 5 points", "Drop from dense"] if name.startswith("accuracy_") else []
    assert [b.text for b in button] == ["Query", "Data", "CSV", "JSON", *own]
    browser.js("arguments[0].click()", button[1])
    assert browser.js(f"return document.querySelectorAll('#chart-{name} .drawer tbody tr').length") > 0
    browser.js("arguments[0].click()", button[0])
    assert "where run_id = 'synthetic-1'" in browser.find(f"#chart-{name} .drawer code").text


def test_a_press_in_the_legend_hides_a_method_until_the_next_press(opened):
    opened.draw("accuracy_compression")
    before, table = opened.marks("accuracy_compression", "magnitude"), rows(opened)[0]
    assert before > 0
    chip = opened.find(".chip[data-method=magnitude]")
    chip.click()
    opened.wait("!document.querySelector('#chart-accuracy_compression svg path[aria-label*=\"magnitude\"]')")
    assert chip.get_attribute("aria-pressed") == "false"
    assert rows(opened)[0] == table - 10
    chip.click()
    opened.wait("document.querySelector('#chart-accuracy_compression svg path[aria-label*=\"magnitude\"]')")
    assert rows(opened)[0] == table


def test_controls_cannot_be_hidden(opened):
    assert not opened.find(".chip[data-method=dense]").is_enabled()
    assert not opened.find(".chip[data-method=random]").is_enabled()


def test_a_brush_filters_the_table_and_fades_the_other_charts(opened):
    opened.draw("accuracy_compression")
    opened.draw("accuracy_theoretical_speedup")
    time.sleep(0.3)
    drag(opened, "accuracy_compression", (0.5, 0.02), (0.99, 0.6))
    opened.wait("!document.querySelector('#clear').hidden")
    count, said = rows(opened)
    assert 0 < count < 20 and said.startswith(f"{count} of ")
    smaller = opened.js("return [...document.querySelectorAll('#headline tbody tr')].map(r => r.textContent)")
    assert all("dense" not in row for row in smaller)
    faint = f"[...document.querySelectorAll('{OTHER}')].some(p => +p.getAttribute('opacity') < 0.2)"
    opened.wait(faint)
    opened.js("document.querySelector('#clear').click()")
    opened.wait("document.querySelector('#clear').hidden")
    opened.wait(f"!({faint})")


def test_search_sorts_and_downloads_of_the_table(opened):
    box = opened.find("#search")
    box.send_keys("pca 0.25")
    opened.wait("document.querySelectorAll('#headline tbody tr').length === 2")
    box.clear()
    box.send_keys(" ")
    opened.js("[...document.querySelectorAll('#headline th button')].find(b => b.textContent === 'smaller').click()")
    first = opened.js("return document.querySelector('#headline tbody tr').textContent")
    assert "32.00×" in first
    opened.js("document.querySelector('#table-csv').click()")
    for _ in range(100):
        if (opened.downloads / "headline.csv").exists():
            break
        time.sleep(0.05)
    lines = (opened.downloads / "headline.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("panel,method,setting") and len(lines) > 30


@pytest.mark.parametrize("dark", [False, True])
def test_the_theme_follows_the_system_until_the_reader_chooses(browser, report, dark):
    browser.open(report, dark=dark)
    paper = "getComputedStyle(document.body).backgroundColor"
    first = browser.js(f"return {paper}")
    assert (first == "rgb(22, 25, 29)") is dark
    browser.draw("accuracy_compression")
    label = "document.querySelector('#chart-accuracy_compression .role-axis-label text').getAttribute('fill')"
    ink = browser.js(f"return {label}")
    browser.js("document.querySelector('#theme').click()")
    browser.wait(f"{label} !== {json.dumps(ink)}")
    assert browser.js(f"return {paper}") != first
    assert browser.errors() == []


def test_a_phone_needs_no_sideways_scrolling(browser, report):
    browser.open(report, width=375, height=800, touch=True)
    for name in NAMES:
        browser.draw(name)
    assert browser.js("return document.documentElement.scrollWidth") == 375
    right = "[...document.querySelectorAll('.view svg')].map(svg => svg.getBoundingClientRect().right)"
    assert browser.js(f"return Math.max(...{right})") < 376


def test_it_prints(opened):
    opened.draw("accuracy_compression")
    assert opened.pdf().startswith(b"%PDF")


def test_hostile_names_appear_as_text(browser, page):
    browser.open(page(hostile_results(), grid=HOSTILE))
    for name in ("accuracy_compression", "latency", "layer_kept"):
        browser.draw(name)
        browser.js("arguments[0].click()", browser.find(f"#chart-{name} .tools button:nth-child(2)"))
    symbol = browser.find("#chart-accuracy_compression .mark-symbol path")
    from selenium.webdriver import ActionChains

    ActionChains(browser.driver).move_to_element(symbol).perform()
    browser.wait("document.querySelector('#vg-tooltip-element.visible')")
    assert browser.js("return typeof window.hacked") == "undefined"
    assert browser.js("return document.querySelectorAll('img').length") == 0
    assert "<script>window.hacked=1</script>" in browser.js("return document.querySelector('#headline').textContent")
    assert "<img src=x" in browser.find("#vg-tooltip-element").text
    browser.js("[...document.querySelectorAll('.chip:not([disabled])')][0].click()")
    browser.js("addEventListener('beforeprint', () => (window.said = document.querySelector('.printed').textContent))")
    assert browser.pdf().startswith(b"%PDF") and "<img src=x" in browser.js("return window.said"), "hidden, and said so"
    assert [message for message in browser.errors() if "could not be drawn" in message] == []


def test_a_chart_of_a_plugin_is_drawn_and_its_hostile_words_are_text(browser, tmp_path):
    file = tmp_path / "strange_charts.py"
    file.write_text(PLUGIN.replace("HOSTILE", repr(HOSTILE)), encoding="utf-8")
    path = store_results(tmp_path, hostile_results())
    report = write_report(path, "synthetic-1", tmp_path / "page.html", installed=find_installed([file]))
    browser.open(report)
    browser.draw("strange")
    assert browser.marks("strange") == 2
    for place in (1, 2):
        browser.js("arguments[0].click()", browser.find(f"#chart-strange .tools button:nth-child({place})"))
        shown = browser.js("return document.querySelector('#chart-strange .drawer').textContent")
        assert "window.hacked" in shown and not set("\x1b\u2028\u202e") & set(shown)
    assert "<img src=x" in browser.find("#chart-strange h3").text
    assert "chart unlucky could not be drawn: ValueError: </script><script>window.hacked=1" in browser.find("main").text
    assert browser.js("return typeof window.hacked") == "undefined"
    assert browser.js("return [document.images.length, document.scripts.length]") == [0, 3]
    assert [message for message in browser.errors() if "could not be drawn" in message] == []


@pytest.mark.parametrize("case", BAD)
def test_bad_input_opens_without_a_complaint(browser, page, case):
    browser.open(page(BAD[case][0]))
    time.sleep(0.3)
    assert browser.errors() == []
    assert browser.js("return document.querySelectorAll('.view .empty').length") == 0


def test_two_hundred_methods_can_be_hidden_at_once(browser, page):
    results = grid(methods=[]) + [
        synthetic.result("digits", "lenet5", Choice(f"method_{i:03}", {"keep": 0.5}), 2 + i / 50, 0, (1,))
        for i in range(200)
    ]
    browser.open(page(results))
    browser.draw("accuracy_compression")
    assert browser.marks("accuracy_compression") > 200
    browser.js("window.scrollTo({ top: 0, behavior: 'instant' })")  # a legend this long does not stay on the screen
    browser.find("#legend .quiet").click()
    browser.wait("document.querySelectorAll('#chart-accuracy_compression .mark-symbol path').length === 1")
    assert browser.errors() == []


def test_names_of_javascripts_own_objects_are_names_like_others(browser, page):
    names = ("constructor", "__proto__", "toString", "a.b", "a[0]", "")
    results = grid(methods=[]) + [
        synthetic.result("digits", "constructor", Choice(name, {"keep": 0.5}), 2 + i, 0, (1,))
        for i, name in enumerate(names)
    ] + [synthetic.result("digits", "constructor", synthetic.DENSE, 1, 0, (1,))]  # fmt: skip
    browser.open(page(results))
    browser.js("[...document.querySelectorAll('.tab')].find(t => t.textContent.includes('constructor')).click()")
    browser.draw("accuracy_compression")
    assert browser.js("return document.querySelectorAll('#chart-accuracy_compression .mark-symbol path').length") == 7
    browser.draw("latency")
    assert browser.errors() == []


@pytest.mark.parametrize("name", ["accuracy_speedup", "promised_speedup"])
def test_the_line_of_equal_speed_is_drawn_once_a_panel(opened, name):
    opened.draw(name)
    panel = f"document.querySelector('#chart-{name} .view.drawn')"
    assert opened.js(f"return {panel}.querySelectorAll('.mark-rule line[aria-label^=\"even: 1\"]').length") == 1
