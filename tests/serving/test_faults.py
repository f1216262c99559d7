"""What is lost on the way: a replica, a node, a version, a client. Answers stay whole, and nobody's are mixed."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.remote import RemoteSession
from serving.wire import conversation_of, pack
from tests.serving.conftest import NODE, deploy
from tests.serving.test_remote import asked, drawing, wait_until

STORY = {"min_new_tokens": 300, "max_new_tokens": 300}


def process_of(handle, messages) -> int:
    """Of the replica that answers this conversation."""
    return handle.options(session_id=conversation_of(pack(messages))).pid.remote().result(timeout_s=30)


def processes(handle) -> set[int]:
    return set(handle.broadcast("pid").results(timeout_s=30))


def wait_for_two(handle) -> None:
    wait_until(lambda: len(processes(handle)) == 2, 90)


@pytest.fixture
def two(handle):
    wait_for_two(handle)
    yield handle
    wait_for_two(handle)


def test_a_conversation_stays_with_its_replica_and_conversations_are_spread(two):
    questions = [asked(f"Question {number}") for number in range(20)]
    first = [process_of(two, question) for question in questions]
    assert [process_of(two, question) for question in questions] == first
    assert set(first) == processes(two)


def test_a_replica_killed_in_mid_answer_is_not_noticed_in_the_text(two, remote, direct):
    question = asked("Tell me a long story.", drawing())
    expected = "".join(direct.stream(question, **STORY))
    answer, said = remote.stream(question, **STORY), []
    for piece in answer:
        said.append(piece)
        if len(said) == 50:
            os.kill(process_of(two, question), signal.SIGKILL)
    assert "".join(said) == expected


def test_all_replicas_killed_the_answer_comes_when_one_is_back(two, remote, direct):
    question = asked("Tell me another story.", drawing("blue"))
    expected = "".join(direct.stream(question, **STORY))
    answer = remote.stream(question, **STORY)
    begun = next(answer)
    for process in processes(two):
        os.kill(process, signal.SIGKILL)
    assert begun + "".join(answer) == expected


def test_a_rolling_update_under_load_loses_and_mixes_nothing(two, remote, direct, int4_dir):
    questions = [asked(f"Story {number}", drawing(colour)) for number, colour in enumerate(("red", "blue") * 4)]
    expected = ["".join(direct.stream(question, max_new_tokens=64)) for question in questions]
    before, wrong, done = processes(two), [], threading.Event()

    def visit(number):
        while not done.is_set():
            if "".join(remote.stream(questions[number], max_new_tokens=64)) != expected[number]:
                wrong.append(number)

    with ThreadPoolExecutor(len(questions)) as pool:
        visits = [pool.submit(visit, number) for number in range(len(questions))]
        time.sleep(1)
        deploy(int4_dir, "chat", ray_actor_options={"num_cpus": 0.9})
        done.set()
        assert [v.result(timeout=60) for v in visits] == [None] * len(visits)
    assert wrong == []
    assert not processes(two) & before


def test_scaling_down_lets_answers_end(cluster, two, remote, direct, int4_dir):
    questions = [asked(f"Long story {number}") for number in range(4)]
    expected = ["".join(direct.stream(question, **STORY)) for question in questions]
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(lambda q: "".join(remote.stream(q, **STORY)), question) for question in questions]
        time.sleep(0.5)
        deploy(int4_dir, "chat", num_replicas=1)
        assert [answer.result(timeout=120) for answer in answers] == expected
    deploy(int4_dir, "chat", num_replicas=2)


def test_a_slow_client_holds_nobody_up(two, remote):
    slow = remote.stream(asked("Tell me a story."), **STORY)
    next(slow)
    wait_until(lambda: sum(two.broadcast("under_way").results(timeout_s=10)) == 0, 90)
    assert len("".join(slow)) > 200


def test_a_node_lost_in_mid_answer(cluster, two, remote, direct, int4_dir):
    """Last, because a node goes."""
    node = cluster.add_node(num_cpus=1, resources={"doomed": 1}, **NODE)
    lost = deploy(int4_dir, "doomed", num_replicas=1, ray_actor_options={"num_cpus": 0.5, "resources": {"doomed": 0.1}})
    session = RemoteSession(lost, remote.processor)
    question = asked("Tell me a story.", drawing("green"))
    expected = "".join(direct.stream(question, **STORY))
    answer = session.stream(question, **STORY)
    begun = next(answer)
    nodes = [node, cluster.add_node(num_cpus=1, resources={"doomed": 1}, **NODE)]
    try:
        cluster.remove_node(nodes.pop(0), allow_graceful=False)
        assert begun + "".join(answer) == expected
    finally:
        for node in nodes:
            cluster.remove_node(node)
