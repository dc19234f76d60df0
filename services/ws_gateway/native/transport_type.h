/* A transport's methods, as asyncio has them: part of `sockets.c`. */
#include "transport.h"

static PyTypeObject *transport_type;

static PyObject *transport_write(PyObject *self, PyObject *given) {
    transport *t = (transport *)self;
    if (t->flags & ENDS) {
        PyErr_SetString(PyExc_RuntimeError, "write() after write_eof()");
        return NULL;
    }
    if (t->flags & LOST) Py_RETURN_NONE;
    bool is_bytes = PyBytes_CheckExact(given);
    PyObject *data = is_bytes || PyMemoryView_Check(given) ? Py_NewRef(given) : PyBytes_FromObject(given);
    if (data == NULL) return NULL;
    Py_ssize_t length = PyObject_Length(data), held = t->held == NULL ? 0 : PyBytes_Size(t->held);
    int outcome = length < 0 ? -1 : 0;
    if (length > 0) {
        if (t->owner->in_turn && is_bytes && !is_waiting(t) && held + length < CORKED_BYTES) outcome = cork(t, data);
        else if ((outcome = uncork(t)) == 0) outcome = put(t, data);
    }
    Py_DECREF(data);
    if (outcome < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *transport_close(PyObject *self, PyObject *unused) {
    transport *t = (transport *)self;
    (void)unused;
    if (!(t->flags & CLOSING)) {
        t->flags |= CLOSING;
        emptied(t);
        arm(t);
    }
    Py_RETURN_NONE;
}

static PyObject *transport_abort(PyObject *self, PyObject *unused) {
    (void)unused;
    die((transport *)self, 0);
    Py_RETURN_NONE;
}

static PyObject *transport_write_eof(PyObject *self, PyObject *unused) {
    transport *t = (transport *)self;
    (void)unused;
    t->flags |= ENDS;
    emptied(t);
    Py_RETURN_NONE;
}

static PyObject *transport_pause_reading(PyObject *self, PyObject *unused) {
    (void)unused;
    ((transport *)self)->flags |= PAUSED;
    arm((transport *)self);
    Py_RETURN_NONE;
}

static PyObject *transport_resume_reading(PyObject *self, PyObject *unused) {
    (void)unused;
    ((transport *)self)->flags &= ~(uint32_t)PAUSED;
    arm((transport *)self);
    Py_RETURN_NONE;
}

static PyObject *transport_is_reading(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(is_reading((transport *)self));
}

static PyObject *transport_is_closing(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(((transport *)self)->flags & CLOSING);
}

static PyObject *transport_set_protocol(PyObject *self, PyObject *protocol) {
    transport *t = (transport *)self;
    PyObject *before = t->protocol;
    t->protocol = t->fd < 0 ? NULL : Py_NewRef(protocol); /* who is buried hears nothing any more */
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

static PyObject *transport_get_protocol(PyObject *self, PyObject *unused) {
    transport *t = (transport *)self;
    (void)unused;
    return Py_NewRef(t->protocol == NULL ? Py_None : t->protocol);
}

static PyObject *transport_get_write_buffer_size(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromSsize_t(((transport *)self)->queued);
}

/* The limits are 0 and stay so: `pause_writing` comes with the first byte that has to wait. */
static PyObject *transport_set_write_buffer_limits(PyObject *self, PyObject *args, PyObject *keywords) {
    (void)self, (void)args, (void)keywords;
    Py_RETURN_NONE;
}

static PyObject *transport_fileno(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromLong(((transport *)self)->fd);
}

static PyObject *transport_can_write_eof(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    Py_RETURN_TRUE;
}

static PyObject *transport_get_extra_info(PyObject *self, PyObject *args) {
    transport *t = (transport *)self;
    PyObject *name, *otherwise = Py_None;
    if (!PyArg_ParseTuple(args, "O|O:get_extra_info", &name, &otherwise)) return NULL;
    if (t->fd < 0) return Py_NewRef(otherwise);
    PyObject *fd = PyLong_FromLong(t->fd);
    PyObject *info = fd == NULL ? NULL : PyObject_CallFunctionObjArgs(t->owner->describe, fd, name, NULL);
    Py_XDECREF(fd);
    if (info != Py_None) return info;
    Py_DECREF(info);
    return Py_NewRef(otherwise);
}

static int transport_traverse(PyObject *self, visitproc visit, void *arg) {
    transport *t = (transport *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(t->protocol);
    Py_VISIT(t->queue);
    return 0;
}

static int transport_clear(PyObject *self) {
    Py_CLEAR(((transport *)self)->protocol);
    Py_CLEAR(((transport *)self)->queue);
    return 0;
}

static void transport_dealloc(PyObject *self) {
    transport *t = (transport *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (t->fd >= 0) close(t->fd);
    Py_CLEAR(t->protocol);
    drop_queue(t);
    Py_DECREF((PyObject *)t->owner);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef transport_methods[] = {
    {"write", transport_write, METH_O, "See asyncio.WriteTransport. Bytes and memoryviews are not copied."},
    {"close", transport_close, METH_NOARGS, "See asyncio.BaseTransport."},
    {"abort", transport_abort, METH_NOARGS, "See asyncio.WriteTransport."},
    {"write_eof", transport_write_eof, METH_NOARGS, "See asyncio.WriteTransport."},
    {"can_write_eof", transport_can_write_eof, METH_NOARGS, "True."},
    {"pause_reading", transport_pause_reading, METH_NOARGS, "See asyncio.ReadTransport."},
    {"resume_reading", transport_resume_reading, METH_NOARGS, "See asyncio.ReadTransport."},
    {"is_reading", transport_is_reading, METH_NOARGS, "See asyncio.ReadTransport."},
    {"is_closing", transport_is_closing, METH_NOARGS, "See asyncio.BaseTransport."},
    {"set_protocol", transport_set_protocol, METH_O, "See asyncio.BaseTransport."},
    {"get_protocol", transport_get_protocol, METH_NOARGS, "See asyncio.BaseTransport."},
    {"get_write_buffer_size", transport_get_write_buffer_size, METH_NOARGS, "Bytes that the socket did not take yet."},
    {"set_write_buffer_limits", (PyCFunction)(void (*)(void))transport_set_write_buffer_limits, METH_VARARGS | METH_KEYWORDS,
     "Nothing to set: the limits are 0."},
    {"get_extra_info", transport_get_extra_info, METH_VARARGS, "See asyncio.BaseTransport."},
    {"fileno", transport_fileno, METH_NOARGS, "The descriptor; -1 once it is closed."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot transport_slots[] = {
    {Py_tp_doc, "A TCP connection: see asyncio.Transport."},
    {Py_tp_methods, transport_methods},
    {Py_tp_traverse, transport_traverse},
    {Py_tp_clear, transport_clear},
    {Py_tp_dealloc, transport_dealloc},
    {0, NULL},
};

static PyType_Spec transport_spec = {
    .name = "sharedjox_gateway.connection._sockets.Transport",
    .basicsize = sizeof(transport),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = transport_slots,
};
