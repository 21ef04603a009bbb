/* The wall clock of one process and its children, moved by the nanoseconds that stand in the file $SHIFTED_CLOCK, also
   while they run. As for a service, nobody tells whether it is synchronised. cc -shared -fPIC -o X.so X.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
static volatile long long *shift, none = 0;

static long long now_ns(void)
{
    struct timespec t;
    if (!shift) {
        const char *path = getenv("SHIFTED_CLOCK");
        int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *map = file < 0 ? MAP_FAILED : mmap(0, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
        shift = map == MAP_FAILED ? &none : map;
        if (file >= 0)
            close(file);
    }
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
    return t.tv_sec * SECOND + t.tv_nsec + *shift;
}

int clock_gettime(clockid_t which, struct timespec *t)
{
    if (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE)
        return syscall(SYS_clock_gettime, which, t);
    long long now = now_ns();
    t->tv_sec = now / SECOND, t->tv_nsec = now % SECOND;
    return 0;
}

int gettimeofday(struct timeval *t, void *zone)
{
    long long now = now_ns();
    t->tv_sec = now / SECOND, t->tv_usec = now % SECOND / 1000;
    return 0;
}

time_t time(time_t *t)
{
    time_t now = now_ns() / SECOND;
    if (t)
        *t = now;
    return now;
}

/* Until the moved clock is there: with which the kernel compares again and again, and so do we. */
int sem_timedwait(sem_t *semaphore, const struct timespec *until)
{
    static int (*real)(sem_t *, const struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "sem_timedwait");
    for (;;) {
        long long left = until->tv_sec * SECOND + until->tv_nsec - now_ns();
        struct timespec t;
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
        long long end = t.tv_sec * SECOND + t.tv_nsec + (left < 0 ? 0 : left > SECOND / 50 ? SECOND / 50 : left);
        t.tv_sec = end / SECOND, t.tv_nsec = end % SECOND;
        if (real(semaphore, &t) == 0)
            return 0;
        if (errno != ETIMEDOUT || left <= 0)
            return -1;
    }
}

int ntp_adjtime(struct timex *t)
{
    errno = EPERM;
    return -1;
}
