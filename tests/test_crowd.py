"""Fifty visitors at once, on a fake model: nobody gets another's answer, and afterwards nothing is left of them.

What they do is in tests/stress/visitors.py; tests/stress/crowd.py has the same on an exported model.
"""

import hashlib
import itertools
import tempfile
import threading
import time
from types import SimpleNamespace

import pytest

from tests.fake_model import FakeModel, fake_processor, last_question
from tests.stress import visitors
from tests.stress.crowd import rss_mb
from tests.test_gradio_helper import served

PROCESSOR = fake_processor()
STORY_WORDS = 400
THREADS_OF_THE_PAGE = "chat page: "  # their names begin so
answering_threads: set[str] = set()  # names


def say(inputs: dict):
    """A word that nothing but this very conversation with these very pictures leads to; a story is many of them."""
    answering_threads.add(threading.current_thread().name)
    digest = hashlib.sha256(inputs["input_ids"].numpy().tobytes())
    if "pixel_values" in inputs:
        digest.update(inputs["pixel_values"].numpy().tobytes())
    word = PROCESSOR.tokenizer(digest.hexdigest()[:12] + " ")["input_ids"]
    words = STORY_WORDS if "story" in last_question(inputs, PROCESSOR) else 1
    return itertools.chain.from_iterable(itertools.repeat(word, words))


def threads_of_the_page() -> list[str]:
    """Names of those that are there."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(THREADS_OF_THE_PAGE)]


def wait_until_nobody_is_served() -> None:
    end = time.monotonic() + 30
    while threads_of_the_page() and time.monotonic() < end:
        threading.Event().wait(0.05)


def megabytes(model: FakeModel) -> float:
    model.calls.clear()  # what the fake keeps for the tests is not the page's
    model.prompts.clear()
    return rss_mb() or 0.0


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """What there is to see when the crowd has gone, and when the page is closed."""
    folder = tmp_path_factory.mktemp("visitors")
    temporary = tmp_path_factory.mktemp("temporary")
    seen = SimpleNamespace(temporary=temporary)
    model = FakeModel(say)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        patch.setenv("GRADIO_TEMP_DIR", str(temporary / "uploads"))
        with served(model) as demo:
            seen.alone = visitors.alone(demo.local_url, visitors.VISITORS, folder)
            seen.megabytes = megabytes(model)
            said = len(model.said)
            seen.together = visitors.together(demo.local_url, visitors.VISITORS, folder)
            wait_until_nobody_is_served()
            seen.threads = threads_of_the_page()
            seen.said = len(model.said) - said
            seen.more_megabytes = megabytes(model) - seen.megabytes
            seen.next = visitors.alone(demo.local_url, len(visitors.KINDS), folder)
    return seen


def test_every_answer_is_the_one_that_its_asker_gets_alone(after):
    assert len(after.alone.answers) == 58
    assert visitors.wrong(after.together, after.alone) == []


def test_a_mix_up_would_have_shown(after):
    first = {who: said for who, said in after.alone.answers.items() if who[1] in ("first", "after stop")}
    assert len(set(first.values())) == len(first) > 30


def test_the_crowd_waited_in_a_queue(after):
    assert after.together.longest_queue > 20


def test_whoever_leaves_or_stops_frees_the_model(after):
    stories = sum(visitors.kind_of(number) in (visitors.LEAVING, "stops") for number in range(visitors.VISITORS))
    assert stories >= visitors.VISITORS // 3
    assert after.said < stories * STORY_WORDS * 13 / 3, "tokens; a word has 13"


def test_the_next_visitor_is_answered_as_ever(after):
    assert len(after.next.answers) > 4
    assert after.next.answers == {who: after.alone.answers[who] for who in after.next.answers}


def test_no_thread_is_left(after):
    assert answering_threads and all(name.startswith(THREADS_OF_THE_PAGE) for name in answering_threads)
    assert after.threads == []


def test_no_file_is_left_when_the_page_is_closed(after):
    files = [path for path in after.temporary.rglob("*") if path.is_file()]
    assert [path for path in files if path.name != "cat.jpg"] == [], "which is an example"


def test_memory_is_back_near_where_it_was(after):
    """The fifty clients are in this process too, with what fifty threads leave in the allocator."""
    assert after.more_megabytes < 250, f"of {after.megabytes:.0f} MB before"
