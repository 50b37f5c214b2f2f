# cython: language_level=3, boundscheck=False, wraparound=False, binding=False
"""`lane.PureLane` once more, compiled: what it does, and why, stands there.

Its iterators are their own awaitables. An item that is there costs no coroutine, no
generator and no exception object that Python code would have to make.
"""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject, PyTypeObject

from asyncio import current_task, tasks
from time import monotonic
from types import FunctionType

from heartline.client.doorbell import Cancelled
from heartline.core.adaptive import LEAST_GAP
from heartline.core.items import Message
from heartline.wire.pulse import STOOD_STILL
from heartline.wire.resting import SLEPT

from heartline._source cimport HEARTLINE_SOURCE
from heartline.client._made cimport (
    heartline_learn, heartline_make, heartline_monotonic
)

SOURCE = HEARTLINE_SOURCE

cdef extern from "Python.h":
    void Py_INCREF(object value) noexcept
    object PyList_New(Py_ssize_t size)
    void PyList_SET_ITEM(object list, Py_ssize_t index, object value) noexcept
    PyObject *PyList_GET_ITEM(object list, Py_ssize_t index) noexcept
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>

    #if defined(__GNUC__) || defined(__clang__)
    #define HEARTLINE_PREFETCH(at) __builtin_prefetch((at), 1, 2)
    #else
    #define HEARTLINE_PREFETCH(at) ((void) (at))
    #endif

    /* Seconds that the machine has been suspended by `now`, on the monotonic clock. */
    static double heartline_slept(double now) {
    #ifdef CLOCK_BOOTTIME
        struct timespec at;
        clock_gettime(CLOCK_BOOTTIME, &at);
        return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec - now;
    #else
        return 0.0;
    #endif
    }

    /* Takes one step of an iterator: a new reference to what it found, or, if `waits`
       was set, to what the awaiting task shall wait for; NULL with an exception. */
    typedef PyObject *(*heartline_step)(PyObject *self, int *waits);

    static heartline_step heartline_steps[2];

    /* Where the messages of a read lie, and their texts: the low bits of the latter's
       address say how many lines of the cache it fills. */
    enum { HEARTLINE_LINE = 64, HEARTLINE_MOST_LINES = 15 };
    typedef struct {
        uintptr_t message, text;
    } heartline_place;

    static inline void heartline_note(
        heartline_place *place, PyObject *message, PyObject *text
    ) {
        size_t size = 0, lines;
        if (PyUnicode_CheckExact(text) && PyUnicode_IS_COMPACT_ASCII(text))
            size = sizeof(PyASCIIObject) + PyUnicode_GET_LENGTH(text);
        else if (PyBytes_CheckExact(text))
            size = sizeof(PyBytesObject) + PyBytes_GET_SIZE(text);
        lines = (size + HEARTLINE_LINE - 1) / HEARTLINE_LINE;
        place->message = (uintptr_t) message;
        place->text = ((uintptr_t) text & ~(uintptr_t) HEARTLINE_MOST_LINES)
            | (lines < HEARTLINE_MOST_LINES ? lines : HEARTLINE_MOST_LINES);
    }

    /* Nothing is read here: what lay there may long be gone. */
    static inline void heartline_foresee(const heartline_place *place) {
        const char *message = (const char *) place->message;
        uintptr_t text = place->text & ~(uintptr_t) HEARTLINE_MOST_LINES;
        uintptr_t lines = place->text & HEARTLINE_MOST_LINES, line;
        HEARTLINE_PREFETCH(message);
        HEARTLINE_PREFETCH(message + HEARTLINE_LINE - 1);
        for (line = 0; line <= lines; line++)
            HEARTLINE_PREFETCH((const char *) text + line * HEARTLINE_LINE);
    }

    static PyObject *heartline_next(PyObject *self, heartline_step step) {
        int waits = 0;
        PyObject *found = step(self, &waits);
        if (found == NULL || waits)
            return found;
        /* The value of an await is what its iterator stops with. */
        PyErr_SetObject(PyExc_StopIteration, found);
        Py_DECREF(found);
        return NULL;
    }
    static PyObject *heartline_next_item(PyObject *self) {
        return heartline_next(self, heartline_steps[0]);
    }
    static PyObject *heartline_next_batch(PyObject *self) {
        return heartline_next(self, heartline_steps[1]);
    }
    /* Some interpreters ask this of an awaitable first, which spares the exception. */
    static PySendResult heartline_sent(
        PyObject *self, PyObject **found, heartline_step step
    ) {
        int waits = 0;
        *found = step(self, &waits);
        return *found == NULL ? PYGEN_ERROR : waits ? PYGEN_NEXT : PYGEN_RETURN;
    }
    static PySendResult heartline_send_item(
        PyObject *self, PyObject *value, PyObject **found
    ) {
        return heartline_sent(self, found, heartline_steps[0]);
    }
    static PySendResult heartline_send_batch(
        PyObject *self, PyObject *value, PyObject **found
    ) {
        return heartline_sent(self, found, heartline_steps[1]);
    }
    static PyAsyncMethods heartline_awaits[2];

    static void heartline_set_steps(
        PyTypeObject *items, heartline_step item, PyTypeObject *batches,
        heartline_step batch
    ) {
        heartline_steps[0] = item;
        heartline_steps[1] = batch;
        items->tp_iternext = heartline_next_item;
        batches->tp_iternext = heartline_next_batch;
        heartline_awaits[0] = *items->tp_as_async;
        heartline_awaits[1] = *batches->tp_as_async;
        heartline_awaits[0].am_send = heartline_send_item;
        heartline_awaits[1].am_send = heartline_send_batch;
        items->tp_as_async = &heartline_awaits[0];
        batches->tp_as_async = &heartline_awaits[1];
        PyType_Modified(items);
        PyType_Modified(batches);
    }
    """
    ctypedef struct heartline_place:
        pass
    void heartline_note(
        heartline_place *place, object message, PyObject *text
    ) noexcept
    void heartline_foresee(const heartline_place *place) noexcept
    double heartline_slept(double now)
    ctypedef object (*heartline_step)(object self, int *waits)
    void heartline_set_steps(
        PyTypeObject *items, heartline_step item, PyTypeObject *batches,
        heartline_step batch
    )

cdef double _LEAST_GAP = LEAST_GAP
cdef double _STOOD_STILL = STOOD_STILL
cdef double _SLEPT = SLEPT
cdef enum:
    _MOST_PLACES = 64
cdef PyObject *_last = NULL
cdef object _monotonic = monotonic
cdef object _current_task = current_task
# Up to Python 3.11 that is a function in Python, and this is what it looks into.
cdef dict _current_tasks = (
    getattr(tasks, "_current_tasks", None)
    if type(current_task) is FunctionType else None
)
heartline_learn(Message("", 0.0))


cdef class Lane:
    cdef public bint _asyncio_future_blocking
    cdef public bint idle
    cdef public long long epoch, frames, data, size_bytes, reads, most_reads
    cdef public double first_at, at, until_at
    cdef readonly list gaps
    cdef readonly long long passed, passed_bytes
    cdef object _loop, _wakeup, _context, _waiting, _pulse, _rung
    cdef list _handed, _current
    cdef Py_ssize_t _index, _places_known, _places_room
    cdef heartline_place *_places

    def __dealloc__(self):
        PyMem_Free(self._places)

    def __init__(self, loop, waiting, pulse=None):
        self._loop = loop
        self._waiting = waiting
        self._pulse = pulse
        # A task takes what a future of asyncio says without asking it by name.
        self._rung = loop.create_future()
        self._rung.set_result(None)
        self.gaps = []
        self.until_at = float("-inf")
        self._current = []

    @property
    def handed(self):
        return 0 if self._handed is None else len(self._handed)

    @property
    def awaited(self):
        return self._wakeup is not None

    def take(self, list data, Py_ssize_t size_bytes):
        cdef Py_ssize_t index, count = len(data)
        cdef double at
        cdef object now, epoch
        cdef list messages
        if not self._is_open() or self.reads >= self.most_reads:
            return False
        at = heartline_monotonic()
        if at < 0.0:
            at = _monotonic()
        if at >= self.until_at or self._in_task():
            return False
        now = at
        if self._pulse is not None and not self._goes_on(now):
            return False
        epoch = self.epoch
        self._foresee(count)
        messages = PyList_New(count)
        for index in range(count):
            message = heartline_make(
                PyList_GET_ITEM(data, index), <PyObject *>now, <PyObject *>epoch
            )
            if index < self._places_known:
                heartline_note(
                    &self._places[index], message, PyList_GET_ITEM(data, index)
                )
            Py_INCREF(message)
            PyList_SET_ITEM(messages, index, message)
        self._add(count, size_bytes, at)
        self._hand(messages, size_bytes)
        self._ring_at_once()
        return True

    cdef int _foresee(self, Py_ssize_t count) except -1:
        """Fetch what the consumer may let go of for this read.

        Its last batch lies in memory that nobody has touched since, and the next
        messages that are made will lie there.
        """
        global _last
        cdef Py_ssize_t index
        cdef void *more
        if _last != <PyObject *>self:
            _last = <PyObject *>self
            for index in range(self._places_known):
                heartline_foresee(&self._places[index])
        self._places_known = count if count < _MOST_PLACES else _MOST_PLACES
        if self._places_known > self._places_room:
            more = PyMem_Realloc(
                self._places, self._places_known * sizeof(heartline_place)
            )
            if more == NULL:
                raise MemoryError
            self._places = <heartline_place *>more
            self._places_room = self._places_known
        return 0

    def hand(self, list messages, Py_ssize_t size_bytes):
        if not self._is_open():
            return False
        self._hand(messages, size_bytes)
        return True

    cdef bint _in_task(self) except -1:
        if _current_tasks is not None:
            return _current_tasks.get(self._loop) is not None
        return _current_task(self._loop) is not None

    cdef bint _goes_on(self, now) except -1:
        """`Pulse.goes_on`, of a pulse that has listeners."""
        if <double>now - <double>self._pulse.felt_at > _STOOD_STILL:
            return False
        if heartline_slept(<double>now) - <double>self._pulse.slept > _SLEPT:
            return False
        self._pulse.felt_at = now
        return True

    cdef _add(self, Py_ssize_t count, Py_ssize_t size_bytes, double now):
        if not self.reads:
            self.first_at = now
        elif now - self.at >= _LEAST_GAP:
            self.gaps.append(now - self.at)
        self.reads += 1
        self.frames += count
        self.data += count
        self.size_bytes += size_bytes
        self.at = now

    cdef bint _is_open(self):
        return self._wakeup is not None and self.idle and self._handed is None

    cdef _hand(self, list messages, Py_ssize_t size_bytes):
        self.passed += len(messages)
        self.passed_bytes += size_bytes
        self._handed = messages

    # --- the bell -------------------------------------------------------------------

    def __await__(self):
        return Rung(self)

    def ring(self, *, bint at_once=False):
        if self._wakeup is None:
            return
        if at_once and not self._in_task():
            self._ring_at_once()
        else:
            wakeup, self._wakeup = self._wakeup, None
            self._loop.call_soon(wakeup, self, context=self._context)

    cdef _ring_at_once(self):
        wakeup, context = self._wakeup, self._context
        self._wakeup = None
        PyContext_Enter(context)
        try:
            wakeup(self._rung)
        finally:
            PyContext_Exit(context)

    def get_loop(self):
        return self._loop

    def add_done_callback(self, wakeup, *, context):
        self._wakeup = wakeup
        self._context = context

    def remove_done_callback(self, wakeup):
        self._wakeup = None
        return 1

    def cancel(self, msg=None):
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is None:
            return False
        self._loop.call_soon(wakeup, Cancelled(msg), context=self._context)
        return True

    def result(self):
        return None

    # --- the consumer's end -----------------------------------------------------------

    def items(self):
        return Items(self)

    def batches(self):
        return Batches(self)

    cdef list _rest(self):
        """What is left of the batch that was being read item by item."""
        cdef list rest = self._current[self._index:]
        self._current = []
        self._index = 0
        return rest

    cdef list _next(self):
        cdef list batch = self._handed
        if batch is not None:
            self._handed = None
            return batch
        return None if self.idle else self._waiting.take()

    cdef object _wait(self):
        """What the consumer's task waits for; raises at the end."""
        if self._wakeup is not None:
            self._waiting.refuse_another()
        if self._waiting.ended:
            self._waiting.finish()
            raise StopAsyncIteration
        self._asyncio_future_blocking = True
        return self


cdef class Rung:
    """One wait for the bell alone."""

    cdef Lane _lane
    cdef bint _waited

    def __init__(self, Lane lane):
        self._lane = lane

    def __iter__(self):
        return self

    def __next__(self):
        if self._waited:
            raise StopIteration
        self._waited = True
        self._lane._asyncio_future_blocking = True
        return self._lane


cdef class Read:
    cdef Lane _lane
    cdef bint _closed

    def __init__(self, Lane lane):
        self._lane = lane

    def __aiter__(self):
        return self

    def __anext__(self):
        return self

    def __await__(self):
        return self

    def __iter__(self):
        return self

    async def aclose(self):
        self._closed = True

    # What `asyncio.create_task(anext(...))` needs of an awaitable.

    def send(self, value):
        return next(self)

    def throw(self, error, value=None, trace=None):
        raise error if value is None else value

    def close(self):
        pass


cdef class Items(Read):
    def __next__(self):
        raise AssertionError("the slot was not set")


cdef class Batches(Read):
    def __next__(self):
        raise AssertionError("the slot was not set")


cdef object _next_item(object read, int *waits):
    cdef Lane lane = (<Read>read)._lane
    cdef list batch
    if (<Read>read)._closed:
        raise StopAsyncIteration
    if lane._index < len(lane._current):
        item = lane._current[lane._index]
        lane._index += 1
        return item
    batch = lane._next()
    if batch:
        lane._current = batch
        lane._index = 1
        return batch[0]
    lane._current = []
    lane._index = 0
    waits[0] = 1
    return lane._wait()


cdef object _next_batch(object read, int *waits):
    cdef Lane lane = (<Read>read)._lane
    cdef list batch
    if (<Read>read)._closed:
        raise StopAsyncIteration
    if lane._index < len(lane._current):
        return lane._rest()
    batch = lane._next()
    if batch:
        return batch
    waits[0] = 1
    return lane._wait()


heartline_set_steps(
    <PyTypeObject *>Items, _next_item, <PyTypeObject *>Batches, _next_batch
)
