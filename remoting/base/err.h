/* The one table of error codes. Functions return 0 or a negative code; system and libuv errors pass
 * through as they are (-errno), ours lie below -9000 so that they never meet. */
#ifndef MQ_BASE_ERR_H
#define MQ_BASE_ERR_H

enum mq_err {
    MQ_ENOMEM = -9001,       /* an allocation failed, or a named memory limit was reached */
    MQ_EAGAIN = -9002,       /* not enough bytes yet, or no room now: try again later */
    MQ_EBADMSG = -9003,      /* bytes from a peer or a disk that break the format */
    MQ_ETOOBIG = -9004,      /* well-formed, but over a named limit */
    MQ_EINVAL = -9005,       /* an argument or a setting outside its range */
    MQ_ENOTLEADER = -9006,   /* nothing was appended: safe to send elsewhere */
    MQ_EUNSURE = -9007,      /* was proposed, fate unknown: a resend can duplicate */
    MQ_EBUSY = -9008,        /* a bound on work in flight is reached; nothing was done */
    MQ_ECLOSED = -9009,      /* the connection or object is closing */
    MQ_ETIMEDOUT = -9010,    /* no answer within the time given */
    MQ_ENOTFOUND = -9011,    /* the thing named does not exist */
    MQ_EEXIST = -9012,       /* the thing named exists already */
    MQ_ECORRUPT = -9013,     /* a checksum or a chain on disk does not hold */
    MQ_EVERSION = -9014,     /* a format version, group or identity that is not ours */
    MQ_EUNSUPPORTED = -9015, /* a request or feature that does not exist here (yet) */
    MQ_EFULL = -9016         /* the disk has no room to spare; nothing was done */
};

/* A short English text for a code of this table, of libuv or of the system. Never NULL; static storage. */
const char *mq_strerror(int code);

#endif
