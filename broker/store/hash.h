/* uthash with our allocator, and with a failed addition as a return value instead of an exit. Files that add to a
 * table include this first; who only looks up may include uthash.h alone. After HASH_ADD the element's hh.tbl is NULL
 * when there was no memory. */
#ifndef BROKER_STORE_HASH_H
#define BROKER_STORE_HASH_H

#include "remoting/base/heap.h"

#define HASH_NONFATAL_OOM 1
#define uthash_malloc(bytes) mq_malloc(bytes)
#define uthash_free(ptr, bytes) mq_free(ptr)

#include <uthash.h>

#endif
