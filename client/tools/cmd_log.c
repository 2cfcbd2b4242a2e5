/* raftmq log dump|verify: the files of a node's log, read without the node. */
#include "client/tools/tool.h"
#include "raft-log/include/raftlog/dump.h"
#include "remoting/base/err.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage_text[] =
    "usage: raftmq log dump PATH [--from INDEX] [--count N] [--json]\n"
    "       raftmq log verify PATH [--json]\n"
    "  PATH is one segment, the directory of the segments, or the node's store (storePathRootDir). The node may run "
    "or "
    "be stopped;\n"
    "  nothing is changed.\n"
    "  dump prints a line for each entry. verify reads everything, prints what is bad, and closes with one line; "
    "entries "
    "are\n"
    "  checked against their checksums, their place, and the entry before. Exit status 1 when something is bad.\n"
    "  --from INDEX  the first entry to print\n"
    "  --count N     how many\n"
    "  --json        one JSON object for each line\n";

struct log_view {
    bool json, only_bad;
    int64_t from, left; /* left -1: no end */
};

static void print_text(const struct rlog_dump_item *item)
{
    if (item->readable) {
        printf("%" PRIu64 " term=%" PRIu64 " pos=%" PRIu64 " type=%s bytes=%" PRIu64 " payload=%" PRIu32
               " records=%" PRIu32 " items=%" PRIu32 " commit=%" PRIu64 " store_ms=%" PRId64 " crc=%08" PRIx32,
               item->index, item->term, item->pos, item->type, item->bytes, item->payload_bytes, item->records,
               item->items, item->commit, item->store_ms, item->crc);
    } else {
        printf("- pos=%" PRIu64 " bytes=%" PRIu64, item->pos, item->bytes);
    }
    if (item->problem != NULL) {
        printf(" file=%s BAD: %s", item->file, item->problem);
    }
    putchar('\n');
}

static void print_json(const struct rlog_dump_item *item)
{
    printf("{\"file\":\"%s\",\"pos\":%" PRIu64 ",\"bytes\":%" PRIu64, item->file, item->pos, item->bytes);
    if (item->readable) {
        printf(",\"index\":%" PRIu64 ",\"term\":%" PRIu64 ",\"type\":\"%s\",\"payloadBytes\":%" PRIu32
               ",\"records\":%" PRIu32 ",\"items\":%" PRIu32 ",\"commit\":%" PRIu64 ",\"clockMs\":%" PRId64
               ",\"storeMs\":%" PRId64 ",\"crc\":\"%08" PRIx32 "\",\"prevCrc\":\"%08" PRIx32
               "\",\"payloadCrc\":\"%08" PRIx32 "\"",
               item->index, item->term, item->type, item->payload_bytes, item->records, item->items, item->commit,
               item->clock_ms, item->store_ms, item->crc, item->prev_crc, item->payload_crc);
    }
    if (item->problem != NULL) {
        printf(",\"problem\":\"%s\"", item->problem);
    }
    puts("}");
}

static bool on_item(void *data, const struct rlog_dump_item *item)
{
    struct log_view *view = data;

    if (view->only_bad ? item->problem == NULL : item->readable && (int64_t)item->index < view->from) {
        return true;
    }
    if (view->json) {
        print_json(item);
    } else {
        print_text(item);
    }
    return view->left < 0 || --view->left > 0;
}

static void print_summary(const struct rlog_dump_summary *sum, bool json)
{
    printf(json ? "{\"files\":%" PRIu64 ",\"entries\":%" PRIu64 ",\"firstIndex\":%" PRIu64 ",\"lastIndex\":%" PRIu64
                  ",\"lastTerm\":%" PRIu64 ",\"startPos\":%" PRIu64 ",\"endPos\":%" PRIu64 ",\"tailBytes\":%" PRIu64
                  ",\"bad\":%" PRIu64 "}\n"
                : "files=%" PRIu64 " entries=%" PRIu64 " first=%" PRIu64 " last=%" PRIu64 " term=%" PRIu64
                  " start_pos=%" PRIu64 " end_pos=%" PRIu64 " tail_bytes=%" PRIu64 " bad=%" PRIu64 "\n",
           sum->files, sum->entries, sum->first_index, sum->last_index, sum->last_term, sum->start_pos, sum->end_pos,
           sum->tail_bytes, sum->bad);
}

static int walk(const char *path, struct log_view *view)
{
    struct rlog_dump_summary sum;
    struct mq_buf problem = {0};
    int rc = rlog_dump(path, on_item, view, &sum, &problem);
    int result = sum.bad > 0 ? EXIT_FAILURE : EXIT_SUCCESS;

    if (rc != 0) {
        result = tool_fail("log", MQ_STR_FMT, MQ_STR_ARG(mq_buf_str(&problem)));
    } else if (view->only_bad) {
        print_summary(&sum, view->json);
    }
    mq_buf_free(&problem);
    return result;
}

int cmd_log(int argc, char **argv)
{
    static const struct option longs[] = {{"from", required_argument, NULL, 'f'},
                                          {"count", required_argument, NULL, 'c'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct log_view view = {.from = 0, .left = -1};
    int c;

    while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (c == 'j') {
            view.json = true;
        } else if (c == 'f' && tool_number("log", "--from", optarg, 1, INT64_MAX, &view.from)) {
            continue;
        } else if (c == 'c' && tool_number("log", "--count", optarg, 1, INT64_MAX, &view.left)) {
            continue;
        } else {
            fputs(usage_text, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    if (optind != argc - 2 || (strcmp(argv[optind], "dump") != 0 && strcmp(argv[optind], "verify") != 0)) {
        fputs(usage_text, stderr);
        return 2;
    }
    view.only_bad = strcmp(argv[optind], "verify") == 0;
    return walk(argv[optind + 1], &view);
}
