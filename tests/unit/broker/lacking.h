/* A log that lacks what other members have, as far as its owner is told. */
#ifndef TEST_LACKING_H
#define TEST_LACKING_H

#include <stdbool.h>

struct rlog;

void lacking_set(struct rlog *log, bool lacks);

#endif
