package raftmq.compat;

import java.io.PrintWriter;
import java.io.StringWriter;

/** Prints and counts the cases, from any thread. One line each: "PASS name (seconds)" or "FAIL name: reason". */
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

    private synchronized void pass(String name, double seconds) {
        passed++;
        System.out.printf("PASS %s (%.1f s)%n", name, seconds);
        System.out.flush();
    }

    private synchronized void fail(String name, Throwable e) {
        failed++;
        StringWriter trace = new StringWriter();
        e.printStackTrace(new PrintWriter(trace));
        System.out.println("FAIL " + name + ": " + String.valueOf(e.getMessage()).split("\n")[0]);
        System.out.print(trace.toString().replaceAll("(?m)^", "    "));
        System.out.flush();
    }

    synchronized boolean close() {
        System.out.println(passed + " passed, " + failed + " failed");
        System.out.flush();
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
