# cython: language_level=3, wraparound=False, binding=False
"""`usual.take_all` once more, compiled: what it does stands there."""

from cpython.object cimport PyObject
from heartline._source cimport HEARTLINE_SOURCE
from heartline.core._figures cimport Line, Taking
from heartline.venue._members cimport heartline_at, heartline_place, type_of

from heartline.core.items import Message
from heartline.venue.reading import Source, Update

SOURCE = HEARTLINE_SOURCE

cdef extern from "Python.h":
    object PyObject_Vectorcall(
        PyObject *call, PyObject *const *arguments, size_t count, PyObject *names
    )
    Py_ssize_t PyTuple_GET_SIZE(PyObject *values) noexcept
    bint PyCFunction_Check(object call) noexcept
    void *PyCFunction_GET_FUNCTION(object call) noexcept
    PyObject *PyCFunction_GET_SELF(object call) noexcept

cdef object _message = Message
cdef object _take = Taking(None).take
cdef PyObject *_update = <PyObject *> Update
cdef Py_ssize_t _source = heartline_place(Update, "source")
cdef Py_ssize_t _track = heartline_place(Update, "track")
cdef Py_ssize_t _prev = heartline_place(Update, "prev")
cdef Py_ssize_t _first = heartline_place(Update, "first")
cdef Py_ssize_t _last = heartline_place(Update, "last")
cdef Py_ssize_t _restarts = heartline_place(Update, "restarts")
cdef Py_ssize_t _links = heartline_place(Update, "links")
cdef Py_ssize_t _rest = heartline_place(Update, "rest")
cdef Py_ssize_t _line = heartline_place(Source, "line")
cdef Py_ssize_t _channel = heartline_place(Source, "channel")


def take_all(
    list data not None, classifier, take, unusual, note, list items not None,
    *, epoch, age, now
):
    cdef Py_ssize_t number = 0
    cdef PyObject *said
    cdef PyObject *source
    cdef PyObject *arguments[7]
    cdef PyObject *found
    # What takes a message without any Python, if it is this that is to take them.
    cdef Taking taking = None
    cdef double instant = now
    if (
        PyCFunction_Check(take)
        and PyCFunction_GET_FUNCTION(take) is PyCFunction_GET_FUNCTION(_take)
    ):
        taking = <Taking> PyCFunction_GET_SELF(take)
    for reading in classifier.readings(data):
        each = data[number]
        number += 1
        said = <PyObject *> reading
        told, taken = None, False
        if type_of(said) is _update:
            if note is not None:
                note(reading, each, classifier.dated)
            source = heartline_at(said, _source)
            found = heartline_at(source, _line)
            if (
                taking is not None
                and type_of(found) is <PyObject *> Line
                and (<Line> found).is_usual
            ):
                told = taking.taken(
                    <Line> found,
                    <object> heartline_at(said, _track),
                    <object> heartline_at(said, _last),
                    <object> heartline_at(said, _prev),
                    <object> heartline_at(said, _first),
                    <object> heartline_at(said, _restarts),
                    instant,
                )
                taken = True
            elif found is not <PyObject *> None and (<object> found).is_usual:
                arguments[0] = found
                arguments[1] = heartline_at(said, _track)
                arguments[2] = heartline_at(said, _last)
                arguments[3] = heartline_at(said, _prev)
                arguments[4] = heartline_at(said, _first)
                arguments[5] = heartline_at(said, _restarts)
                arguments[6] = <PyObject *> now
                told = PyObject_Vectorcall(<PyObject *> take, arguments, 7, NULL)
                taken = True
            if (
                taken
                and told is None
                and not PyTuple_GET_SIZE(heartline_at(said, _links))
                and not PyTuple_GET_SIZE(heartline_at(said, _rest))
            ):
                arguments[0] = <PyObject *> each
                arguments[1] = <PyObject *> now
                arguments[2] = heartline_at(source, _channel)
                arguments[3] = <PyObject *> epoch
                arguments[4] = <PyObject *> age
                items.append(
                    PyObject_Vectorcall(<PyObject *> _message, arguments, 5, NULL)
                )
                continue
        unusual(each, reading, taken, told, items, age, now)
