/* A log that lacks what other members have, as far as its owner is told. */
#ifndef TEST_LACKING_H
#define TEST_LACKING_H

#include <stdbool.h>

struct rlog;

void lacking_set(struct rlog *log, bool lacks);
/* Whether more is committed than the log has applied. */
void lacking_set_behind(struct rlog *log, bool behind);

#endif
