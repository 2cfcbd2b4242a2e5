/* A segment as it may lie on a disk, told to people: whatever the bytes are, the walk ends. */
#include "raft-log/include/raftlog/dump.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct rlog_dump_summary sum;
    struct mq_buf problem = {0};
    char path[64];
    int fd = memfd_create("segment", MFD_CLOEXEC);

    if (fd >= 0 && write(fd, bytes, n) == (ssize_t)n) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        (void)rlog_dump(path, NULL, NULL, &sum, &problem);
    }
    if (fd >= 0) {
        close(fd);
    }
    mq_buf_free(&problem);
    return 0;
}
