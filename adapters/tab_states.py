"""What Gradio (6.31) keeps of each session, in an order in which strangers cannot throw it out.

A session's name comes from its client, and Gradio drops the session that was used longest ago once there are
`state_session_capacity`: a thousand names that somebody makes up would take away every visitor's conversation. Here
those go first that have no tab open and hold nothing, then those without a tab, then the others.

Noticed by tests/security/test_tabs.py.
"""

from fastapi import HTTPException
from gradio.state_holder import SessionState, StateHolder

from adapters.open_streams import OpenStreams

MAX_NAME = 200  # characters of a session's; Gradio's clients take twelve to forty
LONG_NAME = f"A session's name can have {MAX_NAME} characters."


class TabStates(StateHolder):
    def __init__(self, streams: OpenStreams):
        super().__init__()
        self._streams = streams

    def __getitem__(self, session_id: str) -> SessionState:
        """Made, where there is none. Raises HTTPException for a name that no client of Gradio's gives itself."""
        if len(session_id) > MAX_NAME:
            raise HTTPException(400, LONG_NAME)
        return super().__getitem__(session_id)

    def update(self, session_id: str) -> None:
        """Called for each use of a session."""
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
            if len(self.session_data) > self.capacity:
                others = list(self.session_data)[:-1]
                evicted = min(others, key=self._claim)  # the first of those that claim least: used longest ago
                del self.session_data[evicted]
                self.time_last_used.pop(evicted, None)

    def _claim(self, session_id: str) -> tuple[bool, bool]:
        return self._streams.has_tab(session_id), _holds_something(self.session_data[session_id])


def _holds_something(session: SessionState) -> bool:
    """Whether one of its states is a list with something in it, as a conversation is."""
    return any(isinstance(value, list) and value for value in session.state_data.values())
