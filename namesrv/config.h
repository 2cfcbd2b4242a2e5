/* Configuration of the name server: RocketMQ's namesrv.conf, the command line, and defaults. */
#ifndef NAMESRV_CONFIG_H
#define NAMESRV_CONFIG_H

#include "namesrv/include/namesrv/namesrv.h"
#include "remoting/base/conf.h"

extern const struct mq_conf_key namesrv_config_keys[];

struct namesrv_command_line {
    bool print;   /* -p: print the configuration and exit */
    bool help;    /* -h */
    bool version; /* -v */
};

extern const char namesrv_usage[];

/* Sets @config (made with namesrv_config_init) from the arguments: the file of -c first, then every -o in its order.
 * The KV path becomes RocketMQ's default where nothing names one. Returns 0 with one line per ignored setting in
 * @warnings; or a negative code with one line in @problem. */
int namesrv_config_parse(int argc, char **argv, struct namesrv_config *config, struct namesrv_command_line *line,
                         struct mq_buf *problem, struct mq_buf *warnings);

#endif
