package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages that are visible when their transaction is committed. Brokers ask after 3 s, then every 3 s, 15 times in all. */
final class Transactions {
    private Transactions() {
    }

    static void list(Cases cases) {
        cases.line("transactions");
        cases.add("commit, rollback and check-back", Transactions::decided).needs("transactions").selected();
        cases.add("check-back asks another producer of the group", Transactions::deadProducer).needs("transactions").selected();
        cases.add("what nobody decides is discarded", Transactions::discarded).needs("transactions");
    }

    /** What the first word of a body wants: at once, or when asked. */
    private static final class Decisions implements TransactionListener {
        final Set<String> executed = ConcurrentHashMap.newKeySet(); /* the half message was acknowledged */
        final AtomicInteger checks = new AtomicInteger();

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            String text = body(message);
            executed.add(text);
            return text.startsWith("unknown") ? LocalTransactionState.UNKNOW : decision(text);
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            checks.incrementAndGet();
            String text = body(message);
            return executed.contains(text) ? decision(text) : LocalTransactionState.ROLLBACK_MESSAGE;
        }

        static LocalTransactionState decision(String text) {
            if (text.contains("never")) {
                return LocalTransactionState.UNKNOW;
            }
            return text.contains("commit") ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
        }
    }

    private static final List<String> KINDS = List.of("commit", "rollback", "unknown-commit", "unknown-rollback");

    /** Sends one half message until it is acknowledged; what will be seen of it goes to @watch. */
    private static void half(Run run, TransactionMQProducer producer, String topic, String text, Watch watch) throws Exception {
        Watch attempts = new Watch();
        String acked = run.sendAttempts(text, body -> message(topic, "TagA", body, body),
                message -> producer.sendMessageInTransaction(message, null), attempts);
        if (text.contains("commit")) {
            watch.acked(acked, attempts.result(acked));
        }
    }

    private static void decided(Run run) throws Exception {
        Decisions decisions = new Decisions();
        TransactionMQProducer producer = run.clients.transactionProducer(run.group("decided"), decisions);
        producer.setRetryTimesWhenSendFailed(0);
        String topic = run.newTopic(producer, "decided", Run.QUEUES);
        Watch watch = new Watch();
        run.consume(run.group("decided_consumer"), topic, "*", watch::seen);
        run.through(80, i -> half(run, producer, topic, KINDS.get(i % KINDS.size()) + "-" + i, watch));
        watch.awaitAll(120);
        Thread.sleep(8000); /* two more rounds of checks */
        watch.checkForeign(); /* nothing that was rolled back */
        check(decisions.checks.get() > 0, "nobody was asked");
        Watch records = new Watch();
        run.stored(topic).forEach(records::seen);
        if (run.strict) { /* the original stores it twice when a check overlaps a commit */
            records.checkOnce();
        }
        run.note(watch.seenCount() + " committed and consumed, " + decisions.checks.get() + " checks, "
                + records.repeated() + " stored more than once");
    }

    private static void deadProducer(Run run) throws Exception {
        Decisions first = new Decisions();
        TransactionMQProducer dies = run.clients.transactionProducer(run.group("orphans"), first);
        String topic = run.newTopic(dies, "orphans", 1);
        Watch watch = new Watch();
        run.consume(run.group("orphans_consumer"), topic, "*", watch::seen);
        for (int i = 0; i < 10; i++) {
            half(run, dies, topic, (i % 2 == 0 ? "unknown-commit-" : "unknown-rollback-") + i, watch);
        }
        dies.shutdown();
        run.middle();
        Decisions second = new Decisions();
        second.executed.addAll(first.executed);
        TransactionMQProducer lives = run.clients.transactionProducer(run.group("orphans"), second);
        /* It is known to the broker of a topic once it knows its route. */
        half(run, lives, topic, "commit-by the second", watch);
        watch.awaitAll(120);
        check(second.checks.get() > 0, "the second producer was not asked");
        Thread.sleep(5000);
        watch.checkForeign();
    }

    private static void discarded(Run run) throws Exception {
        Decisions decisions = new Decisions();
        TransactionMQProducer producer = run.clients.transactionProducer(run.group("discarded"), decisions);
        String topic = run.newTopic(producer, "discarded", 1);
        half(run, producer, topic, "unknown-never", new Watch());
        run.middle();
        await(120, () -> "it lay among the discarded ones", () -> {
            try {
                return Clients.readTopic(run.reader(), "TRANS_CHECK_MAX_TIME_TOPIC").stream()
                        .anyMatch(message -> decisions.executed.contains(body(message))
                                && run.group("discarded").equals(message.getProperty("PGROUP")));
            } catch (Exception e) {
                return false;
            }
        });
        check(run.kills || decisions.checks.get() > 0, "nobody was asked"); /* the producer comes back with its next heartbeat */
        int checks = decisions.checks.get();
        Thread.sleep(8000);
        check(decisions.checks.get() <= checks + 1, "still asked: " + decisions.checks.get() + " times, " + checks + " before");
        checkEqual(0, run.stored(topic).size(), "the number of messages in the topic");
    }
}
