"""What is lost on the way: a replica, a node, a version, a client. Answers stay whole, and nobody's are mixed."""

import os
import signal
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import pytest

from serving.remote import BusyError, RemoteSession
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


def test_all_replicas_killed_the_answer_comes_when_one_is_back(handle, remote, direct):
    """All that there are: another is still on its way, where the test before has just killed one."""
    question = asked("Tell me another story.", drawing("blue"))
    expected = "".join(direct.stream(question, **STORY))
    answer = remote.stream(question, **STORY)
    begun = next(answer)
    for process in states(handle):
        os.kill(process, signal.SIGKILL)
    assert begun + "".join(answer) == expected


def test_an_update_and_scaling_under_load_lose_and_mix_nothing(two, remote, direct, int4_dir):
    questions = [asked("Describe this image.", drawing(colour)) for colour in ("red", "blue", "green")]
    expected = ["".join(direct.stream(question)) for question in questions]
    before, wrong, rounds, done = set(states(two)), [], [], threading.Event()

    def visit(number):
        while not done.wait(0.2):  # to read what was said
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


SPARE = {"num_cpus": 1, "resources": {"spare": 1}, **NODE}
STARTS_S = 3.0  # after which a node that did not start well is gone
LATEST_S = 240  # for an answer; without a node that can give it, one would wait for ever


def spare_node(cluster):
    """A node that stays: Ray's (2.60) sometimes die in their first second, next to one that has just been killed."""
    for _ in range(3):
        node = cluster.add_node(**SPARE)
        time.sleep(STARTS_S)
        if node.remaining_processes_alive():
            return node
        cluster.remove_node(node, allow_graceful=False)
    pytest.fail("No node of Ray's stayed alive.")


@pytest.fixture(scope="module")
def elsewhere(cluster, processor, int4_dir):
    """(a session with one replica, which takes one answer while another waits; the node that it is on, in a list)."""
    from ray import serve

    nodes = [spare_node(cluster)]
    few = deploy(int4_dir, "elsewhere", num_replicas=1, max_ongoing_requests=1, max_queued_requests=1,
                 ray_actor_options={"num_cpus": 0.5, "resources": {"spare": 0.1}})  # fmt: skip
    yield RemoteSession(few, processor), nodes
    serve.delete("elsewhere")
    for node in nodes:
        cluster.remove_node(node)


def test_who_finds_no_place_is_told_so(elsewhere):
    session, _ = elsewhere
    answers = [session.stream(asked(), min_new_tokens=1500, max_new_tokens=1600) for _ in range(3)]
    next(answers[0])
    with ThreadPoolExecutor(2) as pool:  # one of the two may wait
        waiting = [pool.submit(list, answer) for answer in answers[1:]]
        refused = wait(waiting, 60, FIRST_EXCEPTION).done
        for answer in answers:
            answer.stop()  # which reaches one that waits, too
    assert [type(job.exception()) for job in refused] == [BusyError]
    assert [job.result() for job in waiting if job not in refused] == [[]]


def test_a_node_lost_in_mid_answer(cluster, elsewhere, direct):
    session, nodes = elsewhere
    question = asked("Tell me a story.", drawing("green"))
    expected = "".join(direct.stream(question, **STORY))
    answer = session.stream(question, **STORY)
    begun = next(answer)
    cluster.remove_node(nodes.pop(), allow_graceful=False)
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit("".join, answer)
        nodes.append(spare_node(cluster))
        try:
            assert begun + rest.result(LATEST_S) == expected
        finally:
            answer.stop()
