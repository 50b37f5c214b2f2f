"""What a driver reads before it lets the core judge: values, never behaviour."""

from __future__ import annotations

from msgspec import Struct


class Kernel(Struct, frozen=True, gc=False):
    """What the operating system knows of one TCP connection, read at one instant.

    Linux: `TCP_INFO` (linux/tcp.h, struct tcp_info). `heard_age` is the age of the
    last received segment with data or an acknowledgement, the younger of the two.
    """

    segments_in: int
    heard_age: float
    unacked_segments: int
    outstanding_bytes: int
    """Written by us, not acknowledged by the peer's kernel; unsent bytes included,
    those still in the transport's own buffer too."""
    unsent_bytes: int
    acked_bytes: int
    received_bytes: int
    retransmits: int
    """Consecutive retransmission timeouts of the segment now at the head."""
    total_retransmits: int
    probes_unanswered: int
    round_trip: float
    round_trip_deviation: float
    min_round_trip: float
    send_window_bytes: int | None
    """The peer's advertised window; None where the system hides it (Linux < 5.4)."""
    out_of_order: int = 0
    """Segments ever received behind one that was missing; 0 where it is hidden."""
    sent_age: float | None = None
    """Age of the last segment with data that we sent, first sendings and resends alike;
    None where it is hidden."""


class Evidence(Struct, frozen=True, gc=False):
    """Everything the driver reads before it lets the core judge."""

    kernel: Kernel | None = None
    """None where the system gives no usable evidence, or the link is gone."""
    unread_bytes: int = 0
    """Waiting in the kernel's receive buffer, not read by us yet."""
    waiting: int = 0
    """Messages in the outbox that the transport has not been given yet."""
