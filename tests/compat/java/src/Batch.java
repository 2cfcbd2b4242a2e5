package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Batches, and what belongs to a message besides its body: properties and their limit, prefixes, more queues than one. */
final class Batch {
    private static final int SIZE = 20;

    private Batch() {
    }

    static void list(Cases cases) {
        cases.line("batch and properties");
        cases.add("batch send", Batch::batch).selected();
        cases.add("properties up to their limit", Batch::properties);
        cases.add("a namespace before topics and groups", Batch::namespace);
        cases.add("a message in further queues (LMQ)", Batch::furtherQueues).needs("lmq");
    }

    private static void batch(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("batch");
        String topic = run.newTopic(producer, "batch", Run.QUEUES);
        Set<Integer> acked = ConcurrentHashMap.newKeySet();
        run.through(10, batch -> {
            List<Message> messages = new ArrayList<>();
            for (int i = 0; i < SIZE; i++) {
                messages.add(message(topic, i % 2 == 0 ? "TagA" : "TagB", "k" + i, "batch-" + (batch * SIZE + i)));
            }
            SendResult result = run.send("batch " + batch, () -> producer.send(messages));
            checkEqual(SIZE, result.getOffsetMsgId().split(",").length, "the number of ids for a batch");
            acked.add(batch);
        });
        Set<Integer> stored = ConcurrentHashMap.newKeySet();
        int before = -1;
        for (MessageExt message : run.stored(topic)) { /* a batch lies in one queue, in the order of its list, and whole */
            int number = Integer.parseInt(body(message).substring(6));
            check(number % SIZE == 0 || number == before + 1, "batch-" + number + " follows batch-" + before);
            checkEqual(number % 2 == 0 ? "TagA" : "TagB", message.getTags(), "the tag of batch-" + number);
            if (number % SIZE == SIZE - 1) {
                check(stored.add(number / SIZE) || run.kills, "batch " + number / SIZE + " is stored twice");
            }
            before = number;
        }
        check(stored.containsAll(acked), "acknowledged " + acked + ", stored " + stored);
    }

    private static Message withProperty(String topic, int bytes, String text) {
        char[] value = new char[bytes];
        Arrays.fill(value, 'v');
        Message message = message(topic, "TagA", "k", text);
        message.putUserProperty("long", new String(value));
        return message;
    }

    private static void properties(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("properties");
        String topic = run.newTopic(producer, "properties", 1);
        Watch watch = new Watch();
        run.send(producer, withProperty(topic, 30_000, "long"), watch);
        run.middle();
        run.send(producer, withProperty(topic, 30_000, "long again"), watch);
        String refused = run.ask("the refusal of 40000 bytes of properties", () -> {
            try {
                producer.send(withProperty(topic, 40_000, "too long"));
            } catch (MQBrokerException e) {
                if (e.getResponseCode() == 13) {
                    return e.getErrorMessage();
                }
                throw e;
            }
            throw new AssertionError("40000 bytes of properties were taken");
        });
        check(!refused.isEmpty(), "the refusal says nothing");
        for (MessageExt message : run.stored(topic)) {
            watch.seen(message);
            checkEqual(30_000, message.getUserProperty("long").length(), "the length of the property");
        }
        watch.awaitAll(1);
    }

    private static void namespace(Run run) throws Exception {
        DefaultMQProducer producer = run.clients.producer(run.group("namespace"), "space");
        String topic = run.topic("namespace");
        Watch watch = new Watch();
        DefaultMQPushConsumer consumer = run.clients.pushConsumerFromFirst(run.group("namespace_consumer"));
        consumer.setNamespace("space");
        run.ask("the first send", () -> producer.send(message(topic, "TagA", "k", "first")));
        watch.trying("first");
        run.consume(consumer, topic, "*", message -> {
            if (message.getTopic().equals(topic)) { /* without the prefix */
                watch.seen(message);
            }
        });
        run.stream(producer, topic, "spaced-", 40, watch);
        watch.awaitAll(Run.PATIENCE_S);
        check(!run.stored("space%" + topic).isEmpty(), "the topic with the prefix is empty");
    }

    private static void furtherQueues(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("lmq");
        String topic = run.newTopic(producer, "lmq", 1);
        String first = "%LMQ%" + run.topic("first");
        String second = "%LMQ%" + run.topic("second");
        Watch watch = new Watch();
        run.stream(producer, 20, i -> {
            Message message = message(topic, "TagA", "k" + i, "lmq-" + i);
            message.putUserProperty("INNER_MULTI_DISPATCH", first + "," + second);
            return message;
        }, watch);
        String broker = run.stored(topic).get(0).getBrokerName();
        for (String name : List.of(first, second)) {
            Watch own = new Watch();
            watch.ackedTexts().forEach(text -> own.acked(text, watch.result(text)));
            MessageQueue queue = new MessageQueue(name, broker, 0);
            long[] next = {0};
            await(Run.PATIENCE_S, () -> name + " has " + own.seenCount() + " of " + own.ackedCount(), () -> {
                try {
                    PullResult result = run.reader().pull(queue, "*", next[0], 32);
                    if (result.getPullStatus() == PullStatus.FOUND) {
                        result.getMsgFoundList().forEach(own::seen);
                        next[0] = result.getNextBeginOffset();
                    }
                } catch (Exception e) {
                    check(run.kills, name + ": " + e.getMessage());
                }
                return own.seenTexts().containsAll(own.ackedTexts());
            });
        }
    }
}
