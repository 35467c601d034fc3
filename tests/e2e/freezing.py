"""A thread that does not move: it is stopped by ptrace, and nothing in the product helps."""
import ctypes
import glob
import os

import pytest

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000


def thread_of(pid, name):
    """The one thread of that name."""
    tids = [int(os.path.basename(os.path.dirname(p))) for p in glob.glob(f"/proc/{pid}/task/*/comm")
            if open(p).read().strip() == name]
    assert len(tids) == 1, [open(p).read() for p in glob.glob(f"/proc/{pid}/task/*/comm")]
    return tids[0]


def is_dead(tid):
    """Was a frozen thread killed? Until it is asked for here, its process does not end."""
    return os.waitpid(tid, WALL | os.WNOHANG)[0] == tid


def freeze(pid, name):
    """Stop the one thread of that name; returns what lets it go on."""
    tid = thread_of(pid, name)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(PTRACE_SEIZE, tid, None, None):
        pytest.skip(f"ptrace is not allowed here: {os.strerror(ctypes.get_errno())}")
    assert libc.ptrace(PTRACE_INTERRUPT, tid, None, None) == 0
    os.waitpid(tid, WALL)
    return lambda: libc.ptrace(PTRACE_DETACH, tid, None, None)
