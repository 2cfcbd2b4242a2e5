#include "tests/unit/broker/lacking.h"

#include "raft-log/rlog.h"

void lacking_set(struct rlog *log, bool lacks)
{
    log->catchup.lacks = lacks;
}

void lacking_set_behind(struct rlog *log, bool behind)
{
    log->driver.commit = log->driver.applied + behind;
}
