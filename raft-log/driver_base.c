/* What log and core begin behind: a trim, terms that the core lets go, and a snapshot that takes the place of all. */
#include "raft-log/driver_inside.h"

#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#define TERMS_MAX 1024u /* that the core remembers, if a snapshot stands for older ones */

/* The core does not know of what lies up to @base any more. */
static void raise_base(struct driver *driver, const struct rlog_base *base)
{
    struct core_base core_base = {base->index, base->term, base->change_index, base->change, base->change_bytes};
    struct core_update update;
    int rc;

    MQ_ASSERT(base->index <= driver->applied && base->change_bytes != 0 && base->change_index <= base->index);
    rc = core_trimmed(driver->core, driver_now(driver), &core_base, &update);
    MQ_ASSERT(rc == 0);
    driver_carry_out(driver, &update, &NO_ORIGIN);
}

int driver_trim(struct driver *driver, uint64_t pos)
{
    struct rlog_base base;
    int rc = commitlog_trim(driver->options.log, pos < driver->applied_pos ? pos : driver->applied_pos);

    MQ_ASSERT(!driver->in_step && driver->core != NULL);
    commitlog_base_get(driver->options.log, &base);
    if (rc == 0 && base.index > core_base_index(driver->core)) {
        raise_base(driver, &base);
    } /* else the core never knew of what lay before (load_base), or nothing was dropped */
    return rc;
}

void driver_forget_terms(struct driver *driver, const struct rlog_base *base)
{
    MQ_ASSERT(!driver->in_step);
    if (driver->core != NULL && core_terms(driver->core) > TERMS_MAX && !core_installing(driver->core) &&
        base->index > core_base_index(driver->core)) {
        raise_base(driver, base);
    }
}

/* Log and state begin with the snapshot now; the core waits for it. */
static void replace_log(struct driver *driver, const struct rlog_base *base, void (*load)(void *data), void *data)
{
    struct core_update update;
    int rc = commitlog_reset(driver->options.log, base);

    if (rc != 0) {
        driver_die("the log cannot begin behind a snapshot that was checked", base->index);
    }
    driver->durable_index = 0; /* nothing of the former log is reported any more */
    driver_note_change(driver, base->change_index, base->change, base->change_bytes);
    if (!RAFTMQ_DEFECT(INSTALL_WITHOUT_STATE)) {
        load(data);
    }
    driver->applied = base->index;
    driver->applied_pos = base->end_pos;
    rc = core_installed(driver->core, driver_now(driver), &update);
    MQ_ASSERT(rc == 0);
    driver_carry_out(driver, &update, &NO_ORIGIN);
    driver->again = true;
}

int driver_install(struct driver *driver, uint32_t leader, uint64_t term, const struct rlog_base *base,
                   void (*load)(void *data), void *data)
{
    struct core_base snapshot = {base->index, base->term, base->change_index, base->change, base->change_bytes};
    struct core_update update;
    bool install;
    int rc;

    MQ_ASSERT(driver->core != NULL && !driver->in_step && !driver->settling);
    if (driver->closing) {
        return MQ_ECLOSED;
    }
    if (base->term > core_term(driver->core)) {
        return MQ_EAGAIN; /* a leader that knows of it will ask again */
    }
    rc = core_install(driver->core, driver_now(driver), leader, term, &snapshot, &update);
    if (rc == MQ_ECORRUPT) {
        driver_die("a snapshot contradicts what is committed here", base->index);
    }
    if (rc != 0) {
        return rc;
    }
    install = update.install;
    driver_carry_out(driver, &update, &NO_ORIGIN);
    if (install) {
        MQ_ASSERT(base->index > driver->applied); /* I1 */
        replace_log(driver, base, load, data);
    }
    driver_settle(driver);
    return 0;
}
