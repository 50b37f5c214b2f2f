"""Wires between the namespaces, and what the router does to packets: text for `ip` and
nft, made by pure functions, and the two hands that carry it out.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from pathlib import Path

from .namespaces import Names, inside

CLIENT = "10.77.1.2"
ROUTER_NEAR = "10.77.1.1"
ROUTER_FAR = "10.77.2.1"
VENUE = "10.77.2.2"
CROWD = "10.78.0.0/16"
"""All of these addresses are the venue's: as many venues as there are streams."""
PORT = 9001

LARGE_BYTES = 1000
"""What an MTU black hole swallows is longer than this, IP header included."""

_TABLE = "ip lab"
_CT_DELETE = 0x0102
_NLM_F_REQUEST_ACK = 0x5
_NETLINK_NETFILTER = 12


# --- text -------------------------------------------------------------------------


def cables(names: Names, *, tun: bool) -> str:
    """Lines for `ip -batch` that lay the links: client - router - venue.

    With `tun` the far link is left out: two TUN devices called `far` will be it.
    """
    near = f"link add near netns {names.client} type veth"
    far = f"link add far netns {names.router} type veth"
    lines = [f"{near} peer name near netns {names.router}"]
    if not tun:
        lines.append(f"{far} peer name far netns {names.venue}")
    return _batch(lines)


def addresses(names: Names) -> dict[str, str]:
    """Lines for `ip -batch` in each namespace, when its links are there."""
    return {
        names.client: _batch(
            [
                *_interface("near", CLIENT),
                f"route add default via {ROUTER_NEAR}",
            ]
        ),
        names.router: _batch(
            [
                *_interface("near", ROUTER_NEAR),
                *_interface("far", ROUTER_FAR),
                f"route add {CROWD} via {VENUE}",
            ]
        ),
        names.venue: _batch(
            [
                *_interface("far", VENUE),
                "link set lo up",
                f"route add default via {ROUTER_FAR}",
                f"route add local {CROWD} dev lo",
            ]
        ),
    }


def _interface(name: str, address: str) -> list[str]:
    return [f"addr add {address}/24 dev {name}", f"link set {name} up"]


def _batch(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)


def base_rules(*, nat: bool) -> str:
    """The router's own table; the chain `forward` is where faults are put.

    As NAT it drops what belongs to no connection that it knows, as home routers and
    clouds do, and answers nothing itself.
    """
    rules = f"""
        table {_TABLE} {{
            chain forward {{
                type filter hook forward priority 0; policy accept;
            }}
        }}
    """
    if not nat:
        return rules
    return (
        rules
        + """
        table ip lab_nat {
            chain out {
                type nat hook postrouting priority 100; policy accept;
                oifname "far" masquerade
            }
            chain unknown {
                type filter hook forward priority -10; policy accept;
                ct state invalid drop
            }
            chain own {
                type filter hook input priority 0; policy accept;
                meta l4proto tcp drop
            }
        }
    """
    )


def drop(what: str) -> str:
    """A rule that drops packets; `what` is an nft expression, empty for all."""
    return f"add rule {_TABLE} forward {what} drop\n"


def heal() -> str:
    """Take all faults off."""
    return f"flush chain {_TABLE} forward\n"


BOTH = drop("")
INBOUND = drop("iifname far")
OUTBOUND = drop("iifname near")
LARGE = drop(f"ip length > {LARGE_BYTES}")


def losing(percent: float) -> str:
    """Lose that many of a hundred packets, each way, at random."""
    return drop(f"numgen random mod 1000 < {round(percent * 10)}")


# --- hands ------------------------------------------------------------------------


def forward(name: str) -> None:
    """Let a namespace pass packets on: it becomes a router."""
    with inside(name):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


class Filter:
    """nft in one namespace, in this process: a rule is in force within a millisecond.

    Its netlink socket is opened once, inside; later calls come from anywhere.
    """

    def __init__(self, name: str) -> None:
        self._nft = ctypes.CDLL("libnftables.so.1")
        self._nft.nft_ctx_new.restype = ctypes.c_void_p
        self._nft.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        with inside(name):
            self._context = ctypes.c_void_p(self._nft.nft_ctx_new(0))
        self._nft.nft_ctx_buffer_error(self._context)
        self._nft.nft_ctx_buffer_output(self._context)

    def run(self, text: str) -> None:
        """Carry out commands, all or none. Raises `OSError` with what nft says."""
        if self._nft.nft_run_cmd_from_buffer(self._context, text.encode()) != 0:
            said: bytes = self._nft.nft_ctx_get_error_buffer(self._context)
            raise OSError(f"nft: {said.decode(errors='replace').strip()}")

    def close(self) -> None:
        if self._context:
            self._nft.nft_ctx_free(self._context)
            self._context = ctypes.c_void_p(None)


class Connections:
    """The router's table of connections, which a NAT lives on."""

    def __init__(self, name: str) -> None:
        with inside(name):
            self._netlink = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER
            )
            # What begins in the middle of a connection is unknown, not taken up.
            Path("/proc/sys/net/netfilter/nf_conntrack_tcp_loose").write_text("0")

    def forget(self) -> None:
        """Forget them all. Raises `OSError`."""
        body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
        head = struct.pack(
            "=IHHII", 16 + len(body), _CT_DELETE, _NLM_F_REQUEST_ACK, 1, 0
        )
        self._netlink.send(head + body)
        answer = self._netlink.recv(4096)
        (error,) = struct.unpack_from("=i", answer, 16)
        if error:
            raise OSError(-error, f"conntrack: {os.strerror(-error)}")

    def close(self) -> None:
        self._netlink.close()
