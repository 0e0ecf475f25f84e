"""Run one command and print what it cost as JSON; started as a process of its own, and imports next to nothing.

    python -I launch.py RESULT.json COMMAND ...

The kernel counts the memory of the process that starts a command as memory of the command (`ru_maxrss` outlives exec),
so a large process must not measure its children itself: this small one does. The sum over a command and its workers is
looked at every `INTERVAL` seconds, pages that they share counted once (PSS).
"""

import json
import os
import subprocess
import sys
import threading
import time

INTERVAL = 0.5


def proportional(pid: int) -> int:
    """PSS of one process in bytes, 0 where it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as stream:
            return sum(1024 * int(line.split()[1]) for line in stream if line.startswith("Pss:"))
    except (OSError, ValueError):
        return 0


def descendants(pid: int) -> list[int]:
    """Ids of all that descend from a process."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as stream:
            direct = [int(word) for word in stream.read().split()]
    except OSError:
        return []
    return direct + [more for child in direct for more in descendants(child)]


def main() -> None:
    target, command = sys.argv[1], sys.argv[2:]
    start = time.perf_counter()
    with open(f"{target}.out", "wb") as out, open(f"{target}.err", "wb") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        most, processes, ended = [0], [1], threading.Event()

        def watch() -> None:
            while not ended.wait(INTERVAL):
                workers = descendants(child.pid)
                if workers:
                    processes[0] = max(processes[0], 1 + len(workers))
                    most[0] = max(most[0], sum(map(proportional, [child.pid, *workers])))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
    cost = {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": max(1024 * usage.ru_maxrss, most[0]),
        "processes": processes[0],
        "code": os.waitstatus_to_exitcode(status),
    }
    with open(target, "w") as stream:
        json.dump(cost, stream)


if __name__ == "__main__":
    main()
