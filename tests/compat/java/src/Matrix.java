package raftmq.compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;

/**
 * Runs the cases of all lines: first on a healthy group, then in waves of some cases at a time, each wave with one death of the leader
 * in its middle. Everything in one JVM.
 */
final class Matrix {
    private static final int AT_A_TIME = 6;
    private static final int WAVE = 8;
    private static final int ARRIVE_S = 120; /* after which a wave's leader is killed whoever has not arrived */
    private static final int CASE_MIN = 6;

    private final String namesrv;
    private final String run;
    private final boolean exact;
    private final Driver driver = new Driver();
    private final Report report;
    private final AtomicInteger number = new AtomicInteger();

    Matrix(String namesrv, String run, boolean exact, Report report) {
        this.namesrv = namesrv;
        this.run = run;
        this.exact = exact;
        this.report = report;
    }

    static Cases cases() {
        Cases cases = new Cases();
        Order.list(cases); /* the slowest first */
        Retry.list(cases);
        Transactions.list(cases);
        Delay.list(cases);
        Newer.list(cases);
        PullPush.list(cases);
        Offsets.list(cases);
        Topics.list(cases);
        Filters.list(cases);
        RequestReply.list(cases);
        Query.list(cases);
        Batch.list(cases);
        Producers.list(cases);
        return cases;
    }

    /** The cases that can run here; says of each other one why not. */
    List<Cases.Case> choose(Set<String> features, boolean whole, Predicate<String> wanted) {
        List<Cases.Case> chosen = new ArrayList<>();
        for (Cases.Case one : cases().all) {
            if (!wanted.test(one.fullName())) {
                continue;
            }
            if (one.body == null) {
                report.line("NOT OFFERED " + one.fullName());
            } else if (!features.containsAll(one.needs)) {
                report.line("NOT YET " + one.fullName());
            } else if (whole || one.selected) {
                chosen.add(one);
            }
        }
        return chosen;
    }

    /** A few at a time: they mostly wait (for a rebalance, for a held pull). */
    void healthy(List<Cases.Case> cases) throws InterruptedException {
        ExecutorService threads = Executors.newFixedThreadPool(AT_A_TIME);
        for (Cases.Case one : cases) {
            threads.execute(() -> runCase(one, "healthy", () -> { }, null, false));
        }
        threads.shutdown();
        Report.check(threads.awaitTermination(60, TimeUnit.MINUTES), "the healthy cases take an hour");
    }

    void killed(List<Cases.Case> cases) throws Exception {
        List<Cases.Case> wave = new ArrayList<>();
        for (Cases.Case one : cases) {
            if (one.killed) {
                wave.add(one);
            }
            if (wave.size() == WAVE) {
                killWave(wave);
                wave.clear();
            }
        }
        if (!wave.isEmpty()) {
            killWave(wave);
        }
    }

    private void killWave(List<Cases.Case> wave) throws Exception {
        CountDownLatch arrived = new CountDownLatch(wave.size());
        CountDownLatch dead = new CountDownLatch(1);
        List<Thread> threads = new ArrayList<>();
        for (Cases.Case one : wave) {
            Runnable arrive = new AtMostOnce(arrived::countDown);
            Thread thread = new Thread(() -> {
                runCase(one, "killed", arrive, dead, false);
                arrive.run(); /* a case that failed early is not waited for */
            }, one.fullName());
            thread.start();
            threads.add(thread);
        }
        arrived.await(ARRIVE_S, TimeUnit.SECONDS);
        try {
            driver.kill();
        } finally {
            dead.countDown();
        }
        Thread.sleep(2000);
        driver.restart();
        for (Thread thread : threads) {
            thread.join(TimeUnit.MINUTES.toMillis(CASE_MIN));
            Report.check(!thread.isAlive(), thread.getName() + " has not ended " + CASE_MIN + " minutes after the kill");
        }
    }

    /** Every case over and over at once until the time is up, while the leader dies every @everyS seconds. */
    void soak(List<Cases.Case> cases, int minutes, int everyS, int atATime, boolean deletes) throws Exception {
        long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(minutes);
        AtomicInteger next = new AtomicInteger();
        ExecutorService threads = Executors.newFixedThreadPool(atATime);
        CountDownLatch dead = new CountDownLatch(0); /* deaths come when they come */
        for (int i = 0; i < atATime; i++) {
            threads.execute(() -> {
                while (System.nanoTime() < end) {
                    runCase(cases.get(next.getAndIncrement() % cases.size()), "soak", () -> { }, dead, deletes);
                }
            });
        }
        threads.shutdown();
        while (System.nanoTime() < end) {
            threads.awaitTermination(Math.min(everyS, TimeUnit.NANOSECONDS.toSeconds(end - System.nanoTime()) + 1), TimeUnit.SECONDS);
            driver.kill();
            Thread.sleep(3000);
            driver.restart();
        }
        Report.check(threads.awaitTermination(CASE_MIN, TimeUnit.MINUTES), "a case has not ended");
    }

    private void runCase(Cases.Case one, String phase, Runnable arrive, CountDownLatch dead, boolean deletes) {
        Clients clients = new Clients(namesrv, Clients.FAST_ROUTES_MS);
        Run own = new Run(clients, run + "_" + number.incrementAndGet(), exact, arrive, dead);
        report.run(one.fullName() + " [" + phase + "]", () -> {
            one.body.run(own);
            if (deletes) {
                own.deleteTopics();
            }
        });
        new Thread(clients::stopAll, one.fullName() + " ends").start(); /* takes up to 3 s for each client */
    }

    /** Runs at most once. */
    private static final class AtMostOnce implements Runnable {
        private final Runnable body;
        private final AtomicBoolean ran = new AtomicBoolean();

        AtMostOnce(Runnable body) {
            this.body = body;
        }

        @Override
        public void run() {
            if (ran.compareAndSet(false, true)) {
                body.run();
            }
        }
    }
}
