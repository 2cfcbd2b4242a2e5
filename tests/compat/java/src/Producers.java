package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Ways of sending, and what brokers know of producers. */
final class Producers {
    private Producers() {
    }

    static void list(Cases cases) {
        cases.line("producers");
        cases.add("synchronous send", Producers::sync).selected();
        cases.add("asynchronous send", Producers::async).selected();
        cases.add("one-way send", Producers::oneway).healthyOnly();
        cases.add("send to a chosen queue", Producers::chosen);
        cases.add("compressed body", Producers::compressed);
        cases.add("a group's producers are listed", Producers::listed).needs("connections");
    }

    private static void sync(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("sync");
        String topic = run.newTopic(producer, "sync", Run.QUEUES);
        Watch watch = new Watch();
        run.stream(producer, 50, i -> {
            Message message = message(topic, "TagA", "key-" + i + " other", "sync-" + i);
            message.putUserProperty("number", String.valueOf(i));
            message.setFlag(i);
            return message;
        }, watch);
        run.checkStored(topic, watch);
        for (MessageExt message : run.stored(topic)) {
            int i = Integer.parseInt(message.getUserProperty("number"));
            checkEqual("sync-" + i, body(message), "a body");
            checkEqual("TagA", message.getTags(), "the tag");
            checkEqual("key-" + i + " other", message.getKeys(), "the keys");
            checkEqual(i, message.getFlag(), "the flag");
            check(Math.abs(message.getStoreTimestamp() - message.getBornTimestamp()) < 60_000, "store time is off");
            SendResult result = watch.result(body(message));
            if (result != null && result.getQueueOffset() == message.getQueueOffset()
                    && result.getMessageQueue().getQueueId() == message.getQueueId()) {
                checkEqual(result.getMsgId(), message.getMsgId(), "the client's message id");
            }
        }
    }

    /** Sends that are answered later; one that fails is sent again while there is patience. */
    private static final class AsyncSends implements AutoCloseable {
        private final DefaultMQProducer producer;
        private final String topic;
        private final Watch watch;
        private final boolean again;
        private final ConcurrentHashMap<String, Throwable> errors = new ConcurrentHashMap<>();
        private final ScheduledExecutorService later = Executors.newSingleThreadScheduledExecutor();
        private final long deadline = System.nanoTime() + Run.PATIENCE_S * 1_000_000_000L;

        AsyncSends(Run run, DefaultMQProducer producer, String topic, Watch watch) {
            this.producer = producer;
            this.topic = topic;
            this.watch = watch;
            again = run.kills;
        }

        void send(String text) {
            watch.trying(text);
            try {
                producer.send(message(topic, "TagA", text, text), new SendCallback() {
                    @Override
                    public void onSuccess(SendResult result) {
                        if (result.getSendStatus() == SendStatus.SEND_OK) {
                            watch.acked(text, result);
                        } else {
                            onException(new IllegalStateException("status " + result.getSendStatus()));
                        }
                    }

                    @Override
                    public void onException(Throwable e) {
                        failed(text, e);
                    }
                });
            } catch (Exception e) {
                failed(text, e);
            }
        }

        private void failed(String text, Throwable e) {
            if (again && System.nanoTime() < deadline) {
                later.schedule(() -> send(text), 100, TimeUnit.MILLISECONDS);
            } else {
                errors.put(text, e);
            }
        }

        @Override
        public void close() {
            later.shutdownNow();
        }
    }

    private static void async(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("async");
        String topic = run.newTopic(producer, "async", Run.QUEUES);
        Watch watch = new Watch();
        try (AsyncSends sends = new AsyncSends(run, producer, topic, watch)) {
            int[] count = {0};
            run.through(500, i -> {
                sends.send("async-" + i);
                count[0]++;
            });
            await(Run.PATIENCE_S, () -> watch.ackedCount() + " of " + count[0] + " were acknowledged",
                    () -> watch.ackedCount() == count[0] || !sends.errors.isEmpty());
            check(sends.errors.isEmpty(), sends.errors.size() + " sends failed: " + sends.errors);
        }
        run.checkStored(topic, watch);
    }

    private static void oneway(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("oneway");
        String topic = run.newTopic(producer, "oneway", Run.QUEUES);
        Watch tried = new Watch();
        for (int i = 0; i < 50; i++) {
            tried.trying("oneway-" + i);
            producer.sendOneway(message(topic, "TagA", "k" + i, "oneway-" + i));
        }
        await(20, () -> "all one-way messages were stored", () -> {
            try {
                return run.stored(topic).size() >= 50;
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        run.checkStored(topic, tried);
        checkEqual(50, run.stored(topic).size(), "the number of messages stored");
    }

    private static void chosen(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("chosen");
        String topic = run.newTopic(producer, "chosen", Run.QUEUES);
        Watch watch = new Watch();
        run.through(40, i -> {
            String text = "chosen-" + i;
            watch.trying(text);
            SendResult result = run.send(text, () -> producer.send(message(topic, "TagA", "k", text),
                    (queues, message, number) -> queues.get((Integer) number % Run.QUEUES), i));
            checkEqual(i % Run.QUEUES, result.getMessageQueue().getQueueId(), "the queue of message " + i);
            check(result.getQueueOffset() >= i / Run.QUEUES, "message " + i + " has offset " + result.getQueueOffset());
            watch.acked(text, result);
        });
        run.checkStored(topic, watch);
    }

    private static void compressed(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("compressed");
        String topic = run.newTopic(producer, "compressed", 1);
        char[] text = new char[100_000];
        Arrays.fill(text, 'r');
        run.send(producer, message(topic, "TagA", "k", new String(text)));
        run.middle();
        List<MessageExt> stored = run.stored(topic);
        check(!stored.isEmpty(), "nothing is stored");
        checkEqual(new String(text), body(stored.get(0)), "the body");
    }

    private static void listed(Run run) throws Exception {
        DefaultMQProducer first = run.producer("listed");
        DefaultMQProducer second = run.producer("listed");
        String topic = run.newTopic(first, "listed", 1);
        run.send(first, message(topic, "TagA", "k", "one"));
        run.send(second, message(topic, "TagA", "k", "two"));
        run.middle();
        DefaultMQAdminExt admin = run.clients.admin();
        await(60, () -> "both producers were listed", () -> {
            try {
                return admin.examineProducerConnectionInfo(run.group("listed"), topic).getConnectionSet().size() == 2;
            } catch (Exception e) {
                return false;
            }
        });
    }
}
