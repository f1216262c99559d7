"""What is lost on the way: a replica, a node, a version, a client. Answers stay whole, and nobody's are mixed."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.remote import RemoteSession
from tests.serving.conftest import NODE, asked, deploy, drawing, idle, states, wait_until

STORY = {"min_new_tokens": 150, "max_new_tokens": 150}


@pytest.fixture
def two(handle):
    """Two replicas, of which neither does anything."""
    wait_until(lambda: len(states(handle)) == 2 and idle(handle))
    yield handle


def busy(handle) -> list[int]:
    """Processes that answer."""
    return [process for process, answers in states(handle).items() if answers]


def test_conversations_are_spread(two, remote):
    questions = [asked("Tell me a story.", drawing(colour)) for colour in ("red", "blue", "green", "black", "orange")]
    answers = [remote.stream(question, **STORY) for question in questions]
    for answer in answers:
        next(answer)
    assert len(busy(two)) == 2
    for answer in answers:
        answer.close()


def test_a_replica_killed_in_mid_answer_is_not_noticed_in_the_text(two, remote, direct):
    question = asked("Tell me a long story.", drawing())
    expected = "".join(direct.stream(question, **STORY))
    answer = remote.stream(question, **STORY)
    begun = next(answer)
    [process] = busy(two)
    os.kill(process, signal.SIGKILL)
    assert begun + "".join(answer) == expected
    assert answer.stats.answer_tokens == 150


def test_all_replicas_killed_the_answer_comes_when_one_is_back(two, remote, direct):
    question = asked("Tell me another story.", drawing("blue"))
    expected = "".join(direct.stream(question, **STORY))
    answer = remote.stream(question, **STORY)
    begun = next(answer)
    for process in states(two):
        os.kill(process, signal.SIGKILL)
    assert begun + "".join(answer) == expected


def test_an_update_and_scaling_under_load_lose_and_mix_nothing(two, remote, direct, int4_dir):
    questions = [asked("Describe this image.", drawing(colour)) for colour in ("red", "blue", "green", "orange")]
    expected = ["".join(direct.stream(question)) for question in questions]
    before, wrong, rounds, done = set(states(two)), [], [], threading.Event()

    def visit(number):
        while not done.is_set():
            said = "".join(remote.stream(questions[number]))
            rounds.append(number)
            if said != expected[number]:
                wrong.append((number, said))

    with ThreadPoolExecutor(len(questions)) as pool:
        visits = [pool.submit(visit, number) for number in range(len(questions))]
        try:
            deploy(int4_dir, "tested", num_replicas=1, ray_actor_options={"num_cpus": 0.9})
            wait_until(lambda: len(states(two)) == 1 and not before & set(states(two)))
            deploy(int4_dir, "tested", ray_actor_options={"num_cpus": 0.9})
            wait_until(lambda: len(states(two)) == 2)
        finally:
            done.set()
        assert [job.result() for job in visits] == [None] * len(visits)
    assert wrong == []
    assert set(rounds) == set(range(len(questions)))


def test_a_slow_client_holds_nobody_up_and_loses_nothing(two, remote, direct):
    question = asked("Tell me a story.", drawing("black"))
    slow = remote.stream(question, **STORY)
    begun = next(slow)
    another = asked(image=drawing("black"))
    assert "".join(remote.stream(another)) == "".join(direct.stream(another))
    wait_until(lambda: idle(two))
    assert begun + "".join(slow) == "".join(direct.stream(question, **STORY))


def test_a_node_lost_in_mid_answer(cluster, two, remote, direct, int4_dir):
    question = asked("Tell me a story.", drawing("green"))
    expected = "".join(direct.stream(question, **STORY))
    spare = {"num_cpus": 1, "resources": {"spare": 1}, **NODE}
    nodes = [cluster.add_node(**spare)]
    elsewhere = {"num_replicas": 1, "ray_actor_options": {"num_cpus": 0.5, "resources": {"spare": 0.1}}}
    lost = deploy(int4_dir, "elsewhere", **elsewhere)
    answer = RemoteSession(lost, remote.processor).stream(question, **STORY)
    begun = next(answer)
    nodes.append(cluster.add_node(**spare))
    try:
        cluster.remove_node(nodes.pop(0), allow_graceful=False)
        assert begun + "".join(answer) == expected
    finally:
        from ray import serve

        serve.delete("elsewhere")
        cluster.remove_node(nodes.pop())
