/* Runs a fuzz target once over each file of its corpus and over nothing at all:
 *   fuzz_replay_json tests/fuzz/corpus/json */
#include "tests/fuzz/fuzz.h"

#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"

#include <dirent.h>
#include <stdio.h>

#define INPUT_BYTES_MAX (16u * 1024 * 1024)

/* In a block of exactly its size, so that the sanitizers see a read behind its end. */
static int run_input(const struct mq_buf *input)
{
    uint8_t *exact = mq_malloc(input->len);

    if (exact == NULL) {
        return MQ_ENOMEM;
    }
    if (input->len != 0) {
        memcpy(exact, input->base, input->len);
    }
    LLVMFuzzerTestOneInput(exact, input->len);
    mq_free(exact);
    return 0;
}

static int run_file(const char *dir, const char *name)
{
    struct mq_buf input = {0};
    char *path = mq_path_join(dir, name);
    int rc = path != NULL ? mq_file_read(path, INPUT_BYTES_MAX, &input) : MQ_ENOMEM;

    printf("%s\n", name);
    fflush(stdout); /* names the input that aborts */
    if (rc == 0) {
        rc = run_input(&input);
    }
    if (rc != 0) {
        fprintf(stderr, "%s: %s\n", name, mq_strerror(rc));
    }
    mq_buf_free(&input);
    mq_free(path);
    return rc;
}

/* Returns the number of inputs, or -1. */
static int run_corpus(const char *dir)
{
    const struct dirent *entry;
    DIR *corpus = opendir(dir);
    int count = 0;

    if (corpus == NULL) {
        perror(dir);
        return -1;
    }
    while (count >= 0 && (entry = readdir(corpus)) != NULL) {
        if (entry->d_name[0] != '.') {
            count = run_file(dir, entry->d_name) == 0 ? count + 1 : -1;
        }
    }
    closedir(corpus);
    return count;
}

int main(int argc, char **argv)
{
    struct mq_buf nothing = {0};
    int count;

    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
        return 2;
    }
    if (run_input(&nothing) != 0) {
        return 1;
    }
    count = run_corpus(argv[1]);
    if (count == 0) {
        fprintf(stderr, "%s: no inputs\n", argv[1]);
    }
    return count > 0 ? 0 : 1;
}
