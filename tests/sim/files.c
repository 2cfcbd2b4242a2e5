/* The few calls for files and maps that the store makes by itself, not through struct rlog_disk. What it keeps there
 * is derived from the log and made anew at each start, so inside it is memory of the process. Linked with --wrap. */
#include "remoting/base/file.h"
#include "tests/sim/world/machine.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define NO_FD (1 << 20) /* the system has none of that number: to close it does nothing */

int __real_mkdir(const char *path, mode_t mode);
int __real_posix_fallocate(int fd, off_t at, off_t bytes);
void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t from);
int __real_munmap(void *at, size_t bytes);
int __real_mq_dir_make(const char *path);
int __real_open(const char *path, int flags, ...);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_open(const char *path, int flags, ...);
int __wrap_posix_fallocate(int fd, off_t at, off_t bytes);
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t from);
int __wrap_munmap(void *at, size_t bytes);
int __wrap_mq_dir_make(const char *path);
bool __wrap_mq_file_exists(const char *path);

int __wrap_mkdir(const char *path, mode_t mode)
{
    return process_current() != NULL ? 0 : __real_mkdir(path, mode);
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    int mode;

    if (process_current() != NULL) {
        return NO_FD;
    }
    va_start(args, flags);
    mode = va_arg(args, int);
    va_end(args);
    return __real_open(path, flags, mode);
}

int __wrap_posix_fallocate(int fd, off_t at, off_t bytes)
{
    return process_current() != NULL ? 0 : __real_posix_fallocate(fd, at, bytes);
}

void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t from)
{
    void *memory;

    if (process_current() == NULL || fd != NO_FD) {
        return __real_mmap(at, bytes, prot, flags, fd, from);
    }
    memory = calloc(1, bytes);
    return memory != NULL ? memory : MAP_FAILED;
}

/* Inside, only what __wrap_mmap gave is ever unmapped. */
int __wrap_munmap(void *at, size_t bytes)
{
    if (process_current() == NULL) {
        return __real_munmap(at, bytes);
    }
    free(at);
    return 0;
}

int __wrap_mq_dir_make(const char *path)
{
    return process_current() != NULL ? 0 : __real_mq_dir_make(path);
}

bool __wrap_mq_file_exists(const char *path)
{
    (void)path;
    return false;
}
