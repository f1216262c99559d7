"""Gradio's queue (6.31), in which no visitor waits for what nobody listens to, or behind all of another's questions.

Gradio takes events in the order in which they came, refuses all that come once `max_size` wait, and computes also what
nobody fetches: 257 requests in a third of a second keep everybody else out for as long as 257 answers take. Here

  - an event is begun only while somebody listens, and dropped when nobody has come for LISTEN_S;
  - visitors, told apart by address, take turns: the second event of one comes after the first of each other;
  - one tab has no more than MAX_OF_TAB events waiting, and one address no more than MAX_UNHEARD for which nobody has
    come as yet;
  - one address has no more than MAX_RUNNING handlers running that are not bounded otherwise: a file that takes minutes
    to open, sent forty times, would leave nobody else one;
  - where the queue is full, what nobody listens to makes room, and then the last event of whoever has most of them.

Behind a proxy that does not say for whom it asks, all are one visitor, who does not take turns with anybody. Noticed by
tests/security/test_queue.py.
"""

import time
from collections import Counter

from gradio.queueing import Event, ProcessCompletedMessage, Queue

from adapters.open_streams import OpenStreams, visitor_address
from adapters.request_rate import is_loopback
from adapters.tab_states import LONG_NAME, MAX_NAME

LISTEN_S = 30  # a person who types the second command of two has as long
MAX_OF_TAB = 16
MAX_UNHEARD = 16
COMES_S = 1.0  # a page listens as soon as it has asked: what has been unheard for longer makes room for the next
MAX_RUNNING = 16  # of one address, of the forty handlers that run at once, where nothing else bounds them
MAX_BYTES_OF_ADDRESS, MAX_BYTES = 32 << 20, 256 << 20  # of what the events that wait were asked with
MAX_SESSIONS = 2000  # of which messages are kept, besides those that somebody listens to
TAB_IS_FULL = f"{MAX_OF_TAB} questions of this tab are waiting already. Please wait for an answer."
QUEUE_IS_FULL = "Too many questions are waiting. Please try again in a minute."


class FairQueue(Queue):
    """streams: of the same page. replaced: the queue that Gradio made, of which this one takes the settings."""

    def __init__(self, streams: OpenStreams, replaced: Queue):
        super().__init__(
            live_updates=replaced.live_updates, concurrency_count=replaced.max_thread_count,
            update_intervals=replaced.update_intervals, max_size=replaced.max_size, blocks=replaced.blocks,
            default_concurrency_limit=replaced.default_concurrency_limit,
        )  # fmt: skip
        self.pending_messages_per_session.max_size = 10**9  # Gradio would drop those of whoever has waited longest
        self._streams = streams
        self._turns: dict[str, int] = {}  # by concurrency_id: the turn of the event that was begun last

    def knows(self, name: str) -> bool:
        """Whether something waits or has come for a session, or for an event."""
        of_sessions = self.pending_event_ids_session.values()
        return (
            name in self.pending_messages_per_session
            or name in self.event_ids_to_events
            or any(name in events for events in of_sessions)
        )

    async def push(self, body, request, username):
        if len(body.session_hash or "") > MAX_NAME:  # it is kept
            return False, LONG_NAME, "error"
        self._drop_unheard()
        self._forget_sessions()
        waiting = self._waiting()
        address = visitor_address(request.client)
        if not self._has_room_for(request, address, waiting):
            return False, QUEUE_IS_FULL, "queue_full"
        if sum(event.session_hash == body.session_hash for event in waiting) >= MAX_OF_TAB:
            return False, TAB_IS_FULL, "queue_full"
        if not self._make_room_among_unheard(waiting, address):
            return False, QUEUE_IS_FULL, "queue_full"
        is_full = self.max_size is not None and len(waiting) >= self.max_size
        if is_full and not self._make_room(waiting, address):
            return False, QUEUE_IS_FULL, "queue_full"
        success, event_id, state = await super().push(body, request, username)
        if success and event_id in self.event_ids_to_events:
            self._give_turn(self.event_ids_to_events[event_id])
        return success, event_id, state

    def get_events(self):
        """The next event to begin, as Gradio's own method returns it; none of ours come in batches."""
        self._drop_unheard()
        for concurrency_id, queue in self.event_queue_per_concurrency_id.items():
            if queue.concurrency_limit is not None and queue.current_concurrency >= queue.concurrency_limit:
                continue
            may_begin = self._is_heard if queue.concurrency_limit is not None else self._is_heard_and_modest
            event = next(filter(may_begin, queue.queue), None)
            if event:
                queue.queue.remove(event)
                self._turns[concurrency_id] = event.turn
                return [event], False, concurrency_id
        return None

    def broadcast_estimations(self, concurrency_id, after=None):
        """Places are told to those who listen, and counted among them; so is the one who has just come."""
        queue = self.event_queue_per_concurrency_id[concurrency_id]
        waiting = queue.queue
        queue.queue = [event for event in waiting if event is waiting[-1] or self._is_heard(event)]
        try:
            super().broadcast_estimations(concurrency_id)
        finally:
            queue.queue = waiting

    def _has_room_for(self, request, address: str, waiting: list[Event]) -> bool:
        """What was asked is kept until its turn."""
        of_address = sum(map(_bytes, (event.request for event in waiting if _address(event) == address)))
        of_all = sum(map(_bytes, (event.request for event in waiting)))
        more = _bytes(request)
        return of_address + more <= MAX_BYTES_OF_ADDRESS and of_all + more <= MAX_BYTES

    def _give_turn(self, event: Event) -> None:
        """Turns are numbered; an event gets the one after the last of the same visitor, or the next that is begun. All
        wait in their order. (Start-time fair queueing, https://doi.org/10.1109/90.649569)
        """
        queue = self.event_queue_per_concurrency_id[event.concurrency_id].queue
        own = [other.turn for other in queue if other is not event and _address(other) == _address(event)]
        event.turn = max(own, default=self._turns.get(event.concurrency_id, 0)) + 1
        queue.sort(key=lambda waiting: waiting.turn)
        self.broadcast_estimations(event.concurrency_id)

    def _make_room_among_unheard(self, waiting: list[Event], address: str) -> bool:
        """Drops the oldest of an address that has too many, where it is old enough; returns whether there is room."""
        unheard = [event for event in waiting if _address(event) == address and not self._is_heard(event)]
        if len(unheard) < MAX_UNHEARD:
            return True
        oldest = min(unheard, key=lambda event: event.enqueue_time)
        if oldest.enqueue_time > time.monotonic() - COMES_S:
            return False
        self._drop(oldest)
        return True

    def _make_room(self, waiting: list[Event], address: str) -> bool:
        """Drops one of those that wait, if a new one of `address` has a better claim; returns whether it has."""
        of_each = Counter(map(_address, waiting))
        greediest, most = of_each.most_common(1)[0]
        unheard = [event for event in waiting if not self._is_heard(event)]
        if unheard:
            self._drop(min(unheard, key=lambda event: (-of_each[_address(event)], event.enqueue_time)))
        elif most > of_each[address] + 1:
            self._drop(max((event for event in waiting if _address(event) == greediest), key=lambda event: event.turn))
        else:
            return False
        return True

    def _drop_unheard(self) -> None:
        """Those for which nobody has come in time."""
        latest = time.monotonic() - LISTEN_S
        for event in self._waiting():
            if event.enqueue_time < latest and not self._is_heard(event):
                self._drop(event)

    def _drop(self, event: Event) -> None:
        self.event_queue_per_concurrency_id[event.concurrency_id].queue.remove(event)
        self.event_ids_to_events.pop(event._id, None)
        if self._is_heard(event):
            said = {"error": QUEUE_IS_FULL}
            self.send_message(event, ProcessCompletedMessage(output=said, title="Error", success=False))
            return
        events = self.pending_event_ids_session.get(event.session_hash, set())
        events.discard(event._id)
        if not events:
            self.pending_event_ids_session.pop(event.session_hash, None)
            self.pending_messages_per_session.pop(event.session_hash, None)

    def _forget_sessions(self) -> None:
        """Those that wait for nothing, where there are many: the longest unused first."""
        for session in list(self.pending_messages_per_session)[:-MAX_SESSIONS]:
            if not self.pending_event_ids_session.get(session) and not self._streams.hears(session, ""):
                self.pending_event_ids_session.pop(session, None)
                del self.pending_messages_per_session[session]

    def _waiting(self) -> list[Event]:
        return [event for queue in self.event_queue_per_concurrency_id.values() for event in queue.queue]

    def _is_heard(self, event: Event) -> bool:
        return self._streams.hears(event.session_hash, event._id)

    def _is_heard_and_modest(self, event: Event) -> bool:
        """And of an address for which few handlers run."""
        address = _address(event)
        running = [other for job in self.active_jobs if job for other in job]
        few = sum(_address(other) == address for other in running) < MAX_RUNNING
        return self._is_heard(event) and (few or is_loopback(address))


def _bytes(request) -> int:
    """Of its body (`adapters.request_body`)."""
    return request.scope.get("body_bytes", 0)


def _address(event: Event) -> str:
    return visitor_address(event.request.client)
