"""What a tree of processes has used, from /proc; and ends of it."""
import os
import signal
import time


def tree(pid):
    """The process and its descendants that are there now."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
                    parents.setdefault(int(f.read().rpartition(")")[2].split()[1]), []).append(int(name))
            except OSError:
                pass
    found = [pid]
    for p in found:
        found += parents.get(p, [])
    return found


def cpu_us(pid):
    """User and system time of all threads of the tree, by the processes' CPU clocks: /proc's stat counts in 10 ms."""
    total = 0
    for p in tree(pid):
        try:
            total += time.clock_gettime_ns(~p << 3 | 2)
        except OSError:
            pass
    return total / 1e3


def rss_kb(pid, peak=False):
    total = 0
    for p in tree(pid):
        try:
            with open(f"/proc/{p}/status", encoding="utf-8", errors="replace") as f:
                fields = dict(line.split(":", 1) for line in f if ":" in line)
            total += int(fields["VmHWM" if peak else "VmRSS"].split()[0])
        except (OSError, KeyError):
            pass
    return total


def stop(process, wait_s=10):
    """Asks the session that the process began, then insists."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sig)
            process.wait(wait_s)
        except ProcessLookupError:
            pass
        except Exception: # it did not end in time
            continue
    process.wait()
