r"""An answer's Markdown as HTML that shows it and does nothing else.

    as_html(r"**Two** circles, \(r = 3\)")
    # <p dir="auto"><strong>Two</strong> circles, <span class="math" dir="ltr">…</span></p>

Here: what becomes a heading, a list, a table, code, a link, a formula. HTML, entities and pictures stay the text that
they are, so every tag is one of ours. Formulas are typeset in the browser, by the KaTeX that Gradio brings: it looks
for LATEX_DELIMITERS, which nobody types. Not here: the conversation (`chat_page.render`), how it looks and what the
buttons do (`answers.css`, `answers.js`).
"""

import functools
import re

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml as escape

MARK = "\u2061"  # invisible, and in no language: "function application"
INLINE, DISPLAYED = (f"{MARK}\\(", f"\\){MARK}"), (f"{MARK}\\[", f"\\]{MARK}")
LATEX_DELIMITERS = [
    {"left": left, "right": right, "display": display} for display, (left, right) in enumerate((INLINE, DISPLAYED))
]
CLOSING = {"\\(": "\\)", "\\[": "\\]", "$$": "$$", "$": "$"}
BLOCKS = ("\\[", "$$")
MONEY = re.compile(r"\d(?!.*[\\^_={}])(?=.*[^\W\d_]{2})")  # "5, or 7" between two signs; "3 \times 4" is none
# Three times the longest answer of the page. Brackets that somebody made up to be slow take a second for as many.
MAX_CHARACTERS = 30_000
ADDRESS = re.compile("https?://|mailto:", re.IGNORECASE)


def as_html(text: str) -> str:
    """`text` as HTML, also while it still grows; what is longer than MAX_CHARACTERS as the text that it is."""
    return _rendered(text) if len(text) <= MAX_CHARACTERS else f'<pre tabindex="0">{escape(text)}</pre>'


@functools.lru_cache(maxsize=256)
def _rendered(text: str) -> str:
    return _parser().render(text)


@functools.cache
def _parser() -> MarkdownIt:
    """CommonMark with tables, ~~strikethrough~~ and formulas; a line break is one, as models mean it."""
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.disable(["html_block", "html_inline", "image", "entity", "reference"])
    parser.validateLink = ADDRESS.match
    parser.inline.ruler.before("escape", "math", _inline_math)
    parser.block.ruler.before("fence", "math", _block_math, {"alt": ["paragraph", "blockquote", "list"]})
    parser.core.ruler.push("for_readers", _for_readers)
    rules = {
        "fence": _code, "code_block": _code, "math": _math, "link_close": _link_close, "table_open": _table_open,
        "table_close": lambda token: "</table></div>\n",
        "code_inline": lambda token: f'<code dir="ltr">{escape(token.content)}</code>',
    }  # fmt: skip
    for name, rule in rules.items():
        parser.add_render_rule(name, lambda _, tokens, index, *others, rule=rule: rule(tokens[index]))
    return parser


# ---- formulas -------------------------------------------------------------------------------------------------------


def _inline_math(state, silent: bool) -> bool:
    r"""\(…\), \[…\], $$…$$ and $…$ in a line of text. Money, and what is not closed, stays text."""
    opening = next((sign for sign in CLOSING if state.src.startswith(sign, state.pos)), "")
    if not opening:
        return False
    begin = state.pos + len(opening)
    unclosed = state.__dict__.setdefault("unclosed", set())  # not searched for again and again
    end = -1 if (opening, state.posMax) in unclosed else state.src.find(CLOSING[opening], begin, state.posMax)
    if end < 0:
        unclosed.add((opening, state.posMax))
    state.pos = begin
    if end > begin and not (opening == "$" and _is_money(state.src[begin:end], state.src[end + 1 : end + 2])):
        state.pos = end + len(opening)
        if not silent:
            token = state.push("math", "span", 0)
            token.content, token.meta["delimiters"] = state.src[begin:end], DISPLAYED if opening in BLOCKS else INLINE
    elif not silent:
        state.pending += opening
    return True


def _is_money(between: str, after: str) -> bool:
    """Whether two dollar signs are no brackets, by what stands `between` and right `after` them."""
    return between != between.strip() or "\n" in between or after.isdigit() or bool(MONEY.match(between))


def _block_math(state, first: int, last: int, silent: bool) -> bool:
    r"""Lines from $$ or \[ to the one that closes it. As long as none does, they are shown as they are."""
    start = state.bMarks[first] + state.tShift[first]
    opening = state.src[start : start + 2]
    if opening not in BLOCKS or state.is_code_block(first):
        return False
    end = state.src.find(CLOSING[opening], start + 2, state.eMarks[last - 1])
    closes = first + state.src.count("\n", start, end) if end >= 0 else last - 1  # the line
    if end >= 0 and state.src[end + 2 : state.eMarks[closes]].strip():  # a formula within a line
        return False
    if not silent:
        text = state.getLines(first, closes + 1, state.blkIndent, False).strip()
        token = state.push("math", "div", 0)
        token.content, token.meta["delimiters"] = (text[2:-2], DISPLAYED) if end >= 0 else (text[2:], (opening, ""))
        state.line = closes + 1
    return True


def _math(token) -> str:
    left, right = token.meta["delimiters"]
    keys = ' tabindex="0"' if token.tag == "div" else ""  # a long one is scrolled, by keys as well
    content = escape(token.content.replace(MARK, ""))
    return f'<{token.tag} class="math" dir="ltr"{keys}>{left}{content}{right}</{token.tag}>'


# ---- all else -------------------------------------------------------------------------------------------------------


def _for_readers(state) -> None:
    """Directions of reading, levels of headings, columns without inline style, addresses of links."""
    level = 1  # the page has a title
    for token in state.tokens:
        if token.level == 0 and token.nesting == 1:
            token.attrSet("dir", "auto")  # by the first letter in it, of a list or a table as well
        if token.type == "heading_open":
            level = min(int(token.tag[1]), level) + 1  # no level is left out
        if token.type.startswith("heading"):
            token.tag = f"h{min(level, 6)}"
        if "style" in token.attrs:  # "text-align:right" of a column
            token.attrSet("class", token.attrs.pop("style").rpartition(":")[2])
        _tell_addresses(token.children or [])


def _tell_addresses(tokens: list) -> None:
    """Links open a tab of their own, and what is behind their end is told it."""
    address = ""
    for token in tokens:
        if token.type == "link_open":
            address = "" if token.markup == "autolink" else token.attrs["href"]
            token.attrs |= {"target": "_blank", "rel": "noopener noreferrer"}
        elif token.type == "link_close":
            token.content = address


def _link_close(token) -> str:
    return f"</a> <small>({escape(token.content)})</small>" if token.content else "</a>"


def _table_open(token) -> str:
    """In a box that can be scrolled, by keys as well."""
    direction = ' dir="auto"' if token.attrGet("dir") else ""
    return f'<div class="table" role="region" aria-label="Table" tabindex="0"{direction}><table>\n'


def _code(token) -> str:
    language = escape(token.info.strip().partition(" ")[0][:30])
    return (
        f'<div class="code" dir="ltr"><div><span>{language}</span><button type="button">Copy</button></div>'
        f'<pre tabindex="0"><code>{escape(token.content)}</code></pre></div>\n'
    )
