package raftmq.compat;

import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Usage: Main NAMESRV RUN SET [KEY=VALUE...]. SET: matrix, soak, failover, once, list. The last line is "N passed, N failed"; exit
 * status 1 if any failed. Keys: features=a,b,c (what the brokers have), cases=default|all, only=PART-OF-A-NAME,
 * phases=healthy,killed, exact=true|false, minutes=N.
 */
public final class Main {
    private static final int KILL_EVERY_S = 45;
    private static final int AT_A_TIME = 10;

    private final String namesrv;
    private final String run;
    private final Map<String, String> options = new HashMap<>();
    private final Report report = new Report();

    private Main(String[] args) {
        namesrv = args[0];
        run = args[1];
        for (String option : Arrays.copyOfRange(args, 3, args.length)) {
            int at = option.indexOf('=');
            options.put(option.substring(0, at), option.substring(at + 1));
        }
    }

    public static void main(String[] args) throws Exception {
        System.exit(new Main(args).runSet(args[2]) ? 0 : 1);
    }

    private boolean runSet(String set) throws Exception {
        switch (set) {
        case "matrix":
            runMatrix();
            break;
        case "soak":
            matrix().soak(chosen(), Integer.parseInt(option("minutes", "10")), KILL_EVERY_S, AT_A_TIME,
                    option("features", "").contains("topic-delete"));
            break;
        case "list":
            Matrix.cases().all.forEach(one -> System.out.println(one.fullName() + (one.body == null ? "\tnot offered" : "\toffered")
                    + "\t" + String.join(",", one.needs) + (one.selected ? "\tdefault" : "\t")));
            return true;
        case "failover":
            new Failover(namesrv, run).runAll(report);
            break;
        case "once":
            new Once(namesrv, run).runAll(report);
            break;
        default:
            throw new IllegalArgumentException("unknown set of cases " + set);
        }
        return report.close();
    }

    private Matrix matrix() {
        return new Matrix(namesrv, run, Boolean.parseBoolean(option("exact", "true")), report);
    }

    private List<Cases.Case> chosen() {
        Set<String> features = new HashSet<>(Arrays.asList(option("features", "").split(",")));
        String part = option("only", "");
        return matrix().choose(features, option("cases", "default").equals("all"), name -> name.contains(part));
    }

    private void runMatrix() throws Exception {
        Matrix matrix = matrix();
        List<Cases.Case> chosen = chosen();
        String phases = option("phases", "healthy,killed");
        if (phases.contains("healthy")) {
            matrix.healthy(chosen);
        }
        if (phases.contains("killed")) {
            matrix.killed(chosen);
        }
    }

    private String option(String key, String fallback) {
        return options.getOrDefault(key, fallback);
    }
}
