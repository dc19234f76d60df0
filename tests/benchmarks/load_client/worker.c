/* One client process: its connections, their life, and the check of what arrives. */
#define _GNU_SOURCE
#include "load.h"
#include "digest.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <signal.h>
#include <unistd.h>

enum { CLOSED, UPGRADING, GREETED, JOINING, READY, LEAVING, STALLED };
enum { READ_SIZE = 256 * 1024, EVENTS = 64, RESTING = 256, KEEN_NS = 200000, OFTEN_PER_SECOND = 10 };

typedef struct {
    int fd;
    uint8_t state;
    uint32_t next;    /* the sequence number that must come now */
    uint64_t seen;    /* bit n: number next-1-n came; tells doubled from swapped */
    char *rest;       /* the beginning of an incomplete frame */
    uint32_t rest_length;
    int channel;
    char socket_id[24]; /* as the server greeted us, for signatures */
} connection;

static worker_state *me;
static int worker_index, epoll, timer;
static connection *list;
static int count, opened, handshakes, running;
static int base; /* the number of our first connection among those of all workers */
static uint64_t received_at, next_due, interval, random_state = 88172645463325252ull;
static char buffer[READ_SIZE + 4096 * 16];
static unsigned long long unreported;

static void raise_counter(atomic_ullong *counter, unsigned long long n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/*
 * What was read shall be acknowledged at once and by our core. With another machine at the other end, acknowledgements would
 * cost the server's core little; those that Linux sends for us from there, in the middle of its writing, are half of a
 * delivery's price.
 *
 * While a connection is busy Linux acknowledges small segments as we read them, unless we answered quickly, as with a pong: then
 * a timer does it, where the segment arrived. So the kernel is told that we do not answer. It also acknowledges the next 16
 * segments as they arrive once a connection was silent for 200 ms, if we do not answer. Where that is often so it is told that
 * we do, and each read is acknowledged by hand (__tcp_sock_set_quickack). Not everywhere: it is a system call for each message,
 * and a client that is only just as quick as the server reads what that still has its hands on.
 */
enum { WE_ANSWER = 0, WE_ONLY_READ = 1, ACKNOWLEDGE = 2 };

static void set_quick(int fd, int how) { setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &how, sizeof how); }

static bool is_often_silent(void) {
    return opt.channels > 1 || (shared->kind == C_RATE && shared->rate < OFTEN_PER_SECOND);
}

static void say_how_we_read(const connection *c) { set_quick(c->fd, is_often_silent() ? WE_ANSWER : WE_ONLY_READ); }

static void send_frame(connection *c, const char *frame, size_t size) {
    if (send(c->fd, frame, size, MSG_NOSIGNAL) != (ssize_t)size && c->state != CLOSED) raise_counter(&me->faults.closed, 1);
    say_how_we_read(c);
}

static void send_text(connection *c, const char *text, size_t length) {
    char frame[2048];
    send_frame(c, frame, client_frame(1, text, length, frame));
}

/* --- the check ----------------------------------------------------------------------------------------------------- */

static void check(connection *c, uint32_t sequence) {
    if (sequence == c->next) {
        c->seen = c->seen << 1 | 1;
        c->next++;
    } else if (sequence > c->next) {
        uint32_t gap = sequence - c->next;
        raise_counter(&me->faults.missing, gap);
        c->seen = gap < 63 ? c->seen << (gap + 1) | 1 : 1;
        c->next = sequence + 1;
    } else {
        uint32_t back = c->next - 1 - sequence;
        if (back > 63 || c->seen >> back & 1) {
            raise_counter(&me->faults.doubled, 1);
        } else {
            raise_counter(&me->faults.swapped, 1);
            raise_counter(&me->faults.missing, -1ull);
            c->seen |= 1ull << back;
        }
    }
}

static uint64_t number(const char *digits, int length) {
    uint64_t value = 0;
    for (int i = 0; i < length; i++) value = value * 10 + (uint64_t)(digits[i] - '0');
    return value;
}

/* Look at a text message for "#s<8 digits>#t<16 digits>"; false when it is none of ours. */
static bool take_message(connection *c, const char *text, size_t length) {
    static size_t hint;
    const char *mark = NULL;
    if (hint + 28 <= length && text[hint] == '#' && text[hint + 1] == 's' && text[hint + 10] == '#') mark = text + hint;
    else mark = memmem(text, length, "#s", 2);
    if (!mark || mark + 28 > text + length || mark[10] != '#') return false;
    hint = (size_t)(mark - text);
    check(c, (uint32_t)number(mark + 2, 8));
    unreported++;
    if (atomic_load_explicit(&shared->measuring, memory_order_relaxed)) {
        uint64_t sent = number(mark + 12, 16);
        observe(&me->latency, received_at > sent ? received_at - sent : 0);
    }
    return true;
}

/* --- a connection's life ------------------------------------------------------------------------------------------- */

static int index_of(const connection *c) { return base + (int)(c - list); }

static void open_next(void) {
    while (opened < count && handshakes < opt.handshakes) {
        connection *c = &list[opened++];
        char head[1024];
        c->fd = connect_to(opt.ports[index_of(c) % opt.port_count], worker_index, false);
        c->state = UPGRADING;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
        size_t size = upgrade_request(opt.path, head);
        if (send(c->fd, head, size, MSG_NOSIGNAL) != (ssize_t)size) {
            event.events = EPOLLIN | EPOLLOUT; /* the handshake of TCP is still on its way */
            epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
        }
        handshakes++;
    }
}

static void writable(connection *c) {
    char head[1024];
    size_t size = upgrade_request(opt.path, head);
    if (send(c->fd, head, size, MSG_NOSIGNAL) != (ssize_t)size) die("upgrade request: %s", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void close_connection(connection *c) {
    if (c->state == CLOSED) return;
    struct linger reset = {1, 0}; /* RST: leaves no TIME_WAIT behind */
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(c->fd);
    free(c->rest);
    c->rest = NULL;
    c->rest_length = 0;
    if (c->state < READY) handshakes--;
    c->state = CLOSED;
}

/* The socket id stands in a JSON string inside a JSON string: \"socket_id\":\"1.2\" */
static void take_socket_id(connection *c, const char *greeting, size_t length) {
    const char *id = memmem(greeting, length, "socket_id", 9);
    if (!id) die("no socket_id in: %.*s", (int)length, greeting);
    id += 9 + strspn(id + 9, "\\\": ");
    size_t size = strspn(id, "0123456789.");
    if (size >= sizeof c->socket_id) die("a socket_id of %zu characters", size);
    memcpy(c->socket_id, id, size);
}

static void subscribe(connection *c) {
    char text[1536], covered[512], auth[256] = "";
    values v = {.channel = c->channel, .index = index_of(c), .auth = auth};
    if (strstr(opt.subscribe, "@auth@")) {
        int size = sprintf(covered, "%s:", c->socket_id);
        size += channel_name(c->channel, covered + size);
        int key = sprintf(auth, "%s:", opt.key);
        hmac_sha256_hex(opt.secret, covered, (size_t)size, auth + key);
    }
    send_text(c, text, expand(opt.subscribe, &v, text));
}

static void joined(connection *c) {
    c->state = READY;
    handshakes--;
    atomic_fetch_add_explicit(&me->ready, 1, memory_order_relaxed);
}

static void churned(connection *c) {
    c->state = READY;
    raise_counter(&shared->churned, 1);
}

static void text_message(connection *c, const char *text, size_t length) {
    switch (c->state) {
    case GREETED:
        if (!memmem(text, length, opt.welcome, strlen(opt.welcome))) return;
        if (strstr(opt.subscribe, "@auth@")) take_socket_id(c, text, length);
        c->state = JOINING;
        subscribe(c);
        return;
    case JOINING:
        if (memmem(text, length, opt.acknowledged, strlen(opt.acknowledged))) joined(c);
        return;
    case LEAVING:
        if (memmem(text, length, opt.acknowledged, strlen(opt.acknowledged))) churned(c);
        else take_message(c, text, length);
        return;
    default:
        if (take_message(c, text, length)) return;
        if (memmem(text, length, "pusher:ping", 11)) {
            static const char pong[] = "{\"event\":\"pusher:pong\",\"data\":{}}";
            send_text(c, pong, sizeof pong - 1);
        }
    }
}

static void take_frame(connection *c, int opcode, const char *payload, size_t length) {
    if (opcode == 1 || opcode == 2) {
        text_message(c, payload, length);
    } else if (opcode == 9) {
        char frame[256];
        send_frame(c, frame, client_frame(10, payload, length, frame));
    } else if (opcode == 8) {
        fprintf(stderr, "load client: closed by the server: %.*s\n", length > 2 ? (int)length - 2 : 0, payload + 2);
        raise_counter(&me->faults.closed, 1);
        close_connection(c);
    }
}

/* The answer to the upgrade; returns what it took, 0 while it is incomplete. */
static size_t take_upgrade(connection *c, const char *data, size_t length) {
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    if (!end) return 0;
    if (length < 12 || memcmp(data + 9, "101", 3)) die("upgrade refused: %.*s", (int)(end - data), data);
    c->state = GREETED;
    if (!opt.welcome[0]) {
        c->state = JOINING;
        if (opt.subscribe[0]) subscribe(c);
        if (!opt.acknowledged[0]) joined(c);
    }
    return (size_t)(end + 4 - data);
}

static size_t consume(connection *c, const char *data, size_t length) {
    size_t used = 0;
    while (used < length && c->state != CLOSED) {
        int opcode;
        const char *payload;
        size_t size, payload_length;
        if (c->state == UPGRADING) {
            size = take_upgrade(c, data + used, length - used);
        } else {
            size = server_frame(data + used, length - used, &opcode, &payload, &payload_length);
            if (size) take_frame(c, opcode, payload, payload_length);
        }
        if (!size) break;
        used += size;
    }
    return used;
}

static void readable(connection *c) {
    size_t have = c->rest_length;
    if (have) memcpy(buffer, c->rest, have);
    ssize_t got = recv(c->fd, buffer + have, READ_SIZE - have, 0);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN) return;
        raise_counter(&me->faults.closed, 1);
        close_connection(c);
        return;
    }
    received_at = now_ns();
    if (is_often_silent()) set_quick(c->fd, ACKNOWLEDGE);
    raise_counter(&me->bytes, (unsigned long long)got);
    size_t length = have + (size_t)got, used = consume(c, buffer, length);
    if (c->state == CLOSED) return;
    size_t left = length - used;
    if (left > READ_SIZE / 2) die("a frame of more than %d bytes", READ_SIZE / 2);
    if (left) {
        c->rest = realloc(c->rest, left);
        memcpy(c->rest, buffer + used, left);
    } else if (c->rest) {
        free(c->rest);
        c->rest = NULL;
    }
    c->rest_length = (uint32_t)left;
}

/* --- publishing (worker 0) ----------------------------------------------------------------------------------------- */

static unsigned long long received_by_all(void) {
    unsigned long long total = 0;
    for (int i = 0; i < opt.workers; i++) total += atomic_load_explicit(&shared->worker[i].received, memory_order_relaxed);
    return total;
}

/*
 * A random channel of those that did not get one of the last RESTING messages: with replacement, of a hundred channels some
 * would get two at once, which a server may join into one write, and a delivery would seem the cheaper the fewer there are.
 */
static int next_channel(void) {
    static int *order, oldest; /* the first `resting` of `order` are a ring of those that got one lately */
    int among = opt.active ? opt.active : opt.channels, resting = among / 2 < RESTING ? among / 2 : RESTING;
    if (among == 1) return 0;
    if (!order) {
        order = calloc((size_t)among, sizeof *order);
        for (int i = 0; i < among; i++) order[i] = i;
    }
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    int *chosen = &order[resting + (int)(random_state % (uint64_t)(among - resting))], channel = *chosen;
    *chosen = order[oldest];
    order[oldest] = channel;
    oldest = (oldest + 1) % resting;
    return channel;
}

static void publish(uint64_t timestamp) {
    int channel = next_channel();
    publish_one(channel, ++shared->sent[channel], timestamp);
    atomic_fetch_add_explicit(&shared->published, 1, memory_order_relaxed);
}

/* Closed loop: as many messages as keep `window` of them in flight. */
static void top_up(void) {
    unsigned long long members = (unsigned long long)members_per_channel();
    unsigned long long done = received_by_all() / members, published = shared->published;
    int batch = 0;
    uint64_t now = now_ns();
    while (published < done + (unsigned long long)shared->window && batch++ < opt.publish_batch) {
        publish(now);
        published++;
    }
    if (batch) publisher_flush();
}

/* Open loop: every message that is due, stamped with the moment at which it was due. */
static void publish_due(void) {
    uint64_t now = now_ns();
    if (next_due > now) return;
    for (int batch = 0; next_due <= now && batch < 1000; batch++, next_due += interval) publish(next_due);
    publisher_flush();
}

static void arm(void) {
    struct itimerspec at = {{0, 0}, {(time_t)(next_due / 1000000000u), (long)(next_due % 1000000000u)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static void keep_publishing(void) {
    if (worker_index != 0 || !running || !atomic_load(&shared->publishing)) return;
    if (shared->kind == C_FLOOD) {
        top_up();
    } else if (shared->kind == C_RATE) {
        publish_due();
        arm();
    }
}

static void report_received(void) {
    if (!unreported) return;
    raise_counter(&me->received, unreported);
    unreported = 0;
    if (worker_index != 0 && shared->kind == C_FLOOD) eventfd_write(wake[0], 1);
}

/* --- commands ------------------------------------------------------------------------------------------------------ */

static void finished(void) {
    running = 0;
    atomic_store(&me->finished, atomic_load(&shared->number));
    eventfd_write(parent_wake, 1);
}

static void start_connecting(void) {
    int each = shared->connections / opt.workers, more = shared->connections % opt.workers;
    count = each + (worker_index < more);
    base = worker_index * each + (worker_index < more ? worker_index : more);
    list = calloc((size_t)count + 1, sizeof *list);
    for (int i = 0; i < count; i++) {
        list[i].channel = (base + i) % opt.channels;
        list[i].next = shared->sent[list[i].channel] + 1;
        list[i].seen = ~0ull;
    }
    opened = handshakes = 0;
    atomic_store(&me->ready, 0);
}

static void disconnect_all(void) {
    for (int i = 0; i < count; i++) close_connection(&list[i]);
    free(list);
    list = NULL;
    count = opened = 0;
    atomic_store(&me->ready, 0);
}

static void stall_some(void) {
    for (int i = 0; i < count && index_of(&list[i]) < shared->stalled; i++) {
        epoll_ctl(epoll, EPOLL_CTL_DEL, list[i].fd, NULL);
        list[i].state = STALLED;
    }
}

/* What is still missing at the end counts as missing, connection by connection. */
static void verify(void) {
    for (int i = 0; i < count; i++) {
        connection *c = &list[i];
        uint32_t sent = shared->sent[c->channel];
        if (c->state == READY && c->next <= sent) raise_counter(&me->faults.missing, sent + 1 - c->next);
        c->next = sent + 1;
        c->seen = ~0ull;
    }
}

static void begin(void) {
    running = 1;
    for (int i = 0; i < opened; i++)
        if (list[i].state == READY) say_how_we_read(&list[i]);
    switch (shared->kind) {
    case C_CONNECT: start_connecting(); break;
    case C_DISCONNECT: disconnect_all(); finished(); break;
    case C_STALL: stall_some(); finished(); break;
    case C_QUIT: _exit(0);
    case C_RATE:
        interval = (uint64_t)(1e9 / shared->rate);
        next_due = now_ns() + interval;
        break;
    case C_FLOOD: case C_IDLE: case C_CHURN: break;
    }
}

/* Churn: a member leaves and joins again, one at a time per loop turn, while the others go on receiving. */
static void churn_one(void) {
    static int at;
    if (count == 0) return;
    connection *c = &list[at++ % count];
    if (c->state != READY) return;
    char text[1536];
    values v = {.channel = c->channel, .index = index_of(c)};
    c->state = LEAVING;
    send_text(c, text, expand(opt.unsubscribe, &v, text));
    subscribe(c);
}

static void turn(void) {
    if (!running) return;
    switch (shared->kind) {
    case C_CONNECT:
        open_next();
        if (atomic_load(&me->ready) == count) finished();
        break;
    case C_FLOOD: case C_RATE: case C_IDLE: case C_CHURN:
        keep_publishing();
        if (shared->kind == C_CHURN && atomic_load(&shared->publishing)) churn_one();
        if (atomic_load(&shared->verifying)) {
            if (shared->kind != C_CHURN) verify();
            finished();
        }
        break;
    default: break;
    }
}

/*
 * What has become ready. While an event goes around, the next message is microseconds away: whoever sleeps until then is woken
 * by the server's core, in the middle of its writing, sometimes and sometimes not, which moved a delivery's price by a tenth.
 * With another machine at the other end it would cost the server nothing. So we keep looking for a while before we sleep,
 * where there is only one of us: Redis, whose core this is too, has priority, but another worker would wait.
 */
static int await(struct epoll_event *events, int timeout_ms) {
    int ready = epoll_wait(epoll, events, EVENTS, 0);
    bool is_fed = running && (shared->kind == C_FLOOD || shared->kind == C_RATE);
    if (ready == 0 && is_fed && opt.workers == 1) {
        uint64_t until = now_ns() + KEEN_NS;
        while (ready == 0 && now_ns() < until) ready = epoll_wait(epoll, events, EVENTS, 0);
    }
    return ready ? ready : epoll_wait(epoll, events, EVENTS, timeout_ms);
}

void run_worker(int index) {
    static struct epoll_event events[EVENTS];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    worker_index = index;
    me = &shared->worker[index];
    epoll = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    static int wake_mark, timer_mark;
    struct epoll_event wakes = {.events = EPOLLIN, .data.ptr = &wake_mark};
    struct epoll_event ticks = {.events = EPOLLIN, .data.ptr = &timer_mark};
    epoll_ctl(epoll, EPOLL_CTL_ADD, wake[index], &wakes);
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &ticks);
    if (index == 0) publisher_open(epoll);
    for (int command = 0;;) {
        bool is_churning = running && shared->kind == C_CHURN;
        int ready = await(events, is_churning ? 1 : 1000);
        for (int i = 0; i < ready; i++) {
            void *mark = events[i].data.ptr;
            eventfd_t ignored;
            if (mark == &wake_mark) eventfd_read(wake[index], &ignored);
            else if (mark == &timer_mark) (void)!read(timer, &ignored, sizeof ignored);
            else if (events[i].data.u64 & PUBLISHER_MARK) publisher_ready((int)(events[i].data.u64 & 0xffffffff), events[i].events);
            else if (events[i].events & EPOLLOUT) writable(mark);
            else readable(mark);
        }
        report_received();
        int newest = atomic_load(&shared->number);
        if (newest != command) {
            command = newest;
            begin();
        }
        turn();
    }
}
