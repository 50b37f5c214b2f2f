# cython: language_level=3, boundscheck=False, wraparound=False, binding=False
"""`plain.PurePlainReader` once more, compiled: what it does, and why, stands there."""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

from asyncio import get_running_loop

from heartline._source cimport HEARTLINE_SOURCE

SOURCE = HEARTLINE_SOURCE

cdef extern from *:
    """
    #include <string.h>

    /* One plain message at the head of these bytes: where its payload is, and where
       that ends. Less if there is none: HEARTLINE_PARTIAL, and it may become one. */
    enum { HEARTLINE_PLAIN = 0, HEARTLINE_PARTIAL = 1, HEARTLINE_OTHER = 2 };
    static inline int heartline_plain(
        const unsigned char *data, Py_ssize_t filled, Py_ssize_t *start, Py_ssize_t *end
    ) {
        Py_ssize_t length;
        if (filled < 2)
            return HEARTLINE_PARTIAL;
        length = data[1];
        if ((data[0] != 0x81 && data[0] != 0x82) || length > 126)
            return HEARTLINE_OTHER;
        *start = 2;
        if (length == 126) {
            *start = 4;
            if (filled < 4)
                return HEARTLINE_PARTIAL;
            length = (data[2] << 8) | data[3];
            if (length < 126)
                return HEARTLINE_OTHER;
        }
        *end = *start + length;
        return *end > filled ? HEARTLINE_PARTIAL : HEARTLINE_PLAIN;
    }

    /* ASCII needs no decoding but a look, and a look goes by many at a time. */
    static PyObject *heartline_text(const char *text, Py_ssize_t size) {
        unsigned long long bits = 0, eights[4];
        Py_ssize_t at = 0;
        PyObject *made;
        for (; at + 32 <= size; at += 32) {
            memcpy(eights, text + at, 32);
            bits |= (eights[0] | eights[1]) | (eights[2] | eights[3]);
        }
        for (; at < size; at++)
            bits |= (unsigned char) text[at];
        if (size < 2 || (bits & 0x8080808080808080ULL))
            return PyUnicode_DecodeUTF8(text, size, NULL);
        made = PyUnicode_New(size, 127);
        if (made != NULL)
            memcpy(PyUnicode_1BYTE_DATA(made), text, size);
        return made;
    }

    /* All plain messages at the head of these bytes, up to the first text that is none;
       they are counted before they are made. */
    static PyObject *heartline_messages(
        const unsigned char *data, Py_ssize_t filled, Py_ssize_t *taken, int *all_plain
    ) {
        Py_ssize_t at = 0, start = 0, end = 0, count = 0, index;
        PyObject *messages, *message;
        const char *payload;
        int found;
        while (!(found = heartline_plain(data + at, filled - at, &start, &end))) {
            at += end;
            count++;
        }
        *all_plain = found != HEARTLINE_OTHER;
        messages = PyList_New(count);
        if (messages == NULL)
            return NULL;
        for (index = 0, at = 0; index < count; index++, at += end) {
            heartline_plain(data + at, filled - at, &start, &end);
            payload = (const char *) data + at + start;
            message = data[at] == 0x82
                ? PyBytes_FromStringAndSize(payload, end - start)
                : heartline_text(payload, end - start);
            if (message == NULL)
                break;
            PyList_SET_ITEM(messages, index, message);
        }
        *taken = at;
        if (index == count)
            return messages;
        if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
            PyErr_Clear();
            *all_plain = 0;
            message = PyList_GetSlice(messages, 0, index);
        } else {
            message = NULL;
        }
        Py_DECREF(messages);
        return message;
    }
    """
    list heartline_messages(
        const unsigned char *data, Py_ssize_t filled, Py_ssize_t *taken, int *all_plain
    )


cdef class PlainReader:
    cdef object _picows, _collector, _view, _fast, _answered
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

    def hear(self, answered):
        self._answered = answered

    def shut(self):
        self._fast = self._answered = None

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
            if self._took_pong(
                PyBytes_FromStringAndSize(
                    PyByteArray_AS_STRING(self._buffer) + 2, filled - 2
                )
            ):
                return
            if collector.ended:
                return
        messages = self._take(filled, &taken, &all_plain)
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

    cdef bint _took_pong(self, bytes payload) except -1:
        if self._answered is not None:
            try:
                if self._answered(payload):
                    return True
            except Exception as error:
                self._collector.fail(error)
                return True
        return self._collector.take_pong(payload)

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

    cdef list _take(self, Py_ssize_t filled, Py_ssize_t *taken, bint *all_plain):
        cdef int plain = 1
        cdef list messages = heartline_messages(
            <const unsigned char *>PyByteArray_AS_STRING(self._buffer),
            filled,
            taken,
            &plain,
        )
        all_plain[0] = plain
        return messages

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
