/* A machine whose UTC shows what a test says: preloaded (ld.so(8)) before a gateway, it moves CLOCK_REALTIME and what
 * adjtimex(2) answers, and nothing else: CLOCK_MONOTONIC and CLOCK_BOOTTIME go on.
 * The file named by $CLOCK_SHIM holds two 64-bit integers: by how many nanoseconds UTC is off, and whether the kernel
 * calls it synchronized. The test may change both at any time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *shown;
static int (*real_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CLOCK_SHIM");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
    real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (map == MAP_FAILED)
        abort(); /* a test must not go on with the right time unnoticed */
    shown = map;
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int answer;
    int64_t ns;
    if (real_gettime == NULL) /* another library's constructor was first */
        real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    answer = real_gettime(clock, at);
    if (answer == 0 && shown != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        ns = (int64_t)at->tv_sec * 1000000000 + at->tv_nsec + shown[0];
        at->tv_sec = ns / 1000000000;
        at->tv_nsec = ns % 1000000000;
    }
    return answer;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at != NULL)
        *at = now.tv_sec;
    return now.tv_sec;
}

int adjtimex(struct timex *kernel)
{
    kernel->maxerror = shown[1] ? 1000 : 16000000;
    return shown[1] ? TIME_OK : TIME_ERROR;
}
