"""Becomes the command that it is given, which the kernel kills when the thread that started it ends.

    python parent_death_signal.py PARENT_PID COMMAND...

For Linux only (`man 2 prctl`, PR_SET_PDEATHSIG). A program of its own rather than a function run between fork and exec:
a process with threads, such as a notebook's, may deadlock there.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>; it outlasts exec

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == int(sys.argv[1]):  # otherwise the parent was gone before the signal was asked for
        os.execv(sys.argv[2], sys.argv[2:])
