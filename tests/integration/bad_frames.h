/* Bytes that are no frame, or one that says nothing sensible. */
#ifndef TESTS_INTEGRATION_BAD_FRAMES_H
#define TESTS_INTEGRATION_BAD_FRAMES_H

#include "remoting/base/buf.h"

enum bad_frame_fate { CLOSED, ANSWERED, CLOSED_OR_ANSWERED };

struct bad_frame {
    const char *name;
    enum bad_frame_fate fate; /* what the server has to do with it */
    void (*build)(struct mq_buf *out);
};

extern const struct bad_frame bad_frames[];
extern const size_t bad_frames_count;

#endif
