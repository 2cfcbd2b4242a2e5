#include "tests/unit/broker/lacking.h"

#include "raft-log/rlog.h"

void lacking_set(struct rlog *log, bool lacks)
{
    log->catchup.lacks = lacks;
}
