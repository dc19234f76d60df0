/*
 * The yardstick: what a plain C epoll loop does with the same fan-out. One thread, channels by name, frames built once,
 * what one loop turn brings for a channel joined into one send per connection. No protocol, no authentication, no
 * limits, no metrics: it is the least that can be done for a delivery.
 *
 *   baseline PORT [drop|double|swap]
 *
 * A client sends "SUB <channel>" and gets "OK"; "PUB <channel> <text>" goes to all subscribers. With a fault the 50th
 * delivery of every subscriber is dropped, doubled, or swapped with the next: the load client must notice.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 1 << 20, EVENTS = 1024, PLACES = 1 << 17, FAULT_AT = 50 };

typedef struct channel {
    char *name;
    struct connection **members;
    int count, capacity, is_dirty;
    char *joined; /* this turn's frames */
    size_t length, space;
    unsigned published;
} channel;

typedef struct connection {
    int fd, is_open, place; /* place among the channel's members */
    channel *on;
    char *rest, *unsent;
    size_t rest_length, unsent_length, unsent_space;
} connection;

static int epoll;
static channel *names[PLACES]; /* all channels, by the hash of their name; never taken out, half of them at most are taken */
static int taken;
static channel **dirty;
static int dirty_count, dirty_space;
static const char *fault = "";
static char buffer[READ_SIZE + 65536];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* --- SHA-1 of the handshake (FIPS 180-4), short and slow: once per connection ---------------------------------------- */

static uint32_t left(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1(const unsigned char *text, size_t length, unsigned char out[20]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char padded[192] = {0};
    size_t size = (length + 8) / 64 * 64 + 64;
    memcpy(padded, text, length);
    padded[length] = 0x80;
    for (int i = 0; i < 8; i++) padded[size - 1 - (size_t)i] = (unsigned char)((uint64_t)length * 8 >> (8 * i));
    for (size_t at = 0; at < size; at += 64) {
        uint32_t w[80], v[5];
        for (int i = 0; i < 16; i++) {
            const unsigned char *p = padded + at + 4 * i;
            w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
        for (int i = 16; i < 80; i++) w[i] = left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        memcpy(v, h, sizeof v);
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20   ? ((v[1] & v[2]) | (~v[1] & v[3])) + 0x5a827999
                         : i < 40 ? (v[1] ^ v[2] ^ v[3]) + 0x6ed9eba1
                         : i < 60 ? ((v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3])) + 0x8f1bbcdc
                                  : (v[1] ^ v[2] ^ v[3]) + 0xca62c1d6;
            uint32_t next = left(v[0], 5) + f + v[4] + w[i];
            v[4] = v[3], v[3] = v[2], v[2] = left(v[1], 30), v[1] = v[0], v[0] = next;
        }
        for (int i = 0; i < 5; i++) h[i] += v[i];
    }
    for (int i = 0; i < 20; i++) out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void accept_key(const char *key, char out[32]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[64];
    unsigned char d[21] = {0};
    sprintf(text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1((unsigned char *)text, strlen(text), d);
    for (int i = 0, o = 0; i < 21; i += 3) {
        uint32_t group = (uint32_t)d[i] << 16 | (uint32_t)d[i + 1] << 8 | d[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) out[o++] = digits[group >> shift & 63];
    }
    out[27] = '=', out[28] = 0;
}

/* --- writing --------------------------------------------------------------------------------------------------------- */

static void keep(connection *c, const char *data, size_t length) {
    if (c->unsent_length + length > c->unsent_space) {
        c->unsent_space = (c->unsent_length + length) * 2;
        c->unsent = realloc(c->unsent, c->unsent_space);
    }
    memcpy(c->unsent + c->unsent_length, data, length);
    c->unsent_length += length;
}

static void watch(connection *c, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void write_to(connection *c, const char *data, size_t length) {
    if (c->unsent_length) {
        keep(c, data, length);
        return;
    }
    ssize_t n = send(c->fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n == (ssize_t)length) return;
    if (n < 0) n = 0;
    keep(c, data + n, length - (size_t)n);
    watch(c, EPOLLIN | EPOLLOUT);
}

static void write_on(connection *c) {
    ssize_t n = send(c->fd, c->unsent, c->unsent_length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n <= 0) return;
    c->unsent_length -= (size_t)n;
    memmove(c->unsent, c->unsent + n, c->unsent_length);
    if (c->unsent_length) return;
    free(c->unsent);
    c->unsent = NULL;
    c->unsent_space = 0;
    watch(c, EPOLLIN);
}

/* --- channels -------------------------------------------------------------------------------------------------------- */

/* FNV-1a */
static unsigned hash(const char *text) {
    unsigned h = 2166136261u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 16777619u;
    return h;
}

static channel *find(const char *name) {
    unsigned at = hash(name) % PLACES;
    for (; names[at]; at = (at + 1) % PLACES)
        if (!strcmp(names[at]->name, name)) return names[at];
    if (++taken > PLACES / 2) fail("too many channels");
    channel *made = names[at] = calloc(1, sizeof *made);
    made->name = strdup(name);
    return made;
}

static void join(connection *c, const char *name) {
    channel *ch = find(name);
    if (ch->count == ch->capacity) {
        ch->capacity = ch->capacity ? ch->capacity * 2 : 4;
        ch->members = realloc(ch->members, sizeof *ch->members * (size_t)ch->capacity);
    }
    c->on = ch;
    c->place = ch->count;
    ch->members[ch->count++] = c;
    write_to(c, "\x81\x02OK", 4);
}

static void leave(connection *c) {
    if (!c->on) return;
    connection *last = c->on->members[--c->on->count];
    c->on->members[c->place] = last;
    last->place = c->place;
    c->on = NULL;
}

static size_t head_of(size_t length, char head[4]) {
    head[0] = (char)0x81;
    if (length < 126) {
        head[1] = (char)length;
        return 2;
    }
    head[1] = 126, head[2] = (char)(length >> 8), head[3] = (char)length;
    return 4;
}

static void append(channel *ch, const char *data, size_t length) {
    if (ch->length + length > ch->space) {
        ch->space = (ch->length + length) * 2;
        ch->joined = realloc(ch->joined, ch->space);
    }
    memcpy(ch->joined + ch->length, data, length);
    ch->length += length;
}

static void add_frame(channel *ch, const char *text, size_t length) {
    char head[4];
    size_t size = head_of(length, head);
    append(ch, head, size);
    append(ch, text, length);
}

static void publish(const char *name, const char *text, size_t length) {
    static char held[4096];
    static size_t held_length;
    channel *ch = find(name);
    ch->published++;
    if (*fault && ch->published == FAULT_AT) {
        if (*fault == 's') memcpy(held, text, held_length = length);
        if (!strcmp(fault, "double")) add_frame(ch, text, length), add_frame(ch, text, length);
    } else {
        add_frame(ch, text, length);
        if (*fault == 's' && ch->published == FAULT_AT + 1) add_frame(ch, held, held_length);
    }
    if (ch->is_dirty) return;
    ch->is_dirty = 1;
    if (dirty_count == dirty_space) dirty = realloc(dirty, sizeof *dirty * (size_t)(dirty_space = dirty_space * 2 + 64));
    dirty[dirty_count++] = ch;
}

static void deliver(void) {
    for (int i = 0; i < dirty_count; i++) {
        channel *ch = dirty[i];
        for (int m = 0; m < ch->count; m++) write_to(ch->members[m], ch->joined, ch->length);
        ch->is_dirty = 0;
        ch->length = 0;
    }
    dirty_count = 0;
}

/* --- reading --------------------------------------------------------------------------------------------------------- */

static void close_connection(connection *c) {
    leave(c);
    close(c->fd);
    free(c->rest);
    free(c->unsent);
    free(c);
}

static void take_text(connection *c, char *text, size_t length) {
    char *end = text + length, *name = text + 4, *blank;
    if (length > 4 && !memcmp(text, "SUB ", 4)) {
        char saved = *end;
        *end = 0;
        join(c, name);
        *end = saved;
    } else if (length > 4 && !memcmp(text, "PUB ", 4) && (blank = memchr(name, ' ', length - 4))) {
        *blank = 0;
        publish(name, blank + 1, (size_t)(end - blank - 1));
    } else if (memmem(text, length, "pusher:ping", 11)) {
        static const char pong[] = "{\"event\":\"pusher:pong\",\"data\":{}}";
        char frame[64];
        size_t size = head_of(sizeof pong - 1, frame);
        memcpy(frame + size, pong, sizeof pong - 1);
        write_to(c, frame, size + sizeof pong - 1);
    }
}

static size_t take_upgrade(connection *c, char *data, size_t length) {
    char *end = memmem(data, length, "\r\n\r\n", 4), answer[256], accept[32];
    if (!end) return 0;
    *end = 0;
    char *key = strcasestr(data, "sec-websocket-key: ");
    if (!key) return 0;
    accept_key(key + 19, accept);
    int size = sprintf(answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    c->is_open = 1;
    write_to(c, answer, (size_t)size);
    return (size_t)(end + 4 - data);
}

/* Returns the frame's size, 0 while it is incomplete, -1 when the client closes. */
static ssize_t take_frame(connection *c, char *data, size_t length) {
    unsigned char *p = (unsigned char *)data;
    if (length < 6) return 0;
    size_t size = p[1] & 0x7f, head = 6;
    if (size == 126) {
        if (length < 8) return 0;
        size = (size_t)p[2] << 8 | p[3];
        head = 8;
    }
    if (size == 127) return -1;
    if (length < head + size) return 0;
    unsigned char *mask = p + head - 4, *payload = p + head;
    for (size_t i = 0; i < size; i++) payload[i] ^= mask[i & 3];
    if ((p[0] & 15) == 8) return -1;
    if ((p[0] & 15) == 1) take_text(c, (char *)payload, size);
    return (ssize_t)(head + size);
}

static void readable(connection *c) {
    size_t have = c->rest_length, used = 0;
    if (have) memcpy(buffer, c->rest, have);
    ssize_t got = recv(c->fd, buffer + have, READ_SIZE - have, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        close_connection(c);
        return;
    }
    size_t length = have + (size_t)got;
    while (used < length) {
        ssize_t size = c->is_open ? take_frame(c, buffer + used, length - used)
                                  : (ssize_t)take_upgrade(c, buffer + used, length - used);
        if (size < 0) {
            close_connection(c);
            return;
        }
        if (!size) break;
        used += (size_t)size;
    }
    free(c->rest);
    c->rest = NULL;
    c->rest_length = length - used;
    if (c->rest_length) {
        c->rest = malloc(c->rest_length);
        memcpy(c->rest, buffer + used, c->rest_length);
    }
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int on = 1;
        connection *c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv) {
    static struct epoll_event events[EVENTS];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct rlimit files;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (argc < 2) return 2;
    if (argc > 2) fault = argv[2];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    here.sin_port = htons((uint16_t)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0) fail("bind");
    if (listen(listener, 4096) < 0) fail("listen");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            connection *c = events[i].data.ptr;
            if (!c) {
                accept_all(listener);
                continue;
            }
            if (events[i].events & EPOLLOUT) write_on(c);
            if (events[i].events & ~(uint32_t)EPOLLOUT) readable(c);
        }
        deliver();
    }
}
