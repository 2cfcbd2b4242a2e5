package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Pulling and being pushed to: the edges of a queue, waiting at its end, sharing it, where one begins. */
final class PullPush {
    private PullPush() {
    }

    static void list(Cases cases) {
        cases.line("pull and push");
        cases.add("concurrent push consumers share the queues", PullPush::share).selected();
        cases.add("broadcasting", PullPush::broadcasting);
        cases.add("a consumer that leaves is replaced at once", PullPush::leaving);
        cases.add("a new group begins at the first message", PullPush::beginnings);
        cases.add("pull at, before and beyond the end", PullPush::edges).selected();
        cases.add("long polling wakes on a new message", PullPush::longPolling).selected();
        cases.add("lite pull by subscription", PullPush::liteSubscribe);
        cases.add("lite pull by assignment and seek", PullPush::liteAssign);
        cases.add("a group's consumers are listed", PullPush::listed).needs("connections");
    }

    private static void share(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("push");
        String topic = run.newTopic(producer, "push", Run.QUEUES);
        Watch watch = new Watch();
        List<Set<Integer>> queuesOf = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            Set<Integer> queues = ConcurrentHashMap.newKeySet();
            queuesOf.add(queues);
            run.consume(run.group("push"), topic, "*", message -> {
                watch.seen(message);
                if (body(message).startsWith("shared")) {
                    queues.add(message.getQueueId());
                }
            });
        }
        run.stream(producer, topic, "first-", 200, watch);
        watch.awaitAll(Run.PATIENCE_S);
        Thread.sleep(3000); /* the first consumer was told about the second one and has given queues up */
        run.sendNumbered(producer, topic, "shared-", 200, watch);
        watch.awaitAll(Run.PATIENCE_S);
        run.note(watch.seenCount() + " consumed, " + watch.repeated() + " of them more than once");
        if (!run.kills) {
            checkEqual(Run.QUEUES / 2, queuesOf.get(0).size(), "the number of queues of the first consumer");
            checkEqual(Run.QUEUES / 2, queuesOf.get(1).size(), "the number of queues of the second consumer");
            check(Collections.disjoint(queuesOf.get(0), queuesOf.get(1)), "both consumers had a queue: " + queuesOf);
        }
    }

    private static void broadcasting(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("broadcast");
        String topic = run.newTopic(producer, "broadcast", Run.QUEUES);
        List<Watch> watches = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            Watch own = new Watch();
            watches.add(own);
            DefaultMQPushConsumer consumer = run.clients.pushConsumer(run.group("broadcast"));
            Clients.setBroadcasting(consumer);
            run.consume(consumer, topic, "*", own::seen);
        }
        Thread.sleep(2000); /* a broadcasting consumer begins at the end: both have to be there */
        Watch sent = new Watch();
        run.stream(producer, topic, "all-", 100, sent);
        for (Watch own : watches) {
            sent.ackedTexts().forEach(text -> own.acked(text, sent.result(text)));
            own.awaitAll(Run.PATIENCE_S);
        }
    }

    private static void leaving(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("leaving");
        String topic = run.newTopic(producer, "leaving", Run.QUEUES);
        Watch watch = new Watch();
        DefaultMQPushConsumer leaves = run.consume(run.group("leaving"), topic, "*", watch::seen);
        run.consume(run.group("leaving"), topic, "*", watch::seen);
        run.sendNumbered(producer, topic, "both-", 40, watch);
        watch.awaitAll(60);
        run.middle();
        leaves.shutdown();
        run.sendNumbered(producer, topic, "one-", 40, watch);
        watch.awaitAll(run.kills ? Run.PATIENCE_S : 15); /* without being told, the other one looks every 20 s */
    }

    /**
     * A group that has no offset yet begins a queue that still has its first message there, whatever its consumers say: the broker
     * answers 0.
     */
    private static void beginnings(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("begin");
        String topic = run.newTopic(producer, "begin", Run.QUEUES);
        Watch sent = new Watch();
        run.sendNumbered(producer, topic, "old-", 20, sent);
        run.middle();
        run.sendNumbered(producer, topic, "new-", 20, sent);
        Watch last = copy(sent);
        Watch timed = copy(sent);
        run.consume(run.clients.pushConsumer(run.group("begin_last")), topic, "*", last::seen);
        DefaultMQPushConsumer atTime = run.clients.pushConsumer(run.group("begin_time"));
        atTime.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
        atTime.setConsumeTimestamp(UtilAll.timeMillisToHumanString3(System.currentTimeMillis()));
        run.consume(atTime, topic, "*", timed::seen);
        last.awaitAll(Run.PATIENCE_S);
        timed.awaitAll(Run.PATIENCE_S);
    }

    private static void edges(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("edges");
        String topic = run.newTopic(producer, "edges", 1);
        run.sendNumbered(producer, topic, "m-", 40, new Watch());
        DefaultMQPullConsumer reader = run.reader();
        MessageQueue queue = run.ask("the queue", () -> Clients.queues(reader, topic)).iterator().next();
        run.middle();
        long end = run.ask("the end", () -> reader.maxOffset(queue));
        check(end == 40 || run.kills && end > 40, "the end is " + end);
        PullResult first = run.ask("a pull at 0", () -> reader.pull(queue, "*", 0, 8));
        checkEqual(PullStatus.FOUND, first.getPullStatus(), "the status at 0");
        checkEqual(8, first.getMsgFoundList().size(), "the number of messages of a limited pull");
        checkEqual(8L, first.getNextBeginOffset(), "the next offset");
        checkEqual(end, first.getMaxOffset(), "the maximum offset");
        checkEqual(PullStatus.NO_NEW_MSG, run.ask("a pull at the end", () -> reader.pull(queue, "*", end, 8)).getPullStatus(),
                "the status at the end");
        // A member that does not know the end for sure, such as one that just follows, corrects nobody: it says that there is nothing.
        PullResult beyond = run.ask("a correction of a pull beyond the end", () -> {
            PullResult result = reader.pull(queue, "*", 1000, 8);
            if (run.kills && result.getPullStatus() == PullStatus.NO_NEW_MSG) {
                throw new IllegalStateException("nothing beyond the end, and no correction");
            }
            return result;
        });
        checkEqual(PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus(), "the status beyond the end");
        checkEqual(end, beyond.getNextBeginOffset(), "the corrected offset");
        checkEqual(PullStatus.NO_MATCHED_MSG, run.ask("a pull of a tag", () -> reader.pull(queue, "TagNone", 0, 8)).getPullStatus(),
                "the status without a match");
    }

    private static void longPolling(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("hold");
        String topic = run.newTopic(producer, "hold", 1);
        run.send(producer, message(topic, "TagA", "k", "first"));
        MessageQueue queue = run.ask("the queue", () -> Clients.queues(run.reader(), topic)).iterator().next();
        run.middle();
        long end = run.ask("the end", () -> run.reader().maxOffset(queue));
        Thread sender = new Thread(() -> {
            try {
                Thread.sleep(1500);
                run.send(producer, message(topic, "TagA", "k", "woken"));
            } catch (Exception e) {
                e.printStackTrace();
            }
        });
        long begun = System.nanoTime();
        sender.start();
        PullResult result = run.ask("the held pull", () -> run.reader().pullBlockIfNotFound(queue, "*", end, 8));
        long waitedMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begun);
        sender.join();
        checkEqual(PullStatus.FOUND, result.getPullStatus(), "the status of the held pull");
        checkEqual("woken", body(result.getMsgFoundList().get(0)), "what woke it");
        check(waitedMs > 1000 && (run.kills || waitedMs < 4000), "the pull was held for " + waitedMs + " ms");
    }

    private static void poll(DefaultLitePullConsumer consumer, Watch watch, int seconds) {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        while (!watch.seenTexts().containsAll(watch.ackedTexts()) && System.nanoTime() < deadline) {
            consumer.poll(1000).forEach(watch::seen);
        }
        watch.checkForeign();
        checkEqual(watch.ackedTexts(), watch.seenTexts(), "what was polled");
    }

    private static void liteSubscribe(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("lite");
        String topic = run.newTopic(producer, "lite", Run.QUEUES);
        Watch watch = new Watch();
        run.sendNumbered(producer, topic, "lite-", 100, watch);
        DefaultLitePullConsumer consumer = run.clients.litePullConsumer(run.group("lite"));
        consumer.subscribe(topic, "TagA");
        consumer.start();
        poll(consumer, watch, 60);
        run.stream(producer, topic, "through-", 40, watch);
        poll(consumer, watch, Run.PATIENCE_S);
        consumer.commitSync();
    }

    private static void liteAssign(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("assign");
        String topic = run.newTopic(producer, "assign", 2);
        Watch sent = new Watch();
        run.sendNumbered(producer, topic, "assign-", 60, sent);
        DefaultLitePullConsumer consumer = run.clients.litePullConsumer(run.group("assign"));
        consumer.setAutoCommit(false);
        consumer.start();
        List<MessageQueue> queues = new ArrayList<>(consumer.fetchMessageQueues(topic));
        checkEqual(2, queues.size(), "the number of queues");
        consumer.assign(queues);
        Watch first = copy(sent);
        poll(consumer, first, 60);
        run.middle();
        /* Only now, with nothing on its way: the client drops what a pull brings while it is told to seek. */
        for (MessageQueue queue : queues) {
            run.act("a seek", () -> consumer.seekToBegin(queue));
        }
        poll(consumer, copy(sent), Run.PATIENCE_S);
        run.act("a seek", () -> consumer.seek(queues.get(0), 25));
        long end = run.ask("the end", () -> run.reader().maxOffset(queues.get(0)));
        Set<Long> again = new TreeSet<>();
        await(Run.PATIENCE_S, () -> "after a seek to 25 of " + end + " these were polled: " + again, () -> {
            for (MessageExt message : consumer.poll(1000)) {
                again.add(message.getQueueOffset());
            }
            return again.size() >= end - 25;
        });
        check(again.iterator().next() == 25, "the first after the seek has offset " + again.iterator().next());
        await(Run.PATIENCE_S, () -> "the committed offset of " + queues.get(0) + " was " + end, () -> {
            try {
                consumer.commitSync();
                return consumer.committed(queues.get(0)) == end;
            } catch (Exception e) {
                return false;
            }
        });
    }

    private static Watch copy(Watch sent) {
        Watch copy = new Watch();
        sent.ackedTexts().forEach(text -> copy.acked(text, sent.result(text)));
        return copy;
    }

    private static void listed(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("members");
        String topic = run.newTopic(producer, "members", 2);
        run.consume(run.group("members"), topic, "TagA || TagB", message -> { });
        run.consume(run.group("members"), topic, "TagA || TagB", message -> { });
        run.middle();
        var admin = run.clients.admin();
        await(60, () -> "both consumers were listed with their subscription", () -> {
            try {
                var connection = admin.examineConsumerConnectionInfo(run.group("members"));
                var subscription = connection.getSubscriptionTable().get(topic);
                return connection.getConnectionSet().size() == 2 && subscription != null
                        && subscription.getTagsSet().equals(Set.of("TagA", "TagB"));
            } catch (Exception e) {
                return false;
            }
        });
    }
}
