"""A visitor who clicks and types at random, and loses nothing: `python -m tests.stress.clicks --seed 7 --steps 40`.

Questions, stops, retries, edits, Undo, Clear and its Undo, reloads, a saved conversation opened again, each at a moment
of its own, before or after the page or the server is ready for it. After each step, every question that was typed is in
the conversation once, in its order and with its own answer, or in the input box. Prints the steps up to the first one
after which that is not so, and where its picture is.

Here: text. Not here: files, several visitors (`crowd.py`).
"""

import argparse
import random
import tempfile
from pathlib import Path

from tests.chromium import chromium
from tests.test_page_browser import Visitor
from tests.written_answers import WrittenSession, served_texts

DELAYS_MS = (0, 10, 50, 100, 200, 400, 800)
SETTLED_MS, LOOK_MS, LOOKS = 400, 50, 400
STATE = """() => {
  const texts = (part) => [...document.querySelectorAll(part)].map((found) => found.innerText.trim()).filter(Boolean);
  const is_there = (part) => [...document.querySelectorAll(part)].some((found) => found.checkVisibility());
  return {
    asked: texts("#conversation .user-row"), said: texts("#conversation .bot-row .message-content"),
    typed: document.querySelector("#question textarea")?.value,
    busy: is_there("#conversation .unfinished") || /is sent when|Waiting/.test(texts("#hint")) ||
      !is_there("#question .submit-button"),
  };
}"""


class Clicks:
    """One visitor of a page where `session` answers. asked: the questions that have to be in the conversation now."""

    def __init__(self, visitor: Visitor, session: WrittenSession, seed: int):
        self.visitor, self.tab, self.session = visitor, visitor.tab, session
        self.random = random.Random(seed)
        self.asked: list[str] = []
        self.questions = 0
        self.delay = 0

    def step(self) -> str:
        """One action; what it was. Raises AssertionError where something is lost."""
        actions = [self.ask, self.ask_and_stop, self.ask_twice, self.ask_and_reload, self.clear]
        if self.asked:
            actions += [self.retry, self.retry_and_stop, self.edit, self.edit_and_stop, self.undo]
            actions += [self.reload, self.open_saved]
        action = self.random.choice(actions)
        self.delay = self.random.choice(DELAYS_MS)
        action()
        self.check()
        self.visitor.input.fill("")
        return f"{action.__name__} {self.delay}"

    def ask(self) -> None:
        self.asked.append(self.send())

    def ask_and_stop(self) -> None:
        question = self.send()
        self.stop()
        self.take([*self.asked, question], question)

    def ask_twice(self) -> None:
        first = self.send()
        self.wait()
        second = self.send()
        self.take([*self.asked, first, second], second)

    def ask_and_reload(self) -> None:
        question = self.send()
        self.wait()
        self.reload()
        self.take([*self.asked, question], question)
        if self.asked[-1:] == [question] and self.settled()["said"][-1] == "Stopped.":
            self.undo()  # of an answer without a word

    def clear(self) -> None:
        self.visitor.input.fill("typed")
        self.visitor.click("Clear")
        if self.random.random() < 0.3:
            self.asked = []
            return
        self.wait()
        self.visitor.click("Undo")
        assert self.settled()["typed"] == "typed"

    def retry(self) -> None:
        self.visitor.press("Retry")
        self.tab.wait_for_timeout(SETTLED_MS)

    def retry_and_stop(self) -> None:
        self.visitor.press("Retry")
        self.stop()

    def edit(self) -> None:
        index = self.random.randrange(len(self.asked))
        self.asked = [*self.asked[:index], self.edited(index)]
        self.tab.wait_for_timeout(SETTLED_MS)

    def edit_and_stop(self) -> None:
        index = self.random.randrange(len(self.asked))
        question = self.edited(index)
        self.stop()
        self.take([*self.asked[:index], question], question)

    def undo(self) -> None:
        self.visitor.press("Undo")
        self.tab.wait_for_timeout(SETTLED_MS)
        assert self.settled()["typed"] == self.asked.pop()

    def reload(self) -> None:
        self.tab.reload()
        self.visitor.input.wait_for()
        self.tab.wait_for_timeout(3 * SETTLED_MS)

    def open_saved(self) -> None:
        with self.tab.expect_download() as saved:
            self.visitor.click("Save conversation")
        self.visitor.click("Clear")
        with self.tab.expect_file_chooser() as chooser, tempfile.TemporaryDirectory() as folder:
            self.visitor.click("Open conversation…")
            saved.value.save_as(Path(folder, "saved.zip"))
            chooser.value.set_files(Path(folder, "saved.zip"))
            self.tab.wait_for_timeout(2 * SETTLED_MS)

    def new_question(self) -> str:
        self.questions += 1
        question = f"question {self.questions}"
        words = " ".join(self.random.choices("abcdefgh", k=self.random.randint(1, 200)))
        self.session.answers[question] = f"{answer_to(question)} {words}"
        return question

    def send(self) -> str:
        question = self.new_question()
        self.visitor.input.fill(question)
        self.visitor.input.press("Enter")
        return question

    def edited(self, index: int) -> str:
        question = self.new_question()
        self.visitor.press("Edit", index)
        field = self.visitor.conversation.get_by_role("textbox")
        field.fill(question)
        field.press("Enter")
        return question

    def stop(self) -> None:
        self.wait()
        self.tab.keyboard.press("Escape")

    def wait(self) -> None:
        self.tab.wait_for_timeout(self.delay)

    def take(self, wanted: list[str], last: str) -> None:
        """`wanted` is asked; or `last` is in the input box, and asked is the rest, or what was asked before."""
        found = self.settled()
        if found["asked"] == wanted:
            self.asked = wanted
            return
        assert last in found["typed"], f"{last!r} is lost: {found}"
        if found["asked"] != self.asked:
            assert found["asked"] == wanted[:-1], found
            self.asked = wanted[:-1]

    def settled(self) -> dict:
        """What is to be seen when nothing has been on its way for a while."""
        self.tab.wait_for_timeout(SETTLED_MS)
        quiet_ms = 0
        for _ in range(LOOKS):
            found = self.tab.evaluate(STATE)
            quiet_ms = 0 if found["busy"] else quiet_ms + LOOK_MS
            if quiet_ms > SETTLED_MS:
                return found
            self.tab.wait_for_timeout(LOOK_MS)
        raise AssertionError(f"It does not come to an end: {found}")

    def check(self) -> None:
        found = self.settled()
        assert found["asked"] == self.asked, f"{self.asked} were asked: {found}"
        assert len(found["said"]) == len(self.asked), found
        for question, said in zip(self.asked, found["said"], strict=True):
            words = said.removesuffix("Stopped.").strip()
            assert words and (words.startswith(answer_to(question)) or answer_to(question).startswith(words)), found


def answer_to(question: str) -> str:
    return f"Answer to {question}:"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.stress.clicks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args(argv)
    session = WrittenSession(pace=0.01)
    with chromium() as browser, served_texts(session) as page:
        tab = browser.new_page()
        tab.goto(page.local_url)
        tab.wait_for_function("sessionStorage['qwen2-vl-chat'] != null")
        clicks = Clicks(Visitor(tab), session, options.seed)
        for number in range(1, options.steps + 1):
            try:
                print(number, clicks.step(), flush=True)
            except Exception as error:
                picture = Path(tempfile.mkdtemp(), "page.png")
                tab.screenshot(path=picture)
                print(f"{type(error).__name__} after {number} steps of seed {options.seed}: {error}\n{picture}")
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
