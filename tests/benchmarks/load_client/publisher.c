/* Publishing: commands to Redis, text frames over a WebSocket, or signed HTTP requests. Pipelined, never blocking. */
#define _GNU_SOURCE
#include "load.h"
#include "digest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    int fd;
    char *data;
    size_t length, capacity, sent;
    bool is_waiting; /* for the socket to take more */
} outgoing;

static outgoing out[MAX_PORTS];
static int targets, epoll;

/* HTTP only: events that wait for the answer to the request before them, a line each. */
static char *waiting;
static size_t waiting_length, waiting_capacity;
static int waiting_count, unanswered;
static char answer[65536];
static size_t answer_length;

static bool is(const char *kind) { return !strcmp(opt.publisher, kind); }

static char *reserve(outgoing *o, size_t more) {
    if (o->length + more > o->capacity) {
        o->capacity = (o->length + more) * 2;
        o->data = realloc(o->data, o->capacity);
        if (!o->data) die("out of memory");
    }
    return o->data + o->length;
}

static void watch(const outgoing *o, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.u64 = PUBLISHER_MARK | (unsigned)o->fd};
    epoll_ctl(epoll, operation, o->fd, &event);
}

static void flush(outgoing *o) {
    while (o->sent < o->length) {
        ssize_t n = send(o->fd, o->data + o->sent, o->length - o->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno != EAGAIN) die("publishing: %s", strerror(errno));
            if (!o->is_waiting) watch(o, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            o->is_waiting = true;
            return;
        }
        o->sent += (size_t)n;
    }
    o->sent = o->length = 0;
    if (o->is_waiting) watch(o, EPOLLIN, EPOLL_CTL_MOD);
    o->is_waiting = false;
}

void publisher_open(int epoll_fd) {
    epoll = epoll_fd;
    if (!opt.publisher) return;
    targets = is("ws") ? opt.port_count : 1;
    for (int i = 0; i < targets; i++) {
        outgoing *o = &out[i];
        o->fd = connect_to(is("ws") ? opt.ports[i] : opt.publish_port, 0, true);
        if (is("ws")) {
            char head[4096];
            size_t size = upgrade_request(opt.publish_path, head);
            if (send(o->fd, head, size, 0) != (ssize_t)size || recv(o->fd, head, sizeof head, 0) < 12 || memcmp(head + 9, "101", 3))
                die("the publisher's upgrade was refused");
        }
        watch(o, EPOLLIN, EPOLL_CTL_ADD);
    }
}

/* --- HTTP: one request at a time, holding what came up meanwhile ---------------------------------------------------- */

static size_t signed_target(const char *body, size_t length, char *target) {
    char md5[33], text[2048], signature[65];
    md5_hex(body, length, md5);
    size_t query = (size_t)sprintf(target, "%s?auth_key=%s&auth_timestamp=%lld&auth_version=1.0&body_md5=%s", opt.publish_path,
                                   opt.key, (long long)time(NULL), md5);
    size_t size = (size_t)sprintf(text, "POST\n%s\n%s", opt.publish_path, target + strlen(opt.publish_path) + 1);
    hmac_sha256_hex(opt.secret, text, size, signature);
    return query + (size_t)sprintf(target + query, "&auth_signature=%s", signature);
}

static void open_http(void) {
    out[0].fd = connect_to(opt.publish_port, 0, true);
    watch(&out[0], EPOLLIN, EPOLL_CTL_ADD);
}

/* The body of the next request: as many of the waiting events as one may hold. Returns its length. */
static size_t take_body(char *body) {
    char *at = stpcpy(body, opt.http_head), *event = waiting;
    int taken = 0;
    while (taken < opt.http_batch && waiting_count > 0) {
        char *end = memchr(event, '\n', waiting_length - (size_t)(event - waiting));
        if (taken++) *at++ = ',';
        at = mempcpy(at, event, (size_t)(end - event));
        event = end + 1;
        waiting_count--;
    }
    waiting_length -= (size_t)(event - waiting);
    memmove(waiting, event, waiting_length);
    at = stpcpy(at, opt.http_tail);
    return (size_t)(at - body);
}

static void send_request(void) {
    if (unanswered || !waiting_count) return;
    outgoing *o = &out[0];
    char target[2048], *body = malloc(strlen(opt.http_head) + waiting_length + strlen(opt.http_tail) + 1);
    size_t size = take_body(body);
    if (opt.secret[0]) signed_target(body, size, target);
    else sprintf(target, "%s", opt.publish_path);
    char *at = reserve(o, size + 4096);
    at += sprintf(at, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", target, size);
    memcpy(at, body, size);
    o->length = (size_t)(at + size - o->data);
    free(body);
    unanswered = 1;
    flush(o);
}

static void take_answer(size_t got) {
    answer_length += got;
    answer[answer_length] = 0;
    char *end = strstr(answer, "\r\n\r\n");
    if (!end) return;
    const char *header = strcasestr(answer, "content-length:");
    const char *chunked = strcasestr(answer, "transfer-encoding: chunked");
    if (header && header < end && answer_length < (size_t)(end + 4 - answer) + strtoul(header + 15, NULL, 10)) return;
    if (chunked && chunked < end && !strstr(end, "0\r\n\r\n")) return;
    if (answer_length < 12 || answer[9] != '2') {
        if (atomic_fetch_add(&shared->refused, 1) == 0) fprintf(stderr, "load client: publish refused: %s\n", answer);
    }
    const char *closes = strcasestr(answer, "connection: close");
    if (closes && closes < end) {
        close(out[0].fd);
        open_http();
    }
    unanswered = 0;
    answer_length = 0;
    send_request();
}

static void add_event(const values *v) {
    if (waiting_length + 4096 > waiting_capacity) {
        waiting_capacity = (waiting_length + 4096) * 2;
        waiting = realloc(waiting, waiting_capacity);
    }
    waiting_length += expand(opt.publish_text, v, waiting + waiting_length);
    waiting[waiting_length++] = '\n';
    waiting_count++;
}

/* --- all three ------------------------------------------------------------------------------------------------------ */

static void add_redis_command(const values *v) {
    outgoing *o = &out[0];
    char *at = reserve(o, 32768);
    at += sprintf(at, "*%d\r\n", opt.argument_count);
    for (int i = 0; i < opt.argument_count; i++) {
        char text[8192];
        size_t size = expand(opt.publish_arguments[i], v, text);
        at += sprintf(at, "$%zu\r\n", size);
        memcpy(at, text, size);
        memcpy(at + size, "\r\n", 2);
        at += size + 2;
    }
    o->length = (size_t)(at - o->data);
}

static void add_frames(const values *v) {
    char text[8192];
    size_t size = expand(opt.publish_text, v, text);
    for (int i = 0; i < targets; i++) {
        char *at = reserve(&out[i], size + 14);
        out[i].length += client_frame(1, text, size, at);
    }
}

void publish_one(int channel, uint32_t sequence, uint64_t timestamp) {
    values v = {.channel = channel, .sequence = sequence, .timestamp = timestamp};
    if (is("redis")) add_redis_command(&v);
    else if (is("ws")) add_frames(&v);
    else add_event(&v);
}

void publisher_flush(void) {
    if (is("http")) send_request();
    else
        for (int i = 0; i < targets; i++) flush(&out[i]);
}

static void take_replies(const char *data, size_t length) {
    const char *error = *data == '-' ? data : memmem(data, length, "\n-", 2);
    if (error && atomic_fetch_add(&shared->refused, 1) == 0)
        fprintf(stderr, "load client: publish refused: %.*s\n", (int)(data + length - error), error);
}

void publisher_ready(int fd, uint32_t events) {
    outgoing *o = out;
    while (o->fd != fd) o++;
    if (events & EPOLLOUT) flush(o);
    if (!(events & ~(uint32_t)EPOLLOUT)) return;
    static char data[65536];
    bool is_http = is("http");
    char *into = is_http ? answer + answer_length : data;
    ssize_t got = recv(fd, into, is_http ? sizeof answer - 1 - answer_length : sizeof data, MSG_DONTWAIT);
    if (got == 0 && is_http && !unanswered) {
        close(fd);
        open_http();
        return;
    }
    if (got == 0) die("the server closed the publisher's connection");
    if (got < 0) return;
    if (is_http) take_answer((size_t)got);
    else if (is("redis")) take_replies(data, (size_t)got);
}
