package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.Map;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Where groups are in their queues: committed, kept, searched, set back. */
final class Offsets {
    private Offsets() {
    }

    static void list(Cases cases) {
        cases.line("offsets");
        cases.add("the last commit counts", Offsets::lastCommit).selected();
        cases.add("progress survives a restart of the consumer", Offsets::progress).selected();
        cases.add("search by time, and the edges of a queue", Offsets::searchByTime);
        cases.add("reset by time, consumers running", Offsets::resetByTime).needs("reset");
        cases.add("what has piled up is skipped", Offsets::skip).needs("reset");
        cases.add("a group's offsets are cloned", Offsets::cloned).needs("clone");
    }

    private static void lastCommit(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("commit");
        String topic = run.newTopic(producer, "commit", 1);
        run.sendNumbered(producer, topic, "m-", 100, new Watch());
        DefaultMQPullConsumer consumer = run.clients.pullConsumer(run.group("commit"));
        MessageQueue queue = run.ask("the queue", () -> Clients.queues(consumer, topic)).iterator().next();
        checkEqual(0L, run.ask("the offset before any commit", () -> stored(consumer, queue)), "the offset before any commit");
        DefaultMQAdminExt admin = run.clients.admin();
        /* The group comes to be with a heartbeat, which this client sends once it knows a broker. */
        await(60, () -> "a commit of the new group was taken", () -> {
            try {
                admin.updateConsumeOffset(Clients.leader(admin, topic), run.group("commit"), queue, 1);
                return true;
            } catch (Exception e) {
                return false;
            }
        });
        long[] last = {1};
        run.through(60, i -> {
            long next = i % 7 == 0 ? i % 100 / 2 : i % 100; /* also a smaller one */
            run.act("commit " + i, () -> admin.updateConsumeOffset(Clients.leader(admin, topic), run.group("commit"), queue, next));
            last[0] = next;
        });
        if (run.exact) {
            checkEqual(last[0], run.ask("the offset", () -> {
                long offset = stored(consumer, queue);
                if (offset == -1) { /* 4.9 takes every refusal for "none", also of a broker that does not lead any more */
                    throw new IllegalStateException("no offset");
                }
                return offset;
            }), "the last committed offset");
        }
    }

    private static long stored(DefaultMQPullConsumer consumer, MessageQueue queue) throws Exception {
        long offset = consumer.fetchConsumeOffset(queue, true);
        if (offset == -2) {
            throw new IllegalStateException("the broker did not answer");
        }
        return offset;
    }

    private static void progress(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("progress");
        String topic = run.newTopic(producer, "progress", Run.QUEUES);
        Watch all = new Watch();
        for (int round = 0; round < 2; round++) {
            Watch own = new Watch();
            run.sendNumbered(producer, topic, "round-" + round + "-", 60, own);
            own.ackedTexts().forEach(text -> all.acked(text, own.result(text)));
            DefaultMQPushConsumer consumer = run.consume(run.group("progress"), topic, "*", message -> {
                own.seen(message);
                all.seen(message);
            });
            Clients.await(Run.PATIENCE_S, () -> own.seenCount() + " were consumed",
                    () -> own.seenTexts().containsAll(own.ackedTexts()));
            Thread.sleep(500);
            if (run.exact) {
                own.checkForeign(); /* what the round before has consumed and committed does not come again */
            }
            consumer.shutdown(); /* commits the progress */
            Thread.sleep(500);
            if (round == 0) {
                run.middle();
            }
        }
        all.awaitAll(1);
    }

    private static void searchByTime(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("time");
        String topic = run.newTopic(producer, "time", 1);
        DefaultMQPullConsumer reader = run.reader();
        MessageQueue queue = run.ask("the queue", () -> Clients.queues(reader, topic)).iterator().next();
        checkEqual(0L, run.ask("a search", () -> reader.searchOffset(queue, 0)), "the offset in an empty queue");
        checkEqual(-1L, run.ask("the oldest", () -> reader.earliestMsgStoreTime(queue)), "the time of the oldest of none");
        run.sendNumbered(producer, topic, "early-", 3, new Watch());
        long early = run.ask("the end", () -> reader.maxOffset(queue));
        Thread.sleep(50);
        long between = System.currentTimeMillis();
        Thread.sleep(50);
        run.middle();
        run.sendNumbered(producer, topic, "late-", 3, new Watch());
        long end = run.ask("the end", () -> reader.maxOffset(queue));
        check(early == 3 && end == 6 || run.kills, "the ends are " + early + " and " + end);
        checkEqual(early, run.ask("a search", () -> reader.searchOffset(queue, between)), "the offset at that time");
        checkEqual(0L, run.ask("a search", () -> reader.searchOffset(queue, between - 3_600_000)), "the offset of an hour ago");
        checkEqual(end, run.ask("a search", () -> reader.searchOffset(queue, System.currentTimeMillis() + 60_000)),
                "the offset in a minute");
        checkEqual(0L, run.ask("the minimum", () -> reader.minOffset(queue)), "the minimum");
        MessageExt first = run.stored(topic).get(0);
        checkEqual(first.getStoreTimestamp(), run.ask("the oldest", () -> reader.earliestMsgStoreTime(queue)), "the oldest time");
        checkEqual(0L, run.ask("a search", () -> reader.searchOffset(queue, first.getStoreTimestamp())), "the offset of the first");
    }

    private static void resetByTime(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("reset");
        String topic = run.newTopic(producer, "reset", Run.QUEUES);
        Watch watch = new Watch();
        run.consume(run.group("reset"), topic, "*", watch::seen);
        Watch early = new Watch();
        run.sendNumbered(producer, topic, "early-", 20, early);
        early.ackedTexts().forEach(text -> watch.acked(text, early.result(text)));
        Thread.sleep(100);
        long between = System.currentTimeMillis();
        Thread.sleep(100);
        run.sendNumbered(producer, topic, "late-", 20, watch);
        watch.awaitAll(60);
        Thread.sleep(6000); /* the consumer has committed */
        run.middle();
        DefaultMQAdminExt admin = run.clients.admin();
        Map<MessageQueue, Long> reset = run.ask("the reset", () -> {
            Map<MessageQueue, Long> offsets = admin.resetOffsetByTimestamp(topic, run.group("reset"), between, true);
            check(offsets.size() == Run.QUEUES, "the reset names " + offsets);
            return offsets;
        });
        run.note("reset to " + reset.values());
        await(Run.PATIENCE_S, () -> "what lies behind that time was consumed again", () -> watch.ackedTexts().stream()
                .filter(text -> text.startsWith("late-")).allMatch(text -> watch.times(text) >= 2));
        if (run.exact && !run.kills) {
            early.ackedTexts().forEach(text -> checkEqual(1, watch.times(text), "how often " + text + " was seen"));
        }
    }

    private static void skip(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("skip");
        String topic = run.newTopic(producer, "skip", 1);
        Watch watch = new Watch();
        DefaultMQPushConsumer consumer = run.clients.pushConsumerFromFirst(run.group("skip"));
        consumer.setConsumeThreadMin(1);
        consumer.setConsumeThreadMax(1);
        run.consume(consumer, topic, "*", message -> {
            watch.seen(message);
            try {
                Thread.sleep(1000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        });
        run.sendNumbered(producer, topic, "piled-", 300, watch);
        await(60, () -> "the first was consumed", () -> watch.seenCount() > 0);
        run.middle();
        DefaultMQAdminExt admin = run.clients.admin();
        run.ask("the skip", () -> {
            Map<MessageQueue, Long> offsets = admin.resetOffsetByTimestamp(topic, run.group("skip"), -1, true);
            check(!offsets.isEmpty(), "the reset names no queue");
            return offsets;
        });
        Watch next = new Watch();
        run.sendNumbered(producer, topic, "next-", 1, next);
        await(Run.PATIENCE_S, () -> "the one behind the pile was consumed", () -> watch.times("next-0") > 0);
        check(watch.seenCount() < 200, watch.seenCount() + " of the pile were consumed");
    }

    private static void cloned(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("clone");
        String topic = run.newTopic(producer, "clone", Run.QUEUES);
        Watch watch = new Watch();
        run.sendNumbered(producer, topic, "m-", 40, watch);
        DefaultMQPushConsumer source = run.consume(run.group("source"), topic, "*", watch::seen);
        watch.awaitAll(60);
        source.shutdown();
        run.middle();
        DefaultMQAdminExt admin = run.clients.admin();
        run.act("the clone", () -> admin.cloneGroupOffset(run.group("source"), run.group("target"), topic, true));
        DefaultMQPullConsumer from = run.clients.pullConsumer(run.group("source"));
        DefaultMQPullConsumer to = run.clients.pullConsumer(run.group("target"));
        for (MessageQueue queue : run.ask("the queues", () -> Clients.queues(from, topic))) {
            checkEqual(run.ask("the offset", () -> stored(from, queue)), run.ask("the offset", () -> stored(to, queue)),
                    "the cloned offset of " + queue);
        }
    }
}
