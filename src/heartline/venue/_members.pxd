# Where the structs of msgspec keep their members: what is read of each message is read
# there, as the interpreter does.

from cpython.object cimport PyObject

cdef extern from *:
    """
    #include <structmember.h>

    #if defined(__GNUC__) || defined(__clang__)
    /* A function that does nothing else would count as one without effect, and not be
       called at all: so it is no builtin alone. */
    #define heartline_fetch(at) \\
        do { __builtin_prefetch(at, 1); __asm__ __volatile__(""); } while (0)
    #else
    #define heartline_fetch(at) ((void) (at))
    #endif

    /* The place of a member in the objects of a type, bytes; fails if it has none. */
    static Py_ssize_t heartline_place(PyObject *type, const char *name) {
        Py_ssize_t found = -1;
        PyObject *member = PyObject_GetAttrString(type, name);
        if (member == NULL)
            return -1;
        if (Py_IS_TYPE(member, &PyMemberDescr_Type)) {
            PyMemberDef *told = ((PyMemberDescrObject *) member)->d_member;
            if (told->type == T_OBJECT_EX || told->type == T_OBJECT)
                found = told->offset;
        }
        Py_DECREF(member);
        if (found < 0)
            PyErr_Format(PyExc_ImportError, "%s is no member with a place", name);
        return found;
    }
    static inline PyObject *heartline_at(PyObject *value, Py_ssize_t place) {
        return *(PyObject **) ((char *) value + place);
    }
    """
    Py_ssize_t heartline_place(object type, const char *name) except -1
    PyObject *heartline_at(PyObject *value, Py_ssize_t place) noexcept
    void heartline_fetch(const void *at) noexcept
    PyObject *type_of "(PyObject *)Py_TYPE" (PyObject *value) noexcept
