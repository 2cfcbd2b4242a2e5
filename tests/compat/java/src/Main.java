package raftmq.compat;

/** Usage: Main NAMESRV RUN basic|failover|query|once [PART-OF-A-NAME, of basic cases]. The last line is "N passed, N failed"; exit status 1 if any failed. */
public final class Main {
    private Main() {
    }

    public static void main(String[] args) throws Exception {
        Report report = new Report();
        switch (args[2]) {
        case "basic":
            new Basic(args[0], args[1]).runAll(report, args.length > 3 ? args[3] : "");
            break;
        case "failover":
            new Failover(args[0], args[1]).runAll(report);
            break;
        case "query":
            new Query(args[0], args[1]).runAll(report);
            break;
        case "once":
            new Once(args[0], args[1]).runAll(report);
            break;
        default:
            throw new IllegalArgumentException("unknown set of cases " + args[2]);
        }
        System.exit(report.close() ? 0 : 1);
    }
}
