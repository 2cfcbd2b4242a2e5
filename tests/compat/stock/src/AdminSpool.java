package raftmq.compat;

import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Stock mqadmin in one process for many commands, because a JVM takes seconds to start. In the directory given, NAME.cmd has the
 * arguments of one command, a line each; its output goes to NAME.out, and then NAME.done is there.
 */
public final class AdminSpool {
    private static final int LOOK_MS = 10;

    private AdminSpool() {
    }

    private static final class Fresh extends MQAdminStartup {
        static void run(String[] words) {
            SUB_COMMANDS.clear(); /* main0 makes them anew; some of them serve once */
            main0(words, null);
        }
    }

    /**
     * A client that shuts down joins a thread which looks only every 3 s whether it is to end. Interrupting it is what its shutdown(true)
     * would do.
     */
    private static void hurry(Thread main) {
        try {
            while (true) {
                Thread.sleep(5 * LOOK_MS);
                if (Stream.of(main.getStackTrace()).anyMatch(frame -> frame.getClassName().endsWith(".ServiceThread"))) {
                    Thread.getAllStackTraces().keySet().stream().filter(thread -> thread.getName().contains("NettyEventExecutor"))
                            .forEach(Thread::interrupt);
                }
            }
        } catch (InterruptedException e) {
            return;
        }
    }

    public static void main(String[] args) throws Exception {
        Path spool = Path.of(args[0]);
        Thread main = Thread.currentThread();
        Thread hurrying = new Thread(() -> hurry(main), "hurry");
        hurrying.setDaemon(true); /* only main keeps the process */
        hurrying.start();
        while (true) {
            List<Path> commands;
            try (Stream<Path> files = Files.list(spool)) {
                commands = files.filter(file -> file.toString().endsWith(".cmd")).sorted().collect(Collectors.toList());
            }
            for (Path command : commands) {
                run(command);
            }
            Thread.sleep(LOOK_MS);
        }
    }

    private static Path beside(Path command, String ending) {
        return Path.of(command.toString().replaceFirst("cmd$", ending));
    }

    private static void run(Path command) throws Exception {
        String[] words = Files.readAllLines(command).toArray(new String[0]);
        Files.delete(command); /* a command that ends the process is not run again */
        Path output = beside(command, "out");
        try (PrintStream out = new PrintStream(Files.newOutputStream(output), true)) {
            System.setOut(out);
            System.setErr(out);
            Fresh.run(words);
        }
        Files.createFile(beside(command, "done"));
    }
}
