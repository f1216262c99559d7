"""Answers as 2B and 7B models write them, and a session that streams them: for everything that shows answers.

    session = WrittenSession()
    session.answers["What is on the table?"] = TEXTS["table"]
    with served_texts(session) as demo: ...

`TEXTS` are our own: Markdown, LaTeX, boxes, right-to-left scripts, long ones, hostile ones. A WrittenSession takes the
place of a ChatSession under the page. It answers a question with `answers[question]`, with `TEXTS[question]`, or else
with the question. Its pieces are cut as a tokenizer cuts: a word and the space before it, one digit, part of a word.

Not here: a model below a real ChatSession (tests/fake_model.py).
"""

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

from chat_session import Estimate, Progress
from gradio_helper import make_demo
from session.answer import Answer, AnswerState
from session.prompt import content_parts
from tests.fake_model import fake_processor

PIECE = re.compile(r" ?[A-Za-z]{1,6}|\d| ?[^\sA-Za-z\d]{1,2}|\n+|\s+?(?= )|\s+")

TABLE = """\
Here is what I see, **thing by thing**:

| Thing | Colour | How many | Price |
|:------|:------:|---------:|------:|
| apple | red | 3 | $1.20 |
| pear | green & yellow | 12 | $0.95 |
| a very long name of a thing that does not fit a phone | `#0072B2` | 1 | $130 |

So there are **16** things for $18.40 in all.
"""

LISTS = """\
# Shopping list

1. Fruit
   - apples, *ripe*
   - pears
2. Bread

   The dark one, ~~not~~ the white one.
3. Milk

## What to do

- [ ] pay
- go home
  1. by bus
  2. on foot

> It is only a list.

---

See <https://example.com/list> or [the shop](https://example.com/shop "open").
"""

CODE = '''\
This draws a box:

```python
def draw(box, colour="<red>"):
    """Two & two: `x < y`."""
    if box[0] < box[2]:
        return f"{box} in {colour}"  # a comment so long that this line does not fit into the width of a phone
```

and `draw((1, 2, 3, 4))` calls it. In the shell:

~~~sh
$ python draw.py && echo "$HOME costs $5"
~~~
'''

LATEX = r"""
The area of a circle with radius \(r\) is $A = \pi r^2$, so for $r = 3$:

$$
A = \pi \cdot 3^2 \approx 28.27
$$

The roots of \(ax^2 + bx + c = 0\) are

\[
x_{1,2} = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}
\]

It costs $5 to $10, or 7$ in all. A matrix: $$\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}$$ and $a_1 * b_1 * c_1$.

| formula | value |
|---|---|
| $\sqrt{2}$ | 1.41 |
| \(\lvert x \rvert\) | 3 |
"""

QWEN2_BOXES = "There are two things: red circle(89,250),(280,760) and blue star(690,520),(920,980)"

JSON_BOXES = """\
Here are the things that I found:

```json
[
\t{"bbox_2d": [30, 56, 94, 170], "label": "red circle"},
\t{"bbox_2d": [232, 116, 309, 219], "label": "blue star"}
]
```
"""

JSON_POINTS = """\
```json
[
\t{"point_2d": [185, 500], "label": "red circle"},
\t{"point_2d": [805, 750], "label": "blue star"}
]
```
"""

COORDINATES = "A triangle with vertices (0, 0), (100, 200), (300, 50): the segment from (0, 0), (10, 10) is a diagonal."

ARABIC = """\
## ما في الصورة

في الصورة **قطة** تجلس على النافذة، وهي تنظر إلى (Qwen2-VL) الكاميرا.

- قطة رمادية
- نافذة خشبية

1. أولاً
2. ثانياً

| الشيء | العدد |
|---|---|
| قطة | 1 |
"""

HEBREW = "בתמונה יש **חתול** שיושב ליד החלון.\n\n- חתול אפור\n- חלון עץ\n\nSecond paragraph in English."

CJK = (
    "图片里有一只**灰色的猫**，它坐在窗边。\n\n1. 一只猫\n2. 一扇窗\n\n"
    "日本語：猫は**窓**を見ている。한국어: 고양이가 있습니다."
)

EMOJI = "Two of them: 👩‍👩‍👧‍👦 and 🏳️‍🌈, 👍🏽. ☀️ 1️⃣ :smile: e\u0301"

UNBROKEN = "abcdefghij" * 300  # letters without a space

PARAGRAPH = (
    "The picture shows a quiet street in the early morning, with a row of old houses on the left and a line of trees "
    "on the right. A woman in a **blue coat** walks a small dog, and behind her a cyclist waits at the crossing. The "
    "light comes from the left, so that the houses throw long shadows over the road.\n\n"
)
LONG = "".join(f"### Part {number}\n\n{PARAGRAPH}- first thing\n- second *thing*\n\n" for number in range(1, 23))

HOSTILE = """\
<script>window.hacked = 1</script><img src="https://example.com/a.png" onerror="window.hacked = 1">

![b](https://example.com/b.png) ![c][ref] [d](javascript:window.hacked=1) [e](data:text/html,<script>hacked=1</script>)
[f](https://example.com/"onmouseover="window.hacked=1) <iframe src="https://example.com"></iframe>
<svg onload="window.hacked=1"><style>* { display: none }</style> <https://example.com/?a=<b>> &lt;b&gt; <!-- &copy

```html" onclick="window.hacked=1
</code></pre><script>window.hacked = 1</script>
```

$$\\href{javascript:window.hacked=1}{x} \\includegraphics{https://example.com/c.png} \\htmlClass{a}{b}$$

[ref]: https://example.com/d.png
<details open ontoggle="window.hacked=1"><form action="https://example.com"><input autofocus onfocus="window.hacked=1">
"""

TEXTS = {
    "table": TABLE, "lists": LISTS, "code": CODE, "latex": LATEX, "boxes": QWEN2_BOXES, "json boxes": JSON_BOXES,
    "json points": JSON_POINTS, "coordinates": COORDINATES, "arabic": ARABIC, "hebrew": HEBREW, "cjk": CJK,
    "emoji": EMOJI, "unbroken": UNBROKEN, "long": LONG, "hostile": HOSTILE,
}  # fmt: skip
REPEATED = "The cat sits on the mat. "  # question "endless": again and again
MAX_REPEATS = 20  # with stop_repetition


def pieces(text: str) -> list[str]:
    """`text` as a tokenizer cuts it; joined, they are `text`.

    pieces("A grey cat, 12 years")  # ["A", " grey", " cat", ",", " ", "1", "2", " years"]
    """
    return PIECE.findall(text)


class WrittenSession:
    """Streams written answers as a ChatSession streams a model's.

    pace: seconds before each piece. With `gated`, it waits for `allow(n)` before each piece, too. `calls` has
    (messages, options) of every answer, `prepared` the messages of what was prefetched; `told_to_stop` is set when an
    answer is stopped before its end.
    """

    max_concurrent_answers = 1
    visual_token_budget = (4, 1280)

    def __init__(self, *, pace: float = 0, gated: bool = False):
        self.processor = fake_processor()
        self.answers: dict[str, str] = {}
        self.pace = pace
        self.begin(gated=gated)

    def begin(self, *, gated: bool = False) -> None:
        """Forget every call, and whether it was told to stop."""
        self.calls: list[tuple[list[dict], dict]] = []
        self.prepared: list[list[dict]] = []
        self.told_to_stop = threading.Event()
        self._gate = threading.Semaphore(0 if gated else 10**9)

    def allow(self, pieces: int = 10**6) -> None:
        self._gate.release(pieces)

    def stream(self, messages: list[dict], *, progress=lambda _: None, **options) -> Answer:
        state = AnswerState()
        self.calls.append((messages, options))
        return Answer(state, self._texts(state, messages, progress, options))

    def prepare(self, messages: list[dict], **options) -> None:
        self.prepared.append(messages)

    def estimate(self, messages: list[dict], **options) -> Estimate:
        """20 tokens, and 64 more for each picture or video."""
        visual = 64 * sum(part["type"] != "text" for message in messages for part in content_parts(message))
        return Estimate(20 + visual, visual, 0.5)

    def memory(self) -> dict[str, int]:
        return {}

    def _texts(self, state: AnswerState, messages: list[dict], progress, options: dict) -> Iterator[str]:
        stats = state.stats
        expected = self.estimate(messages)
        stats.prompt_tokens, stats.visual_tokens = expected.prompt_tokens, expected.visual_tokens
        progress(Progress("prefilling", 0, stats.prompt_tokens, 0.5))
        limit = options.get("max_new_tokens") or 10**6
        stats.finish_reason = "length"
        for piece in itertools.islice(self._pieces(messages, options, stats), limit):
            time.sleep(self.pace)
            while not self._gate.acquire(timeout=0.01):
                if not state.wanted():
                    break
            if not state.wanted():
                stats.finish_reason = ""
                self.told_to_stop.set()
                return
            stats.first_token_s = stats.first_token_s or time.perf_counter() - state.started
            stats.answer_tokens += 1
            yield piece
        stats.finished = stats.finish_reason == "stop"

    def _pieces(self, messages: list[dict], options: dict, stats) -> Iterator[str]:
        """Of the answer, or of what is left of it; sets why it ends."""
        begun = ""
        if options.get("continue_final_message"):
            *messages, last = messages
            begun = last["content"]
        question = "\n".join(part["text"] for part in content_parts(messages[-1]) if part["type"] == "text")
        if question == "endless":
            repeated = pieces(REPEATED)
            yield from repeated * MAX_REPEATS if options.get("stop_repetition") else itertools.cycle(repeated)
            stats.finish_reason = "repetition"
            return
        text = self.answers.get(question, TEXTS.get(question, question))
        yield from pieces(text.removeprefix(begun))
        stats.finish_reason = "stop"


@contextlib.contextmanager
def served_texts(session: WrittenSession, **settings):
    """A page on which `session` answers."""
    demo = make_demo(SimpleNamespace(), session.processor, session=session)
    demo.session = session
    demo.launch(prevent_thread_lock=True, quiet=True, **settings)
    try:
        yield demo
    finally:
        demo.close()
