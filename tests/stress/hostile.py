"""Visitors of the chat page who mean harm: each does one thing that once kept the others waiting, again and again.

Bounded: ROUNDS times each, from addresses that are made up (10.66.…, in a header that Gradio's server believes of this
machine alone). Not here: those who only want an answer (`visitors.py`).
"""

import contextlib
import json
import time
import uuid

import httpx

from tests.stress.visitors import LONG, Figures, Visitor

KINDS = 5
ROUNDS = 20
FLOOD = 10  # requests of one round
PAUSE_S = 0.5  # ten of them send 200 requests a second: more would show how fast two cores are, not who is let in
TOO_LARGE = b'{"data": "' + b"x" * (9 << 20) + b'"}'


class Hostile(Visitor):
    """What it does is in `kinds`, by its number."""

    def __init__(self, url: str, number: int, folder, figures: Figures):
        super().__init__(url, number, folder, figures, address=f"10.66.0.{number}")
        self.kinds = (self._floods, self._makes_names_up, self._sends_too_much, self._opens_streams, self._asks_much)

    def attacks(self) -> None:
        attack = self.kinds[self.number % KINDS]
        for _ in range(ROUNDS):
            with contextlib.suppress(httpx.HTTPError):  # refused in the middle of what it sends
                attack()
            time.sleep(PAUSE_S)

    def _join(self, session: str) -> httpx.Response:
        number, data = self._request("chat", {"text": LONG, "files": []})
        return self.http.post("/queue/join", json={"data": data, "fn_index": number, "session_hash": session})

    def _floods(self) -> None:
        """One tab's questions, for whose answers nobody comes."""
        for _ in range(FLOOD):
            self._join(self.client.session_hash)

    def _makes_names_up(self) -> None:
        for _ in range(FLOOD):
            self._join(uuid.uuid4().hex)

    def _sends_too_much(self) -> None:
        headers = {"content-type": "application/json"}
        self.http.post("/queue/join", content=TOO_LARGE, headers=headers)
        deep = json.loads("[" * 60 + "]" * 60)
        self.http.post("/queue/join", json={"data": deep, "fn_index": 0, "session_hash": uuid.uuid4().hex})

    def _opens_streams(self) -> None:
        """And hangs up."""
        for _ in range(FLOOD):
            with self.http.stream("GET", f"/heartbeat/{uuid.uuid4().hex}"):
                pass

    def _asks_much(self) -> None:
        """Long answers, for which it comes, as fast as they are given."""
        self._submit(LONG).cancel()
