#include "remoting/base/defect.h"

#ifdef RAFTMQ_DEFECTS

#include <stddef.h>
#include <string.h>

#ifndef RAFTMQ_DEFECT_AT_START
#define RAFTMQ_DEFECT_AT_START MQ_DEFECT_NONE
#endif

enum mq_defect_id mq_defect = RAFTMQ_DEFECT_AT_START;

static const struct {
    const char *name, *text;
} defects[] = {
    [MQ_DEFECT_NONE] = {NULL, NULL},
#define DEFECT(constant, name, text) [MQ_DEFECT_##constant] = {name, text},
#include "remoting/base/defects.def"
#undef DEFECT
};

const char *mq_defect_name(enum mq_defect_id id)
{
    return id < MQ_DEFECTS ? defects[id].name : NULL;
}

const char *mq_defect_text(enum mq_defect_id id)
{
    return id < MQ_DEFECTS ? defects[id].text : NULL;
}

enum mq_defect_id mq_defect_find(const char *name)
{
    for (unsigned id = MQ_DEFECT_NONE + 1; id < MQ_DEFECTS; id++) {
        if (strcmp(defects[id].name, name) == 0) {
            return (enum mq_defect_id)id;
        }
    }
    return MQ_DEFECT_NONE;
}

#endif
