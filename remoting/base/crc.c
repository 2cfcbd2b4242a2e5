/* ISA-L's two reflected CRCs under one convention: the caller sees finished values and chains them.
 *
 * crc32_gzip_refl inverts on entry and on exit by itself, as zlib does. crc32_iscsi does not, and takes its length
 * as int, hence the inversions and the pieces. */
#include "remoting/base/crc.h"

#include <isa-l/crc.h>

#define PIECE_MAX ((size_t)1 << 30)

uint32_t mq_crc32(uint32_t seed, const void *bytes, size_t n)
{
    return n == 0 ? seed : crc32_gzip_refl(seed, bytes, n);
}

uint32_t mq_crc32c(uint32_t seed, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    uint32_t crc = ~seed;

    while (n != 0) {
        size_t piece = n < PIECE_MAX ? n : PIECE_MAX;

        /* ISA-L declares the bytes writable but only reads them. */
        crc = crc32_iscsi((unsigned char *)at, (int)piece, crc);
        at += piece;
        n -= piece;
    }
    return ~crc;
}
