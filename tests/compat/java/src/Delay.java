package raftmq.compat;

import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongSupplier;

import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages that are delivered later. The timers that 5.x clients know are in Timers. */
final class Delay {
    static final long LATE_MS = 3000;
    private static final long[] LEVEL_MS = {0, 1000, 5000, 10_000};

    private Delay() {
    }

    static void list(Cases cases) {
        cases.line("delay and timers");
        cases.add("delay levels 1 to 3", Delay::levels).needs("delay").selected();
        cases.add("a level beyond the last one counts as the last", Delay::clamped).needs("delay");
    }

    /** Messages with a due time, each attempt accounted for by itself: none before it, each that was acknowledged once. */
    static final class Due {
        private final Run run;
        private final Watch watch = new Watch();
        private final Map<String, Long> notBeforeMs = new ConcurrentHashMap<>();
        private final Set<String> early = ConcurrentHashMap.newKeySet();

        Due(Run run) {
            this.run = run;
        }

        interface Wish {
            void on(Message message);
        }

        /** One that is due @delayMs after it is sent. Returns the body that was acknowledged. */
        String send(DefaultMQProducer producer, String topic, String text, long delayMs, Wish wish) throws Exception {
            return send(producer, topic, text, () -> System.currentTimeMillis() + delayMs, wish);
        }

        /** One that is due at a time of the clock. */
        String sendAt(DefaultMQProducer producer, String topic, String text, long atMs, Wish wish) throws Exception {
            return send(producer, topic, text, () -> atMs, wish);
        }

        private String send(DefaultMQProducer producer, String topic, String text, LongSupplier dueMs, Wish wish) throws Exception {
            return run.sendAttempts(text, body -> {
                Message message = message(topic, "TagA", body, body);
                wish.on(message);
                notBeforeMs.put(body, dueMs.getAsLong());
                return message;
            }, producer::send, watch);
        }

        void seen(MessageExt message) {
            if (System.currentTimeMillis() < notBeforeMs.getOrDefault(body(message), 0L)) {
                early.add(body(message));
            }
            watch.seen(message);
        }

        Watch watch() {
            return watch;
        }

        /** After everything is due: looks at what is stored, so that a second record shows itself even if nobody consumed it. */
        void check(String topic, int seconds) throws Exception {
            watch.awaitAll(seconds);
            Report.check(early.isEmpty(), "delivered too early: " + early);
            Thread.sleep(2000);
            Map<String, Integer> records = new ConcurrentHashMap<>();
            long late = 0; // by the store's time: a consumer may get its queues only at its next rebalance, 20 s later
            for (MessageExt message : run.stored(topic)) {
                records.merge(body(message), 1, Integer::sum);
                late = Math.max(late, message.getStoreTimestamp() - notBeforeMs.getOrDefault(body(message), Long.MAX_VALUE));
                Report.check(message.getStoreTimestamp() >= notBeforeMs.getOrDefault(body(message), 0L) || !run.exact,
                        body(message) + " is stored " + message.getStoreTimestamp() + ", before it was due");
            }
            if (run.exact) {
                records.forEach((text, times) -> checkEqual(1, times, "the number of records of " + text));
            }
            run.note(records.size() + " delivered, the latest " + late + " ms after it was due");
            Report.check(run.kills || late < LATE_MS, "the latest came " + late + " ms after it was due");
        }
    }

    private static void levels(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("levels");
        String topic = run.newTopic(producer, "levels", Run.QUEUES);
        Due due = new Due(run);
        run.consume(run.group("levels"), topic, "*", due::seen);
        Thread.sleep(1000);
        run.through(60, i -> {
            int level = 1 + i % 3;
            due.send(producer, topic, "level-" + level + "-" + i, LEVEL_MS[level], message -> message.setDelayTimeLevel(level));
        });
        due.check(topic, Run.PATIENCE_S);
    }

    private static void clamped(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("clamped");
        String topic = run.newTopic(producer, "clamped", 1);
        Message message = message(topic, "TagA", "k", "far");
        message.setDelayTimeLevel(1000);
        run.middle();
        run.send(producer, message);
        Thread.sleep(3000);
        checkEqual(0, run.stored(topic).size(), "the number of messages before the last level is due");
    }
}
