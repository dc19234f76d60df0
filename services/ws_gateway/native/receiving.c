/*
 * sharedjox_gateway.protocol._receiving: the two things that nearly every client sends, read in one go.
 *
 * Optional. Without it the gateway reads the same in Python (protocol/handshake.py, protocol/websocket.py). Both functions
 * only know the plain case and answer None for everything else, right or wrong: then the code in Python decides, which
 * alone knows how to refuse. So this can be strict where it likes, and must never take what Python would not.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdbool.h>
#include <string.h>

enum { MAX_HEAD = 16 * 1024, KEY_LENGTH = 24 };

typedef struct {
    const char *start;
    Py_ssize_t length;
} span;

/* --- the upgrade request (RFC 6455 section 4.2.1, RFC 9110 section 5) ----------------------------------------------- */

enum { HOST, UPGRADE, CONNECTION, VERSION, KEY, ORIGIN, FORWARDED_FOR, CONTENT_LENGTH, TRANSFER_ENCODING, KNOWN };

static const char *const NAMES[KNOWN] = {
    "host", "upgrade", "connection", "sec-websocket-version", "sec-websocket-key", "origin", "x-forwarded-for",
    "content-length", "transfer-encoding",
};

static bool is_token_character(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_value_character(unsigned char c) { return c == '\t' || (c >= 0x20 && c != 0x7f); }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static bool equals(span text, const char *wanted) {
    if ((Py_ssize_t)strlen(wanted) != text.length) return false;
    for (Py_ssize_t i = 0; i < text.length; i++)
        if (lower(text.start[i]) != wanted[i]) return false;
    return true;
}

static bool has_comma(span text) { return memchr(text.start, ',', (size_t)text.length) != NULL; }

/* 22 characters of base64 and two of padding; the last one of a value that somebody encoded has its lower bits clear. */
static bool is_key(span text) {
    if (text.length != KEY_LENGTH || text.start[22] != '=' || text.start[23] != '=') return false;
    for (int i = 0; i < 22; i++) {
        char c = text.start[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/')) return false;
    }
    return strchr("AQgw", text.start[21]) != NULL;
}

/* One line `name: value` at `at`; returns where the next one begins, NULL when this is none. */
static const char *read_header(const char *at, const char *end, span *name, span *value) {
    name->start = at;
    while (at < end && is_token_character((unsigned char)*at)) at++;
    name->length = at - name->start;
    if (!name->length || at == end || *at++ != ':') return NULL;
    while (at < end && (*at == ' ' || *at == '\t')) at++;
    value->start = at;
    while (at < end && is_value_character((unsigned char)*at)) at++;
    const char *stop = at;
    while (stop > value->start && (stop[-1] == ' ' || stop[-1] == '\t')) stop--;
    value->length = stop - value->start;
    return at + 2 <= end && at[0] == '\r' && at[1] == '\n' ? at + 2 : NULL;
}

/* All header lines up to the blank one, which has to be the end. A known header that comes twice is not for us. */
static bool read_headers(const char *at, const char *end, span known[KNOWN]) {
    while (end - at > 2) {
        span name, value;
        at = read_header(at, end, &name, &value);
        if (!at) return false;
        for (int i = 0; i < KNOWN; i++) {
            if (!equals(name, NAMES[i])) continue;
            if (known[i].start) return false;
            known[i] = value;
            break;
        }
    }
    return end - at == 2 && at[0] == '\r' && at[1] == '\n';
}

static bool is_plain_upgrade(const span known[KNOWN]) {
    return known[HOST].start && !has_comma(known[HOST])
        && known[UPGRADE].start && equals(known[UPGRADE], "websocket")
        && known[CONNECTION].start && (equals(known[CONNECTION], "upgrade") || equals(known[CONNECTION], "keep-alive, upgrade"))
        && known[VERSION].start && equals(known[VERSION], "13")
        && known[KEY].start && is_key(known[KEY])
        && !(known[ORIGIN].start && has_comma(known[ORIGIN]))
        && !known[CONTENT_LENGTH].start && !known[TRANSFER_ENCODING].start;
}

static PyObject *text_or_none(span text) {
    if (!text.start) return Py_NewRef(Py_None);
    return PyUnicode_DecodeLatin1(text.start, text.length, NULL);
}

static PyObject *read_upgrade(PyObject *module, PyObject *data) {
    char *head;
    Py_ssize_t length;
    (void)module;
    if (PyBytes_AsStringAndSize(data, &head, &length) < 0) return NULL;
    const char *end = head + length, *at = head + 4;
    if (length > MAX_HEAD || length < 4 || memcmp(head, "GET ", 4)) Py_RETURN_NONE;
    span target = {at, 0}, known[KNOWN];
    while (at < end && *at > 0x20 && *at < 0x7f) at++;
    target.length = at - target.start;
    static const char rest_of_line[] = " HTTP/1.1\r\n";
    const Py_ssize_t rest_length = sizeof rest_of_line - 1;
    if (!target.length || end - at < rest_length || memcmp(at, rest_of_line, (size_t)rest_length)) Py_RETURN_NONE;
    memset(known, 0, sizeof known);
    if (!read_headers(at + rest_length, end, known) || !is_plain_upgrade(known)) Py_RETURN_NONE;
    return Py_BuildValue("(y#y#NN)", target.start, target.length, known[KEY].start, known[KEY].length,
                         text_or_none(known[ORIGIN]), text_or_none(known[FORWARDED_FOR]));
}

/* --- one text message in one frame (RFC 6455 section 5.2) ----------------------------------------------------------- */

/* Length of the header with the mask when `frame` is exactly one final, masked text frame below 64 KB; 0 otherwise. */
static Py_ssize_t header_of_text(const unsigned char *frame, Py_ssize_t length) {
    if (length < 6 || frame[0] != 0x81) return 0;
    Py_ssize_t payload = length - 6;
    if (payload < 126) return frame[1] == (0x80 | payload) ? 6 : 0;
    payload -= 2;
    return payload >= 126 && payload < 65536 && frame[1] == 0xfe && (frame[2] << 8 | frame[3]) == payload ? 8 : 0;
}

static PyObject *read_text(PyObject *module, PyObject *args) {
    PyObject *data;
    char *frame;
    Py_ssize_t max_size, length;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!n:read_text", &PyBytes_Type, &data, &max_size)) return NULL;
    if (PyBytes_AsStringAndSize(data, &frame, &length) < 0) return NULL;
    Py_ssize_t header = header_of_text((const unsigned char *)frame, length), size = length - header;
    if (!header || size > max_size) Py_RETURN_NONE;
    PyObject *payload = PyBytes_FromStringAndSize(NULL, size);
    if (payload == NULL) return NULL;
    char *to = PyBytes_AsString(payload);
    const char *from = frame + header, *mask = from - 4;
    for (Py_ssize_t i = 0; i < size; i++) to[i] = from[i] ^ mask[i & 3];
    return payload;
}

static PyMethodDef methods[] = {
    {"read_upgrade", read_upgrade, METH_O,
     "read_upgrade(head) -> (target, key, origin, forwarded_for) or None\n\n"
     "Read a whole request head that asks for a WebSocket in the plain form; None for anything else."},
    {"read_text", read_text, METH_VARARGS,
     "read_text(data, max_size) -> payload or None\n\n"
     "The payload when `data` is exactly one final, masked text frame below 64 KB; None for anything else."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_receiving", "Optional quick reading; see protocol/handshake.py.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__receiving(void) { return PyModuleDef_Init(&definition); }
