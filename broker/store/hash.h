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

/* Chains half as long on average: a look-up in a large table waits for memory at each link. */
#undef HASH_BKT_CAPACITY_THRESH
#define HASH_BKT_CAPACITY_THRESH 4U

#endif
