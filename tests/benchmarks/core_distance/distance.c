/*
 * How far two cores are apart: the time that a cache line takes from one to the other.
 *
 *   distance CORE CORE     prints nanoseconds
 *
 * Two processes pass a number back and forth in shared memory, each as soon as it sees the other's. The quickest of several
 * rounds counts: in the others somebody else had a core.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 7, EXCHANGES = 2000 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Before other processes, where we may: whoever waits for its core keeps the other one waiting. */
static void stay_on(int core) {
    struct sched_param first = {.sched_priority = 3};
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET((size_t)core, &cores);
    if (sched_setaffinity(0, sizeof cores, &cores) < 0) fail("sched_setaffinity");
    (void)sched_setscheduler(0, SCHED_RR, &first);
}

static double now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void await(atomic_int *ball, int number) {
    while (atomic_load_explicit(ball, memory_order_acquire) != number) {}
}

static void answer(atomic_int *ball) {
    for (int i = 0; i < ROUNDS * EXCHANGES; i++) {
        await(ball, 2 * i + 1);
        atomic_store_explicit(ball, 2 * i + 2, memory_order_release);
    }
}

static double quickest(atomic_int *ball) {
    double best = 0;
    for (int i = 0, round = 0; round < ROUNDS; round++) {
        double began = now_ns();
        for (int end = i + EXCHANGES; i < end; i++) {
            atomic_store_explicit(ball, 2 * i + 1, memory_order_release);
            await(ball, 2 * i + 2);
        }
        double took = (now_ns() - began) / EXCHANGES / 2;
        if (!round || took < best) best = took;
    }
    return best;
}

int main(int argc, char **argv) {
    if (argc != 3 || atoi(argv[1]) == atoi(argv[2])) return 2; /* on one core each would wait for its turn */
    atomic_int *ball = mmap(NULL, sizeof *ball, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ball == MAP_FAILED) fail("mmap");
    pid_t other = fork();
    if (other < 0) fail("fork");
    if (!other) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        stay_on(atoi(argv[2]));
        answer(ball);
        _exit(0);
    }
    stay_on(atoi(argv[1]));
    printf("%.0f\n", quickest(ball));
    waitpid(other, NULL, 0);
    return 0;
}
