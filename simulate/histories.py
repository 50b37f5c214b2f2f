"""`python histories.py`: the sum of all that some histories tell, to compare copies.

Run by path, with a copy of the package first on the path of Python.
"""

from __future__ import annotations

from hashlib import sha256

from heartline.testing.checkers import complaints
from heartline.testing.swarm import swarm

SEEDS = range(100)


def told(seed: int) -> str:
    """All that happened, what the consumer got, and what the checkers say."""
    try:
        sim = swarm(seed)
        return repr((sim.history, sim.client.consumer.items, complaints(sim)))
    except Exception as error:
        return repr(error)


def main() -> None:
    found = sha256()
    for seed in SEEDS:
        found.update(told(seed).encode())
    print(found.hexdigest())


if __name__ == "__main__":
    main()
