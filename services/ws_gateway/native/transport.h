/*
 * What one connection does: part of `sockets.c`, which has the rules.
 *
 * Functions return 0, or -1 with an exception set that nobody can deal with here. Exceptions of protocols are reported
 * and end their connection.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 64 * 1024, CORKED_BYTES = 16 * 1024 };
enum { CLOSING = 1, LOST = 2, PAUSED = 4, PEER_ENDED = 8, ENDS = 16, ENDED = 32, CORKED = 64 };

typedef struct {
    PyObject_HEAD
    int epoll;
    bool in_turn, is_scheduled;
    PyObject *accepted, *refused, *failed, *describe, *schedule; /* what Python does about it, see connection/sockets.py */
    PyObject *corked; /* transports with something to send at the end of the turn */
    PyObject *dying;  /* transports whose protocol is to hear `connection_lost` */
} sockets;

typedef struct {
    PyObject_HEAD
    int fd, error;
    uint32_t armed; /* what epoll watches for */
    uint32_t flags;
    sockets *owner;
    PyObject *protocol;
    PyObject *held;  /* bytes that leave at the end of the turn */
    PyObject *queue; /* a list of what the socket did not take, the first from `offset` on */
    Py_ssize_t offset, queued;
} transport;

static char buffer[READ_SIZE];
static PyObject *s_data_received, *s_eof_received, *s_connection_lost, *s_pause_writing, *s_resume_writing, *s_settle;

/* --- calling Python ------------------------------------------------------------------------------------------------- */

static void die(transport *t, int error);

/* A protocol raised: say so and drop the connection, as asyncio does. Returns -1 for what must end the loop. */
static int report(transport *t) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) return -1;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) PyException_SetTraceback(value, traceback);
    die(t, 0);
    PyObject *done = PyObject_CallFunctionObjArgs(t->owner->failed, t, value, NULL);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    if (done == NULL) return -1;
    Py_DECREF(done);
    return 0;
}

/* 1 for a true answer, 0 for a false one or a failure that was reported, -1 for an exception that goes on. */
static int tell(transport *t, PyObject *method, PyObject *argument) {
    if (t->protocol == NULL) return 0;
    PyObject *protocol = Py_NewRef(t->protocol);
    PyObject *answer = PyObject_CallMethodObjArgs(protocol, method, argument, NULL);
    Py_DECREF(protocol);
    if (answer == NULL) return report(t);
    int is_true = PyObject_IsTrue(answer);
    Py_DECREF(answer);
    return is_true < 0 ? report(t) : is_true;
}

/* --- a transport's life --------------------------------------------------------------------------------------------- */

static bool is_reading(const transport *t) { return !(t->flags & (CLOSING | LOST | PAUSED | PEER_ENDED)); }

static bool is_waiting(const transport *t) { return t->queued > 0; }

/* Have epoll watch for what matters now. */
static void arm(transport *t) {
    uint32_t wanted = (is_reading(t) ? EPOLLIN : 0u) | (is_waiting(t) ? EPOLLOUT : 0u);
    if (t->flags & LOST || wanted == t->armed) return;
    struct epoll_event event = {.events = wanted, .data.ptr = t};
    if (epoll_ctl(t->owner->epoll, EPOLL_CTL_MOD, t->fd, &event) == 0) t->armed = wanted;
}

static void drop_queue(transport *t) {
    Py_CLEAR(t->held);
    Py_CLEAR(t->queue);
    t->offset = t->queued = 0;
}

/* Nothing is read or written any more; the protocol hears of it at the end of the turn. */
static void die(transport *t, int error) {
    sockets *owner = t->owner;
    if (t->flags & LOST) return;
    t->flags |= LOST | CLOSING;
    t->error = error;
    drop_queue(t);
    struct epoll_event none = {0};
    epoll_ctl(owner->epoll, EPOLL_CTL_DEL, t->fd, &none);
    if (PyList_Append(owner->dying, (PyObject *)t) < 0) PyErr_WriteUnraisable((PyObject *)t);
    if (owner->in_turn || owner->is_scheduled) return;
    PyObject *settle = PyObject_GetAttr((PyObject *)owner, s_settle);
    PyObject *handle = settle == NULL ? NULL : PyObject_CallFunctionObjArgs(owner->schedule, settle, NULL);
    Py_XDECREF(settle);
    if (handle == NULL) PyErr_WriteUnraisable((PyObject *)owner);
    else owner->is_scheduled = true;
    Py_XDECREF(handle);
}

static PyObject *as_exception(int error) {
    if (error == 0) return Py_NewRef(Py_None);
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

/* The last word to a protocol; then the socket is closed. */
static int bury(transport *t) {
    PyObject *error = as_exception(t->error);
    int told = tell(t, s_connection_lost, error);
    Py_XDECREF(error);
    close(t->fd);
    t->fd = -1;
    Py_CLEAR(t->protocol);
    Py_DECREF(t); /* of `take`: the socket is no longer watched */
    return told < 0 ? -1 : 0;
}

static int bury_all(sockets *s) {
    int outcome = 0;
    Py_ssize_t done = 0;
    while (outcome == 0 && done < PyList_Size(s->dying)) outcome = bury((transport *)PyList_GetItem(s->dying, done++));
    return PyList_SetSlice(s->dying, 0, done, NULL) < 0 ? -1 : outcome;
}

/* --- writing -------------------------------------------------------------------------------------------------------- */

/* Bytes that the socket took now: all, a part, none; -1 when it never will take any. */
static Py_ssize_t send_some(transport *t, const char *data, Py_ssize_t length) {
    ssize_t n;
    do {
        n = send(t->fd, data, (size_t)length, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) return n;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return 0;
    die(t, errno);
    return -1;
}

static int append(transport *t, PyObject *data, Py_ssize_t length) {
    if (t->queue == NULL && (t->queue = PyList_New(0)) == NULL) return -1;
    if (PyList_Append(t->queue, data) < 0) return -1;
    t->queued += length;
    return 0;
}

/* Everything has left: what waited for that happens now. */
static void emptied(transport *t) {
    if (t->flags & LOST || t->held != NULL || is_waiting(t)) return;
    if (t->flags & CLOSING) die(t, 0);
    else if (t->flags & ENDS && !(t->flags & ENDED)) {
        t->flags |= ENDED;
        shutdown(t->fd, SHUT_WR);
    }
}

/* Send, behind what waits already; what is not taken waits. */
static int put(transport *t, PyObject *data) {
    Py_buffer view;
    if (t->flags & LOST) return 0;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) return -1;
    Py_ssize_t length = view.len, sent = 0;
    bool was_waiting = is_waiting(t);
    if (!was_waiting) sent = send_some(t, view.buf, length);
    PyBuffer_Release(&view);
    if (sent < 0 || sent == length) return 0;
    if (append(t, data, length) < 0) return -1;
    if (was_waiting) return 0;
    t->offset = sent;
    t->queued -= sent;
    arm(t);
    return tell(t, s_pause_writing, NULL) < 0 ? -1 : 0;
}

static int uncork(transport *t) {
    PyObject *data = t->held;
    if (data == NULL) return 0;
    t->held = NULL;
    int outcome = put(t, data);
    Py_DECREF(data);
    if (outcome == 0) emptied(t);
    return outcome;
}

static int uncork_all(sockets *s) {
    int outcome = 0;
    Py_ssize_t done = 0;
    while (outcome == 0 && done < PyList_Size(s->corked)) {
        transport *t = (transport *)PyList_GetItem(s->corked, done++);
        t->flags &= ~(uint32_t)CORKED;
        outcome = uncork(t);
    }
    return PyList_SetSlice(s->corked, 0, done, NULL) < 0 ? -1 : outcome;
}

/* Keep small writes until the end of the turn. */
static int cork(transport *t, PyObject *data) {
    if (t->held == NULL) t->held = Py_NewRef(data);
    else PyBytes_Concat(&t->held, data);
    if (t->held == NULL) return -1;
    if (t->flags & CORKED) return 0;
    t->flags |= CORKED;
    return PyList_Append(t->owner->corked, (PyObject *)t);
}

/* The socket takes more: give it what waits. */
static int drain(transport *t) {
    Py_ssize_t done = 0, count = PyList_Size(t->queue), sent = 0;
    while (done < count) {
        Py_buffer view;
        if (PyObject_GetBuffer(PyList_GetItem(t->queue, done), &view, PyBUF_SIMPLE) < 0) return -1;
        Py_ssize_t left = view.len - t->offset;
        sent = send_some(t, (const char *)view.buf + t->offset, left);
        PyBuffer_Release(&view);
        if (sent < 0) return 0;
        t->queued -= sent;
        t->offset += sent;
        if (sent < left) break;
        t->offset = 0;
        done++;
    }
    if (PyList_SetSlice(t->queue, 0, done, NULL) < 0) return -1;
    if (is_waiting(t)) return 0;
    Py_CLEAR(t->queue);
    arm(t);
    if (!(t->flags & CLOSING) && tell(t, s_resume_writing, NULL) < 0) return -1;
    emptied(t);
    return 0;
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

/* Bytes read into `buffer`; 0 at the end of the stream, -1 when there is nothing or the connection failed. */
static Py_ssize_t receive(transport *t) {
    ssize_t n = recv(t->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) die(t, errno);
    return n;
}

static int peer_ended(transport *t) {
    t->flags |= PEER_ENDED;
    int keeps_open = tell(t, s_eof_received, NULL);
    if (keeps_open < 0) return -1;
    if (!keeps_open && !(t->flags & CLOSING)) {
        t->flags |= CLOSING;
        emptied(t);
    }
    arm(t);
    return 0;
}

static int readable(transport *t) {
    Py_ssize_t n = receive(t);
    if (n < 0) return 0;
    if (n == 0) return peer_ended(t);
    PyObject *data = PyBytes_FromStringAndSize(buffer, n);
    if (data == NULL) return -1;
    int told = tell(t, s_data_received, data);
    Py_DECREF(data);
    return told < 0 ? -1 : 0;
}

static int ready(transport *t, uint32_t events) {
    if (events & EPOLLOUT && is_waiting(t) && !(t->flags & LOST) && drain(t) < 0) return -1;
    if (t->flags & LOST || !(events & ~(uint32_t)EPOLLOUT)) return 0;
    if (is_reading(t)) return readable(t);
    if (events & (EPOLLERR | EPOLLHUP)) { /* nobody reads, so nobody else would notice */
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        die(t, error);
    }
    return 0;
}
