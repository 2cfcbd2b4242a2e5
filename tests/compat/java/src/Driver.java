package raftmq.compat;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;

/** The script that started us: it kills the leader and starts it again when we ask for it on standard output. */
final class Driver {
    private final BufferedReader answers = new BufferedReader(new InputStreamReader(System.in));

    void kill() throws IOException {
        ask("KILL-NOW", "KILLED");
    }

    void restart() throws IOException {
        ask("RESTART-NOW", "RESTARTED");
    }

    private synchronized void ask(String request, String answer) throws IOException {
        System.out.println(request);
        System.out.flush();
        Report.checkEqual(answer, String.valueOf(answers.readLine()), "the driver's answer to " + request);
    }
}
