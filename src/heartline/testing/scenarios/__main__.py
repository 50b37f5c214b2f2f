"""The process of one scenario: `python -m heartline.testing.scenarios FAULT PARENT`.

Writes the outcome as one line of JSON and ends. Before that it may ask its parent to
stop it: `{"suspend_s": 20.0}`, answered on standard input when it goes on by
`{"continued_at": ...}`, on the monotonic clock. The end of standard input, and the
parent's death, end it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import msgspec

from heartline.testing.orders import die_with

from .outcome import Outcome
from .repertoire import play


class Order(msgspec.Struct, frozen=True):
    suspend_s: float


class Answer(msgspec.Struct, frozen=True):
    continued_at: float


def main(fault: str, parent: int) -> None:
    die_with(parent)
    # What happens here is wanted to happen: it is told by the outcome, not by logs.
    logging.getLogger("heartline").setLevel(logging.CRITICAL)
    outcome = asyncio.run(_play(fault))
    os.write(sys.stdout.fileno(), msgspec.json.encode(outcome) + b"\n")


async def _play(fault: str) -> Outcome:
    loop = asyncio.get_running_loop()
    answers = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(answers), sys.stdin.buffer
    )
    playing = asyncio.ensure_future(play(fault, lambda s: _suspend(s, answers)))
    ending = asyncio.ensure_future(_end_of(answers))
    ending.add_done_callback(lambda _: playing.cancel())
    try:
        return await playing
    finally:
        ending.cancel()


async def _end_of(answers: asyncio.StreamReader) -> None:
    while not answers.at_eof():
        await asyncio.sleep(0.2)


async def _suspend(seconds: float, answers: asyncio.StreamReader) -> float:
    order = msgspec.json.encode(Order(seconds))
    os.write(sys.stdout.fileno(), order + b"\n")
    answer = await answers.readline()
    return msgspec.json.decode(answer, type=Answer).continued_at


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
