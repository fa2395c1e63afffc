"""Text, markup, labels: what makes foreign names safe and long ones short."""

import json

import pytest
from prunebench.report.labels import short_labels
from prunebench.report.markdown import html_of
from prunebench.report.markup import code, count, esc, listed
from prunebench.report.text import script_json
from prunebench.writing import printable, printable_lines


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x1b[1m", "a\\x1b[1m"),
        ("\u202eabc", "\\u202eabc"),
        ("a\nb", "a\\x0ab"),
        ("é·×", "é·×"),
        ("\udc80", "\\udc80"),
    ],
)
def test_what_steers_a_terminal_or_a_page_is_written_as_its_escape(raw, shown):
    assert printable(raw) == shown


def test_long_text_is_cut_and_lines_are_kept_where_they_are_wanted():
    assert printable("x" * 50, 10) == "xxxxxxxxx…"
    assert printable_lines("a\n\tb\x00") == "a\n    b\\x00"


def test_json_in_a_script_closes_nothing():
    text = script_json({"a": "</script><!--\u2028&", "b": float("nan")})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--\u2028&", "b": None}


def test_attributes_are_quoted():
    assert esc("\"'<&") == "&quot;&#x27;&lt;&amp;"
    assert "<b>" not in code("<b>")


def test_counts_and_lists_read_as_sentences():
    assert count(1, "trial") == "1 trial" and count(1200, "trial") == "1,200 trials"
    assert listed([]) == "" and listed(["a"]) == "a" and listed(["a", "b"]) == "a and b"
    assert listed(list("abcdef")) == "a, b, c and 3 more"


def test_labels_keep_only_what_differs():
    full = ["svd(keep=0.1, section=all)", "svd(keep=0.25, section=all)"]
    assert short_labels(("svd", label) for label in full) == {full[0]: "svd keep=0.1", full[1]: "svd keep=0.25"}


def test_labels_of_pipelines_keep_their_stages():
    full = ["svd(keep=0.2) > kmeans(clusters=32)", "svd(keep=0.2) > kmeans(clusters=64)"]
    short = short_labels(("svd > kmeans", label) for label in full)
    assert short[full[0]] == "svd > kmeans clusters=32"


def test_labels_never_make_two_settings_one():
    full = ["m(a=0.10001)", "m(a=0.100010001)", "m"]
    assert len(set(short_labels(("m", label) for label in full).values())) == 3


def test_a_value_with_commas_stays_whole():
    full = ["m(ranks=[1, 2], b=x)", "m(ranks=[3, 4], b=x)"]
    assert short_labels(("m", label) for label in full)[full[0]] == "m ranks=[1, 2]"


def test_notes_are_marked_up_and_nothing_else_is():
    html = html_of("# T\n\n**a** `b` *c* <script>\n\n- one\n- two\n\n```\nx < y\n```\n\nend")
    assert "<h3>T</h3>" in html and "<strong>a</strong> <code>b</code> <em>c</em> &lt;script&gt;" in html
    assert "<li>one</li><li>two</li>" in html and "x &lt; y" in html and html.endswith("<p>end</p>")
