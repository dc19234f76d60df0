/*
 * sharedjox_gateway.connection._sockets: TCP connections as asyncio transports of our own.
 *
 * Optional. Without it, and always under TLS, connections are uvloop's transports (connection/sockets.py), with the same
 * results. One epoll holds all sockets and is itself watched by the event loop, which calls `turn` when something is ready.
 *
 * What is written while a turn goes on leaves at its end: who receives is then woken once and not once for each of
 * them. Nothing is between two turns, so a descriptor that the fan-out sends to can hold nothing back. The queue is
 * what a socket did not take; `pause_writing` comes with its first byte, `resume_writing` when it is empty.
 *
 * All is done on the event loop's thread. A socket is closed behind `connection_lost`, at the end of a turn or by
 * `settle`, never in the middle of one: events of the same turn cannot meet a descriptor that is somebody else's.
 */
#include "transport_type.h"

enum { EVENTS = 64, ACCEPTED_AT_ONCE = 16 };

/* --- accepting ------------------------------------------------------------------------------------------------------ */

/* A transport for an accepted socket, watched from now on; NULL with an exception set or, as `errno`, without one. */
static transport *take(sockets *s, int fd) {
    transport *t = PyObject_GC_New(transport, transport_type);
    if (t == NULL) return NULL;
    t->fd = fd;
    t->error = 0;
    t->flags = 0;
    t->armed = EPOLLIN;
    t->owner = (sockets *)Py_NewRef((PyObject *)s);
    t->protocol = t->held = t->queue = NULL;
    t->offset = t->queued = 0;
    PyObject_GC_Track(t);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = t};
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        Py_DECREF(t); /* closes it */
        PyErr_SetFromErrno(PyExc_OSError);
        return NULL;
    }
    Py_INCREF((PyObject *)t); /* as long as it is watched */
    return t;
}

/* One more connection. Its request is mostly there already, and is handed over with it. */
static int welcome(sockets *s, int fd) {
    transport *t = take(s, fd);
    if (t == NULL) return -1;
    int outcome = 0;
    Py_ssize_t n = receive(t);
    if (n == 0) die(t, 0);
    if (!(t->flags & LOST)) {
        PyObject *data = n > 0 ? PyBytes_FromStringAndSize(buffer, n) : Py_NewRef(Py_None);
        PyObject *done = data == NULL ? NULL : PyObject_CallFunctionObjArgs(s->accepted, t, data, NULL);
        Py_XDECREF(data);
        Py_XDECREF(done);
        if (done == NULL) outcome = report(t);
    }
    Py_DECREF(t);
    return outcome;
}

static int accept_some(sockets *s, int listener) {
    for (int i = 0; i < ACCEPTED_AT_ONCE; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (welcome(s, fd) < 0) return -1;
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) return 0;
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            PyObject *error = as_exception(errno);
            PyObject *done = PyObject_CallFunctionObjArgs(s->refused, error, NULL);
            Py_XDECREF(error);
            Py_XDECREF(done);
            return done == NULL ? -1 : 0;
        }
    } /* other errors are of one connection, which is gone (accept(2)) */
    return 0;
}

/* --- the loop's side ------------------------------------------------------------------------------------------------ */

/* Listeners are in epoll as their number, shifted, with the lowest bit set: no address of a transport is odd. */
static uint64_t mark_of(int listener) { return (uint64_t)listener << 1 | 1; }

static int serve(sockets *s, const struct epoll_event *events, int count) {
    for (int i = 0; i < count; i++) {
        uint64_t mark = events[i].data.u64;
        int outcome = mark & 1 ? accept_some(s, (int)(mark >> 1)) : ready(events[i].data.ptr, events[i].events);
        if (outcome < 0) return -1;
    }
    return 0;
}

static PyObject *sockets_turn(PyObject *self, PyObject *unused) {
    sockets *s = (sockets *)self;
    struct epoll_event events[EVENTS];
    (void)unused;
    int count = epoll_wait(s->epoll, events, EVENTS, 0);
    s->in_turn = true;
    int outcome = count > 0 ? serve(s, events, count) : 0;
    while (outcome == 0 && (PyList_Size(s->corked) > 0 || PyList_Size(s->dying) > 0)) {
        outcome = uncork_all(s);
        if (outcome == 0) outcome = bury_all(s);
    }
    s->in_turn = false;
    if (outcome < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *sockets_settle(PyObject *self, PyObject *unused) {
    sockets *s = (sockets *)self;
    (void)unused;
    s->is_scheduled = false;
    if (bury_all(s) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *sockets_listen(PyObject *self, PyObject *number) {
    long listener = PyLong_AsLong(number);
    if (listener == -1 && PyErr_Occurred()) return NULL;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = mark_of((int)listener)};
    if (epoll_ctl(((sockets *)self)->epoll, EPOLL_CTL_ADD, (int)listener, &event) < 0) return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *sockets_ignore(PyObject *self, PyObject *number) {
    long listener = PyLong_AsLong(number);
    if (listener == -1 && PyErr_Occurred()) return NULL;
    struct epoll_event none = {0};
    if (epoll_ctl(((sockets *)self)->epoll, EPOLL_CTL_DEL, (int)listener, &none) < 0 && errno != ENOENT)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *sockets_fileno(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromLong(((sockets *)self)->epoll);
}

static PyObject *sockets_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PyObject *accepted, *refused, *failed, *describe, *schedule;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "OOOOO:Sockets", &accepted, &refused, &failed, &describe, &schedule)) return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    sockets *s = (sockets *)allocate(type, 0);
    if (s == NULL) return NULL;
    s->accepted = Py_NewRef(accepted);
    s->refused = Py_NewRef(refused);
    s->failed = Py_NewRef(failed);
    s->describe = Py_NewRef(describe);
    s->schedule = Py_NewRef(schedule);
    s->corked = PyList_New(0);
    s->dying = PyList_New(0);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll < 0) PyErr_SetFromErrno(PyExc_OSError);
    if (s->epoll < 0 || s->corked == NULL || s->dying == NULL) {
        Py_DECREF((PyObject *)s);
        return NULL;
    }
    return (PyObject *)s;
}

static int sockets_traverse(PyObject *self, visitproc visit, void *arg) {
    sockets *s = (sockets *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(s->accepted);
    Py_VISIT(s->refused);
    Py_VISIT(s->failed);
    Py_VISIT(s->describe);
    Py_VISIT(s->schedule);
    Py_VISIT(s->corked);
    Py_VISIT(s->dying);
    return 0;
}

static int sockets_clear(PyObject *self) {
    sockets *s = (sockets *)self;
    Py_CLEAR(s->accepted);
    Py_CLEAR(s->refused);
    Py_CLEAR(s->failed);
    Py_CLEAR(s->describe);
    Py_CLEAR(s->schedule);
    Py_CLEAR(s->corked);
    Py_CLEAR(s->dying);
    return 0;
}

static void sockets_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (((sockets *)self)->epoll >= 0) close(((sockets *)self)->epoll);
    sockets_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef sockets_methods[] = {
    {"turn", sockets_turn, METH_NOARGS, "turn()\n\nDo what is ready: accept, read, write. Call it when `fileno()` is readable."},
    {"settle", sockets_settle, METH_NOARGS, "settle()\n\nClose what ended between two turns; called through `schedule`."},
    {"listen", sockets_listen, METH_O, "listen(fd)\n\nAccept connections from this listening socket."},
    {"ignore", sockets_ignore, METH_O, "ignore(fd)\n\nAccept none from it any more."},
    {"fileno", sockets_fileno, METH_NOARGS, "The descriptor that is readable while there is something to do."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot sockets_slots[] = {
    {Py_tp_doc, "Sockets(accepted, refused, failed, describe, schedule)\n\nAll connections of a process; see connection/sockets.py."},
    {Py_tp_new, sockets_new},
    {Py_tp_methods, sockets_methods},
    {Py_tp_traverse, sockets_traverse},
    {Py_tp_clear, sockets_clear},
    {Py_tp_dealloc, sockets_dealloc},
    {0, NULL},
};

static PyType_Spec sockets_spec = {
    .name = "sharedjox_gateway.connection._sockets.Sockets",
    .basicsize = sizeof(sockets),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = sockets_slots,
};

static int add_name(PyObject **name, const char *text) {
    if (*name == NULL) *name = PyUnicode_InternFromString(text);
    return *name == NULL ? -1 : 0;
}

static int prepare(PyObject *module) {
    if (add_name(&s_data_received, "data_received") < 0 || add_name(&s_eof_received, "eof_received") < 0
        || add_name(&s_connection_lost, "connection_lost") < 0 || add_name(&s_pause_writing, "pause_writing") < 0
        || add_name(&s_resume_writing, "resume_writing") < 0 || add_name(&s_settle, "settle") < 0) return -1;
    if (transport_type == NULL) transport_type = (PyTypeObject *)PyType_FromSpec(&transport_spec);
    if (transport_type == NULL) return -1;
    PyObject *type = PyType_FromSpec(&sockets_spec);
    if (type == NULL) return -1;
    int outcome = PyModule_AddObjectRef(module, "Sockets", type);
    Py_DECREF(type);
    return outcome;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, prepare}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_sockets", "Optional transports; see connection/sockets.py.", 0, NULL, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__sockets(void) { return PyModuleDef_Init(&definition); }
