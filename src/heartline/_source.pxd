cdef extern from *:
    """
    /* The sum of the text that a twin is compiled from; setup.py gives it. */
    #ifndef HEARTLINE_SOURCE
    #define HEARTLINE_SOURCE ""
    #endif
    """
    const char *HEARTLINE_SOURCE
