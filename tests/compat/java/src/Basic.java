package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.createTopic;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Clients.readTopic;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** What clients do on a healthy group. Each case has topics and groups of its own. */
final class Basic {
    private static final int QUEUES = 4;
    private static final int AT_A_TIME = 3;

    private final String namesrv;
    private final String run;

    /** @param run makes topic and group names of this run differ from those of earlier ones on the same group */
    Basic(String namesrv, String run) {
        this.namesrv = namesrv;
        this.run = run;
    }

    /** The cases mostly wait (for a rebalance, for a held pull): a few run at a time. */
    void runAll(Report report, String part) throws InterruptedException {
        ExecutorService threads = Executors.newFixedThreadPool(AT_A_TIME);
        Map<String, ClientCase> cases = cases();
        cases.keySet().removeIf(name -> !name.contains(part));
        cases.forEach((name, body) -> threads.execute(() -> {
            Clients clients = new Clients(namesrv);
            report.run(name, () -> body.run(clients));
            clients.stopAll();
        }));
        threads.shutdown();
        threads.awaitTermination(10, TimeUnit.MINUTES);
    }

    private interface ClientCase {
        void run(Clients clients) throws Exception;
    }

    private Map<String, ClientCase> cases() {
        Map<String, ClientCase> cases = new LinkedHashMap<>(); /* the slowest first */
        cases.put("orderly push consumers keep order", this::orderlyPush);
        cases.put("topic created by a client", this::topicCreatedByClient);
        cases.put("topic created by the first send", this::topicCreatedBySend);
        cases.put("synchronous send", this::sendSync);
        cases.put("asynchronous send", this::sendAsync);
        cases.put("one-way send", this::sendOneway);
        cases.put("batch send", this::sendBatch);
        cases.put("send to a chosen queue", this::sendToQueue);
        cases.put("compressed body", this::compressedBody);
        cases.put("view by message id", this::viewById);
        cases.put("search by time", this::searchByTime);
        cases.put("pull at, before and beyond the end", this::pullLimits);
        cases.put("long polling wakes on a new message", this::longPolling);
        cases.put("tags", this::tags);
        cases.put("SQL92", this::sql);
        cases.put("concurrent push consumers share the queues", this::concurrentPush);
        cases.put("progress survives a restart of the consumer", this::progressSurvives);
        cases.put("lite pull by subscription", this::liteSubscribe);
        cases.put("lite pull by assignment and seek", this::liteAssign);
        cases.put("broadcasting", this::broadcasting);
        return cases;
    }

    private String topic(String name) {
        return "compat_" + name + "_" + run;
    }

    private static void checkSent(SendResult result) {
        checkEqual(SendStatus.SEND_OK, result.getSendStatus(), "the status of a send");
    }

    private static Set<String> bodies(Iterable<? extends Message> messages) {
        Set<String> bodies = new TreeSet<>();
        messages.forEach(message -> bodies.add(body(message)));
        return bodies;
    }

    private static Set<String> numbered(String prefix, int count) {
        Set<String> names = new TreeSet<>();
        for (int i = 0; i < count; i++) {
            names.add(prefix + i);
        }
        return names;
    }

    private static Set<String> without(Set<String> all, Set<String> seen) {
        all.removeAll(seen);
        return all;
    }

    private void sendNumbered(DefaultMQProducer producer, String topic, String prefix, int count) throws Exception {
        for (String text : numbered(prefix, count)) {
            checkSent(producer.send(message(topic, "TagA", text, text)));
        }
    }

    private void topicCreatedByClient(Clients clients) throws Exception {
        DefaultMQProducer producer = clients.producer("compat_create");
        createTopic(producer, topic("created"), 3);
        checkEqual(3, producer.fetchPublishMessageQueues(topic("created")).size(), "the number of queues");
        checkSent(producer.send(message(topic("created"), "TagA", "k", "first")));
    }

    private void topicCreatedBySend(Clients clients) throws Exception {
        DefaultMQProducer producer = clients.producer("compat_auto");
        checkSent(producer.send(message(topic("auto"), "TagA", "k", "first")));
        await(40, () -> "the new topic had its queues in the route", () -> {
            try {
                return producer.fetchPublishMessageQueues(topic("auto")).size() == QUEUES;
            } catch (Exception e) {
                return false;
            }
        });
        sendNumbered(producer, topic("auto"), "more-", 10);
        checkEqual(11, readTopic(clients.pullConsumer("compat_auto_pull"), topic("auto")).size(), "the number of messages");
    }

    private void sendSync(Clients clients) throws Exception {
        String topic = topic("sync");
        DefaultMQProducer producer = clients.producer("compat_sync");
        createTopic(producer, topic, QUEUES);
        List<SendResult> results = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            Message message = message(topic, "TagA", "key-" + i + " other", "sync-" + i);
            message.putUserProperty("number", String.valueOf(i));
            message.setFlag(i);
            SendResult result = producer.send(message);
            checkSent(result);
            results.add(result);
        }
        List<MessageExt> stored = readTopic(clients.pullConsumer("compat_sync_pull"), topic);
        checkEqual(50, stored.size(), "the number of messages");
        for (MessageExt message : stored) {
            int i = Integer.parseInt(message.getUserProperty("number"));
            checkEqual("sync-" + i, body(message), "a body");
            checkEqual("TagA", message.getTags(), "the tag");
            checkEqual("key-" + i + " other", message.getKeys(), "the keys");
            checkEqual(i, message.getFlag(), "the flag");
            checkEqual(results.get(i).getQueueOffset(), message.getQueueOffset(), "the offset that the send answered");
            checkEqual(results.get(i).getMessageQueue().getQueueId(), message.getQueueId(), "the queue of a message");
            checkEqual(results.get(i).getMsgId(), message.getMsgId(), "the client's message id");
            check(Math.abs(message.getStoreTimestamp() - message.getBornTimestamp()) < 60_000, "store time is off");
        }
    }

    private void sendAsync(Clients clients) throws Exception {
        String topic = topic("async");
        DefaultMQProducer producer = clients.producer("compat_async");
        createTopic(producer, topic, QUEUES);
        int count = 500;
        CountDownLatch answered = new CountDownLatch(count);
        List<Throwable> errors = Collections.synchronizedList(new ArrayList<>());
        AtomicInteger good = new AtomicInteger();
        for (int i = 0; i < count; i++) {
            producer.send(message(topic, "TagA", "k" + i, "async-" + i), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    if (result.getSendStatus() == SendStatus.SEND_OK) {
                        good.incrementAndGet();
                    }
                    answered.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    errors.add(e);
                    answered.countDown();
                }
            });
        }
        check(answered.await(60, TimeUnit.SECONDS), answered.getCount() + " sends were never answered");
        check(errors.isEmpty(), errors.size() + " sends failed, the first with " + (errors.isEmpty() ? "" : errors.get(0)));
        checkEqual(count, good.get(), "the number of SEND_OK");
        checkEqual(numbered("async-", count), bodies(readTopic(clients.pullConsumer("compat_async_pull"), topic)), "what is stored");
    }

    private void sendOneway(Clients clients) throws Exception {
        String topic = topic("oneway");
        DefaultMQProducer producer = clients.producer("compat_oneway");
        createTopic(producer, topic, QUEUES);
        for (int i = 0; i < 50; i++) {
            producer.sendOneway(message(topic, "TagA", "k" + i, "oneway-" + i));
        }
        DefaultMQPullConsumer reader = clients.pullConsumer("compat_oneway_pull");
        await(20, () -> "all one-way messages were stored", () -> {
            try {
                return bodies(readTopic(reader, topic)).equals(numbered("oneway-", 50));
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
    }

    private void sendBatch(Clients clients) throws Exception {
        String topic = topic("batch");
        DefaultMQProducer producer = clients.producer("compat_batch");
        createTopic(producer, topic, QUEUES);
        for (int batch = 0; batch < 5; batch++) {
            List<Message> messages = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                messages.add(message(topic, i % 2 == 0 ? "TagA" : "TagB", "k" + i, "batch-" + (batch * 20 + i)));
            }
            SendResult result = producer.send(messages);
            checkSent(result);
            checkEqual(20, result.getOffsetMsgId().split(",").length, "the number of ids for a batch");
        }
        List<MessageExt> stored = readTopic(clients.pullConsumer("compat_batch_pull"), topic);
        checkEqual(numbered("batch-", 100), bodies(stored), "what is stored");
        int before = -1;
        for (MessageExt message : stored) { /* a batch lies in one queue, in the order of its list */
            int number = Integer.parseInt(body(message).substring(6));
            check(number % 20 == 0 || number == before + 1, "batch-" + number + " follows batch-" + before);
            checkEqual(number % 2 == 0 ? "TagA" : "TagB", message.getTags(), "the tag of batch-" + number);
            before = number;
        }
    }

    private void sendToQueue(Clients clients) throws Exception {
        String topic = topic("chosen");
        DefaultMQProducer producer = clients.producer("compat_chosen");
        createTopic(producer, topic, QUEUES);
        for (int i = 0; i < 40; i++) {
            SendResult result = producer.send(message(topic, "TagA", "k", "chosen-" + i),
                    (queues, message, number) -> queues.get((Integer) number % QUEUES), i);
            checkSent(result);
            checkEqual((long) i / QUEUES, result.getQueueOffset(), "the offset of message " + i);
        }
    }

    private void compressedBody(Clients clients) throws Exception {
        String topic = topic("compressed");
        DefaultMQProducer producer = clients.producer("compat_compressed");
        createTopic(producer, topic, 1);
        char[] text = new char[100_000];
        Arrays.fill(text, 'r');
        checkSent(producer.send(message(topic, "TagA", "k", new String(text))));
        List<MessageExt> stored = readTopic(clients.pullConsumer("compat_compressed_pull"), topic);
        checkEqual(1, stored.size(), "the number of messages");
        checkEqual(new String(text), body(stored.get(0)), "the body");
    }

    private void viewById(Clients clients) throws Exception {
        String topic = topic("view");
        DefaultMQProducer producer = clients.producer("compat_view");
        createTopic(producer, topic, 1);
        checkSent(producer.send(message(topic, "TagA", "k0", "before it")));
        SendResult result = producer.send(message(topic, "TagB", "k1", "wanted"));
        MessageExt found = clients.pullConsumer("compat_view_pull").viewMessage(topic, result.getOffsetMsgId());
        checkEqual("wanted", body(found), "the body");
        checkEqual("TagB", found.getTags(), "the tag");
        checkEqual(1L, found.getQueueOffset(), "the offset");
    }

    private void searchByTime(Clients clients) throws Exception {
        String topic = topic("time");
        DefaultMQProducer producer = clients.producer("compat_time");
        createTopic(producer, topic, 1);
        sendNumbered(producer, topic, "early-", 3);
        Thread.sleep(50);
        long between = System.currentTimeMillis();
        Thread.sleep(50);
        sendNumbered(producer, topic, "late-", 3);
        DefaultMQPullConsumer reader = clients.pullConsumer("compat_time_pull");
        MessageQueue queue = Clients.queues(reader, topic).iterator().next();
        checkEqual(6, readTopic(reader, topic).size(), "the number of messages");
        checkEqual(3L, reader.searchOffset(queue, between), "the offset at that time");
        checkEqual(0L, reader.searchOffset(queue, between - 3_600_000), "the offset of an hour ago");
    }

    private void pullLimits(Clients clients) throws Exception {
        String topic = topic("limits");
        DefaultMQProducer producer = clients.producer("compat_limits");
        createTopic(producer, topic, 1);
        sendNumbered(producer, topic, "m-", 40);
        DefaultMQPullConsumer reader = clients.pullConsumer("compat_limits_pull");
        MessageQueue queue = Clients.queues(reader, topic).iterator().next();
        PullResult first = reader.pull(queue, "*", 0, 8);
        checkEqual(PullStatus.FOUND, first.getPullStatus(), "the status at 0");
        checkEqual(8, first.getMsgFoundList().size(), "the number of messages of a limited pull");
        checkEqual(8L, first.getNextBeginOffset(), "the next offset");
        checkEqual(40L, first.getMaxOffset(), "the maximum offset");
        checkEqual(PullStatus.NO_NEW_MSG, reader.pull(queue, "*", 40, 8).getPullStatus(), "the status at the end");
        PullResult beyond = reader.pull(queue, "*", 1000, 8);
        checkEqual(PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus(), "the status beyond the end");
        checkEqual(40L, beyond.getNextBeginOffset(), "the corrected offset");
        checkEqual(PullStatus.NO_MATCHED_MSG, reader.pull(queue, "TagNone", 0, 8).getPullStatus(), "the status without a match");
    }

    private void longPolling(Clients clients) throws Exception {
        String topic = topic("hold");
        DefaultMQProducer producer = clients.producer("compat_hold");
        createTopic(producer, topic, 1);
        sendNumbered(producer, topic, "m-", 1);
        DefaultMQPullConsumer reader = clients.pullConsumer("compat_hold_pull");
        MessageQueue queue = Clients.queues(reader, topic).iterator().next();
        Thread sender = new Thread(() -> {
            try {
                Thread.sleep(1500);
                sendNumbered(producer, topic, "woken-", 1);
            } catch (Exception e) {
                e.printStackTrace();
            }
        });
        sender.start();
        long begun = System.nanoTime();
        PullResult result = reader.pullBlockIfNotFound(queue, "*", 1, 8);
        long waitedMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begun);
        sender.join();
        checkEqual(PullStatus.FOUND, result.getPullStatus(), "the status of the held pull");
        checkEqual("woken-0", body(result.getMsgFoundList().get(0)), "what woke it");
        check(waitedMs > 1000 && waitedMs < 4000, "the pull was held for " + waitedMs + " ms");
    }

    private void tags(Clients clients) throws Exception {
        String topic = topic("tags");
        DefaultMQProducer producer = clients.producer("compat_tags");
        createTopic(producer, topic, QUEUES);
        Set<String> wanted = new TreeSet<>();
        for (int i = 0; i < 90; i++) {
            String tag = "Tag" + "ABC".charAt(i % 3);
            checkSent(producer.send(message(topic, tag, "k" + i, tag + "-" + i)));
            if (!tag.equals("TagC")) {
                wanted.add(tag + "-" + i);
            }
        }
        Set<String> seen = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = clients.pushConsumer("compat_tags_" + run);
        consumer.subscribe(topic, "TagA || TagB");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            seen.addAll(bodies(messages));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        await(60, () -> "both tags were consumed (" + seen.size() + " of 60)", () -> seen.size() >= wanted.size());
        Thread.sleep(500);
        checkEqual(wanted, new TreeSet<>(seen), "what a subscription to TagA || TagB sees");
    }

    private void sql(Clients clients) throws Exception {
        String topic = topic("sql");
        DefaultMQProducer producer = clients.producer("compat_sql");
        createTopic(producer, topic, QUEUES);
        Set<String> seen = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = clients.pushConsumerFromFirst("compat_sql_" + run);
        consumer.subscribe(topic, MessageSelector.bySql("price BETWEEN 10 AND 19 AND (region = 'eu' OR region IS NULL)"));
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            seen.addAll(bodies(messages));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Set<String> wanted = new TreeSet<>();
        for (int i = 0; i < 60; i++) {
            String region = new String[] {"eu", "us", null}[i % 3];
            Message message = message(topic, "TagA", "k" + i, "sql-" + i);
            message.putUserProperty("price", String.valueOf(i));
            if (region != null) {
                message.putUserProperty("region", region);
            }
            checkSent(producer.send(message));
            if (i >= 10 && i <= 19 && !"us".equals(region)) {
                wanted.add("sql-" + i);
            }
        }
        await(60, () -> "what the expression wants was consumed (" + seen.size() + " of " + wanted.size() + ")",
            () -> seen.size() >= wanted.size());
        Thread.sleep(500);
        checkEqual(wanted, new TreeSet<>(seen), "what the subscription sees");
        DefaultMQPushConsumer broken = clients.pushConsumer("compat_sql_broken_" + run);
        broken.subscribe(topic, MessageSelector.bySql("price >"));
        broken.registerMessageListener((MessageListenerConcurrently) (messages, context) ->
            ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        try {
            broken.start();
            throw new AssertionError("a consumer with an expression that does not compile has started");
        } catch (MQClientException e) {
            check(e.getMessage().contains("CODE: 23"), "another cause: " + e.getMessage());
        }
    }

    private void concurrentPush(Clients clients) throws Exception {
        String topic = topic("push");
        DefaultMQProducer producer = clients.producer("compat_push");
        createTopic(producer, topic, QUEUES);
        Map<String, Integer> times = new ConcurrentHashMap<>();
        List<Set<Integer>> queuesOf = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            Set<Integer> queues = ConcurrentHashMap.newKeySet();
            queuesOf.add(queues);
            DefaultMQPushConsumer consumer = clients.pushConsumerFromFirst("compat_push_" + run);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                for (MessageExt message : messages) {
                    times.merge(body(message), 1, Integer::sum);
                    if (body(message).startsWith("shared")) {
                        queues.add(message.getQueueId());
                    }
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
        }
        sendNumbered(producer, topic, "first-", 200);
        await(60, () -> "all were consumed; missing: " + without(numbered("first-", 200), times.keySet()),
                () -> times.size() == 200);
        Thread.sleep(3000); /* the first consumer was told about the second one and has given queues up */
        sendNumbered(producer, topic, "shared-", 200);
        await(60, () -> times.size() + " of 400 were consumed", () -> times.size() == 400);
        checkEqual(QUEUES / 2, queuesOf.get(0).size(), "the number of queues of the first consumer");
        checkEqual(QUEUES / 2, queuesOf.get(1).size(), "the number of queues of the second consumer");
        check(Collections.disjoint(queuesOf.get(0), queuesOf.get(1)), "both consumers had a queue: " + queuesOf);
    }

    private void orderlyPush(Clients clients) throws Exception {
        String topic = topic("orderly");
        DefaultMQProducer producer = clients.producer("compat_orderly");
        createTopic(producer, topic, QUEUES);
        OrderWatch watch = new OrderWatch();
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = clients.pushConsumerFromFirst("compat_orderly_" + run);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                watch.seen(messages);
                return ConsumeOrderlyStatus.SUCCESS;
            });
            consumer.start();
        }
        for (int i = 0; i < 400; i++) {
            checkSent(producer.send(message(topic, "TagA", "k" + i, "orderly-" + i),
                    (queues, message, number) -> queues.get((Integer) number % QUEUES), i));
        }
        await(90, () -> watch.count() + " of 400 were consumed", () -> watch.count() >= 400);
        watch.check();
    }

    private void progressSurvives(Clients clients) throws Exception {
        String topic = topic("progress");
        String group = "compat_progress_" + run;
        DefaultMQProducer producer = clients.producer("compat_progress");
        createTopic(producer, topic, QUEUES);
        for (int round = 0; round < 2; round++) {
            sendNumbered(producer, topic, "round-" + round + "-", 60);
            Set<String> seen = ConcurrentHashMap.newKeySet();
            DefaultMQPushConsumer consumer = clients.pushConsumer(group);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                seen.addAll(bodies(messages));
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
            await(60, () -> seen.size() + " of 60 were consumed", () -> seen.size() >= 60);
            Thread.sleep(500);
            checkEqual(numbered("round-" + round + "-", 60), new TreeSet<>(seen), "what round " + round + " consumed");
            consumer.shutdown(); /* commits the progress */
            Thread.sleep(500);
        }
    }

    private Set<String> poll(DefaultLitePullConsumer consumer, int wanted) {
        Set<String> seen = new TreeSet<>();
        for (int tries = 0; tries < 60 && seen.size() < wanted; tries++) {
            seen.addAll(bodies(consumer.poll(1000)));
        }
        return seen;
    }

    private void liteSubscribe(Clients clients) throws Exception {
        String topic = topic("lite");
        DefaultMQProducer producer = clients.producer("compat_lite");
        createTopic(producer, topic, QUEUES);
        sendNumbered(producer, topic, "lite-", 100);
        DefaultLitePullConsumer consumer = clients.litePullConsumer("compat_lite_" + run);
        consumer.subscribe(topic, "TagA");
        consumer.start();
        checkEqual(numbered("lite-", 100), poll(consumer, 100), "what was polled");
        consumer.commitSync();
    }

    private void liteAssign(Clients clients) throws Exception {
        String topic = topic("assign");
        DefaultMQProducer producer = clients.producer("compat_assign");
        createTopic(producer, topic, 2);
        sendNumbered(producer, topic, "assign-", 60);
        DefaultLitePullConsumer consumer = clients.litePullConsumer("compat_assign_" + run);
        consumer.setAutoCommit(false);
        consumer.start();
        List<MessageQueue> queues = new ArrayList<>(consumer.fetchMessageQueues(topic));
        checkEqual(2, queues.size(), "the number of queues");
        consumer.assign(queues);
        checkEqual(numbered("assign-", 60), poll(consumer, 60), "what was polled");
        /* Only now, with nothing on its way: the client drops what a pull brings while it is told to seek. */
        for (MessageQueue queue : queues) {
            consumer.seekToBegin(queue);
        }
        checkEqual(numbered("assign-", 60), poll(consumer, 60), "what was polled again");
        consumer.seek(queues.get(0), 25);
        Set<String> again = poll(consumer, 5);
        check(again.size() == 5, "after a seek to 25 of 30, " + again.size() + " were polled");
        consumer.commitSync();
        await(20, () -> "the committed offset of " + queues.get(0) + " was 30", () -> {
            try {
                return consumer.committed(queues.get(0)) == 30;
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
    }

    private void broadcasting(Clients clients) throws Exception {
        String topic = topic("broadcast");
        DefaultMQProducer producer = clients.producer("compat_broadcast");
        createTopic(producer, topic, QUEUES);
        List<Set<String>> seen = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            Set<String> own = ConcurrentHashMap.newKeySet();
            seen.add(own);
            DefaultMQPushConsumer consumer = clients.pushConsumer("compat_broadcast_" + run);
            Clients.setBroadcasting(consumer);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                own.addAll(bodies(messages));
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
        }
        Thread.sleep(2000); /* a broadcasting consumer begins at the end: both have to be there */
        sendNumbered(producer, topic, "all-", 100);
        for (Set<String> own : seen) {
            await(60, () -> own.size() + " of 100 reached a consumer", () -> own.size() == 100);
        }
    }
}
