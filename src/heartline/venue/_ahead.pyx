# cython: language_level=3, wraparound=False, binding=False
"""`ahead.PureAhead` once more, compiled: what it does stands there.

A message of one of ten thousand channels waits for the memory that its channel lies
in, time and again, as each piece says where the next one is. So the messages that come
after it are decoded before it is told, and what they will want is asked of the memory
a piece at a time: it comes while others are read. What was seen ahead is only used
while nothing has changed by which it was seen.
"""

from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from heartline._source cimport HEARTLINE_SOURCE
from heartline.venue._members cimport (
    heartline_at, heartline_fetch, heartline_place, type_of
)

from heartline.venue.reading import Source

SOURCE = HEARTLINE_SOURCE

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object kept, object key) except? NULL

# So many messages are seen ahead. The memory gives so many bytes at once, and so many
# such pieces of what the reader keeps of a channel are wanted.
cdef enum:
    AHEAD = 4
    A_PIECE = 64
    PIECES = 3

cdef PyObject *_source = <PyObject *> Source
cdef Py_ssize_t _line = heartline_place(Source, "line")
cdef Py_ssize_t _channel = heartline_place(Source, "channel")


cdef class Ahead:
    cdef object _read, _decode
    cdef dict _plans
    cdef tuple _path
    cdef long long _turn
    """Grows with each change by which the same message may be read otherwise."""

    def __init__(self, read, decode, dict plans, tuple path):
        self._read = read
        self._decode = decode
        self._plans = plans
        self._path = path

    def renew(self, decode):
        if decode is not self._decode:
            self._decode = decode
            self._turn += 1

    def forget(self):
        self._turn += 1

    def readings(self, list data not None):
        cdef Readings readings = Readings.__new__(Readings)
        readings._ahead = self
        readings._data = data
        readings._turn = self._turn
        readings._frames = [None] * AHEAD
        readings._plans = [None] * AHEAD
        return readings

    cdef tuple _plan(self, frame):
        """How to read a frame; None if none like it is known."""
        cdef PyObject *found = <PyObject *> self._plans
        cdef tuple names
        for names in self._path:
            value = frame
            for name in names:
                value = getattr(value, name)
            found = PyDict_GetItemWithError(<object> found, value)
            if found is NULL:
                return None
        return <tuple> <object> found


cdef class Readings:
    cdef Ahead _ahead
    cdef list _data, _frames, _plans
    cdef Py_ssize_t _told, _seen, _void
    """How many were told, how many seen, and how many of these in vain."""
    cdef long long _turn

    def __iter__(self):
        return self

    def __next__(self):
        cdef Py_ssize_t told = self._told, count = len(self._data)
        cdef Ahead ahead = self._ahead
        cdef tuple plan
        if told >= count:
            raise StopIteration
        if self._turn != ahead._turn:
            self._turn = ahead._turn
            self._void = self._seen
        while self._seen < count and self._seen < told + AHEAD:
            self._see()
        self._told += 1
        plan = <tuple> self._plans[told % AHEAD]
        if plan is not None and told >= self._void:
            try:
                follow = <object> PyTuple_GET_ITEM(plan, 0)
                return follow(self._frames[told % AHEAD], plan)
            except Exception:
                pass  # it is read once more, and what is odd about it is told
        return ahead._read(self._data[told])

    cdef int _see(self) except -1:
        cdef Ahead ahead = self._ahead
        cdef Py_ssize_t seen = self._seen
        cdef tuple plan = None
        try:
            frame = ahead._decode(self._data[seen])
            self._frames[seen % AHEAD] = frame
            plan = ahead._plan(frame)
        except Exception:
            pass  # it is told when its turn has come
        self._plans[seen % AHEAD] = plan
        self._seen += 1
        if plan is not None:
            _fetch(<PyObject *> plan, 1)
        if seen > 0:
            _fetch_values(<tuple> self._plans[(seen - 1) % AHEAD])
        if seen > 1:
            _fetch_channel(<tuple> self._plans[(seen - 2) % AHEAD])
        return 0


cdef inline void _fetch(PyObject *value, int pieces) noexcept:
    cdef int piece
    for piece in range(pieces):
        heartline_fetch(<char *> value + piece * A_PIECE)


cdef void _fetch_values(tuple plan) noexcept:
    cdef Py_ssize_t number
    if plan is not None:
        for number in range(1, PyTuple_GET_SIZE(plan)):
            heartline_fetch(<PyObject *> PyTuple_GET_ITEM(plan, number))


cdef void _fetch_channel(tuple plan) noexcept:
    cdef Py_ssize_t number
    cdef PyObject *value
    if plan is None:
        return
    for number in range(1, PyTuple_GET_SIZE(plan)):
        value = <PyObject *> PyTuple_GET_ITEM(plan, number)
        if type_of(value) is _source:
            _fetch(heartline_at(value, _line), PIECES)
            _fetch(heartline_at(value, _channel), 1)
