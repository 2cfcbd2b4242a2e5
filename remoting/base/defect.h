/* Mistakes that are built in on purpose, one of which is switched on, so that tests can show that they would notice.
 * Only with -DRAFTMQ_DEFECTS=ON; in every other build RAFTMQ_DEFECT(name) is constant false and no trace of the list
 * is left. */
#ifndef MQ_BASE_DEFECT_H
#define MQ_BASE_DEFECT_H

#ifdef RAFTMQ_DEFECTS

enum mq_defect_id {
    MQ_DEFECT_NONE,
#define DEFECT(constant, name, text) MQ_DEFECT_##constant,
#include "remoting/base/defects.def"
#undef DEFECT
    MQ_DEFECTS
};

/* The one that is on. Set before anything runs. */
extern enum mq_defect_id mq_defect;

/* Of an id; NULL for one that is none. */
const char *mq_defect_name(enum mq_defect_id id);
const char *mq_defect_text(enum mq_defect_id id);
/* MQ_DEFECT_NONE when there is none of that name. */
enum mq_defect_id mq_defect_find(const char *name);

#define RAFTMQ_DEFECT(constant) (mq_defect == MQ_DEFECT_##constant)

#else

#define RAFTMQ_DEFECT(constant) 0

#endif

#endif
