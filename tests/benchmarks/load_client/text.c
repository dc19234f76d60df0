/* Time, templates, WebSocket framing, histograms. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void die(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fputs("load client: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    _Exit(3);
}

/* Buckets: exact below 64, then 64 per power of two, so the error of a percentile is at most 1.6 %. */
static int bucket_of(uint64_t value) {
    if (value < 64) return (int)value;
    int power = 63 - __builtin_clzll(value);
    int index = (power - 5) * 64 + (int)(value >> (power - 6) & 63);
    return index < BUCKETS ? index : BUCKETS - 1;
}

uint64_t bucket_top(int index) {
    if (index < 64) return (uint64_t)index;
    int power = index / 64 + 5;
    return ((uint64_t)(64 + index % 64 + 1) << (power - 6)) - 1;
}

/* A histogram has one writer, so plain loads and stores of its atomics are enough. */
static void add(atomic_ullong *counter, unsigned long long n) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

void observe(histogram *h, uint64_t value) {
    add(&h->bucket[bucket_of(value)], 1);
    add(&h->count, 1);
    if (value > atomic_load_explicit(&h->largest, memory_order_relaxed))
        atomic_store_explicit(&h->largest, value, memory_order_relaxed);
}

int channel_name(int channel, char *out) {
    return sprintf(out, opt.channel, channel); /* the option is checked to hold one %d at most */
}

static size_t expand_token(const char *name, size_t length, const values *v, char *out) {
    if (length == 2 && !memcmp(name, "ch", 2)) return (size_t)channel_name(v->channel, out);
    if (length == 3 && !memcmp(name, "seq", 3)) return (size_t)sprintf(out, "#s%08u", v->sequence);
    if (length == 2 && !memcmp(name, "ts", 2)) return (size_t)sprintf(out, "#t%016llu", (unsigned long long)v->timestamp);
    if (length == 2 && !memcmp(name, "id", 2))
        return (size_t)sprintf(out, "%016llx-%07x-%08x-be", (unsigned long long)v->timestamp, v->channel, v->sequence);
    if (length == 4 && !memcmp(name, "auth", 4)) return (size_t)sprintf(out, "%s", v->auth ? v->auth : "");
    if (length == 1 && *name == 'i') return (size_t)sprintf(out, "%d", v->index);
    if (length == 3 && !memcmp(name, "pad", 3)) {
        memset(out, 'x', (size_t)opt.pad);
        return (size_t)opt.pad;
    }
    die("unknown token @%.*s@ in a template", (int)length, name);
}

size_t expand(const char *template, const values *v, char *out) {
    char *at = out;
    for (const char *p = template; *p;) {
        const char *end = *p == '@' ? strchr(p + 1, '@') : NULL;
        if (end) {
            at += expand_token(p + 1, (size_t)(end - p - 1), v, at);
            p = end + 1;
        } else {
            *at++ = *p++;
        }
    }
    *at = 0;
    return (size_t)(at - out);
}

size_t client_frame(int opcode, const char *payload, size_t length, char *out) {
    static const unsigned char mask[4] = {0x12, 0x34, 0x56, 0x78};
    unsigned char *at = (unsigned char *)out;
    *at++ = (unsigned char)(0x80 | opcode);
    if (length < 126) {
        *at++ = (unsigned char)(0x80 | length);
    } else if (length < 65536) {
        *at++ = 0x80 | 126;
        *at++ = (unsigned char)(length >> 8);
        *at++ = (unsigned char)length;
    } else {
        die("a client frame of %zu bytes is not supported", length);
    }
    memcpy(at, mask, 4);
    at += 4;
    for (size_t i = 0; i < length; i++) *at++ = (unsigned char)payload[i] ^ mask[i & 3];
    return (size_t)((char *)at - out);
}

size_t server_frame(const char *data, size_t length, int *opcode, const char **payload, size_t *payload_length) {
    const unsigned char *p = (const unsigned char *)data;
    size_t head = 2, size;
    if (length < 2) return 0;
    if (p[1] & 0x80) die("the server sent a masked frame");
    size = p[1] & 0x7f;
    if (size == 126) {
        head = 4;
        if (length < head) return 0;
        size = (size_t)p[2] << 8 | p[3];
    } else if (size == 127) {
        head = 10;
        if (length < head) return 0;
        size = 0;
        for (int i = 2; i < 10; i++) size = size << 8 | p[i];
    }
    if (length < head + size) return 0;
    *opcode = p[0] & 0x0f;
    *payload = data + head;
    *payload_length = size;
    return head + size;
}

size_t upgrade_request(const char *path, char *out) {
    return (size_t)sprintf(out,
                           "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                           path);
}

int connect_to(int port, int source, bool blocking) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0), on = 1;
    if (fd < 0) die("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001u + (uint32_t)source)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(0x7f000001u)};
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) die("connect to port %d: %s", port, strerror(errno));
    return fd;
}
