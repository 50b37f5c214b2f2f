# cython: language_level=3, boundscheck=False, wraparound=False, binding=False, cdivision=True
"""`resting.PureResting` once more, compiled: what it does, and why, stands there.

What is compared lies in one array; no object of a link is touched while it rests.
"""

from libc.math cimport INFINITY, fmod
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp

from heartline.core.adaptive import PROBE_TIMEOUT_CAP, ROUND_TRIP_FLOOR
from heartline.core.events import RoundTripMeasured
from heartline.core.evidence import Evidence, Kernel
from heartline.core.flow import LOOK_EVERY
from heartline.core.pings import SHARED_OF_PING
from heartline.core.rest import SHARED_EVERY
from heartline.core.untold import MOST
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
    #include <sys/ioctl.h>
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

    /* All that a `Kernel` says of a connection, and what it has not read. */
    typedef struct {
        uint64_t acked, received;
        uint32_t segments, age_ms, unacked, unsent, retransmits, all_retransmits;
        uint32_t probes, rtt, rttvar, min_rtt, window, out_of_order, sent_ms;
        int told, unread, outstanding, has_window;
    } heartline_kernel;

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
    /* As `KernelEyes.read`, where the transport holds `buffered` bytes back; without
       kernel evidence nothing is told. */
    static void heartline_read(int fd, int buffered, heartline_kernel *found) {
        char info[256] = {0};
        socklen_t size = sizeof info;
        uint32_t data_age, ack_age;
        found->told = found->unread = found->outstanding = 0;
        if (ioctl(fd, FIONREAD, &found->unread) < 0)
            return;
        if (getsockopt(fd, IPPROTO_TCP, 11, info, &size) < 0 || size < 144)
            return;
        found->segments = heartline_u32(info + 140);
        if (info[0] == 7 || !found->segments)
            return;
        data_age = heartline_u32(info + 52);
        ack_age = heartline_u32(info + 56);
        found->age_ms = data_age < ack_age ? data_age : ack_age;
        found->retransmits = (unsigned char)info[2];
        found->probes = (unsigned char)info[3];
        found->unacked = heartline_u32(info + 24);
        found->sent_ms = heartline_u32(info + 44);
        found->rtt = heartline_u32(info + 68);
        found->rttvar = heartline_u32(info + 72);
        found->all_retransmits = heartline_u32(info + 100);
        found->acked = heartline_u64(info + 120);
        found->received = heartline_u64(info + 128);
        found->unsent = heartline_u32(info + 144) + buffered;
        found->min_rtt = heartline_u32(info + 148);
        if (found->min_rtt == UINT32_MAX)
            found->min_rtt = found->rtt;
        found->out_of_order = heartline_u32(info + 224);
        found->window = heartline_u32(info + 228);
        found->has_window = size >= 232;
        if ((found->unacked || found->unsent)
            && ioctl(fd, TIOCOUTQ, &found->outstanding) < 0)
            return;
        found->outstanding += buffered;
        found->told = 1;
    }
    """
    ctypedef struct heartline_kernel:
        uint64_t acked, received
        uint32_t segments, age_ms, unacked, unsent, retransmits, all_retransmits
        uint32_t probes, rtt, rttvar, min_rtt, window, out_of_order, sent_ms
        int told, unread, outstanding, has_window
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
    void heartline_read(int fd, int buffered, heartline_kernel *found)

cdef double _SHARED_EVERY = SHARED_EVERY
cdef double _LEAST_STEP = LEAST_STEP
cdef double _SLEPT = SLEPT
cdef double _LOOK_EVERY = LOOK_EVERY
cdef double _FLOOR = ROUND_TRIP_FLOOR
cdef double _CAP = PROBE_TIMEOUT_CAP
cdef double _SHARED_OF_PING = SHARED_OF_PING
cdef int _RESTS = 0, _WAKES = 1, _ASKS = 2
cdef enum:
    _ROOM = 2 * 12
cdef int _MOST = min(MOST, _ROOM // 2)


cdef inline double _shared(double due, double now) noexcept:
    cdef double earlier = due - fmod(due, _SHARED_EVERY)
    return earlier if earlier > now else due


cdef object _evidence(const heartline_kernel *seen):
    """What `KernelEyes.read` makes of it."""
    if not seen.told:
        return Evidence(None, seen.unread)
    return Evidence(
        Kernel(
            seen.segments,
            seen.age_ms / 1e3,
            seen.unacked,
            seen.outstanding,
            seen.unsent,
            seen.acked,
            seen.received,
            seen.retransmits,
            seen.all_retransmits,
            seen.probes,
            seen.rtt / 1e6,
            seen.rttvar / 1e6,
            seen.min_rtt / 1e6,
            seen.window if seen.has_window else None,
            seen.out_of_order,
            seen.sent_ms / 1e3,
        ),
        seen.unread,
    )


cdef inline double _probe_timeout(const heartline_kernel *seen) noexcept:
    """`adaptive.probe_timeout`."""
    cdef double variance = max(4 * (seen.rttvar / 1e6), _FLOOR)
    cdef double cap = max(3 * (seen.min_rtt / 1e6), _CAP)
    cdef double patient = seen.rtt / 1e6 + variance
    return patient if patient < cap else cap


cdef class Voice:
    """The pings of one link at rest: what `Untold` keeps, and is told later."""

    cdef Resting _resting
    cdef Py_ssize_t _number
    cdef object _who, _send, _hear, _tell, _goes_on, _epoch
    cdef double _every, _measure_every, _patience, _within, _besides_at
    cdef double _sent_at
    cdef long long _epoch_number, _sent
    cdef int _out, _payload_bytes, _answers
    cdef char[48] _payload
    cdef double[_ROOM] _log
    cdef heartline_kernel _asked_with, _seen

    def __cinit__(self, Resting resting, Py_ssize_t number, who, said):
        terms = said.terms
        self._resting, self._number, self._who = resting, number, who
        self._send, self._hear, self._tell = said.send, said.hear, said.tell
        self._goes_on = said.goes_on
        self._epoch = self._epoch_number = terms.epoch
        self._sent = terms.sent
        self._every = terms.every
        self._measure_every = terms.measure_every
        self._patience = terms.patience
        self._within = terms.within
        self._besides_at = terms.besides_at

    def __call__(self, bytes payload):
        return self._resting is not None and self._resting._answered(self, payload)

    cdef bytes _next(self):
        self._sent += 1
        self._payload_bytes = snprintf(
            self._payload, 48, "%llx.%llx", self._epoch_number, self._sent
        )
        return PyBytes_FromStringAndSize(self._payload, self._payload_bytes)


cdef class Resting:
    cdef object __weakref__
    cdef object _alarms
    cdef heartline_sleep *_sleeps
    cdef Py_ssize_t _room
    cdef list _who, _buffered, _heard, _voices, _free
    cdef double _armed_at, _went_on_at
    cdef Py_ssize_t _first
    cdef bint _looking

    def __init__(self, alarms, clock=None, asleep=None):
        self._alarms = alarms
        self._who = []
        self._buffered = []
        self._heard = []
        self._voices = []
        self._free = []
        self._armed_at = INFINITY
        self._went_on_at = -INFINITY

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
            self._voices.append(None)
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

    def answers(self, Py_ssize_t number):
        cdef Voice voice
        cdef int at
        self._check(number)
        voice = self._voices[number]
        if voice is None or not voice._answers:
            return None
        found = [voice._log[at] for at in range(2 * voice._answers)]
        voice._answers = 0
        return found, _evidence(&voice._seen)

    def unanswered(self, Py_ssize_t number):
        cdef Voice voice
        self._check(number)
        voice = self._voices[number]
        if voice is None or not voice._out:
            return None
        return voice._sent_at, _evidence(&voice._asked_with)

    def take(self, Py_ssize_t number):
        cdef heartline_sleep *sleep
        cdef Voice voice
        self._check(number)
        sleep = &self._sleeps[number]
        voice = self._voices[number]
        if voice is not None:
            self._voices[number] = voice._resting = None
            voice._hear(None)
        self._who[number] = self._buffered[number] = self._heard[number] = None
        self._free.append(number)
        found = sleep.due_at, sleep.looked_at
        sleep.due_at = INFINITY
        if not len(self) and self._armed_at > -INFINITY:
            self._armed_at = INFINITY
            self._alarms.cancel(self)
        return found

    def wake(self):
        cdef Py_ssize_t nth, number, count = len(self._who)
        cdef double now = heartline_now()
        cdef double asleep = heartline_asleep()
        cdef double next_at = INFINITY
        cdef double wakes_until = self._alarms.wakes_until
        cdef list woken = [], asking = []
        cdef int found
        self._armed_at = -INFINITY
        for nth in range(count):
            number = (self._first + nth) % count
            if self._sleeps[number].due_at > now:
                continue
            try:
                found = self._look(number, now, asleep)
            except Exception:
                # Its own tick meets the same, and reports it; the others rest on.
                found = _WAKES
            if found == _WAKES:
                woken.append((number, self._who[number]))
            elif found == _ASKS:
                asking.append((number, self._who[number], self._voices[number]))
        # Else, where looks alone take that long, each pass would wake but one.
        wakes_until += heartline_now() - now
        try:
            # Who is not woken by then is looked at again in the next pass, and first.
            for number, who in woken:
                self._first = number + 1
                who.wake()
                if heartline_now() > wakes_until:
                    return
            for number, who, voice in asking:
                self._first = number + 1
                if voice is None:
                    who.ask()
                else:
                    self._ask(voice)
                if heartline_now() > wakes_until:
                    return
        finally:
            for number in range(len(self._who)):
                if self._sleeps[number].due_at < next_at:
                    next_at = self._sleeps[number].due_at
            self._armed_at = INFINITY
            self._arm(max(next_at, max(now + _LEAST_STEP, heartline_now())))

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
            if not sleep.pings or due <= now:
                return _WAKES
            self._give_voice(number)
            return _ASKS
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

    cdef int _give_voice(self, Py_ssize_t number) except -1:
        if self._voices[number] is None:
            who = self._who[number]
            said = who.voice()
            if said is not None:
                voice = self._voices[number] = Voice(self, number, who, said)
                said.hear(voice)
        return 0

    cdef int _ask(self, Voice voice) except -1:
        """As `Pump.ask`, `Sleep.ask` and `Untold.asked` do."""
        cdef heartline_sleep *sleep
        cdef heartline_kernel *seen = &voice._asked_with
        cdef double now, due_at, patience
        cdef Py_ssize_t number = voice._number
        cdef int buffered
        if voice._resting is None or voice._out:
            return 0
        heard = self._heard[number]
        if heard is not None:
            if heard.frames:
                voice._who.wake()
                return 0
            heard.until_at = -INFINITY
        seen.told = seen.unread = 0
        due_at = now = voice._sent_at = heartline_now()
        voice._out = 1
        try:
            voice._send(voice._next())
            if voice._resting is not None:
                buffered = self._buffered[number]()
                sleep = &self._sleeps[number]
                heartline_read(sleep.fd, buffered, seen)
                if seen.told:
                    patience = sleep.patience - seen.age_ms / 1e3
                    due_at = min(now + min(voice._within, patience), voice._besides_at)
        finally:
            if voice._resting is not None:
                self.wait(number, due_at)
        return 0

    cdef bint _answered(self, Voice voice, bytes payload) except -1:
        """As `Pump.answered` and `Untold.answered` do."""
        cdef heartline_sleep *sleep
        cdef heartline_kernel seen
        cdef double now, took, patience, ask_at, measure_at, due_at
        cdef int pings = 1
        cdef Py_ssize_t number = voice._number
        if (
            not voice._out
            or len(payload) != voice._payload_bytes
            or memcmp(PyBytes_AS_STRING(payload), voice._payload, len(payload))
        ):
            return False
        now = heartline_now()
        if not self._goes_on(voice, number, now) or self._buffered[number]():
            return False
        sleep = &self._sleeps[number]
        heartline_read(sleep.fd, 0, &seen)
        if not seen.told or seen.unread or seen.unacked or seen.unsent:
            return False
        patience = min(sleep.patience, voice._patience + _probe_timeout(&seen))
        measure_at = voice._sent_at + voice._measure_every
        ask_at = now + voice._every
        if measure_at < ask_at:
            ask_at = measure_at
        ask_at -= fmod(ask_at, voice._every / _SHARED_OF_PING)
        if voice._besides_at < ask_at:
            ask_at = voice._besides_at
            pings = 0
        due_at = _shared(now - seen.age_ms / 1e3 + patience, now)
        if ask_at < due_at:
            due_at = ask_at
        if due_at <= now:
            return False
        sleep.waits = 0
        sleep.pings = pings
        sleep.patience = patience
        sleep.ask_at = ask_at
        sleep.acked, sleep.received = seen.acked, seen.received
        sleep.rtt, sleep.rttvar, sleep.min_rtt = seen.rtt, seen.rttvar, seen.min_rtt
        sleep.due_at = due_at
        sleep.looked_at = now
        voice._out = 0
        voice._seen = seen
        voice._log[2 * voice._answers] = voice._sent_at
        voice._log[2 * voice._answers + 1] = now
        voice._answers += 1
        took = now - voice._sent_at
        self._arm(due_at)
        who, tell = voice._who, voice._tell
        if voice._answers >= _MOST:
            who.answered_enough()
        event = RoundTripMeasured(at=now, epoch=voice._epoch, round_trip=took)
        try:
            tell(event)
        except Exception as error:
            who.failed_to_obey(event, error)
        return True

    cdef bint _goes_on(self, Voice voice, Py_ssize_t number, double now) except -1:
        """Whether the answer is in time, and neither loop nor machine stood still."""
        cdef heartline_sleep *sleep = &self._sleeps[number]
        if now > sleep.due_at or heartline_asleep() - sleep.asleep > _SLEPT:
            return False
        if now - self._went_on_at < _LEAST_STEP:
            return True
        if voice._goes_on is not None and not voice._goes_on(now):
            return False
        self._went_on_at = now
        return True

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
