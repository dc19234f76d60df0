/* Options, commands on standard input, one JSON line per result. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A window begins when each connection has had so many messages, or after these seconds without. */
enum { WARM_MESSAGES = 18, WARM_UP_SECONDS = 2 };
/* A run is given up after these seconds and those that its connections or deliveries take at these rates. */
enum { CONNECT_SECONDS = 120, CONNECTS_PER_SECOND = 1000, DRAIN_SECONDS = 20, DELIVERIES_PER_SECOND = 10000 };

options opt = {
    .path = "/", .welcome = "", .subscribe = "", .unsubscribe = "", .acknowledged = "", .key = "", .secret = "",
    .channel = "bench", .publish_path = "/", .publish_text = "", .http_head = "", .http_tail = "", .http_batch = 1,
    .publish_batch = 64, .workers = 1, .channels = 1, .handshakes = 128, .cpu = -1,
};
shared_state *shared;
int wake[MAX_WORKERS], parent_wake;
static pid_t children[MAX_WORKERS];
static histogram *probe_latency;

/* --- running a command in the workers ------------------------------------------------------------------------------- */

static void wake_all(void) {
    for (int i = 0; i < opt.workers; i++) eventfd_write(wake[i], 1);
}

static void start(command_kind kind) {
    shared->kind = kind;
    atomic_fetch_add(&shared->number, 1);
    wake_all();
}

static void sleep_seconds(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&t, &t) < 0 && errno == EINTR) {}
}

/* Wait until every worker is done; false when that takes longer than `seconds`. */
static bool wait_finished(double seconds) {
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    for (;;) {
        int done = 0;
        for (int i = 0; i < opt.workers; i++) done += atomic_load(&shared->worker[i].finished) == atomic_load(&shared->number);
        if (done == opt.workers) return true;
        if (now_ns() > end) return false;
        struct pollfd event = {.fd = parent_wake, .events = POLLIN};
        eventfd_t ignored;
        if (poll(&event, 1, 50) > 0) eventfd_read(parent_wake, &ignored);
        int status;
        pid_t ended = waitpid(-1, &status, WNOHANG);
        for (int i = 0; i < opt.workers; i++)
            if (ended == children[i]) die("a worker ended with status %d", status);
    }
}

typedef struct {
    unsigned long long received, bytes, missing, doubled, swapped, closed;
} totals;

static totals sum(void) {
    totals t = {0};
    for (int i = 0; i < opt.workers; i++) {
        worker_state *w = &shared->worker[i];
        t.received += w->received, t.bytes += w->bytes;
        t.missing += w->faults.missing, t.doubled += w->faults.doubled;
        t.swapped += w->faults.swapped, t.closed += w->faults.closed;
    }
    return t;
}

static void clear(void) {
    for (int i = 0; i < opt.workers; i++) {
        worker_state *w = &shared->worker[i];
        memset(&w->latency, 0, sizeof w->latency);
        memset(&w->faults, 0, sizeof w->faults);
        atomic_store(&w->received, 0);
        atomic_store(&w->bytes, 0);
    }
    memset(probe_latency, 0, sizeof *probe_latency);
    atomic_store(&shared->published, 0);
    atomic_store(&shared->refused, 0);
    atomic_store(&shared->churned, 0);
}

/* All that is counted, for results.py to make percentiles of: what one window says can so be laid over what others say. */
static void print_histogram(const char *name, const histogram *const *list, int lists) {
    unsigned long long largest = 0;
    for (int i = 0; i < lists; i++)
        if (list[i]->largest > largest) largest = list[i]->largest;
    printf(",\"%s\":{\"largest\":%llu,\"buckets\":[", name, largest);
    const char *comma = "";
    for (int b = 0; b < BUCKETS; b++) {
        unsigned long long count = 0;
        for (int i = 0; i < lists; i++) count += list[i]->bucket[b];
        if (count) printf("%s[%llu,%llu]", comma, (unsigned long long)bucket_top(b), count), comma = ",";
    }
    printf("]}");
}

/* --- commands ------------------------------------------------------------------------------------------------------- */

static void do_connect(int connections) {
    clear();
    shared->connections = connections;
    shared->stalled = 0;
    uint64_t began = now_ns();
    start(C_CONNECT);
    bool is_done = wait_finished(CONNECT_SECONDS + connections / CONNECTS_PER_SECOND);
    double seconds = (double)(now_ns() - began) / 1e9;
    int ready = 0;
    for (int i = 0; i < opt.workers; i++) ready += shared->worker[i].ready;
    if (!is_done) die("only %d of %d connections were subscribed after %.0f s", ready, connections, seconds);
    printf("{\"event\":\"connected\",\"connections\":%d,\"seconds\":%.4f,\"per_second\":%.0f}\n", ready, seconds, ready / seconds);
}

static void do_simple(command_kind kind, const char *name) {
    start(kind);
    if (!wait_finished(60)) die("%s took too long", name);
    printf("{\"event\":\"%s\"}\n", name);
}

int members_per_channel(void) {
    int members = (shared->connections - shared->stalled) / opt.channels;
    return members > 0 ? members : 1;
}

/* What all connections together should have got by now. */
static unsigned long long expected(void) { return shared->published * (unsigned long long)members_per_channel(); }

static void wait_drained(void) {
    uint64_t end = now_ns() + (uint64_t)(DRAIN_SECONDS + shared->connections / DELIVERIES_PER_SECOND) * 1000000000u;
    unsigned long long before = 0;
    for (int still = 0; sum().received < expected() && now_ns() < end && still < 200;) {
        sleep_seconds(0.01);
        unsigned long long now = sum().received;
        still = now == before ? still + 1 : 0; /* nothing for two seconds: it will not come any more */
        before = now;
    }
    sleep_seconds(0.05); /* what came twice may still be on its way */
}

static void print_run(double seconds, unsigned long long deliveries, unsigned long long published) {
    const histogram *list[MAX_WORKERS];
    for (int i = 0; i < opt.workers; i++) list[i] = &shared->worker[i].latency;
    const histogram *probe[1] = {probe_latency};
    totals t = sum();
    bool is_ok = t.received == expected() && !t.missing && !t.doubled && !t.swapped && !t.closed && !shared->refused;
    printf("{\"event\":\"ran\",\"ok\":%s,\"seconds\":%.4f,\"published\":%llu,\"deliveries\":%llu,\"deliveries_per_second\":%.0f,"
           "\"published_per_second\":%.0f,\"expected\":%llu,\"received\":%llu,\"missing\":%llu,\"doubled\":%llu,\"swapped\":%llu,"
           "\"closed\":%llu,\"refused\":%llu,\"churned\":%llu,\"bytes\":%llu",
           is_ok ? "true" : "false", seconds, (unsigned long long)shared->published, deliveries, (double)deliveries / seconds,
           (double)published / seconds, expected(), t.received, t.missing, t.doubled, t.swapped, t.closed,
           (unsigned long long)shared->refused, (unsigned long long)shared->churned, t.bytes);
    print_histogram("latency", list, opt.workers);
    print_histogram("probe", probe, 1);
    printf("}\n");
}

/*
 * On a connection that was silent for 200 ms Linux acknowledges the next 16 segments where they arrive: in the server's time,
 * each delivery half as dear again. A window that begins before would measure how much of it is theirs.
 */
static void warm_up(command_kind kind, double seconds) {
    uint64_t end = now_ns() + WARM_UP_SECONDS * 1000000000ull;
    sleep_seconds(seconds / 4 < 0.5 ? seconds / 4 : 0.5);
    if ((kind != C_FLOOD && kind != C_RATE) || opt.channels > 1) return;
    unsigned long long warm = WARM_MESSAGES * (unsigned long long)members_per_channel();
    while (sum().received < warm && now_ns() < end) sleep_seconds(0.005);
}

static void run(command_kind kind, double seconds, int probe_ms) {
    clear();
    pid_t probe = probe_ms > 0 ? start_probe(probe_ms, probe_latency) : 0;
    if (probe) sleep_seconds(0.2);
    atomic_store(&shared->verifying, false);
    atomic_store(&shared->publishing, kind != C_IDLE);
    start(kind);
    warm_up(kind, seconds);
    printf("{\"event\":\"window\"}\n");
    fflush(stdout);
    unsigned long long before = sum().received, published_before = shared->published;
    atomic_store(&shared->measuring, true);
    uint64_t began = now_ns();
    sleep_seconds(seconds);
    double took = (double)(now_ns() - began) / 1e9;
    unsigned long long deliveries = sum().received - before, published = shared->published - published_before;
    printf("{\"event\":\"window-over\"}\n");
    fflush(stdout);
    if (kind != C_RATE) atomic_store(&shared->measuring, false); /* at a fixed rate the stragglers count */
    atomic_store(&shared->publishing, false);
    wake_all();
    sleep_seconds(0.02); /* the publisher's last turn */
    wait_drained();
    atomic_store(&shared->measuring, false);
    atomic_store(&shared->verifying, true);
    wake_all();
    if (!wait_finished(30)) die("a worker hangs");
    if (probe) {
        kill(probe, SIGKILL);
        waitpid(probe, NULL, 0);
    }
    print_run(took, deliveries, published);
}

static bool obey(char *line) {
    double a = 0, b = 0, c = 0;
    char name[32] = "";
    sscanf(line, "%31s %lf %lf %lf", name, &a, &b, &c);
    if (!strcmp(name, "connect")) {
        do_connect((int)a);
    } else if (!strcmp(name, "disconnect")) {
        do_simple(C_DISCONNECT, "disconnected");
    } else if (!strcmp(name, "stall")) {
        shared->stalled = (int)a;
        do_simple(C_STALL, "stalled");
    } else if (!strcmp(name, "flood")) {
        shared->window = (int)a;
        run(C_FLOOD, b, (int)c);
    } else if (!strcmp(name, "rate")) {
        shared->rate = a;
        run(C_RATE, b, (int)c);
    } else if (!strcmp(name, "idle")) {
        run(C_IDLE, a, (int)b);
    } else if (!strcmp(name, "churn")) {
        run(C_CHURN, a, 0);
    } else if (!strcmp(name, "quit")) {
        return false;
    } else if (name[0]) {
        die("unknown command: %s", name);
    }
    fflush(stdout);
    return true;
}

/* --- options -------------------------------------------------------------------------------------------------------- */

static void set_ports(char *list) {
    for (char *port = strtok(list, ","); port; port = strtok(NULL, ",")) {
        if (opt.port_count == MAX_PORTS) die("more than %d ports", MAX_PORTS);
        opt.ports[opt.port_count++] = atoi(port);
    }
}

static void set_channel(const char *format) {
    const char *first = strchr(format, '%');
    if (first && (first[1] != 'd' || strchr(first + 1, '%'))) die("--channel takes one %%d at most");
    opt.channel = format;
}

static bool set_text(const char *name, char *value) {
    const struct { const char *name, **into; } texts[] = {
        {"path", &opt.path}, {"welcome", &opt.welcome}, {"subscribe", &opt.subscribe}, {"unsubscribe", &opt.unsubscribe},
        {"acknowledged", &opt.acknowledged}, {"key", &opt.key}, {"secret", &opt.secret}, {"publisher", &opt.publisher},
        {"publish-path", &opt.publish_path}, {"publish-text", &opt.publish_text}, {"http-head", &opt.http_head},
        {"http-tail", &opt.http_tail},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!strcmp(name, texts[i].name)) return *texts[i].into = value, true;
    return false;
}

static bool set_number(const char *name, const char *value) {
    const struct { const char *name; int *into; } numbers[] = {
        {"workers", &opt.workers}, {"channels", &opt.channels}, {"handshakes", &opt.handshakes}, {"pad", &opt.pad},
        {"cpu", &opt.cpu}, {"publish-port", &opt.publish_port}, {"http-batch", &opt.http_batch},
        {"publish-batch", &opt.publish_batch}, {"active", &opt.active},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(name, numbers[i].name)) return *numbers[i].into = atoi(value), true;
    return false;
}

static void read_options(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i] + 2;
        if (strncmp(argv[i], "--", 2)) die("unexpected argument: %s", argv[i]);
        if (!strcmp(name, "ports")) {
            set_ports(argv[i + 1]);
        } else if (!strcmp(name, "channel")) {
            set_channel(argv[i + 1]);
        } else if (!strcmp(name, "publish-argument")) {
            if (opt.argument_count == MAX_ARGUMENTS) die("more than %d publish arguments", MAX_ARGUMENTS);
            opt.publish_arguments[opt.argument_count++] = argv[i + 1];
        } else if (!set_text(name, argv[i + 1]) && !set_number(name, argv[i + 1])) {
            die("unknown option: --%s", name);
        }
    }
    if (!opt.port_count) die("--ports is needed");
    if (opt.workers < 1 || opt.workers > MAX_WORKERS) die("--workers must be 1 to %d", MAX_WORKERS);
    if (opt.active < 0 || opt.active > opt.channels) die("--active must be 0 to --channels");
    if (opt.pad < 0 || opt.pad > 4096) die("--pad must be 0 to 4096");
}

static void *share(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) die("mmap: %s", strerror(errno));
    return memory;
}

int main(int argc, char **argv) {
    char line[256];
    read_options(argc, argv);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (opt.cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(opt.cpu, &set);
        if (sched_setaffinity(0, sizeof set, &set) < 0) die("core %d: %s", opt.cpu, strerror(errno));
    }
    shared = share(sizeof *shared);
    shared->sent = share(sizeof *shared->sent * (size_t)opt.channels);
    probe_latency = share(sizeof *probe_latency);
    parent_wake = eventfd(0, EFD_NONBLOCK);
    for (int i = 0; i < opt.workers; i++) wake[i] = eventfd(0, EFD_NONBLOCK);
    for (int i = 0; i < opt.workers; i++)
        if ((children[i] = fork()) == 0) run_worker(i);
    while (fgets(line, sizeof line, stdin) && obey(line)) {}
    start(C_QUIT);
    while (wait(NULL) > 0) {}
    return 0;
}
