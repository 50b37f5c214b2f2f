# cython: language_level=3, boundscheck=False, wraparound=False, binding=False, cdivision=True
"""`resting.PureResting` once more, compiled: what it does, and why, stands there.

What is compared lies in one array; no object of a link is touched while it rests.
"""

from libc.math cimport INFINITY, fmod
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from heartline.core.flow import LOOK_EVERY
from heartline.core.rest import SHARED_EVERY
from heartline.wire.resting import LEAST_STEP, SLEPT

from heartline._source cimport HEARTLINE_SOURCE

SOURCE = HEARTLINE_SOURCE

cdef extern from *:
    """
    #ifndef __linux__
    #error "struct tcp_info is Linux's"
    #endif
    #include <netinet/in.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <time.h>

    typedef struct {
        int fd;
        int waits, pings;
        double due_at, looked_at, late_after, asleep, patience, ask_at;
        double firm_at, tell_by, lull;
        uint64_t acked, received;
        uint32_t rtt, rttvar, min_rtt;
    } heartline_sleep;

    static double heartline_seconds(clockid_t clock) {
        struct timespec at;
        clock_gettime(clock, &at);
        return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
    }
    static double heartline_now(void) {
        return heartline_seconds(CLOCK_MONOTONIC);
    }
    static double heartline_asleep(void) {
        return heartline_seconds(CLOCK_BOOTTIME) - heartline_now();
    }
    static uint32_t heartline_u32(const char *at) {
        uint32_t found;
        memcpy(&found, at, 4);
        return found;
    }
    static uint64_t heartline_u64(const char *at) {
        uint64_t found;
        memcpy(&found, at, 8);
        return found;
    }
    /* The age of the last segment; negative if anything else has changed. The fields,
       and from which size on there are enough of them: wire/kernel.py. */
    static double heartline_heard_age(const heartline_sleep *seen) {
        char info[256] = {0};
        socklen_t size = sizeof info;
        uint32_t data_age, ack_age, rtt, min_rtt;
        if (getsockopt(seen->fd, IPPROTO_TCP, 11, info, &size) < 0 || size < 144)
            return -1.0;
        rtt = heartline_u32(info + 68);
        min_rtt = heartline_u32(info + 148);
        if (min_rtt == UINT32_MAX)
            min_rtt = rtt;
        if (info[0] == 7 || !heartline_u32(info + 140)
            || heartline_u32(info + 24) || heartline_u32(info + 144)
            || heartline_u64(info + 120) != seen->acked
            || heartline_u64(info + 128) != seen->received
            || rtt != seen->rtt || heartline_u32(info + 72) != seen->rttvar
            || min_rtt != seen->min_rtt)
            return -1.0;
        data_age = heartline_u32(info + 52);
        ack_age = heartline_u32(info + 56);
        return (double)(data_age < ack_age ? data_age : ack_age) / 1e3;
    }
    """
    ctypedef struct heartline_sleep:
        int fd
        int waits, pings
        double due_at, looked_at, late_after, asleep, patience, ask_at
        double firm_at, tell_by, lull
        uint64_t acked, received
        uint32_t rtt, rttvar, min_rtt
    double heartline_now()
    double heartline_asleep()
    double heartline_heard_age(const heartline_sleep *seen)

cdef double _SHARED_EVERY = SHARED_EVERY
cdef double _LEAST_STEP = LEAST_STEP
cdef double _SLEPT = SLEPT
cdef double _LOOK_EVERY = LOOK_EVERY
cdef int _RESTS = 0, _WAKES = 1, _ASKS = 2


cdef inline double _shared(double due, double now) noexcept:
    cdef double earlier = due - fmod(due, _SHARED_EVERY)
    return earlier if earlier > now else due


cdef class Resting:
    cdef object __weakref__
    cdef object _alarms
    cdef heartline_sleep *_sleeps
    cdef Py_ssize_t _room
    cdef list _who, _buffered, _heard, _free
    cdef double _armed_at
    cdef bint _looking

    def __init__(self, alarms, clock=None, asleep=None):
        self._alarms = alarms
        self._who = []
        self._buffered = []
        self._heard = []
        self._free = []
        self._armed_at = INFINITY

    def __dealloc__(self):
        free(self._sleeps)

    def __len__(self):
        return len(self._who) - len(self._free)

    def add(
        self, who, rest, eyes, *, double late_after, double due_at, heard=None,
        flow=None, double tell_by=-INFINITY, double lull=0.0
    ):
        cdef Py_ssize_t number
        cdef heartline_sleep *sleep
        if self._free:
            number = self._free.pop()
        else:
            number = len(self._who)
            self._make_room(number + 1)
            self._who.append(None)
            self._buffered.append(None)
            self._heard.append(None)
        self._who[number] = who
        self._heard[number] = heard
        sleep = &self._sleeps[number]
        sleep.firm_at = sleep.tell_by = -INFINITY
        if rest is None:
            sleep.waits = 1
            sleep.patience = flow.patience
        else:
            self._buffered[number] = eyes.buffered
            sleep.fd = eyes.fileno()
            self._see(sleep, rest)
        if flow is not None:
            sleep.firm_at = flow.firm_at
            sleep.tell_by = tell_by
        sleep.lull = lull if heard is not None else 0.0
        sleep.due_at = due_at
        sleep.looked_at = heartline_now()
        sleep.late_after = late_after
        sleep.asleep = heartline_asleep()
        self._arm(due_at)
        return number

    cdef int _see(self, heartline_sleep *sleep, rest) except -1:
        seen = rest.seen
        sleep.waits = 0
        sleep.pings = rest.pings
        sleep.patience = rest.patience
        sleep.ask_at = rest.ask_at
        sleep.acked = seen.acked_bytes
        sleep.received = seen.received_bytes
        sleep.rtt = <uint32_t>(<double>seen.round_trip * 1e6 + 0.5)
        sleep.rttvar = <uint32_t>(<double>seen.round_trip_deviation * 1e6 + 0.5)
        sleep.min_rtt = <uint32_t>(<double>seen.min_round_trip * 1e6 + 0.5)
        return 0

    def wait(self, Py_ssize_t number, double due_at):
        self._check(number)
        self._sleeps[number].waits = 1
        self._sleeps[number].tell_by = -INFINITY
        self._sleeps[number].due_at = due_at
        self._arm(due_at)

    def renew(self, Py_ssize_t number, rest, double due_at):
        self._check(number)
        self._see(&self._sleeps[number], rest)
        self._sleeps[number].due_at = due_at
        self._sleeps[number].looked_at = heartline_now()
        self._arm(due_at)

    cdef int _check(self, Py_ssize_t number) except -1:
        if not 0 <= number < len(self._who) or self._who[number] is None:
            raise KeyError(number)
        return 0

    def take(self, Py_ssize_t number):
        cdef heartline_sleep *sleep
        self._check(number)
        sleep = &self._sleeps[number]
        self._who[number] = self._buffered[number] = self._heard[number] = None
        self._free.append(number)
        found = sleep.due_at, sleep.looked_at
        sleep.due_at = INFINITY
        if not len(self) and self._armed_at > -INFINITY:
            self._armed_at = INFINITY
            self._alarms.cancel(self)
        return found

    def wake(self):
        cdef Py_ssize_t number
        cdef double now = heartline_now()
        cdef double asleep = heartline_asleep()
        cdef double next_at = INFINITY
        cdef list woken = [], asking = []
        cdef int found
        self._armed_at = -INFINITY
        for number in range(len(self._who)):
            if self._sleeps[number].due_at > now:
                continue
            try:
                found = self._look(number, now, asleep)
            except Exception:
                # Its own tick meets the same, and reports it; the others rest on.
                found = _WAKES
            if found == _WAKES:
                woken.append(self._who[number])
            elif found == _ASKS:
                asking.append(self._who[number])
        try:
            for who in woken:
                who.wake()
            for who in asking:
                who.ask()
        finally:
            for number in range(len(self._who)):
                if self._sleeps[number].due_at < next_at:
                    next_at = self._sleeps[number].due_at
            self._armed_at = INFINITY
            self._arm(max(next_at, now + _LEAST_STEP))

    cdef int _look(self, Py_ssize_t number, double now, double asleep) except -1:
        cdef heartline_sleep *sleep = &self._sleeps[number]
        cdef double age, due, at
        if now - sleep.due_at > sleep.late_after or asleep - sleep.asleep > _SLEPT:
            return _WAKES
        heard = self._heard[number]
        if heard is not None and heard.reads:
            if now >= sleep.tell_by:
                return _WAKES
            at = heard.at
            due = min(at + sleep.patience, min(sleep.firm_at, sleep.tell_by))
            if due <= now:
                return _WAKES
            heard.until_at = due
            sleep.due_at = max(_shared(due, now), now + _LEAST_STEP)
            return _RESTS
        if sleep.waits:
            return _WAKES
        if self._buffered[number]():
            return _WAKES
        sleep = &self._sleeps[number]
        age = heartline_heard_age(sleep)
        if age < 0:
            return _WAKES
        due = now - age + sleep.patience
        if sleep.ask_at <= now:
            return _ASKS if sleep.pings and due > now else _WAKES
        due = _shared(due, now)
        if sleep.ask_at < due:
            due = sleep.ask_at
        if due <= now:
            return _WAKES
        sleep.due_at = max(due, now + _LEAST_STEP)
        sleep.looked_at = now
        if sleep.lull:
            sleep.firm_at = min(sleep.ask_at, now + _LOOK_EVERY)
            sleep.tell_by = now + sleep.lull
            heard.until_at = min(sleep.due_at, sleep.tell_by)
        return _RESTS

    cdef int _make_room(self, Py_ssize_t count) except -1:
        cdef Py_ssize_t room
        cdef void *more
        if count <= self._room:
            return 0
        room = max(64, 2 * self._room)
        more = realloc(self._sleeps, room * sizeof(heartline_sleep))
        if more == NULL:
            raise MemoryError
        self._sleeps = <heartline_sleep *>more
        self._room = room
        return 0

    cdef int _arm(self, double due_at) except -1:
        if due_at < self._armed_at:
            self._armed_at = due_at
            self._alarms.set(self, due_at)
        return 0
