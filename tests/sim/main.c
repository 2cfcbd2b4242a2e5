/* sim: simulated clusters, one for each seed.
 *
 *   sim run [--seeds N] [--seed S] [--jobs J] [--trace] [--hashes]
 *   sim scenarios [NAME...]
 *   sim mutants [--seeds N] [NAME...]    a build with -DRAFTMQ_DEFECTS=ON
 *   sim list
 *
 * With defects built in, run and scenarios take --defect NAME.
 *
 * --seed S is the first seed and alone means that one only; --trace shows everything that happens; --hashes prints
 * one line per seed that must be the same everywhere. */
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/scenarios/scenarios.h"
#include "tests/sim/workers.h"
#include "tests/sim/world/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEEDS 500u
#define MUTANT_SEEDS 1000u
#define MUTANT_FIRST 100u /* seeds before the scenarios, some of which are for one defect */
#define MARKS_SEEDS 500u  /* so many seeds must bring every mark */
#define TOLD_MAX 3u       /* failures that are shown in full */
#define TRACE_LINES 60u
#define SHOW_S_MAX 60u /* real time */

struct options {
    uint64_t first, seeds;
    uint32_t jobs;
    bool trace, hashes;
    char **names;
    int n_names;
};

struct sum {
    const struct options *options;
    uint64_t passed, failed, simulated_ns, events, commits, faults;
    uint64_t least_ns, least_commits, least_faults; /* of a seed that passed */
    uint64_t seeds_with[MARKS];
    struct timeval start;
    struct run_result failures[TOLD_MAX];
};

/* clock_gettime is the world's. */
static double seconds_since(const struct timeval *start)
{
    struct timeval now;

    gettimeofday(&now, NULL);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_usec - start->tv_usec) / 1e6;
}

/* Of this process and of the workers that have ended: other programs may share the processors. */
static double cpu_seconds(void)
{
    struct rusage own, children;

    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec) +
           (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec + children.ru_utime.tv_usec +
                    children.ru_stime.tv_usec) /
               1e6;
}

/* ---- run ---- */

static uint64_t least(const struct sum *sum, uint64_t so_far, uint64_t value)
{
    return sum->passed == 0 || value < so_far ? value : so_far;
}

static void on_result(void *data, const struct run_result *result)
{
    struct sum *sum = data;

    sum->simulated_ns += result->simulated_ns;
    sum->events += result->events;
    sum->commits += result->commits;
    sum->faults += result->faults;
    for (uint32_t i = 0; i < MARKS; i++) {
        sum->seeds_with[i] += result->marks[i] != 0;
    }
    if (sum->options->hashes) {
        printf("seed %" PRIu64 " hash %016" PRIx64 " events %" PRIu64 "\n", result->seed, result->trace_hash,
               result->events);
    }
    if (result->ok) {
        sum->least_ns = least(sum, sum->least_ns, result->simulated_ns);
        sum->least_commits = least(sum, sum->least_commits, result->commits);
        sum->least_faults = least(sum, sum->least_faults, result->faults);
        sum->passed++;
        return;
    }
    if (sum->failed < TOLD_MAX) {
        sum->failures[sum->failed] = *result;
    }
    sum->failed++;
    printf("FAIL seed %" PRIu64 ": %s\n     sim run --seed %" PRIu64 " --trace\n", result->seed, result->failure,
           result->seed);
    fflush(stdout);
}

static void on_progress(void *data)
{
    const struct sum *sum = data;
    double s = seconds_since(&sum->start);

    printf("   %" PRIu64 " of %" PRIu64 " seeds, %" PRIu64 " failed, %.1f seeds/s, %.0f times real time\n",
           sum->passed + sum->failed, sum->options->seeds, sum->failed, (double)(sum->passed + sum->failed) / s,
           (double)sum->simulated_ns / 1e9 / s);
    fflush(stdout);
}

/* Lines of the trace that say nothing without all the others. */
static bool is_small_talk(const char *line)
{
    static const char *const words[] = {" arrive ", " stream ", " fin ",     " connect", " reset ",
                                        " peer:",   " peers:",  " refused ", " sync ",   " write "};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (strstr(line, words[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* The last lines that matter. */
static void print_shortened(FILE *from)
{
    static char lines[TRACE_LINES][256];
    uint64_t n = 0;

    rewind(from);
    while (fgets(lines[n % TRACE_LINES], sizeof(lines[0]), from) != NULL) {
        n += !is_small_talk(lines[n % TRACE_LINES]);
    }
    for (uint64_t i = n > TRACE_LINES ? n - TRACE_LINES : 0; i < n; i++) {
        fputs(lines[i % TRACE_LINES], stdout);
    }
}

/* Runs a failed seed again, in a process of its own, and shows how it ended. */
static void show(const struct run_result *failed)
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        struct run_result again;
        struct plan plan;
        FILE *trace = tmpfile();

        alarm(SHOW_S_MAX); /* it may be a seed that does not end */
        plan_draw(&plan, failed->seed);
        printf("\n");
        plan_print(&plan);
        world_trace_to(trace);
        run_seed(failed->seed, &again);
        world_trace_to(NULL);
        printf("  %s\n  at %.6f s, event %" PRIu64 ", hash %016" PRIx64 "; the last lines and events:\n",
               again.failure, (double)again.simulated_ns / 1e9, again.events, again.trace_hash);
        if (trace != NULL) {
            print_shortened(trace);
        }
        fflush(stdout);
        _exit(0);
    }
    if (pid > 0) {
        waitpid(pid, &status, 0);
    }
}

/* Returns how many never occurred. */
static uint32_t print_marks(const struct sum *sum)
{
    uint32_t never = 0;

    printf("marks, in how many of %" PRIu64 " seeds:\n", sum->passed + sum->failed);
    for (uint32_t i = 0; i < MARKS; i++) {
        printf("  %6" PRIu64 "  %s\n", sum->seeds_with[i], mark_text(i));
        never += sum->seeds_with[i] == 0;
    }
    return never;
}

static int cmd_run(const struct options *options)
{
    struct sum sum = {.options = options};
    struct workers_options workers = {options->jobs, options->first, options->seeds, false,
                                      NULL,          on_result,      on_progress,    &sum};
    uint32_t never;
    double s, cpu;
    int rc;

    gettimeofday(&sum.start, NULL);
    if (options->trace) {
        world_trace_to(stdout);
        for (uint64_t i = 0; i < options->seeds; i++) {
            struct run_result result;
            struct plan plan;

            plan_draw(&plan, options->first + i);
            plan_print(&plan);
            run_seed(options->first + i, &result);
            on_result(&sum, &result);
        }
    } else {
        rc = workers_run(&workers);
        if (rc != 0) {
            fprintf(stderr, "sim: %s\n", strerror(-rc));
            return 2;
        }
        for (uint64_t i = 0; i < sum.failed && i < TOLD_MAX; i++) {
            show(&sum.failures[i]);
        }
    }
    s = seconds_since(&sum.start);
    cpu = cpu_seconds();
    if (!options->hashes) {
        never = print_marks(&sum);
        if (options->seeds >= MARKS_SEEDS && never != 0) {
            printf("FAIL %u marks never occurred in %" PRIu64 " seeds\n", never, options->seeds);
            sum.failed += never;
        }
        printf("%" PRIu64
               " seeds in %.1f s: %.1f seeds/s, %.0f times real time; %.1f s of processor time, %.0f times real "
               "time on one processor, %.2f million events/s\n"
               "per seed: %.1f s simulated, %.0f committed entries, %.1f faults; at least %.1f s, %" PRIu64
               " and %" PRIu64 "\n",
               options->seeds, s, (double)options->seeds / s, (double)sum.simulated_ns / 1e9 / s, cpu,
               (double)sum.simulated_ns / 1e9 / cpu, (double)sum.events / cpu / 1e6,
               (double)sum.simulated_ns / 1e9 / (double)options->seeds, (double)sum.commits / (double)options->seeds,
               (double)sum.faults / (double)options->seeds, (double)sum.least_ns / 1e9, sum.least_commits,
               sum.least_faults);
        printf("sim: %" PRIu64 " passed, %" PRIu64 " failed\n", sum.passed, sum.failed);
    }
    return sum.failed != 0;
}

/* ---- scenarios ---- */

static int cmd_scenarios(const struct options *options)
{
    uint32_t passed = 0, failed = 0;

    if (options->trace) {
        world_trace_to(stdout);
    }
    for (const struct scenario *scenario = scenarios; scenario->name != NULL; scenario++) {
        struct run_result result;
        bool chosen = options->n_names == 0;

        for (int i = 0; i < options->n_names; i++) {
            chosen = chosen || strcmp(options->names[i], scenario->name) == 0;
        }
        if (!chosen) {
            continue;
        }
        scenario_run(scenario, &result);
        printf("%s %s%s%s\n", result.ok ? "PASS" : "FAIL", scenario->name, result.ok ? "" : ": ", result.failure);
        if (!result.ok && !options->trace) {
            world_trace_print(stdout, TRACE_LINES);
        }
        fflush(stdout);
        passed += result.ok;
        failed += !result.ok;
    }
    printf("sim: %u passed, %u failed\n", passed, failed);
    return failed != 0;
}

static int cmd_list(void)
{
    for (const struct scenario *scenario = scenarios; scenario->name != NULL; scenario++) {
        printf("scenario  %-28s %s\n", scenario->name, scenario->text);
    }
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        printf("fault     %-28s %s\n", fault_name(kind), fault_is_offered(kind) ? "" : "not in this build");
    }
#ifdef RAFTMQ_DEFECTS
    for (unsigned id = MQ_DEFECT_NONE + 1; id < MQ_DEFECTS; id++) {
        printf("defect    %-28s %s\n", mq_defect_name(id), mq_defect_text(id));
    }
#endif
    return 0;
}

/* ---- mutants ---- */

#ifdef RAFTMQ_DEFECTS

struct hunt {
    enum mq_defect_id id;
    struct run_result found;
    uint64_t seeds;
};

static void switch_on(void *data)
{
    mq_defect = ((struct hunt *)data)->id;
}

static void on_mutant(void *data, const struct run_result *result)
{
    struct hunt *hunt = data;

    hunt->seeds++;
    if (!result->ok && (hunt->found.failure[0] == '\0' || result->seed < hunt->found.seed)) {
        hunt->found = *result;
    }
}

/* Scenarios are seeds, too: a defect that only a script brings to light is found by that. */
static bool scenarios_find(struct hunt *hunt)
{
    bool found = false;

    for (const struct scenario *scenario = scenarios; scenario->name != NULL && !found; scenario++) {
        int ends[2], status;
        struct run_result result = {0};
        pid_t pid;

        if (pipe(ends) != 0) {
            return false;
        }
        pid = fork();
        if (pid == 0) {
            switch_on(hunt);
            scenario_run(scenario, &result);
            _exit(write(ends[1], &result, sizeof(result)) != (ssize_t)sizeof(result));
        }
        close(ends[1]);
        found = read(ends[0], &result, sizeof(result)) == (ssize_t)sizeof(result) && !result.ok;
        close(ends[0]);
        waitpid(pid, &status, 0);
        if (found) {
            hunt->found = result;
            printf("%-24s scenario %-12s %s\n", mq_defect_name(hunt->id), scenario->name, result.failure);
        }
    }
    return found;
}

static bool seeds_find(const struct options *options, struct hunt *hunt, uint64_t first, uint64_t seeds)
{
    struct workers_options workers = {options->jobs, first, seeds, true, switch_on, on_mutant, NULL, hunt};

    if (seeds == 0 || workers_run(&workers) != 0 || hunt->found.failure[0] == '\0') {
        return false;
    }
    printf("%-24s seed %6" PRIu64 " of %5" PRIu64 "  %s\n", mq_defect_name(hunt->id), hunt->found.seed, hunt->seeds,
           hunt->found.failure);
    fflush(stdout);
    return true;
}

static bool hunt_one(const struct options *options, enum mq_defect_id id)
{
    struct hunt hunt = {.id = id};
    uint64_t few = options->seeds < MUTANT_FIRST ? options->seeds : MUTANT_FIRST;

    if (seeds_find(options, &hunt, options->first, few) || scenarios_find(&hunt) ||
        seeds_find(options, &hunt, options->first + few, options->seeds - few)) {
        return true;
    }
    printf("%-24s NOT FOUND in %" PRIu64 " seeds: %s\n", mq_defect_name(id), hunt.seeds, mq_defect_text(id));
    fflush(stdout);
    return false;
}

static int cmd_mutants(const struct options *options)
{
    uint32_t found = 0, missed = 0;

    printf("%-24s %-20s what was broken\n", "defect", "found by");
    for (unsigned id = MQ_DEFECT_NONE + 1; id < MQ_DEFECTS; id++) {
        bool chosen = options->n_names == 0;

        for (int i = 0; i < options->n_names; i++) {
            chosen = chosen || strcmp(options->names[i], mq_defect_name(id)) == 0;
        }
        if (chosen) {
            bool is_found = hunt_one(options, id);

            found += is_found;
            missed += !is_found;
        }
    }
    printf("sim: %u passed, %u failed\n", found, missed);
    return missed != 0;
}

#else

static int cmd_mutants(const struct options *options)
{
    (void)options;
    fprintf(stderr, "sim: this build has no defects: configure one with -DRAFTMQ_DEFECTS=ON\n");
    return 2;
}

#endif

/* ---- the command line ---- */

static int usage(void)
{
    fprintf(stderr, "usage: sim run [--seeds N] [--seed S] [--jobs J] [--trace] [--hashes]\n"
                    "       sim scenarios [--trace] [NAME...]\n"
                    "       sim mutants [--seeds N] [NAME...]\n"
                    "       sim list\n");
    return 2;
}

/* Returns false for what cannot be understood. */
static bool parse(int argc, char **argv, struct options *options)
{
    bool seeds = false, seed = false;

    for (int i = 2; i < argc; i++) {
        bool wants =
            strcmp(argv[i], "--seeds") == 0 || strcmp(argv[i], "--seed") == 0 || strcmp(argv[i], "--jobs") == 0;
        char *end;
        uint64_t value;

        if (strcmp(argv[i], "--trace") == 0) {
            options->trace = true;
        } else if (strcmp(argv[i], "--hashes") == 0) {
            options->hashes = true;
#ifdef RAFTMQ_DEFECTS
        } else if (strcmp(argv[i], "--defect") == 0 && i + 1 < argc) {
            mq_defect = mq_defect_find(argv[++i]);
            if (mq_defect == MQ_DEFECT_NONE) {
                return false;
            }
#endif
        } else if (wants && i + 1 < argc) {
            value = strtoull(argv[i + 1], &end, 10);
            if (*end != '\0' || end == argv[i + 1]) {
                return false;
            }
            if (strcmp(argv[i], "--seeds") == 0) {
                options->seeds = value;
                seeds = true;
            } else if (strcmp(argv[i], "--seed") == 0) {
                options->first = value;
                seed = true;
            } else {
                options->jobs = (uint32_t)value;
            }
            i++;
        } else if (argv[i][0] == '-') {
            return false;
        } else {
            options->names = &argv[i];
            options->n_names = argc - i;
            break;
        }
    }
    if (seed && !seeds) {
        options->seeds = 1;
    }
    return options->seeds > 0 && options->jobs > 0;
}

int main(int argc, char **argv)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct options options = {.first = 1, .seeds = SEEDS, .jobs = cpus > 0 ? (uint32_t)cpus : 1};
    const char *command = argc > 1 ? argv[1] : "";

    if (strcmp(command, "mutants") == 0) {
        options.seeds = MUTANT_SEEDS;
    }
    if (!parse(argc, argv, &options)) {
        return usage();
    }
    if (strcmp(command, "run") == 0) {
        return cmd_run(&options);
    }
    if (strcmp(command, "scenarios") == 0) {
        return cmd_scenarios(&options);
    }
    if (strcmp(command, "mutants") == 0) {
        return cmd_mutants(&options);
    }
    if (strcmp(command, "list") == 0) {
        return cmd_list();
    }
    return usage();
}
