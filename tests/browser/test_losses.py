"""A page of perplexities and r²: what speaks of percentage points is of shares alone."""

import pytest

from tests.browser.test_many_methods import press
from tests.framework.judging.test_other_scores import results

CHART = "accuracy_compression"


@pytest.fixture(scope="module")
def losses(page):
    return page(list(results()))


def test_scores_that_are_no_shares_know_no_points(browser, losses):
    opened = browser.open(losses)
    opened.draw(CHART)
    told = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
    buttons = opened.js(told, f"#chart-{CHART} .tools button.axis")
    assert buttons == ["Near dense", "Drop from dense"]
    press(opened, CHART, "Drop from dense")
    opened.wait(f"document.querySelector('#chart-{CHART} .view.drawn').textContent.includes('minus dense')")
    assert not any("points" in text for text in opened.js(told, f"#chart-{CHART} .view text"))
    assert opened.errors() == []
