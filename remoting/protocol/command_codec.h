/* What command.c asks of the two header encodings. Private to the module. */
#ifndef MQ_PROTOCOL_COMMAND_CODEC_H
#define MQ_PROTOCOL_COMMAND_CODEC_H

#include "remoting/protocol/command.h"

#include <stddef.h>
#include <stdint.h>

/* Fill everything but encoding and body of @out from a header of @n bytes, which json_ changes in place. Return 0,
 * MQ_EBADMSG, or MQ_ETOOBIG (more than PROTO_FIELDS_MAX fields). */
int proto_json_decode(char *header, size_t n, struct proto_command *out);
int proto_binary_decode(const uint8_t *header, size_t n, struct proto_command *out);

/* Append the parts of a header to w->out, whose first 8 bytes of frame are there already. Return 0 or an error for
 * w->rc; text values are present. */
int proto_json_begin(struct proto_writer *w, const struct proto_head *head);
int proto_json_put_str(struct proto_writer *w, struct mq_str key, struct mq_str value);
int proto_json_put_plain(struct proto_writer *w, struct mq_str key, struct mq_str value); /* nothing to escape */
int proto_json_end(struct proto_writer *w);

int proto_binary_begin(struct proto_writer *w, const struct proto_head *head);
int proto_binary_put(struct proto_writer *w, struct mq_str key, struct mq_str value);
void proto_binary_end(struct proto_writer *w);

/* Language codes of the wire. Source: RocketMQ's LanguageCode. */
#define PROTO_LANGUAGE_COUNT 14

#endif
