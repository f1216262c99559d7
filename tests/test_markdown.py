"""chat_page.markdown and chat_page.render: what an answer becomes, and that nothing in it ever is markup of its own."""

import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_page.markdown import DISPLAYED, INLINE, MARK, MAX_CHARACTERS, as_html
from chat_page.render import render_history
from tests.written_answers import HOSTILE, TEXTS, pieces

CLASSES = {"class": {"code", "table", "math", "left", "center", "right", "answer"}}
DIRECTION = {"dir": {"auto", "ltr"}}
BLOCK = DIRECTION | CLASSES
LINK = {"href": None, "title": None, "target": {"_blank"}, "rel": {"noopener noreferrer"}}
PLAIN = ["strong", "em", "s", "br", "hr", "thead", "tbody", "tr", "table", "small"]
DIRECTED = ["p", "h2", "h3", "h4", "h5", "h6", "ul", "li", "blockquote"]
ALLOWED = {
    **{tag: {} for tag in PLAIN}, **{tag: DIRECTION for tag in DIRECTED}, "ol": DIRECTION | {"start": None},
    "th": CLASSES, "td": CLASSES, "a": LINK, "code": DIRECTION, "pre": {"tabindex": {"0"}}, "span": BLOCK,
    "button": {"type": {"button"}},
    "div": BLOCK | {"tabindex": {"0"}, "role": {"region"}, "aria-label": {"Table"}},
}  # fmt: skip
SCHEMES = ("http://", "https://", "mailto:")


class Reader(HTMLParser):
    """Collects the text of HTML, and what is in it that is not ALLOWED."""

    def __init__(self, markup: str):
        super().__init__()
        self.text, self.foreign, self.open = "", [], []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        allowed = ALLOWED.get(tag, {})
        self.foreign += [] if tag in ALLOWED else [tag]
        for name, value in attributes:
            if name not in allowed or (allowed[name] and value not in allowed[name]):
                self.foreign.append((tag, name, value))
            if name == "href" and not value.lower().startswith(SCHEMES):
                self.foreign.append(value)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.foreign.append(f"</{tag}>")

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.foreign.append(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


# ---- nothing but our own tags ---------------------------------------------------------------------------------------


def is_inert(markup: str) -> bool:
    reader = Reader(markup)
    assert reader.foreign == [] and reader.open == [], markup
    return True


@pytest.mark.parametrize("name", TEXTS)
def test_only_our_tags_at_every_length(name):
    text = ""
    for number, piece in enumerate(pieces(TEXTS[name])):
        text += piece
        assert number % 40 or is_inert(as_html(text))
    assert is_inert(as_html(text))


SIGNS = [*"`*_~[]()<>!#|\\$&:;-+=\"'{}\n \t\r", "```", "$$", "\\(", "\\)", "\\[", "\\]", "](", "<!--", "-->",
         "<script>", "</code>", "https://example.com", "javascript:x", "data:text/html,x", "&lt;", "&#60;", "onclick=",
         "| - |\n", "|--|\n", "1. ", "    ", "> ", "a", "7", MARK, "\0", "猫", "قطة"]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(SIGNS), max_size=40).map("".join) | st.text())
def test_whatever_is_written_only_our_tags_come_of_it(text):
    assert is_inert(as_html(text))


@pytest.mark.parametrize("text", ["<b>x</b>", "&lt;b>", "&amp;", "![a](https://example.com/a.png)", "[a]: https://b.c\n",
                                  "[a](javascript:alert)", "[a](//example.com)", "[a](/gradio_api/file=x)",
                                  "<!-- x -->", "[a](data:text/html,x)", "[a](file:///etc/passwd)", "<javascript:x>"])
def test_html_entities_pictures_and_other_addresses_stay_text(text):
    read = Reader(as_html(text)).text.strip()
    assert read == text.strip() or text.startswith("!")
    assert "<img" not in as_html(text)


def test_a_hostile_answer_is_read_as_it_was_written():
    read = Reader(as_html(HOSTILE)).text
    for line in ("<script>window.hacked = 1</script>", "[d](javascript:window.hacked=1)", "<iframe src=", "&lt;b&gt;"):
        assert line in read


# ---- what is read ---------------------------------------------------------------------------------------------------


def test_an_answer_has_headings_lists_tables_code():
    lists, table, code = (as_html(TEXTS[name]) for name in ("lists", "table", "code"))
    assert '<h2 dir="auto">Shopping list</h2>' in lists and "<h3" in lists
    assert "<em>ripe</em>" in lists and "<s>not</s>" in lists and "<blockquote" in lists and "<hr" in lists
    assert table.count("<tr>") == 4 and '<td class="right">12</td>' in table and "style=" not in table
    assert code.count('<button type="button">Copy</button>') == 2 and "<span>python</span>" in code


@pytest.mark.parametrize(("text", "levels"), [("# a\n## b\n# c", "232"), ("### a\n#### b", "23"), ("###### a", "2")])
def test_no_level_of_heading_is_left_out(text, levels):
    assert [line[2] for line in as_html(text).splitlines()] == list(levels)


def test_a_link_tells_its_address():
    assert "the shop</a> <small>(https://example.com/shop)</small>" in as_html(TEXTS["lists"])
    assert as_html("<https://example.com/list>").count("example.com") == 2  # where it leads, and its text


def test_lists_and_tables_are_read_from_the_side_of_their_first_letter():
    for tag in ("<h2 dir", "<p dir", "<ul dir", "<ol dir"):
        assert f'{tag}="auto"' in as_html(TEXTS["arabic"])
    assert 'tabindex="0" dir="auto"><table>' in as_html(TEXTS["arabic"])
    assert "<li>" in as_html(TEXTS["arabic"]), "with a direction of its own, an item does not count for its list"


def formulas(text: str) -> list[str]:
    markup = Reader(as_html(text)).text
    return [part.partition(f"\\){MARK}")[0] for part in markup.split(INLINE[0])[1:]]


@pytest.mark.parametrize(("text", "found"), [
    (r"\(a_1 * b*\)", ["a_1 * b*"]), ("$x$", ["x"]), ("so $x^2$, $y$.", ["x^2", "y"]), ("$3$", ["3"]),
    (r"$3 \times 4$", [r"3 \times 4"]), ("$2x + 1 = 5$", ["2x + 1 = 5"]), ("costs $5 and $x$ is", ["x"]),
    ("$5 to $10", []), ("$5, or 7$ in all", []), ("$ 5 $", []), ("**$5**, **$6**", []), ("$HOME and $PATH", []),
    ("$5-$10", []), ("only $5", []), ("`$x$`", []), ("\\(x", []), ("$$", []), ("$a\nb$", []), ("$\\$", ["\\"]),
])  # fmt: skip
def test_what_is_a_formula_and_what_is_money(text, found):
    assert formulas(text) == found


@pytest.mark.parametrize("text", ["$$x$$", "$$\nx\n$$", "\\[ x \\]", "so\n\\[\nx\n\\]\nand", "- a\n  $$\n  x\n  $$",
                                  "a $$x$$ b"])
def test_displayed_formulas(text):
    (formula,) = [part.partition(DISPLAYED[1])[0].strip() for part in as_html(text).split(DISPLAYED[0])[1:]]
    assert formula == "x"


def test_a_formula_that_is_still_written_is_shown_as_it_is():
    assert Reader(as_html("\\[\nx_1 = \\frac{1")).text == "\\[\nx_1 = \\frac{1"
    assert MARK not in as_html("\\[\nx_1 = \\frac{1")


@pytest.mark.parametrize("name", ["unbroken", "emoji", "cjk"])
def test_no_letter_is_lost(name):
    assert Reader(as_html(TEXTS[name])).text.split() == TEXTS[name].replace("**", "").replace("1. ", "").replace(
        "2. ", "").split()


# ---- what it takes --------------------------------------------------------------------------------------------------


def lines_run(text: str) -> int:
    """Lines of Python that run for as_html(text)."""
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        as_html(text)
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("piece", ["- \n", "# a\n", "```\n", "a\n\n", "$$a$$\n", "$$a$$ b\n", "> a\n\n", "\\(", "$1 "])
def test_four_times_the_text_takes_about_four_times_the_work(piece):
    as_html("")  # makes the parser
    assert lines_run(400 * piece) < 5 * lines_run(100 * piece)


def test_what_is_longer_than_any_answer_is_shown_as_the_text_that_it_is():
    long = "**<b>**\n" * (MAX_CHARACTERS // 8 + 1)
    assert Reader(as_html(long)).text == long and not Reader(as_html(long)).foreign
    assert "<strong>" not in as_html(long)


# ---- in the conversation --------------------------------------------------------------------------------------------


def source(entry: dict) -> str:
    found = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attributes: found.extend(v for k, v in attributes if k == "data-source")
    reader.feed(entry["content"][-1]["text"])
    return found[0]


@pytest.mark.parametrize("text", [*TEXTS.values(), "", "\n a \n\n", "a\r\nb\rc", '"\'&quot;<', "\t`\\"])
@pytest.mark.parametrize("boxed", [{}, {"boxed": "a.png"}])
def test_every_answer_brings_its_source(text, boxed):
    (entry,) = render_history([{"role": "assistant", "content": text, "note": "A line.\nNumbers.", **boxed}])
    assert source(entry) == text


def test_the_text_comes_first_and_the_line_below_it_has_numbers_in_its_tooltip():
    answer = {"role": "assistant", "content": "**Two**", "note": 'a & "b"\n<1>', "boxed": "a.png"}
    ((shown,),) = [entry["content"] for entry in render_history([answer])]
    note = '<small title="&lt;1&gt;">a &amp; &quot;b&quot;</small>'
    places = [shown["text"].index(part) for part in ("<strong>Two</strong>", "a.png", note)]
    assert places == sorted(places)
