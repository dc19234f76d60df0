/*
 * Targets by topic: part of `pushes.c`.
 *
 * What a dict would be, but it can be told of many topics before their targets are needed: of 10,000 channels neither the
 * place of a topic nor the topic, the target or its members are in the cache, and a dict waits for one after the other.
 *
 * A hash table with linear probing. The hash is that of Python's bytes, which is keyed: clients choose channels' names.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdbool.h>
#include <string.h>

enum { CACHE_LINE = 64, TOPIC_LINES = 2, TARGET_LINES = 3, FEWEST_PLACES = 8 };

typedef struct {
    Py_hash_t hash;
    PyObject *topic, *target; /* NULL: nothing is here */
    PyObject *members;        /* the target's attribute of this name if that is a dict, else NULL: only for hints */
} place;

/* At most two of three places are taken, so there is always a free one to end a search. */
typedef struct {
    PyObject_HEAD
    place *places;
    size_t count; /* of places, a power of two, or 0 */
    size_t taken;
} targets;

static PyTypeObject *targets_type;

static bool is_same(const place *at, const char *topic, Py_ssize_t length) {
    return PyBytes_Size(at->topic) == length && !memcmp(PyBytes_AsString(at->topic), topic, (size_t)length);
}

static size_t after(const targets *among, size_t at) { return (at + 1) & (among->count - 1); }

static size_t home_of(const targets *among, Py_hash_t hash) { return (size_t)hash & (among->count - 1); }

/* The place of a topic, or the free one where it would go. There must be places. */
static place *find(const targets *among, Py_hash_t hash, const char *topic, Py_ssize_t length) {
    size_t at = home_of(among, hash);
    while (among->places[at].topic != NULL && (among->places[at].hash != hash || !is_same(&among->places[at], topic, length)))
        at = after(among, at);
    return &among->places[at];
}

/* The place of a topic, or NULL when it is unknown. */
static const place *place_of(const targets *among, Py_hash_t hash, const char *topic, Py_ssize_t length) {
    const place *found = among->count ? find(among, hash, topic, length) : NULL;
    return found == NULL || found->topic == NULL ? NULL : found;
}

/* --- hints. A prefetch beyond the end of an object does no harm. ----------------------------------------------------- */

static void foresee(const void *start, int lines) {
    for (int line = 0; line < lines; line++) __builtin_prefetch((const char *)start + line * CACHE_LINE, 1);
}

/* First this for all topics, */
static void foresee_place(const targets *among, Py_hash_t hash) {
    if (among->count) __builtin_prefetch(&among->places[home_of(among, hash)]);
}

/* then this: the topic that will be compared, and of the target what delivery reads and writes; */
static void foresee_target(const targets *among, Py_hash_t hash) {
    if (!among->count) return;
    size_t at = home_of(among, hash);
    while (among->places[at].topic != NULL && among->places[at].hash != hash) at = after(among, at);
    if (among->places[at].topic == NULL) return;
    foresee(among->places[at].topic, TOPIC_LINES);
    foresee(among->places[at].target, TARGET_LINES);
    if (among->places[at].members != NULL) foresee(among->places[at].members, 1);
}

/* and this when these are there: the first member, which in many small channels is the only one. */
static void foresee_member(const place *at) {
    PyObject *member, *joined;
    Py_ssize_t first = 0;
    if (at->members != NULL && PyDict_Next(at->members, &first, &member, &joined)) foresee(member, 1);
}

/* --- changes. What is replaced or removed is released last: that may run any code, which may change the table. -------- */

static int resize(targets *among, size_t count) {
    place *before = among->places, *places = PyMem_Calloc(count, sizeof *places);
    if (places == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    size_t places_before = among->count;
    among->places = places;
    among->count = count;
    for (size_t i = 0; i < places_before; i++) {
        if (before[i].topic == NULL) continue;
        size_t at = home_of(among, before[i].hash);
        while (places[at].topic != NULL) at = after(among, at);
        places[at] = before[i];
    }
    PyMem_Free(before);
    return 0;
}

/* Room for one more. */
static int make_room(targets *among) {
    if ((among->taken + 1) * 3 <= among->count * 2) return 0;
    return resize(among, among->count ? among->count * 2 : FEWEST_PLACES);
}

/* A new reference; NULL, and no exception, when there is none. */
static PyObject *members_of(PyObject *target) {
    PyObject *members = PyObject_GetAttrString(target, "members");
    if (members != NULL && PyDict_Check(members)) return members;
    Py_XDECREF(members);
    PyErr_Clear();
    return NULL;
}

static int put(targets *among, PyObject *topic, PyObject *target) {
    PyObject *members = members_of(target);
    Py_hash_t hash = PyObject_Hash(topic);
    if ((hash == -1 && PyErr_Occurred()) || make_room(among) < 0) {
        Py_XDECREF(members);
        return -1;
    }
    place *at = find(among, hash, PyBytes_AsString(topic), PyBytes_Size(topic)), before = *at;
    if (before.topic == NULL) {
        at->topic = Py_NewRef(topic);
        at->hash = hash;
        among->taken++;
    }
    at->target = Py_NewRef(target);
    at->members = members;
    Py_XDECREF(before.target);
    Py_XDECREF(before.members);
    return 0;
}

/* Whatever comes behind a place that becomes free, up to the next free one, moves up where it is then found again. */
static void close_gap(targets *among, size_t gap) {
    size_t last = among->count - 1;
    for (size_t at = after(among, gap); among->places[at].topic != NULL; at = after(among, at)) {
        size_t home = home_of(among, among->places[at].hash);
        if (((at - home) & last) < ((at - gap) & last)) continue; /* its home lies behind the gap */
        among->places[gap] = among->places[at];
        gap = at;
    }
    among->places[gap] = (place){0};
    among->taken--;
}

/* The target is the caller's; NULL when the topic is unknown, or with an exception set. */
static PyObject *take_out(targets *among, PyObject *topic) {
    Py_hash_t hash = PyObject_Hash(topic);
    if ((hash == -1 && PyErr_Occurred()) || !among->count) return NULL;
    place *at = find(among, hash, PyBytes_AsString(topic), PyBytes_Size(topic));
    if (at->topic == NULL) return NULL;
    place before = *at;
    close_gap(among, (size_t)(at - among->places));
    Py_DECREF(before.topic);
    Py_XDECREF(before.members);
    return before.target;
}

/* --- as a Python type ------------------------------------------------------------------------------------------------ */

static int expect_topic(PyObject *topic) {
    if (PyBytes_Check(topic)) return 0;
    PyErr_SetString(PyExc_TypeError, "a topic is bytes");
    return -1;
}

static int targets_set(PyObject *self, PyObject *topic, PyObject *target) {
    if (expect_topic(topic) < 0) return -1;
    if (target != NULL) return put((targets *)self, topic, target);
    PyErr_SetString(PyExc_TypeError, "a topic is taken out by pop()");
    return -1;
}

static PyObject *targets_get(PyObject *self, PyObject *topic) {
    if (expect_topic(topic) < 0) return NULL;
    Py_hash_t hash = PyObject_Hash(topic);
    if (hash == -1 && PyErr_Occurred()) return NULL;
    const place *at = place_of((targets *)self, hash, PyBytes_AsString(topic), PyBytes_Size(topic));
    return Py_NewRef(at != NULL ? at->target : Py_None);
}

static PyObject *targets_pop(PyObject *self, PyObject *args) {
    PyObject *topic, *otherwise;
    if (!PyArg_ParseTuple(args, "SO:pop", &topic, &otherwise)) return NULL;
    PyObject *target = take_out((targets *)self, topic);
    if (target != NULL) return target;
    return PyErr_Occurred() ? NULL : Py_NewRef(otherwise);
}

static int targets_traverse(PyObject *self, visitproc visit, void *arg) {
    targets *all = (targets *)self;
    Py_VISIT(Py_TYPE(self));
    for (size_t i = 0; i < all->count; i++) {
        Py_VISIT(all->places[i].target);
        Py_VISIT(all->places[i].members);
    }
    return 0;
}

static int targets_clear(PyObject *self) {
    targets *all = (targets *)self;
    place *places = all->places;
    size_t count = all->count;
    all->places = NULL;
    all->count = 0;
    all->taken = 0;
    for (size_t i = 0; i < count; i++) {
        Py_XDECREF(places[i].topic);
        Py_XDECREF(places[i].target);
        Py_XDECREF(places[i].members);
    }
    PyMem_Free(places);
    return 0;
}

static void targets_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    targets_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef targets_methods[] = {
    {"get", targets_get, METH_O, "The target of a topic, or None."},
    {"pop", targets_pop, METH_VARARGS, "pop(topic, otherwise): take a topic out; returns its target, or `otherwise`."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot targets_slots[] = {
    {Py_tp_doc, "Targets by topic, see broker/pushes.py."},
    {Py_tp_methods, targets_methods},
    {Py_tp_traverse, targets_traverse},
    {Py_tp_clear, targets_clear},
    {Py_tp_dealloc, targets_dealloc},
    {Py_mp_ass_subscript, targets_set},
    {0, NULL},
};

static PyType_Spec targets_spec = {
    .name = "sharedjox_gateway.broker._pushes.Targets",
    .basicsize = sizeof(targets),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = targets_slots,
};

static int prepare(PyObject *module) {
    if (targets_type == NULL) targets_type = (PyTypeObject *)PyType_FromSpec(&targets_spec);
    return targets_type == NULL ? -1 : PyModule_AddObjectRef(module, "Targets", (PyObject *)targets_type);
}
