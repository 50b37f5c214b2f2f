# What the compiled figures keep, and where: for those that use them without Python.
# What each is stands in `figures.py`.

cdef struct Spoken:
    double alert, data_at
    long long count, all_at


cdef class Total:
    cdef public long long total
    cdef public double excused_at, memory
    cdef public object calm


cdef class Pace:
    cdef public double value
    cdef double _began_at, _at
    cdef long long _count


cdef class Voice:
    cdef Spoken _own
    cdef Spoken *_spoken
    cdef Line _host
    cdef Total _heard
    cdef public object outcome
    cdef public Pace pace
    cdef public double longest, needed, window_at
    cdef public long long alike
    cdef public bint awaits_first


cdef class Tally:
    cdef long long _own
    cdef long long *_received
    cdef Line _host


cdef class Run:
    cdef long long _own
    cdef long long *_last
    cdef Line _host
    cdef object _large
    cdef public object start, joining, holes, back, back_before, back_run


cdef class Runs:
    cdef public dict _runs
    cdef public int good


cdef class Line:
    # What each message in order asks for comes first: it fills two pieces of memory.
    cdef public double at
    cdef Spoken _spoken
    cdef long long _received, _last
    cdef Voice _watched
    cdef Runs _tracker
    cdef Total _heard
    # Whose run it is that is here.
    cdef object _track
    # Whether the numbers of `_watched`, `account` and of a run are here.
    cdef bint _speaks, _counts, _follows
    cdef public bint is_live
    cdef readonly bint is_usual
    cdef public bint wounded
    cdef readonly object name
    cdef readonly Tally account
    cdef object _restore, _proof
    cdef Run _run
    cdef public bint resubscribe, reconnect


cdef class Taking:
    cdef object _otherwise
    cdef object taken(
        self, Line line, object track, object last, object prev, object first,
        object anew, double now
    )
