"""A guard that writes down, and refuses, every attempt to reach another machine.

Python imports a module of this name by itself when its folder is on PYTHONPATH, so each Python process that a test
starts (an export, a notebook kernel) is guarded too, forked helpers included. `tests/conftest.py` installs the same
hook in the process of pytest. What it cannot see: sockets opened by native code, and programs that are not Python.

Attempts go to the file named by SOCKET_GUARD_LOG, one line each, because libraries that send usage statistics swallow
the exception. Looking up a name counts: without a network the lookup is as far as anything gets.
"""

import ipaddress
import os
import sys

LOG_VARIABLE = "SOCKET_GUARD_LOG"
LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname")
CONNECTIONS = ("socket.connect", "socket.sendto", "socket.sendmsg")


def stays_here(host) -> bool:
    """True for this machine's own addresses; names other than localhost count as elsewhere."""
    if isinstance(host, (bytes, bytearray)):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def destination(event: str, args: tuple):
    """The host that an audit event of the socket module is about; None where it is about no host."""
    if event in LOOKUPS:
        return args[0]
    if event in CONNECTIONS and isinstance(args[1], tuple):  # a unix socket's address is a path
        return args[1][0]
    return None


def refuse_other_machines(event: str, args: tuple) -> None:
    host = destination(event, args) if event.startswith("socket.") else None
    if host is None or stays_here(host):
        return
    with open(os.environ[LOG_VARIABLE], "a", encoding="utf-8") as log:
        log.write(f"{event} {host} from {' '.join(sys.argv)[:100]}\n")
    raise ConnectionRefusedError(f"tests/socket_guard: {event} to {host!r} is refused; tests stay on this machine")


if os.environ.get(LOG_VARIABLE):
    sys.addaudithook(refuse_other_machines)
