# How messages are made and dated where each one counts: with no call of Python's.

from cpython.object cimport PyObject

cdef extern from *:
    """
    #include <structmember.h>
    #include <string.h>
    #include <time.h>

    /* What objects of a struct look like that the collector does not follow: members
       in a row behind the head, and what those hold that are not given. */
    enum { HEARTLINE_MEMBERS = 6 };
    static struct {
        PyTypeObject *type;
        PyObject *rest[HEARTLINE_MEMBERS];
        Py_ssize_t data, at, epoch;
        int known;
    } heartline_made;

    static Py_ssize_t heartline_number(PyObject *type, const char *name) {
        Py_ssize_t found = -1;
        PyObject *member = PyObject_GetAttrString(type, name);
        if (member == NULL) {
            PyErr_Clear();
            return -1;
        }
        if (Py_IS_TYPE(member, &PyMemberDescr_Type)) {
            PyMemberDef *told = ((PyMemberDescrObject *) member)->d_member;
            Py_ssize_t at = told->offset - (Py_ssize_t) sizeof(PyObject);
            if ((told->type == T_OBJECT_EX || told->type == T_OBJECT)
                && at >= 0 && at % (Py_ssize_t) sizeof(PyObject *) == 0
                && at / (Py_ssize_t) sizeof(PyObject *) < HEARTLINE_MEMBERS)
                found = at / (Py_ssize_t) sizeof(PyObject *);
        }
        Py_DECREF(member);
        return found;
    }

    /* Learns it from one that was made the ordinary way; whatever looks otherwise is
       made that way for ever. */
    static void heartline_learn(PyObject *sample) {
        PyTypeObject *type = Py_TYPE(sample);
        PyObject **members = (PyObject **) ((char *) sample + sizeof(PyObject));
        Py_ssize_t place;
        heartline_made.type = (PyTypeObject *) Py_NewRef((PyObject *) type);
        heartline_made.data = heartline_number((PyObject *) type, "data");
        heartline_made.at = heartline_number((PyObject *) type, "received_at");
        heartline_made.epoch = heartline_number((PyObject *) type, "epoch");
    #if !defined(PYPY_VERSION) && !defined(Py_GIL_DISABLED)
        heartline_made.known = (
            (size_t) type->tp_basicsize
                == sizeof(PyObject) + HEARTLINE_MEMBERS * sizeof(PyObject *)
            && !type->tp_itemsize && !type->tp_dictoffset && !type->tp_weaklistoffset
            && !PyType_IS_GC(type) && type->tp_free == PyObject_Free
            && heartline_made.data >= 0 && heartline_made.at >= 0
            && heartline_made.epoch >= 0
        );
    #endif
        for (place = 0; heartline_made.known && place < HEARTLINE_MEMBERS; place++) {
            if (members[place] == NULL)
                heartline_made.known = 0;
            else
                heartline_made.rest[place] = Py_NewRef(members[place]);
        }
    }

    static PyObject *heartline_make(PyObject *data, PyObject *at, PyObject *epoch) {
        PyObject *made, **members;
        Py_ssize_t place;
        if (!heartline_made.known) {
            PyObject *given[4] = {data, at, Py_None, epoch};
            return PyObject_Vectorcall(
                (PyObject *) heartline_made.type, given, 4, NULL
            );
        }
        made = (PyObject *) PyObject_New(PyObject, heartline_made.type);
        if (made == NULL)
            return NULL;
        members = (PyObject **) ((char *) made + sizeof(PyObject));
        memcpy(members, heartline_made.rest, sizeof(heartline_made.rest));
        members[heartline_made.data] = data;
        members[heartline_made.at] = at;
        members[heartline_made.epoch] = epoch;
        for (place = 0; place < HEARTLINE_MEMBERS; place++)
            Py_INCREF(members[place]);
        return made;
    }

    /* `time.monotonic()`; less than nothing where that is another clock. */
    static inline double heartline_monotonic(void) {
    #if defined(CLOCK_MONOTONIC) && !defined(__APPLE__) && !defined(_WIN32)
        struct timespec at;
        if (clock_gettime(CLOCK_MONOTONIC, &at) == 0)
            return (double) ((long long) at.tv_sec * 1000000000 + at.tv_nsec) / 1e9;
    #endif
        return -1.0;
    }
    """
    void heartline_learn(object sample) noexcept
    object heartline_make(PyObject *data, PyObject *at, PyObject *epoch)
    double heartline_monotonic() noexcept
