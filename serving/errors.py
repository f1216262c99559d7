"""What can go wrong between a client and a session, beside what a session itself refuses.

Here: exceptions whose text may be shown to a visitor. Not here: what an API makes of them (`serving.openai_api`).
"""

from session.prompt import SessionError

BEGUN = ""  # a replica's first word for a question: it has it


class BusyError(SessionError):
    """Nobody can answer now: all replicas, or this visitor's places, are taken."""


class LostError(SessionError):
    """An answer that was cut off with its replica, and that no other could finish word for word."""


class RequestError(ValueError):
    """A request that cannot be answered as it is. param: the field that is wrong, "" where it is not one field."""

    def __init__(self, message: str, param: str = "", status: int = 400):
        super().__init__(message)
        self.param = param
        self.status = status
