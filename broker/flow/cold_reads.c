#include "broker/flow/cold_reads.h"

#include "remoting/base/err.h"

static void on_warm(void *data);

void cold_reads_init(struct cold_reads *reads, struct store *store)
{
    *reads = (struct cold_reads){.store = store};
    reads->end = &reads->first;
}

static int begin(struct cold_reads *reads, struct cold_read *read)
{
    int rc = store_warm(reads->store, &read->request, on_warm, read);

    reads->running += rc == 0;
    return rc;
}

static struct cold_read *take_waiting(struct cold_reads *reads)
{
    struct cold_read *read = reads->first;

    reads->first = read->next;
    if (reads->first == NULL) {
        reads->end = &reads->first;
    }
    reads->waiting--;
    return read;
}

static void begin_waiting(struct cold_reads *reads)
{
    while (reads->first != NULL && reads->running < COLD_READS_RUNNING_MAX) {
        struct cold_read *read = take_waiting(reads);
        int rc = read->ch->dead ? MQ_ECLOSED : begin(reads, read);

        if (rc != 0) {
            read->done(read, rc);
        }
    }
}

static void on_warm(void *data)
{
    struct cold_read *read = data;
    struct cold_reads *reads = read->reads;

    reads->running--;
    begin_waiting(reads);
    read->done(read, read->ch->dead ? MQ_ECLOSED : 0);
}

int cold_reads_start(struct cold_reads *reads, struct cold_read *read)
{
    read->reads = reads;
    read->next = NULL;
    if (reads->running < COLD_READS_RUNNING_MAX) {
        return begin(reads, read);
    }
    if (reads->waiting == COLD_READS_WAITING_MAX) {
        return MQ_EBUSY;
    }
    *reads->end = read;
    reads->end = &read->next;
    reads->waiting++;
    return 0;
}
