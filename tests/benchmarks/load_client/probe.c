/* Other traffic during a fan-out: a ping on a connection of its own, at fixed times, from a process of its own. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char data[65536];
static size_t have;

/* Block until a text frame with `wanted` came. */
static void await(int fd, const char *wanted) {
    for (;;) {
        int opcode;
        const char *payload;
        size_t length, size;
        while ((size = server_frame(data, have, &opcode, &payload, &length)) != 0) {
            bool is_it = memmem(payload, length, wanted, strlen(wanted)) != NULL;
            memmove(data, data + size, have -= size);
            if (is_it) return;
        }
        ssize_t got = recv(fd, data + have, sizeof data - have, 0);
        if (got <= 0) _exit(4);
        have += (size_t)got;
    }
}

static void greet(int fd) {
    char head[1024];
    size_t size = upgrade_request(opt.path, head);
    if (send(fd, head, size, 0) != (ssize_t)size) _exit(4);
    for (char *end = NULL; !end; end = memmem(data, have, "\r\n\r\n", 4)) {
        ssize_t got = recv(fd, data + have, sizeof data - have, 0);
        if (got <= 0) _exit(4);
        have += (size_t)got;
    }
    char *end = memmem(data, have, "\r\n\r\n", 4);
    have -= (size_t)(end + 4 - data);
    memmove(data, end + 4, have);
    if (opt.welcome[0]) await(fd, opt.welcome);
}

pid_t start_probe(int interval_ms, histogram *into) {
    pid_t child = fork();
    if (child != 0) return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* The load itself keeps this core busy: without priority the probe would measure its own waiting. */
    struct sched_param priority = {.sched_priority = 10};
    sched_setscheduler(0, SCHED_FIFO, &priority);
    static const char ping[] = "{\"event\":\"pusher:ping\",\"data\":{}}";
    char frame[64];
    size_t size = client_frame(1, ping, sizeof ping - 1, frame);
    int fd = connect_to(opt.ports[0], 100, true);
    greet(fd);
    for (uint64_t due = now_ns();;) {
        due += (uint64_t)interval_ms * 1000000u;
        struct timespec at = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {}
        if (send(fd, frame, size, MSG_NOSIGNAL) != (ssize_t)size) _exit(4);
        await(fd, "pusher:pong");
        if (atomic_load(&shared->measuring)) observe(into, now_ns() - due);
    }
}
