/* Makes the disk of a test fail under a process that is started with this library: what is in the directory $DISK cannot be
 * written, or not be flushed, as long as the file $DISK_FAULT begins with 'r' or with 'f'. Nothing else is touched. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_within(const char *path) {
    const char *disk = getenv("DISK");
    return disk && strncmp(path, disk, strlen(disk)) == 0;
}

static char fault(void) {
    const char *path = getenv("DISK_FAULT");
    char first = 0;
    int saved = errno;
    long file = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        if (syscall(SYS_read, file, &first, 1) != 1) first = 0;
        syscall(SYS_close, file);
    }
    errno = saved;
    return first;
}

static int fails(int file, char how) {
    char link[64], path[4096];
    if (fault() != how) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_within(path);
}

static int refuse(int error) {
    errno = error;
    return -1;
}

#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))
#define FLUSHES(name) \
    int name(int file) { \
        return fails(file, 'f') ? refuse(EIO) : NEXT(int (*)(int), #name)(file); \
    }
FLUSHES(fsync)
FLUSHES(fdatasync)

ssize_t write(int file, const void *bytes, size_t count) {
    return fails(file, 'r') ? refuse(EROFS) : NEXT(ssize_t (*)(int, const void *, size_t), "write")(file, bytes, count);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    return fails(file, 'r') ? refuse(EROFS)
                            : NEXT(ssize_t (*)(int, const struct iovec *, int), "writev")(file, parts, count);
}

#define WRITES_AT(name, offset) \
    ssize_t name(int file, const void *bytes, size_t count, offset at) { \
        return fails(file, 'r') ? refuse(EROFS) \
                                : NEXT(ssize_t (*)(int, const void *, size_t, offset), #name)(file, bytes, count, at); \
    }
WRITES_AT(pwrite, off_t)
WRITES_AT(pwrite64, off64_t)

#define CUTS(name, offset) \
    int name(int file, offset length) { \
        return fails(file, 'r') ? refuse(EROFS) : NEXT(int (*)(int, offset), #name)(file, length); \
    }
CUTS(ftruncate, off_t)
CUTS(ftruncate64, off64_t)

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT; \
        if (writes && is_within(path) && fault() == 'r') return refuse(EROFS); \
        return NEXT(int (*)(const char *, int, ...), #name)(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

#define CHANGES(name, type, argument) \
    int name(const char *path, type argument) { \
        if (is_within(path) && fault() == 'r') return refuse(EROFS); \
        return NEXT(int (*)(const char *, type), #name)(path, argument); \
    }
CHANGES(rename, const char *, to)
CHANGES(mkdir, mode_t, mode)

int unlink(const char *path) {
    if (is_within(path) && fault() == 'r') return refuse(EROFS);
    return NEXT(int (*)(const char *), "unlink")(path);
}
