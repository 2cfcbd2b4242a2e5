/* uthash with our allocator and without its exit() when memory is short. After HASH_ADD the caller asks table_added:
 * an element without a table was not added. */
#ifndef NAMESRV_TABLE_H
#define NAMESRV_TABLE_H

#include "remoting/base/heap.h"

#define HASH_NONFATAL_OOM 1
#define uthash_malloc(bytes) mq_malloc(bytes)
#define uthash_free(ptr, bytes) mq_free(ptr)
#include <uthash.h>

#define table_added(element) ((element)->hh.tbl != NULL)

#endif
