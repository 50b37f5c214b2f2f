"""One attempt to connect over the simulated network, up to the first byte."""

from __future__ import annotations

from collections.abc import Callable

from heartline.core.events import DialFailed
from heartline.core.items import Cause

from .sim_clock import Host, Timer
from .sim_network import SYN_RETRIES, End
from .sim_packets import Frame
from .sim_path import Way


class Dialled:
    """One attempt to connect, as the client's kernel sees it: SYN and its retries."""

    def __init__(
        self,
        host: Host,
        *,
        towards: Way,
        back: Way,
        accept: Callable[[], End | None],
        connected: Callable[[End], None],
        refused: Callable[[], None],
    ) -> None:
        self._towards = towards
        self._back = back
        self._accept = accept
        self._connected = connected
        self._refused = refused
        self._over = False
        self._retries = iter(SYN_RETRIES)
        self._began_at = host.now
        self._host = host
        self._retry = Timer(host, self._send)
        self._send()

    def give_up(self) -> None:
        self._over = True
        self._retry.stop()

    def _send(self) -> None:
        if self._over:
            return
        if not self._host.down:
            self._towards.carry(None, self._arrive)
        wait = next(self._retries, None)
        if wait is not None:
            self._retry.set(self._began_at + wait)

    def _arrive(self, _: object) -> None:
        self._back.carry(self._accept(), self._answer)

    def _answer(self, here: object) -> None:
        if self._over or self._host.asleep or self._host.down:
            return
        self.give_up()
        if isinstance(here, End):
            here.open()
            self._connected(here)
        else:
            self._refused()


def refusal(epoch: int, answer: Frame) -> DialFailed:
    """What an upgrade that was not accepted is called."""
    if answer.kind == "refused":
        assert isinstance(answer.value, int)
        return DialFailed(epoch, Cause.REFUSED, answer.text, answer.value)
    return DialFailed(epoch, Cause.CLOSED_BY_PEER, answer.text, 1006)
