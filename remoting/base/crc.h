/* Checksums at memory speed (ISA-L, carry-less multiply). */
#ifndef MQ_BASE_CRC_H
#define MQ_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* IEEE 802.3 CRC-32, the same value as zlib's crc32(0, bytes, n); chain with the former result as @seed. */
uint32_t mq_crc32(uint32_t seed, const void *bytes, size_t n);

/* CRC-32C (Castagnoli), init and final xor FFFFFFFF; chain with the former result as @seed, first seed 0.
 * "123456789" -> E3069283. */
uint32_t mq_crc32c(uint32_t seed, const void *bytes, size_t n);

#endif
