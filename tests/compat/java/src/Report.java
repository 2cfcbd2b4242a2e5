package raftmq.compat;

import java.io.PrintWriter;
import java.io.StringWriter;

/**
 * Prints and counts the cases, from any thread. One line each: "PASS name (seconds)", "FAIL name: reason", "NOT YET name" for what
 * the brokers under test do not have yet, "NOT OFFERED name" for what the client does not have. Only the first two are counted.
 */
final class Report {
    interface Case {
        void run() throws Exception;
    }

    private int passed;
    private int failed;

    void run(String name, Case body) {
        long begun = System.nanoTime();
        try {
            body.run();
            pass(name, (System.nanoTime() - begun) / 1e9);
        } catch (Throwable e) {
            fail(name, e);
        }
    }

    synchronized void line(String text) {
        System.out.println(text);
        System.out.flush();
    }

    private synchronized void pass(String name, double seconds) {
        passed++;
        line(String.format("PASS %s (%.1f s)", name, seconds));
    }

    private synchronized void fail(String name, Throwable e) {
        failed++;
        StringWriter trace = new StringWriter();
        e.printStackTrace(new PrintWriter(trace));
        line("FAIL " + name + ": " + String.valueOf(e.getMessage()).split("\n")[0]);
        line(trace.toString().replaceAll("(?m)^", "    ").stripTrailing());
    }

    synchronized boolean close() {
        line(passed + " passed, " + failed + " failed");
        return failed == 0 && passed > 0;
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void checkEqual(Object wanted, Object found, String what) {
        check(wanted.equals(found), what + " is " + found + ", not " + wanted);
    }
}
