/* A WebSocket load client that checks every message on every connection. See README.md for its use. */
#ifndef LOAD_H
#define LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    MAX_WORKERS = 96,
    MAX_PORTS = 96,
    MAX_ARGUMENTS = 24,
    BUCKETS = 4096, /* of a latency histogram: 64 per power of two */
};

typedef struct {
    atomic_ullong count, largest, bucket[BUCKETS];
} histogram;

/* What goes wrong. All must be zero for a run to count. */
typedef struct {
    atomic_ullong missing, doubled, swapped, closed;
} faults;

/* One worker's public state, in memory shared with the parent. Each begins on a cache line of its own. */
typedef struct {
    _Alignas(64) atomic_ullong received; /* published messages, whenever they came */
    atomic_ullong bytes;
    atomic_int ready;    /* connections that are subscribed */
    atomic_int finished; /* number of the last command that is done */
    faults faults;
    histogram latency; /* nanoseconds, while `measuring` */
} worker_state;

typedef enum { C_CONNECT = 1, C_DISCONNECT, C_FLOOD, C_RATE, C_STALL, C_IDLE, C_CHURN, C_QUIT } command_kind;

typedef struct {
    atomic_int number; /* raised for each command; workers are woken by their eventfd */
    command_kind kind;
    int connections, window, stalled;
    double rate;
    atomic_bool publishing, measuring, verifying;
    atomic_ullong published;
    atomic_ullong refused; /* publishes that the server answered with an error */
    atomic_ullong churned; /* unsubscribe and subscribe, both answered */
    uint32_t *sent;        /* per channel, how many were published */
    worker_state worker[MAX_WORKERS];
} shared_state;

typedef struct {
    const char *path, *welcome, *subscribe, *unsubscribe, *acknowledged, *key, *secret, *channel;
    const char *publisher; /* redis, ws or http */
    const char *publish_path, *publish_text, *publish_arguments[MAX_ARGUMENTS];
    const char *http_head, *http_tail;
    int argument_count, publish_port, http_batch, publish_batch;
    int ports[MAX_PORTS], port_count, workers, channels, handshakes, pad, cpu;
    int active; /* of the channels, those that get messages; 0: all */
} options;

extern options opt;
extern shared_state *shared;
extern int wake[MAX_WORKERS]; /* eventfds of the workers */
extern int parent_wake;

uint64_t now_ns(void);
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void observe(histogram *h, uint64_t value);
uint64_t bucket_top(int index); /* the largest value that falls into it */

/* Values for a template's @ch@ @seq@ @ts@ @pad@ @id@ @auth@ @i@. */
typedef struct {
    int channel, index;
    uint32_t sequence;
    uint64_t timestamp;
    const char *auth;
} values;

/* Write the expanded template to `out` (which has room); returns its length. */
size_t expand(const char *template, const values *v, char *out);
int channel_name(int channel, char *out);

/* One masked client frame around `length` bytes; returns its size. `out` has room for 14 bytes more. */
size_t client_frame(int opcode, const char *payload, size_t length, char *out);
/* A server frame at the start of `data`: its whole size, or 0 while it is incomplete. Dies on a masked one. */
size_t server_frame(const char *data, size_t length, int *opcode, const char **payload, size_t *payload_length);
size_t upgrade_request(const char *path, char *out);

int members_per_channel(void); /* those that read, at least 1 */
int connect_to(int port, int source, bool blocking);
void run_worker(int index);

/* The publisher lives in worker 0. */
#define PUBLISHER_MARK (1ull << 63) /* in epoll's user data, with the descriptor in the low half */
void publisher_open(int epoll);
void publisher_ready(int fd, uint32_t events);
void publish_one(int channel, uint32_t sequence, uint64_t timestamp);
void publisher_flush(void);

/* A process of its own that pings every `interval_ms` and writes round trips (ns) into `into`. */
pid_t start_probe(int interval_ms, histogram *into);

#endif
