# cython: language_level=3, boundscheck=False, wraparound=False, binding=False, cdivision=True
"""`ahead.PureAhead` once more, compiled: what it does stands there.

A message of one of ten thousand channels waits for the memory that its channel lies
in, time and again, as each piece says where the next one is. So the messages that come
after it are decoded before it is told, and what they will want is asked of the memory
a piece at a time: it comes while others are read. What was seen ahead is only used
while nothing has changed by which it was seen.

A dict cannot be looked up a piece at a time, so the plans that the last key of a path
leads to stand in a table here as well.
"""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t
from heartline._source cimport HEARTLINE_SOURCE
from heartline.venue._members cimport (
    heartline_at, heartline_fetch, heartline_place, type_of
)

from heartline.venue.reading import Source

SOURCE = HEARTLINE_SOURCE

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object kept, object key) except? NULL
    bint PyUnicode_CheckExact(object value) noexcept
    const char *PyUnicode_AsUTF8(object text) except NULL
    PyObject *PyTuple_GET_ITEM(PyObject *values, Py_ssize_t number) noexcept
    Py_ssize_t PyTuple_GET_SIZE(PyObject *values) noexcept

cdef extern from *:
    """
    /* The hash of a text, which is that of its content and a seed. What Python has for
       it takes thrice as long over a name. Texts with one hash cost time, no more. */
    static inline size_t heartline_hash(PyObject *text, size_t seed) {
    #ifdef __SIZEOF_INT128__
        const char *at = (const char *) PyUnicode_DATA(text);
        size_t size = (size_t) PyUnicode_GET_LENGTH(text) * PyUnicode_KIND(text);
        uint64_t hash = seed ^ size, piece;
        unsigned __int128 both;
    #define heartline_mix(with) \\
        both = (unsigned __int128) (hash ^ (with)) * 0x9E3779B97F4A7C15u; \\
        hash = (uint64_t) both ^ (uint64_t) (both >> 64)
        if (size < 8) {
            for (piece = 0; size; size--)
                piece = piece << 8 | (unsigned char) at[size - 1];
        } else {
            const char *last = at + size - 8;
            for (; at < last; at += 8) {
                memcpy(&piece, at, 8);
                heartline_mix(piece);
            }
            memcpy(&piece, last, 8);
        }
        heartline_mix(piece);
        heartline_mix(seed);
        return (size_t) hash;
    #else
        return (size_t) PyObject_Hash(text) ^ seed;
    #endif
    }
    """
    size_t heartline_hash(PyObject *text, size_t seed) noexcept

# So many messages are seen ahead, each a step further than the one after it. The
# memory gives so many bytes at once, and so many such pieces of what the reader keeps
# of a channel are wanted.
cdef enum:
    AHEAD = 6
    RING = 8
    LEAST_BUCKETS = 32
    SEATS = 3
    A_PIECE = 64
    PIECES = 2

cdef size_t _secret = <size_t> hash(__name__)
cdef PyObject *_source = <PyObject *> Source
cdef Py_ssize_t _line = heartline_place(Source, "line")
cdef Py_ssize_t _channel = heartline_place(Source, "channel")


cdef struct Seat:
    PyObject *key
    PyObject *plan


cdef struct Bucket:
    # A few seats in one piece of the memory. A tag is a part of the hash, and 0 where
    # nobody sits; the first ones are taken first.
    uint32_t tags[SEATS]
    PyObject *keys[SEATS]
    PyObject *plans[SEATS]


cdef inline size_t _hash_of(PyObject *within, PyObject *key) noexcept:
    """Of a key in this dict: of the same key in another one it is another."""
    return heartline_hash(key, _secret ^ <size_t> within)


cdef inline uint32_t _tag_of(size_t hash) noexcept:
    return <uint32_t> (hash >> 16) | 1


cdef inline uint32_t _differs(uint32_t one, uint32_t other) noexcept:
    """1 if they do, else 0, by numbers alone."""
    cdef uint32_t apart = one ^ other
    return (apart | (0 - apart)) >> 31


@cython.no_gc_clear
cdef class Plans:
    """Plans by their last key and the dict that it stands in."""

    cdef Bucket *_buckets
    cdef size_t _most, _count
    """The last of its buckets, and how many have a seat: half of the seats at most."""
    cdef void *_memory
    cdef list _kept
    """All that was kept, until all is forgotten, as it may be in use."""

    def __cinit__(self):
        self._kept = []
        self._place(LEAST_BUCKETS)

    def __dealloc__(self):
        PyMem_Free(self._memory)

    cdef int keep(self, dict within, str key, tuple plan) except -1:
        self._kept.append((within, key, plan))
        self._seat(within, key, plan)
        if 2 * self._count > 3 * self._most:
            self._place(2 * (self._most + 1))
        return 0

    cdef inline Bucket *at(self, size_t hash) noexcept:
        return &self._buckets[hash & self._most]

    cdef inline int find(self, size_t hash, Seat *seat) noexcept:
        """Fill in the seat that is that of a key, if any is."""
        cdef size_t place = hash & self._most
        cdef Bucket *bucket = &self._buckets[place]
        cdef uint32_t tag = _tag_of(hash)
        cdef uint32_t first, second
        while True:
            # There is no guessing which it is, so that nothing branches on it.
            first = _differs(bucket.tags[0], tag)
            second = first & _differs(bucket.tags[1], tag)
            if not second & _differs(bucket.tags[2], tag):
                seat.key = bucket.keys[first + second]
                seat.plan = bucket.plans[first + second]
                return 1
            if not bucket.tags[SEATS - 1]:
                return 0
            place = (place + 1) & self._most
            bucket = &self._buckets[place]

    cdef int _seat(self, dict within, str key, tuple plan) except -1:
        """Of two keys with one tag in a bucket only the first has a seat there."""
        cdef size_t hash = _hash_of(<PyObject *> within, <PyObject *> key)
        cdef size_t place = hash & self._most
        cdef Bucket *bucket
        cdef uint32_t tag = _tag_of(hash)
        cdef int number
        while True:
            bucket = &self._buckets[place]
            for number in range(SEATS):
                if bucket.tags[number] == tag:
                    if <str> <object> bucket.keys[number] == key:
                        bucket.keys[number] = <PyObject *> key
                        bucket.plans[number] = <PyObject *> plan
                    return 0
                if not bucket.tags[number]:
                    bucket.tags[number] = tag
                    bucket.keys[number] = <PyObject *> key
                    bucket.plans[number] = <PyObject *> plan
                    self._count += 1
                    return 0
            place = (place + 1) & self._most

    cdef int _place(self, size_t count) except -1:
        """Have so many buckets, and all that is kept in them."""
        cdef void *memory = PyMem_Calloc(count + 1, sizeof(Bucket))
        if memory is NULL:
            raise MemoryError
        PyMem_Free(self._memory)
        self._memory = memory
        self._buckets = <Bucket *> (<size_t> memory + A_PIECE & ~<size_t> (A_PIECE - 1))
        self._most, self._count = count - 1, 0
        for within, key, plan in self._kept:
            self._seat(within, key, plan)
        return 0


cdef class Step:
    """From a struct to one of its members."""

    cdef str _name
    cdef object _type
    cdef Py_ssize_t _place

    def __init__(self, str name not None):
        self._name = name

    cdef inline PyObject *of(self, PyObject *value) except NULL:
        cdef PyObject *found
        if type_of(value) is not <PyObject *> self._type:
            kind = <object> type_of(value)
            self._place = heartline_place(kind, PyUnicode_AsUTF8(self._name))
            self._type = kind
        found = heartline_at(value, self._place)
        if found is NULL:
            raise AttributeError(self._name)
        return found


cdef class Ahead:
    cdef object _read, _decode
    cdef dict _plans
    cdef Plans _last
    cdef tuple _path
    cdef long long _turn
    """Grows with each change by which the same message may be read otherwise."""

    def __init__(self, read, decode, dict plans, tuple path):
        self._read = read
        self._decode = decode
        self._plans = plans
        self._last = Plans.__new__(Plans)
        self._path = tuple([tuple(map(Step, names)) for names in path])

    def renew(self, decode):
        if decode is not self._decode:
            self._decode = decode
            self._turn += 1

    def keep(self, dict within not None, key, tuple plan not None):
        if type(key) is str:
            self._last.keep(within, key, plan)

    def forget(self):
        self._turn += 1
        self._last = Plans.__new__(Plans)

    def readings(self, list data not None):
        cdef Readings readings = Readings.__new__(Readings)
        readings._ahead = self
        readings._data = data
        readings._turn = self._turn
        readings._last = self._last
        readings._frames = [None] * RING
        readings._odd = [None] * RING
        return readings


cdef struct Seen:
    # A message that was decoded, on its way to its plan. `key` is the frame's, and NULL
    # where no plan is looked for. What is in the seat is kept by others, and not counted
    # here: the count lies in what is only just asked of the memory.
    PyObject *key
    size_t hash
    Seat seat


cdef class Readings:
    cdef Ahead _ahead
    cdef Plans _last
    cdef list _data, _frames, _odd
    """All of them, those that were seen, and plans by which no key leads to a seat."""
    cdef Seen _ring[RING]
    cdef Py_ssize_t _told, _seen, _void
    """How many were told, how many seen, and how many of these in vain."""
    cdef long long _turn

    def __iter__(self):
        return self

    def __next__(self):
        cdef Py_ssize_t told = self._told, count = len(self._data)
        cdef Ahead ahead = self._ahead
        cdef tuple plan
        cdef Seen *seen
        if told >= count:
            raise StopIteration
        if self._turn != ahead._turn:
            self._turn = ahead._turn
            self._last = ahead._last
            self._void = self._seen
        while self._seen < told + AHEAD:
            self._step(self._seen, count)
            self._seen += 1
        self._told += 1
        seen = &self._ring[told & (RING - 1)]
        if told >= self._void and seen.seat.plan is not NULL and (
            seen.key is NULL or <str> <object> seen.key == <str> <object> seen.seat.key
        ):
            try:
                plan = <tuple> seen.seat.plan
                follow = <object> PyTuple_GET_ITEM(<PyObject *> plan, 0)
                return follow(self._frames[told & (RING - 1)], plan)
            except Exception:
                pass  # it is read once more, and what is odd about it is told
        return ahead._read(self._data[told])

    cdef int _step(self, Py_ssize_t seen, Py_ssize_t count) except -1:
        """Let one more be seen, and those before it be known a little better."""
        if seen < count:
            self._see(seen)
        if self._void < seen <= count:
            self._find((seen - 1) & (RING - 1))
        if self._void < seen - 1 <= count:
            _fetch_values(self._ring[(seen - 2) & (RING - 1)].seat.plan)
        if self._void < seen - 2 <= count:
            _fetch_channel(self._ring[(seen - 3) & (RING - 1)].seat.plan)
        return 0

    cdef int _see(self, Py_ssize_t number) except -1:
        cdef Py_ssize_t at = number & (RING - 1)
        self._ring[at].key = self._ring[at].seat.plan = NULL
        try:
            frame = self._ahead._decode(self._data[number])
            self._frames[at] = frame
            self._look(frame, at)
        except Exception:
            pass  # it is told when its turn has come
        return 0

    cdef int _look(self, frame, Py_ssize_t at) except -1:
        """Find out where the plan of a frame is."""
        cdef Ahead ahead = self._ahead
        cdef PyObject *within = NULL
        cdef PyObject *found = <PyObject *> ahead._plans
        cdef Seen *seen = &self._ring[at]
        cdef PyObject *value = <PyObject *> frame
        cdef tuple names
        for names in ahead._path:
            if within is not NULL:
                found = PyDict_GetItemWithError(<object> within, <object> value)
                if found is NULL:
                    return 0
            within = found
            value = <PyObject *> frame
            for step in names:
                value = (<Step> step).of(value)
        if PyUnicode_CheckExact(<object> value):
            # The frame is frozen, and kept as long as this.
            seen.key = value
            seen.hash = _hash_of(within, value)
            heartline_fetch(self._last.at(seen.hash))
            return 0
        found = PyDict_GetItemWithError(<object> within, <object> value)
        if found is not NULL:
            self._odd[at] = <object> found
            seen.seat.plan = found
        return 0

    cdef int _find(self, Py_ssize_t at) except -1:
        cdef Seen *seen = &self._ring[at]
        if seen.key is not NULL and self._last.find(seen.hash, &seen.seat):
            _fetch(seen.seat.plan, 1)
            _fetch(seen.seat.key, 2)
        return 0


cdef void _fetch_values(PyObject *plan) noexcept:
    cdef Py_ssize_t number
    if plan is not NULL:
        for number in range(1, PyTuple_GET_SIZE(plan)):
            _fetch(PyTuple_GET_ITEM(plan, number), 2)


cdef inline void _fetch(PyObject *value, int pieces) noexcept:
    cdef int piece
    for piece in range(pieces):
        heartline_fetch(<char *> value + piece * A_PIECE)


cdef void _fetch_channel(PyObject *plan) noexcept:
    cdef Py_ssize_t number
    cdef PyObject *value
    if plan is NULL:
        return
    for number in range(1, PyTuple_GET_SIZE(plan)):
        value = PyTuple_GET_ITEM(plan, number)
        if type_of(value) is _source:
            _fetch(heartline_at(value, _line), PIECES)
            _fetch(heartline_at(value, _channel), 1)
