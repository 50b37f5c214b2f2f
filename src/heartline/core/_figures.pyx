# cython: language_level=3, boundscheck=False, wraparound=False, binding=False, cdivision=True
"""`figures` once more, compiled: what each is, and why, stands there.

Numbers lie in their objects, not beside them, and a message in order changes them
without any Python. What is not in order changes nothing here.

What a message in order changes of its channel lies in the channel's `Line`, together:
there may be ten thousand, and each other object is one more that the processor has to
fetch. So the line that spoke last keeps the numbers of its `Voice`, its `Tally` and its
`Run`, which reach for them there; it is kept as long as they are. These three are not
cleared with a cycle that they are part of, as they would then point to nothing: the
line is, and that is enough.
"""

cimport cython
from cpython.long cimport PyLong_CheckExact
from cpython.ref cimport PyObject
from libc.math cimport INFINITY, pow

from heartline._source cimport HEARTLINE_SOURCE

SOURCE = HEARTLINE_SOURCE

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    PyObject *PyDict_GetItemWithError(object kept, object key) except? NULL

cdef enum:
    STEP = 1
    CHAIN = 2
    MONOTONIC = 3
    UNNUMBERED = 4

cdef enum:
    ALIKE = 5

cdef class Total:
    def __init__(self):
        self.excused_at = -INFINITY
        self.memory = INFINITY


cdef class Pace:
    def __init__(self, *, double now):
        self._began_at = self._at = now

    def learn(self, long long count, *, double half_life, double now):
        _learn_pace(self, count, half_life, now)


cdef void _learn_pace(Pace pace, long long count, double half_life, double now):
    cdef double span = now - pace._at
    cdef double weight, forgotten, newest
    if span < 0.1:
        return
    newest = <double> (count - pace._count) / span
    weight = span / (now - pace._began_at)
    forgotten = 1.0 - pow(2.0, -span / half_life)
    if forgotten > weight:
        weight = forgotten
    pace.value += weight * (newest - pace.value)
    pace._at = now
    pace._count = count


@cython.no_gc_clear
cdef class Voice:
    def __cinit__(self):
        self._spoken = &self._own

    @property
    def heard(self):
        return self._heard

    @heard.setter
    def heard(self, Total heard):
        _take_back_voice(self)
        self._heard = heard

    @property
    def alert(self):
        return self._spoken.alert

    @alert.setter
    def alert(self, double alert):
        self._spoken.alert = alert

    @property
    def data_at(self):
        return self._spoken.data_at

    @data_at.setter
    def data_at(self, double data_at):
        self._spoken.data_at = data_at

    @property
    def count(self):
        return self._spoken.count

    @count.setter
    def count(self, long long count):
        self._spoken.count = count

    @property
    def all_at(self):
        return self._spoken.all_at

    @all_at.setter
    def all_at(self, long long all_at):
        self._spoken.all_at = all_at


@cython.no_gc_clear
cdef class Tally:
    def __cinit__(self):
        self._received = &self._own

    @property
    def received(self):
        return self._received[0]

    @received.setter
    def received(self, long long received):
        self._received[0] = received


@cython.no_gc_clear
cdef class Run:
    def __cinit__(self, *_, **__):
        self._last = &self._own

    def __init__(self, object last, *, object start=None, object joining=None):
        self.last = last
        self.start = start
        self.joining = joining
        self.back = self.back_before = self.back_run = 0

    @property
    def last(self):
        return self._last[0] if self._large is None else self._large

    @last.setter
    def last(self, number):
        cdef int overflow = 0
        cdef long long last = PyLong_AsLongLongAndOverflow(number, &overflow)
        if overflow:
            self.leave()
        self._large = number if overflow else None
        self._last[0] = 0 if overflow else last

    def leave(self):
        cdef Line host = self._host
        if host is not None:
            self._own = host._last
            self._last = &self._own
            host._track = None
            host._follows = False
            self._host = None


cdef class Runs:
    pass


cdef class Line:
    def __init__(self, name, account, tracker, *, terms=None, double now):
        self.name = name
        self.account = account
        self._tracker = tracker
        self.resubscribe = terms is not None and terms.resubscribe
        self.reconnect = terms is not None and terms.reconnect
        self.at = now
        self.wounded = self.is_usual = True

    @property
    def restore(self):
        return self._restore

    @restore.setter
    def restore(self, restore):
        self._restore = restore
        self.is_usual = restore is None and self._proof is None

    @property
    def proof(self):
        return self._proof

    @proof.setter
    def proof(self, proof):
        self._proof = proof
        self.is_usual = proof is None and self._restore is None

    @property
    def tracker(self):
        return self._tracker

    @tracker.setter
    def tracker(self, Runs tracker):
        if tracker is not self._tracker and self._follows:
            self._run.leave()
        self._tracker = tracker

    @property
    def watched(self):
        return self._watched

    @watched.setter
    def watched(self, Voice watched):
        if watched is not self._watched and self._speaks:
            _take_back_voice(self._watched)
        self._watched = watched


cdef void _take_back_voice(Voice voice):
    cdef Line host = voice._host
    if host is not None:
        voice._own = host._spoken
        voice._spoken = &voice._own
        host._speaks = False
        host._heard = None
        voice._host = None


cdef void _bring_voice(Line line):
    cdef Voice voice = line._watched
    _take_back_voice(voice)
    line._spoken = voice._own
    voice._spoken = &line._spoken
    line._heard = voice._heard
    line._speaks = True
    voice._host = line


cdef void _bring_tally(Line line):
    cdef Tally tally = line.account
    if tally._host is not None:
        tally._own = tally._host._received
        tally._host._counts = False
    line._received = tally._own
    tally._received = &line._received
    line._counts = True
    tally._host = line


cdef bint _bring_run(Line line, object track) except -1:
    """Whether the numbers of `track` are known, and of 63 bits."""
    cdef PyObject *known = PyDict_GetItemWithError(line._tracker._runs, track)
    cdef Run run
    if known is NULL:
        return False
    run = <Run> <object> known
    if run._large is not None:
        return False
    if run._host is not line:
        if line._follows:
            line._run.leave()
        run.leave()
        line._last = run._own
        run._last = &line._last
        line._run = run
        line._follows = True
        run._host = line
    line._track = track
    return True


cdef bint _number(object value, long long *number):
    """Whether it is a whole number of 63 bits; nothing raises."""
    cdef int overflow = 0
    if not PyLong_CheckExact(value):
        return False
    number[0] = PyLong_AsLongLongAndOverflow(value, &overflow)
    return not overflow


cdef bint _is_a_lesson(Voice voice, double silence, double now):
    """Whether the end of a long silence changes nothing but what is learned of it."""
    cdef Total heard = voice._heard
    return (
        voice.outcome is not None
        and voice.outcome is heard.calm
        and voice.pace is not None
        and not voice.awaits_first
        and now - silence >= heard.excused_at
        and now - voice.window_at < heard.memory
    )


cdef void _learn(Voice voice, double silence, double now):
    """`Watched.learn` and `Watched.calm_down` once more, where nothing is forgotten."""
    _learn_pace(voice.pace, voice._spoken.count, voice._heard.memory, now)
    if silence > voice.longest:
        voice.alike = voice.alike + 1 if 1.5 * voice.longest >= silence else 0
        voice.longest = silence
    elif 2 * silence >= voice.longest:
        voice.alike += 1
    voice.needed = 0.0
    voice._spoken.alert = voice.longest
    if voice.alike < ALIKE:
        voice._spoken.alert = voice.longest / 2


cdef class Taking:
    def __init__(self, otherwise):
        self._otherwise = otherwise

    def take(
        self, Line line not None, track, last, prev, first, anew, double now
    ):
        return self.taken(line, track, last, prev, first, anew, now)

    cdef object taken(
        self, Line line, object track, object last, object prev, object first,
        object anew, double now
    ):
        cdef long long number = 0, other = 0
        cdef bint is_numbered = False, is_long = False
        cdef double silence = 0
        cdef bint good = anew is False
        cdef int way
        if line._watched is None:
            good = good and line.name is None
        elif not line.is_live and line.name is not None:
            good = False
        elif good:
            if not line._speaks:
                _bring_voice(line)
            silence = now - line._spoken.data_at
            is_long = silence > line._spoken.alert
            good = not is_long or _is_a_lesson(line._watched, silence, now)
        if good and last is not None and line._tracker is not None:
            way = line._tracker.good
            if way != UNNUMBERED:
                is_numbered = True
                good = _number(last, &number)
                if good and not (line._follows and line._track is track):
                    good = _bring_run(line, track)
                if not good:
                    pass
                elif way == STEP:
                    other = number
                    good = first is None or _number(first, &other)
                    good = good and other - 1 == line._last and number > line._last
                elif way == CHAIN:
                    good = _number(prev, &other) and other == line._last <= number
                else:
                    good = way == MONOTONIC and number >= line._last
        if not line._counts:
            _bring_tally(line)
        if not good:
            told = self._otherwise(line, track, last, prev, first, anew, now)
            # The first message of a link begins a run. It is brought now, while all of
            # it is at hand, and not when the second one comes.
            if last is not None and line._tracker is not None and line._tracker.good:
                _bring_run(line, track)
            return told
        line._received += 1
        if is_numbered:
            line._last = number
        line.at = now
        if line._speaks:
            line._spoken.data_at = now
            line._spoken.count += 1
            line._heard.total += 1
            line._spoken.all_at = line._heard.total
        if is_long:
            _learn(line._watched, silence, now)
        return None
