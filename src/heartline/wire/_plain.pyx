# cython: language_level=3, boundscheck=False, wraparound=False, binding=False
"""`plain.PurePlainReader` once more, compiled: what it does, and why, stands there."""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

from asyncio import get_running_loop

from heartline._source cimport HEARTLINE_SOURCE

SOURCE = HEARTLINE_SOURCE

cdef extern from "Python.h":
    object PyUnicode_DecodeUTF8(const char *text, Py_ssize_t size, const char *errors)


cdef class PlainReader:
    cdef object _picows, _collector, _view, _fast
    cdef bytearray _buffer
    cdef bytes _rest
    cdef Py_ssize_t _size_bytes
    cdef bint _passing

    def __init__(self, picows, collector, fast=None):
        from .plain import buffer_of
        self._picows = picows
        self._collector = collector
        self._fast = fast
        self._passing = True
        self._buffer, self._view = buffer_of(get_running_loop())
        self._rest = b""

    def shut(self):
        self._fast = None

    def get_buffer(self, sizehint):
        if self._passing:
            return self._picows.get_buffer(sizehint)
        cdef Py_ssize_t size = len(self._rest)
        if not size:
            return self._view
        memcpy(
            PyByteArray_AS_STRING(self._buffer), PyBytes_AS_STRING(self._rest), size
        )
        return self._view[size:]

    def buffer_updated(self, Py_ssize_t nbytes):
        cdef Py_ssize_t filled, taken
        cdef bint all_plain = True
        cdef list messages
        collector = self._collector
        if self._passing:
            collector.at_boundary = False
            self._picows.buffer_updated(nbytes)
            self._passing = not collector.at_boundary
            collector.end_read()
            return
        if collector.ended:
            return
        filled = len(self._rest) + nbytes
        if self._is_lone_pong(filled):
            if collector.take_pong(
                PyBytes_FromStringAndSize(
                    PyByteArray_AS_STRING(self._buffer) + 2, filled - 2
                )
            ):
                return
            if collector.ended:
                return
        messages = []
        taken = self._take(filled, messages, &all_plain)
        self._size_bytes += taken
        if all_plain:
            self._rest = PyBytes_FromStringAndSize(
                PyByteArray_AS_STRING(self._buffer) + taken, filled - taken
            )
            if not messages or self._went_ahead(messages):
                return
        collector.messages = messages
        collector.size_bytes += self._size_bytes
        self._size_bytes = 0
        if not all_plain:
            self._rest = b""
            self._pass_on(memoryview(bytes(self._view[taken:filled])))
            self._passing = not collector.at_boundary
        collector.end_read()

    cdef bint _is_lone_pong(self, Py_ssize_t filled):
        cdef const unsigned char *data
        data = <const unsigned char *>PyByteArray_AS_STRING(self._buffer)
        return (
            2 <= filled < 128
            and data[0] == 0x8A
            and data[1] == filled - 2
            and not self._rest
            and not self._size_bytes
        )

    cdef bint _went_ahead(self, list messages) except -1:
        if self._fast is None:
            return False
        try:
            went = self._fast(messages, self._size_bytes)
        except Exception as error:
            self._collector.fail(error)
            return True
        if went:
            self._size_bytes = 0
        return went

    cdef Py_ssize_t _take(
        self, Py_ssize_t filled, list messages, bint *all_plain
    ) except -1:
        cdef const unsigned char *data
        cdef Py_ssize_t at = 0, start, end, length
        cdef unsigned char head
        data = <const unsigned char *>PyByteArray_AS_STRING(self._buffer)
        while at + 2 <= filled:
            head = data[at]
            length = data[at + 1]
            if (head != 0x81 and head != 0x82) or length > 126:
                all_plain[0] = False
                break
            start = at + 2
            if length == 126:
                start = at + 4
                if start > filled:
                    break
                length = (data[at + 2] << 8) | data[at + 3]
                if length < 126:
                    all_plain[0] = False
                    break
            end = start + length
            if end > filled:
                break
            if head == 0x82:
                messages.append(
                    PyBytes_FromStringAndSize(<const char *>data + start, length)
                )
            else:
                try:
                    text = PyUnicode_DecodeUTF8(
                        <const char *>data + start, length, NULL
                    )
                except UnicodeDecodeError:
                    all_plain[0] = False
                    break
                messages.append(text)
            at = end
        return at

    cdef _pass_on(self, rest):
        picows, collector = self._picows, self._collector
        while rest and not collector.ended:
            room = picows.get_buffer(-1)
            size = min(len(room), len(rest))
            room[:size] = rest[:size]
            collector.at_boundary = False
            picows.buffer_updated(size)
            rest = rest[size:]

    def connection_lost(self, exc):
        self._picows.connection_lost(exc)

    def eof_received(self):
        return self._picows.eof_received()

    def pause_writing(self):
        self._picows.pause_writing()

    def resume_writing(self):
        self._picows.resume_writing()
