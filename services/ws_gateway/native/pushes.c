/*
 * sharedjox_gateway.broker._pushes: what Redis pushes, from the bytes of a read to events that are ready to be sent.
 *
 * Optional. Without it hiredis and Python read the same (broker/pushes.py). It only knows a whole pub/sub message with a
 * plain event in it, whose header has nothing that concerns delivery but name, id and time. Whatever else comes, right or
 * wrong, is given back for Python to decide. So this can be strict where it likes, and must never take what Python would
 * not.
 */
#include "targets.h"

enum { MAX_DIGITS = 18, NAMES = 64, MAX_NAME = 64 };
enum { AHEAD = 32 };

typedef struct {
    const char *start;
    Py_ssize_t length;
} span;

/* Reads forward; once something is not as expected it stays at fault. */
typedef struct {
    const char *at, *end;
    bool failed;
} cursor;

static bool skip(cursor *from, const char *text, Py_ssize_t length) {
    if (from->failed || from->end - from->at < length || memcmp(from->at, text, (size_t)length)) return false;
    from->at += length;
    return true;
}

static void expect(cursor *from, const char *text, Py_ssize_t length) {
    if (!skip(from, text, length)) from->failed = true;
}

#define SKIP(from, text) skip(from, text, sizeof(text) - 1)
#define EXPECT(from, text) expect(from, text, sizeof(text) - 1)

/* A decimal number without sign or leading zeros; of more than MAX_DIGITS the rest is left, where nothing expects it. */
static long long number(cursor *from) {
    const char *start = from->at;
    long long value = 0;
    while (from->at < from->end && *from->at >= '0' && *from->at <= '9' && from->at - start < MAX_DIGITS)
        value = value * 10 + (*from->at++ - '0');
    Py_ssize_t digits = from->at - start;
    if (!digits || (digits > 1 && *start == '0')) from->failed = true;
    return value;
}

/* What stands before `stop`: printable ASCII without quotes and backslashes, so the same in JSON and as a text. */
static span text_before(cursor *from, char stop) {
    span found = {from->at, 0};
    while (from->at < from->end && *from->at > 0x20 && *from->at < 0x7f && *from->at != stop && *from->at != '"' && *from->at != '\\')
        from->at++;
    found.length = from->at - found.start;
    if (from->at == from->end || *from->at != stop) from->failed = true;
    else from->at++;
    return found;
}

/* A bulk string of RESP; the cursor fails when it is not there whole. */
static span bulk(cursor *from) {
    span found = {NULL, 0};
    EXPECT(from, "$");
    long long length = number(from);
    EXPECT(from, "\r\n");
    if (from->failed || from->end - from->at < length + 2) {
        from->failed = true;
        return found;
    }
    found.start = from->at;
    found.length = (Py_ssize_t)length;
    from->at += length;
    EXPECT(from, "\r\n");
    return found;
}

/* A pub/sub message: its kind ("message" or "smessage"), topic and content. False when no whole one is here. */
static bool read_message(cursor *from, span *kind, span *topic, span *content) {
    EXPECT(from, "*3\r\n");
    *kind = bulk(from);
    bool is_message = !from->failed
        && ((kind->length == 7 && !memcmp(kind->start, "message", 7)) || (kind->length == 8 && !memcmp(kind->start, "smessage", 8)));
    if (!is_message) return false;
    *topic = bulk(from);
    *content = bulk(from);
    return !from->failed;
}

typedef struct {
    long long offset, committed_at_us;
    span epoch, name, id, frame;
} event;

/* `<offset> <epoch> <header JSON>\n<frame JSON>` (libs/contracts publication.py), as its publishers write it. */
static bool read_event(span content, event *found) {
    cursor from = {content.start, content.start + content.length, false};
    found->offset = number(&from);
    EXPECT(&from, " ");
    found->epoch = text_before(&from, ' ');
    EXPECT(&from, "{\"e\":\"");
    found->name = text_before(&from, '"');
    found->id.start = "";
    found->id.length = 0;
    found->committed_at_us = 0;
    if (SKIP(&from, ",\"i\":\"")) found->id = text_before(&from, '"');
    if (SKIP(&from, ",\"t\":")) found->committed_at_us = number(&from);
    if (SKIP(&from, ",\"r\":\"")) text_before(&from, '"');
    EXPECT(&from, "}\n");
    found->frame.start = from.at;
    found->frame.length = from.end - from.at;
    return !from.failed;
}

/* --- as Python objects ---------------------------------------------------------------------------------------------- */

static PyObject *text_of(span text) { return PyUnicode_FromStringAndSize(text.start, text.length); }

/* Few names stand on many events: the same text is the same object, whose hash is known. */
static PyObject *name_of(span name) {
    static struct {
        PyObject *text;
        Py_ssize_t length;
        char bytes[MAX_NAME];
    } known[NAMES];
    if (name.length > MAX_NAME || !name.length) return text_of(name);
    unsigned place = (unsigned)name.length * 31u + (unsigned char)name.start[0] + (unsigned char)name.start[name.length - 1] * 7u
        + (unsigned char)name.start[name.length / 2] * 3u;
    place %= NAMES;
    if (known[place].text && known[place].length == name.length && !memcmp(known[place].bytes, name.start, (size_t)name.length))
        return Py_NewRef(known[place].text);
    PyObject *text = text_of(name);
    if (text == NULL) return NULL;
    PyObject *before = known[place].text;
    known[place].text = Py_NewRef(text);
    known[place].length = name.length;
    memcpy(known[place].bytes, name.start, (size_t)name.length);
    Py_XDECREF(before);
    return text;
}

/* One final, unmasked text frame (RFC 6455 section 5.2), as `encode_frame` in protocol/websocket.py. */
static PyObject *frame_of(span payload) {
    unsigned long long length = (unsigned long long)payload.length;
    int head = length < 126 ? 2 : length < 65536 ? 4 : 10;
    PyObject *frame = PyBytes_FromStringAndSize(NULL, head + payload.length);
    if (frame == NULL) return NULL;
    unsigned char *to = (unsigned char *)PyBytes_AsString(frame);
    to[0] = 0x81;
    to[1] = (unsigned char)(head == 2 ? length : head == 4 ? 126 : 127);
    for (int i = 2; i < head; i++) to[i] = (unsigned char)(length >> 8 * (head - 1 - i));
    memcpy(to + head, payload.start, (size_t)payload.length);
    return frame;
}

static PyObject *arrival_of(PyObject *target, const event *found) {
    PyObject *parts[] = {
        Py_NewRef(target), PyLong_FromLongLong(found->offset), text_of(found->epoch), name_of(found->name), text_of(found->id),
        PyLong_FromLongLong(found->committed_at_us), frame_of(found->frame),
    };
    enum { PARTS = sizeof parts / sizeof *parts };
    PyObject *arrival = PyTuple_New(PARTS);
    bool failed = arrival == NULL;
    for (int i = 0; i < PARTS; i++) {
        failed |= parts[i] == NULL;
        if (arrival != NULL) PyTuple_SetItem(arrival, i, parts[i]);
        else Py_XDECREF(parts[i]);
    }
    if (!failed) return arrival;
    Py_XDECREF(arrival);
    return NULL;
}

/* --- a read ---------------------------------------------------------------------------------------------------------- */

/* A message that is here whole. */
typedef struct {
    span kind, topic, content;
    const char *end;
    Py_hash_t hash; /* of the topic */
    event found;
    bool is_plain; /* `found` is what it says */
} message;

/* The hash Python has for these bytes; -1 with an exception set. */
static Py_hash_t hash_of(span topic) {
    PyObject *bytes = PyBytes_FromStringAndSize(topic.start, topic.length);
    if (bytes == NULL) return -1;
    Py_hash_t hash = PyObject_Hash(bytes);
    Py_DECREF(bytes);
    return hash;
}

/*
 * Read what comes next, up to AHEAD messages or one that is not plain, which nothing is taken behind. Returns how many, or
 * -1 with an exception set. All their topics are known then before the first one's target is looked up.
 */
static int look_ahead(cursor *from, const targets *among, message *messages) {
    int count = 0;
    for (bool is_plain = true; count < AHEAD && is_plain; count++) {
        message *next = &messages[count];
        if (!read_message(from, &next->kind, &next->topic, &next->content)) break;
        next->end = from->at;
        next->is_plain = is_plain = read_event(next->content, &next->found);
        if ((next->hash = hash_of(next->topic)) == -1) return -1;
        foresee_place(among, next->hash);
    }
    for (int i = 0; i < count; i++) foresee_target(among, messages[i].hash);
    return count;
}

/* The message as hiredis gives it. */
static PyObject *reply_of(const message *from) {
    return Py_BuildValue("[y#y#y#]", from->kind.start, from->kind.length, from->topic.start, from->topic.length,
                         from->content.start, from->content.length);
}

/* Takes one plain event: 1; 0 when this message is for Python (`*other` is it then); -1 with an exception set. */
static int take(const targets *among, PyObject *arrivals, const message *next, PyObject **other) {
    const place *at = next->is_plain ? place_of(among, next->hash, next->topic.start, next->topic.length) : NULL;
    if (at == NULL) {
        *other = reply_of(next);
        return *other == NULL ? -1 : 0;
    }
    foresee_member(at);
    PyObject *arrival = arrival_of(at->target, &next->found);
    int failed = arrival == NULL || PyList_Append(arrivals, arrival) < 0;
    Py_XDECREF(arrival);
    return failed ? -1 : 1;
}

/* Take plain events up to something else. Returns where the first byte is that was not taken, NULL with an exception set. */
static const char *take_all(cursor from, const targets *among, PyObject *arrivals, PyObject **other) {
    message messages[AHEAD];
    const char *taken = from.at;
    int count = AHEAD;
    while (count == AHEAD && *other == NULL) {
        count = look_ahead(&from, among, messages);
        if (count < 0) return NULL;
        for (int i = 0; i < count && *other == NULL; i++) {
            if (take(among, arrivals, &messages[i], other) < 0) return NULL;
            taken = messages[i].end;
        }
    }
    return taken;
}

static PyObject *read_messages(PyObject *module, PyObject *args) {
    PyObject *data, *among, *other = NULL;
    Py_ssize_t start, length;
    char *bytes;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!nO!:read_messages", &PyBytes_Type, &data, &start, targets_type, &among)) return NULL;
    if (PyBytes_AsStringAndSize(data, &bytes, &length) < 0) return NULL;
    if (start < 0 || start > length) {
        PyErr_SetString(PyExc_ValueError, "start is outside of the data");
        return NULL;
    }
    PyObject *arrivals = PyList_New(0);
    if (arrivals == NULL) return NULL;
    const char *taken = take_all((cursor){bytes + start, bytes + length, false}, (targets *)among, arrivals, &other);
    if (taken == NULL) {
        Py_DECREF(arrivals);
        return NULL;
    }
    return Py_BuildValue("(NnN)", arrivals, (Py_ssize_t)(taken - bytes), other == NULL ? Py_NewRef(Py_None) : other);
}

static PyMethodDef methods[] = {
    {"read_messages", read_messages, METH_VARARGS,
     "read_messages(data, start, targets) -> ([(target, offset, epoch, event, id, committed_at_us, frame), ...], end, other)\n\n"
     "Read plain events on topics that are in `targets`, a Targets, up to a message that is for Python to read (`other`, as\n"
     "hiredis gives it), or to something that is no whole pub/sub message (None); what was read ends at `end`."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{Py_mod_exec, prepare}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_pushes", "Optional quick reading; see broker/pushes.py.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__pushes(void) { return PyModuleDef_Init(&definition); }
