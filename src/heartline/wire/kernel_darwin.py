"""The kernel's evidence on macOS, from `TCP_CONNECTION_INFO` (xnu netinet/tcp.h).

Written from the header and tested with made-up answers; it has never been run on a
Mac. It tells less than Linux: no time of the last segment, no count of segments in
flight, no retransmission timeouts. What is missing is derived, or zero, as said below.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from struct import Struct
from typing import Final

from heartline.core.evidence import Kernel

TCP_CONNECTION_INFO: Final = 0x106

INFO: Final = Struct("=B27xII8xII4xQQ8xQQ8xQ")
"""The fields we use of struct tcp_connection_info: 0 state, 28 snd_wnd, 32 snd_sbbytes,
44 srtt (ms), 48 rttvar (ms), 56 txpackets, 64 txbytes, 80 rxpackets, 88 rxbytes,
104 txretransmitpackets."""

_CLOSED: Final = 0
"""TCPS_CLOSED of xnu netinet/tcp_fsm.h."""


class DarwinReader:
    """Reads one connection, and remembers when a segment was last seen to arrive."""

    __slots__ = ("_clock", "_moved_at", "_segments_in")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._segments_in = -1
        self._moved_at = 0.0

    def __call__(self, sock: socket.socket, buffered: int) -> Kernel | None:
        """Look at `sock`; None if the connection is gone or the answer too short.

        `heard_age` is the time since a look first saw the count of segments moved,
        so it errs on the side of younger, by up to the time between two looks.
        `unacked_segments` is 1 while anything is unacknowledged. Bytes not sent yet
        are not told apart from those in flight: `unsent_bytes` is the transport's.
        `retransmits` and `probes_unanswered` are 0, `min_round_trip` is the smoothed.
        """
        raw = sock.getsockopt(socket.IPPROTO_TCP, TCP_CONNECTION_INFO, INFO.size)
        if len(raw) < INFO.size:
            return None
        (
            state,
            window,
            in_buffer,
            srtt,
            rttvar,
            _sent_segments,
            sent,
            segments_in,
            received,
            retransmitted_segments,
        ) = INFO.unpack(raw)
        if state == _CLOSED or not segments_in:
            return None
        now = self._clock()
        if segments_in != self._segments_in:
            self._segments_in = segments_in
            self._moved_at = now
        return Kernel(
            segments_in=segments_in,
            heard_age=now - self._moved_at,
            unacked_segments=1 if in_buffer else 0,
            outstanding_bytes=in_buffer + buffered,
            unsent_bytes=buffered,
            acked_bytes=max(0, sent - in_buffer),
            received_bytes=received,
            retransmits=0,
            total_retransmits=retransmitted_segments,
            probes_unanswered=0,
            round_trip=srtt / 1e3,
            round_trip_deviation=rttvar / 1e3,
            min_round_trip=srtt / 1e3,
            send_window_bytes=window,
        )
