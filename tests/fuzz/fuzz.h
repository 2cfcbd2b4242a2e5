/* What libFuzzer, or the corpus replay, calls with each input. */
#ifndef MQ_TESTS_FUZZ_H
#define MQ_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* @bytes are borrowed and not written to. Returns 0; what is wrong aborts. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#endif
