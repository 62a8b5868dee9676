/* A disk that fails: LD_PRELOAD between the process and its files, for proofs, tests and benchmarks. Never installed.

   DISK_FILES    what it looks after: every path that begins so
   DISK_CONTROL  a file of int64 numbers, shared with whoever tells it what to do (disk.py names them)
   DISK_JOURNAL  where given: every change of these files is appended to it, so that a power cut can be made of it

   Calls that change the disk (write, truncate, sync, create, unlink, rename) are counted. The process is killed before
   call number KILL_AT, with SIGKILL: what it had written is then in the page cache, as with any kill. SQLite's -shm is
   memory, not disk: it is neither counted nor noted. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { CALLS, KILL_AT, WRITE_ERRNO, SYNC_ERRNO, READ_ERRNO, OPEN_ERRNO, SYNC_DELAY_US, ROOM, FIELDS };
enum { MOST_FILES = 4096 };

static int64_t nothing[FIELDS] = {0, 0, 0, 0, 0, 0, 0, -1};
static volatile int64_t *control = nothing;
static const char *prefix;
static size_t prefix_length;
static int journal = -1;
static char *names[MOST_FILES]; /* by descriptor */
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

#define NEXT(name) __typeof__(&name) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void start(void) {
    const char *file = getenv("DISK_CONTROL");
    prefix = getenv("DISK_FILES");
    if (!file || !prefix) return;
    prefix_length = strlen(prefix);
    int descriptor = syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC);
    if (descriptor < 0) abort();
    void *shared = mmap(NULL, sizeof nothing, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    syscall(SYS_close, descriptor);
    if (shared == MAP_FAILED) abort();
    control = shared;
    if (getenv("DISK_JOURNAL"))
        journal = syscall(SYS_openat, AT_FDCWD, getenv("DISK_JOURNAL"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static int is_ours(const char *path) { return prefix_length && path && strncmp(path, prefix, prefix_length) == 0; }

static int is_disk(const char *path) {
    size_t length = strlen(path);
    return length < 4 || strcmp(path + length - 4, "-shm") != 0;
}

/* The folder of the files: its fsync brings their names to the disk. */
static int is_folder(const char *path) {
    const char *slash = prefix_length ? strrchr(prefix, '/') : NULL;
    return slash && strlen(path) == (size_t)(slash - prefix) && strncmp(path, prefix, slash - prefix) == 0;
}

static char *name_of(int descriptor) {
    return descriptor >= 0 && descriptor < MOST_FILES ? names[descriptor] : NULL;
}

static char *disk_name_of(int descriptor) {
    char *name = name_of(descriptor);
    return name && is_disk(name) ? name : NULL;
}

static void count(void) {
    if (__sync_add_and_fetch(&control[CALLS], 1) == control[KILL_AT]) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
}

static void note(char what, const char *name, int64_t offset, const void *data, int64_t length) {
    if (journal < 0) return;
    struct { char what; char pad[3]; uint32_t name_length; int64_t offset, length; } head = {what, {0}, strlen(name), offset, length};
    size_t data_length = data ? length : 0, whole = sizeof head + head.name_length + data_length;
    char *record = malloc(whole);
    if (!record) abort();
    memcpy(record, &head, sizeof head);
    memcpy(record + sizeof head, name, head.name_length);
    if (data_length) memcpy(record + sizeof head + head.name_length, data, data_length);
    if (syscall(SYS_write, journal, record, whole) != (long)whole) abort();
    free(record);
}

static int opened(int descriptor, const char *path, int existed) {
    if (descriptor < 0 || descriptor >= MOST_FILES || !path) return descriptor;
    if (is_ours(path) || is_folder(path)) {
        names[descriptor] = strdup(path);
        if (!existed && is_ours(path) && is_disk(path)) note('C', path, 0, NULL, 0);
    }
    return descriptor;
}

static int open_any(const char *path, int flags, mode_t mode) {
    int ours = is_ours(path), existed = 1;
    if (ours) {
        if (control[OPEN_ERRNO] && (flags & (O_CREAT | O_RDWR | O_WRONLY))) { errno = control[OPEN_ERRNO]; return -1; }
        existed = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
        if (!existed && (flags & O_CREAT) && is_disk(path)) {
            count();
            if (control[ROOM] == 0) { errno = ENOSPC; return -1; }
        }
    }
    int descriptor = syscall(SYS_openat, AT_FDCWD, path, flags | O_LARGEFILE, mode);
    if (descriptor >= 0 && ours && (flags & O_TRUNC) && is_disk(path) && existed) note('T', path, 0, NULL, 0);
    return opened(descriptor, path, existed);
}

#define MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { MODE(flags) return open_any(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_any(path, flags, mode); }
int __open_2(const char *path, int flags) { return open_any(path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_any(path, flags, 0); }

int close(int descriptor) {
    char *name = name_of(descriptor);
    if (name) { names[descriptor] = NULL; free(name); }
    return syscall(SYS_close, descriptor);
}

/* What of a write there is room for; -1 where it fails. */
static ssize_t admitted(size_t length) {
    if (control[WRITE_ERRNO]) { errno = control[WRITE_ERRNO]; return -1; }
    if (control[ROOM] < 0) return length;
    if (control[ROOM] == 0 && length) { errno = ENOSPC; return -1; }
    ssize_t some = (int64_t)length < control[ROOM] ? (ssize_t)length : control[ROOM];
    control[ROOM] -= some;
    return some;
}

static ssize_t pwrite_any(int descriptor, const void *data, size_t length, off64_t offset) {
    char *name = disk_name_of(descriptor);
    if (!name) {
        if (name_of(descriptor) && control[WRITE_ERRNO]) { errno = control[WRITE_ERRNO]; return -1; }
        return syscall(SYS_pwrite64, descriptor, data, length, offset);
    }
    pthread_mutex_lock(&one_at_a_time);
    count();
    ssize_t some = admitted(length);
    if (some >= 0) some = syscall(SYS_pwrite64, descriptor, data, some, offset);
    if (some > 0) note('W', name, offset, data, some);
    pthread_mutex_unlock(&one_at_a_time);
    return some;
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t offset) { return pwrite_any(descriptor, data, length, offset); }
ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t offset) { return pwrite_any(descriptor, data, length, offset); }

ssize_t write(int descriptor, const void *data, size_t length) {
    char *name = disk_name_of(descriptor);
    if (!name) return syscall(SYS_write, descriptor, data, length);
    pthread_mutex_lock(&one_at_a_time);
    count();
    ssize_t some = admitted(length);
    int appends = syscall(SYS_fcntl, descriptor, F_GETFL) & O_APPEND;
    off64_t offset = syscall(SYS_lseek, descriptor, 0, appends ? SEEK_END : SEEK_CUR);
    if (some >= 0) some = syscall(SYS_write, descriptor, data, some);
    if (some > 0) note('W', name, offset, data, some);
    pthread_mutex_unlock(&one_at_a_time);
    return some;
}

static int truncate_any(int descriptor, off64_t length) {
    char *name = disk_name_of(descriptor);
    if (!name) return syscall(SYS_ftruncate, descriptor, length);
    count();
    if (control[WRITE_ERRNO]) { errno = control[WRITE_ERRNO]; return -1; }
    int answer = syscall(SYS_ftruncate, descriptor, length);
    if (answer == 0) note('T', name, length, NULL, 0);
    return answer;
}

int ftruncate(int descriptor, off_t length) { return truncate_any(descriptor, length); }
int ftruncate64(int descriptor, off64_t length) { return truncate_any(descriptor, length); }

static int sync_any(int descriptor, long number) {
    char *name = disk_name_of(descriptor);
    if (!name) return syscall(number, descriptor);
    count();
    if (control[SYNC_ERRNO]) { errno = control[SYNC_ERRNO]; return -1; }
    if (control[SYNC_DELAY_US]) usleep(control[SYNC_DELAY_US]);
    int answer = syscall(number, descriptor); /* the real disk, too: the measured cost is the added delay and this */
    if (answer == 0) note(is_ours(name) ? 'S' : 'D', name, 0, NULL, 0);
    return answer;
}

int fsync(int descriptor) { return sync_any(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return sync_any(descriptor, SYS_fdatasync); }

static ssize_t pread_any(int descriptor, void *data, size_t length, off64_t offset) {
    if (disk_name_of(descriptor) && control[READ_ERRNO]) { errno = control[READ_ERRNO]; return -1; }
    return syscall(SYS_pread64, descriptor, data, length, offset);
}

ssize_t pread(int descriptor, void *data, size_t length, off_t offset) { return pread_any(descriptor, data, length, offset); }
ssize_t pread64(int descriptor, void *data, size_t length, off64_t offset) { return pread_any(descriptor, data, length, offset); }

int unlink(const char *path) {
    int ours = is_ours(path) && is_disk(path);
    if (ours && control[WRITE_ERRNO]) { errno = control[WRITE_ERRNO]; return -1; }
    if (ours && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0) count();
    int answer = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (answer == 0 && ours) note('U', path, 0, NULL, 0);
    return answer;
}

int rename(const char *from, const char *to) {
    NEXT(rename);
    if (is_ours(from)) {
        count();
        if (control[WRITE_ERRNO]) { errno = control[WRITE_ERRNO]; return -1; }
    }
    int answer = next(from, to);
    if (answer == 0 && is_ours(from)) note('R', from, 0, to, strlen(to));
    return answer;
}
