# cython: language_level=3, boundscheck=False, wraparound=False, binding=False
"""`figures` once more, compiled: what each is, and why, stands there.

Numbers lie in their objects, not beside them, and a message in order changes them
without any Python. What is not in order changes nothing here.
"""

from cpython.long cimport PyLong_CheckExact
from cpython.ref cimport PyObject

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    PyObject *PyDict_GetItemWithError(object kept, object key) except? NULL

cdef enum:
    STEP = 1
    CHAIN = 2
    MONOTONIC = 3
    UNNUMBERED = 4


cdef class Total:
    cdef public long long total


cdef class Voice:
    cdef public double alert, data_at
    cdef public long long count, all_at
    cdef public Total heard


cdef class Tally:
    cdef public long long received


cdef class Run:
    cdef long long _last
    cdef object _large
    cdef public object start, joining, holes, back, back_before, back_run

    def __init__(self, object last, *, object start=None, object joining=None):
        self.last = last
        self.start = start
        self.joining = joining
        self.back = self.back_before = self.back_run = 0

    @property
    def last(self):
        return self._last if self._large is None else self._large

    @last.setter
    def last(self, number):
        cdef int overflow = 0
        cdef long long last = PyLong_AsLongLongAndOverflow(number, &overflow)
        self._large = number if overflow else None
        self._last = 0 if overflow else last


cdef class Runs:
    cdef public dict _runs
    cdef public int good


cdef class Line:
    cdef public double at
    cdef public bint is_live, wounded
    cdef public bint resubscribe, reconnect
    cdef public object name
    cdef public Tally account
    cdef public Runs tracker
    cdef public Voice watched
    cdef public object restore, proof

    def __init__(self, name, account, tracker, *, terms=None, double now):
        self.name = name
        self.account = account
        self.tracker = tracker
        self.resubscribe = terms is not None and terms.resubscribe
        self.reconnect = terms is not None and terms.reconnect
        self.at = now
        self.wounded = True


cdef bint _number(object value, long long *number):
    """Whether it is a whole number of 63 bits; nothing raises."""
    cdef int overflow = 0
    if not PyLong_CheckExact(value):
        return False
    number[0] = PyLong_AsLongLongAndOverflow(value, &overflow)
    return not overflow


cdef class Taking:
    cdef object _otherwise

    def __init__(self, otherwise):
        self._otherwise = otherwise

    def take(
        self, Line line not None, track, last, prev, first, anew, double now
    ):
        cdef Voice watched = line.watched
        cdef Runs tracker = line.tracker
        cdef Run run = None
        cdef PyObject *known
        cdef long long number = 0, other = 0
        cdef bint good = anew is False
        if watched is None:
            good = good and line.name is None
        elif not line.is_live and line.name is not None:
            good = False
        elif now - watched.data_at > watched.alert:
            good = False
        if good and last is not None and tracker is not None:
            if tracker.good != UNNUMBERED:
                known = PyDict_GetItemWithError(tracker._runs, track)
                good = known is not NULL and _number(last, &number)
                if good:
                    run = <Run> <object> known
                    good = run._large is None
                if not good:
                    pass
                elif tracker.good == STEP:
                    other = number
                    good = first is None or _number(first, &other)
                    good = good and other - 1 == run._last and number > run._last
                elif tracker.good == CHAIN:
                    good = _number(prev, &other) and other == run._last <= number
                else:
                    good = tracker.good == MONOTONIC and number >= run._last
        if not good:
            return self._otherwise(line, track, last, prev, first, anew, now)
        line.account.received += 1
        if run is not None:
            run._last = number
        line.at = now
        if watched is not None:
            watched.data_at = now
            watched.count += 1
            watched.heard.total += 1
            watched.all_at = watched.heard.total
        return None
