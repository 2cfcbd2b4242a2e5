/* One table of every request a broker serves: a good one of each, from which the test of malformed fields makes bad
 * ones. */
#ifndef TESTS_BROKER_BAD_REQUESTS_H
#define TESTS_BROKER_BAD_REQUESTS_H

#include "tests/unit/broker/rig.h"

enum field_type { FIELD_STR, FIELD_I32, FIELD_I64, FIELD_BOOL };

/* A field of a typed header, as headers.def has it. */
struct field {
    const char *key;
    enum field_type type;
    bool required;
};

/* A typed header; its name is the noun of headers.def. */
struct header {
    const char *noun;
    const struct field *fields;
    uint32_t n;
};

/* NULL when there is none of that name. */
const struct header *header_find(const char *noun);

struct request {
    int32_t code;
    const char *noun;          /* its header; NULL: it has no fields */
    const struct pair *fields; /* of a good request */
    const char *body;          /* of a good request; NULL: none */
    int32_t good;              /* what a good one is answered with */
    bool leader;               /* only the leader serves it */
    bool json;                 /* the body must be JSON */
    bool letters;              /* fields have one-letter keys, in the order of the header's */
};

extern const struct request requests[];
extern const uint32_t requests_count;

/* What one value of one field is answered with. */
struct probe {
    int32_t code;
    const char *key; /* as in headers.def */
    const char *value;
    int32_t want;
    const char *remark; /* part of the answer's; NULL: any */
};

extern const struct probe probes[];
extern const uint32_t probes_count;

#define PROBE_TOPIC "Probed"    /* there, with two queues */
#define WATCHED_TOPIC "Watched" /* there, with a message that nobody pops: who asks for one need not wait */

#endif
