/*
 * sharedjox_gateway.connection._sending: one system call per connection and nothing else in between.
 *
 * Optional. Without it the gateway writes through its transports, with the same results (connection/sending.py).
 *
 * A connection's `fd` is its socket while everything given to it was sent, and negative while its transport holds unsent
 * bytes, once it closes, and always under TLS. So what is sent here cannot overtake what is queued there. The
 * descriptors are read at the moment of sending, on the event loop's thread, which alone closes them: no descriptor can
 * have been given to somebody else in the meantime.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <structmember.h>

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

enum { NONE = -1 };

/* What a connection is to this code. The number stands in the object itself: its line of the cache is all that is read. */
typedef struct {
    PyObject_HEAD
    int fd;
} socket_holder;

static PyTypeObject *holder_type;

/* The descriptor of a member, NONE when it has none that may be used. */
static int descriptor_of(PyObject *member) {
    if (!PyObject_TypeCheck(member, holder_type)) return NONE; /* no socket: it takes the slow way */
    int fd = ((socket_holder *)member)->fd;
    return fd < 0 ? NONE : fd;
}

/* Bytes that a socket took; a failure counts as none. */
static Py_ssize_t send_one(int fd, const char *data, Py_ssize_t length) {
    ssize_t n;
    do {
        n = send(fd, data, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? n : 0;
}

/* How many members are served between two looks at whether the loop has something else to do. */
enum { LOOK_EVERY = 32 };

typedef struct {
    int fd[LOOK_EVERY];
    Py_ssize_t sent[LOOK_EVERY];
    int count;
} batch;

/* Read the descriptors of the members from `start` on, all fetched into the cache side by side. */
static void load(batch *now, PyObject *members, Py_ssize_t start, Py_ssize_t stop) {
    Py_ssize_t left = stop - start;
    now->count = left < LOOK_EVERY ? (int)left : LOOK_EVERY;
    for (int i = 0; i < now->count; i++) __builtin_prefetch(PyList_GetItem(members, start + i));
    for (int i = 0; i < now->count; i++) now->fd[i] = descriptor_of(PyList_GetItem(members, start + i));
}

static void send_batch(batch *now, const char *data, Py_ssize_t length) {
    for (int i = 0; i < now->count; i++) now->sent[i] = now->fd[i] < 0 ? 0 : send_one(now->fd[i], data, length);
}

/* What was not sent whole becomes (index of the member, bytes sent). A failed send counts as none: the transport finds out why. */
static int keep_unsent(PyObject *unsent, const batch *now, Py_ssize_t start, Py_ssize_t length) {
    for (int i = 0; i < now->count; i++) {
        if (now->sent[i] == length) continue;
        PyObject *pair = Py_BuildValue("(nn)", start + i, now->sent[i]);
        if (pair == NULL || PyList_Append(unsent, pair) < 0) {
            Py_XDECREF(pair);
            return -1;
        }
        Py_DECREF(pair);
    }
    return 0;
}

/* Whether something else waits for the loop's thread: its epoll descriptor is readable then. */
static int is_wanted(int loop_fd) {
    struct pollfd loop = {.fd = loop_fd, .events = POLLIN};
    return loop_fd >= 0 && poll(&loop, 1, 0) > 0;
}

static PyObject *send_many(PyObject *module, PyObject *args) {
    PyObject *members;
    Py_ssize_t at, stop, length;
    const char *data;
    int loop_fd, wanted = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!nny#i:send_many", &PyList_Type, &members, &at, &stop, &data, &length, &loop_fd)) return NULL;
    if (at < 0 || stop > PyList_Size(members)) {
        PyErr_SetString(PyExc_IndexError, "no such members");
        return NULL;
    }
    PyObject *unsent = PyList_New(0);
    if (unsent == NULL) return NULL;
    for (batch now; at < stop && !wanted; at += now.count) {
        load(&now, members, at, stop);
        Py_BEGIN_ALLOW_THREADS
        send_batch(&now, data, length);
        wanted = at + now.count < stop && is_wanted(loop_fd);
        Py_END_ALLOW_THREADS
        if (keep_unsent(unsent, &now, at, length) < 0) {
            Py_DECREF(unsent);
            return NULL;
        }
    }
    return Py_BuildValue("(nN)", at, unsent);
}

/* One of the pieces for `send_each`. */
typedef struct {
    int fd;
    char *data;
    Py_ssize_t length, sent;
} piece;

/* What was not sent whole becomes (index, bytes sent). */
static PyObject *unsent_pieces(const piece *pieces, Py_ssize_t count) {
    PyObject *list = PyList_New(0);
    if (list == NULL) return NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (pieces[i].sent == pieces[i].length) continue;
        PyObject *pair = Py_BuildValue("(nn)", i, pieces[i].sent);
        if (pair == NULL || PyList_Append(list, pair) < 0) {
            Py_XDECREF(pair);
            Py_DECREF(list);
            return NULL;
        }
        Py_DECREF(pair);
    }
    return list;
}

/* Where a piece did not go whole, later ones for the same socket must not overtake its rest: they are left out too. */
static void send_pieces(piece *pieces, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) {
        if (pieces[i].fd < 0) continue;
        pieces[i].sent = send_one(pieces[i].fd, pieces[i].data, pieces[i].length);
        if (pieces[i].sent == pieces[i].length) continue;
        for (Py_ssize_t j = i + 1; j < count; j++)
            if (pieces[j].fd == pieces[i].fd) pieces[j].fd = NONE;
    }
}

static PyObject *send_each(PyObject *module, PyObject *args) {
    PyObject *members, *payloads;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!:send_each", &PyList_Type, &members, &PyList_Type, &payloads)) return NULL;
    Py_ssize_t count = PyList_Size(members);
    if (PyList_Size(payloads) != count) {
        PyErr_SetString(PyExc_ValueError, "as many pieces as members expected");
        return NULL;
    }
    piece *pieces = PyMem_Malloc(sizeof(piece) * (size_t)(count ? count : 1));
    if (pieces == NULL) return PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < count; i++) {
        pieces[i].sent = 0;
        pieces[i].fd = descriptor_of(PyList_GetItem(members, i));
        if (PyBytes_AsStringAndSize(PyList_GetItem(payloads, i), &pieces[i].data, &pieces[i].length) < 0) {
            PyMem_Free(pieces);
            return NULL;
        }
    }
    Py_BEGIN_ALLOW_THREADS
    send_pieces(pieces, count);
    Py_END_ALLOW_THREADS
    PyObject *result = unsent_pieces(pieces, count);
    PyMem_Free(pieces);
    return result;
}

static PyMethodDef methods[] = {
    {"send_each", send_each, METH_VARARGS,
     "send_each(members, pieces) -> [(index, bytes sent), ...]\n\n"
     "Send to the socket `fd` of every member of a list the bytes at its place in another; returns what did not go whole."},
    {"send_many", send_many, METH_VARARGS,
     "send_many(members, start, stop, data, loop_fd) -> (end, [(index, bytes sent), ...])\n\n"
     "Send `data` to the sockets `fd` of the members of a list from `start` to before `stop`, or to before `end` when the epoll\n"
     "descriptor `loop_fd` (none if negative) has become readable; returns those that did not take all of it too."},
    {NULL, NULL, 0, NULL},
};

static PyObject *holder_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *holder = allocate(type, 0);
    (void)args, (void)keywords; /* they are for `__init__` */
    if (holder != NULL) ((socket_holder *)holder)->fd = NONE;
    return holder;
}

static PyMemberDef holder_members[] = {
    {"fd", T_INT, offsetof(socket_holder, fd), 0, "The socket that may be written to; negative for none."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot holder_slots[] = {
    {Py_tp_doc, "What has a socket, see connection/sending.py."},
    {Py_tp_new, holder_new},
    {Py_tp_members, holder_members},
    {0, NULL},
};

static PyType_Spec holder_spec = {
    .name = "sharedjox_gateway.connection._sending.SocketHolder",
    .basicsize = sizeof(socket_holder),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = holder_slots,
};

static int prepare(PyObject *module) {
    if (holder_type == NULL) holder_type = (PyTypeObject *)PyType_FromSpec(&holder_spec);
    return holder_type == NULL ? -1 : PyModule_AddObjectRef(module, "SocketHolder", (PyObject *)holder_type);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, prepare}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_sending", "The optional send loop; see connection/sending.py.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__sending(void) { return PyModuleDef_Init(&definition); }
