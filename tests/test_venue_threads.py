"""Loops in several threads: each may be the first to read a venue's profile."""

from __future__ import annotations

import subprocess
import sys

FIRST_READERS = """
import sys, threading
from heartline.venue.load import load
sys.setswitchinterval(1e-5)
read = []
start = threading.Barrier(6)

def read_one():
    start.wait()
    read.append(load("deribit").name)

threads = [threading.Thread(target=read_one) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*read)
"""


def test_threads_that_read_their_first_profile_at_once_all_get_it() -> None:
    """In a process of its own, since it is a crash that would be seen."""
    run = subprocess.run(
        [sys.executable, "-c", FIRST_READERS],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout.split()) == (0, ["deribit"] * 6), run.stderr
