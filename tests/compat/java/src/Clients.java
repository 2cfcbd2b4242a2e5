package raftmq.compat;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * Stock clients: nothing is set but the name server, a name for the instance, so that several clients live in one process, and
 * perhaps how often they ask for routes and beat. Remembers what it started; stopAll ends it in reverse.
 */
final class Clients {
    private static final AtomicInteger MADE = new AtomicInteger(); /* clients of one name would share their connections */

    static final int FAST_ROUTES_MS = 1000;
    static final int STOCK_ROUTES_MS = 30000;
    private static final int FAST_BEAT_MS = 2000; /* a new leader knows a group's producers only once they have beaten */

    private final String namesrv;
    private final int routesMs;
    private final List<Runnable> stops = new ArrayList<>();

    Clients(String namesrv, int routesMs) {
        this.namesrv = namesrv;
        this.routesMs = routesMs;
    }

    private void settle(ClientConfig client) {
        client.setNamesrvAddr(namesrv);
        client.setInstanceName(instance());
        client.setPollNameServerInterval(routesMs);
        if (routesMs < STOCK_ROUTES_MS) {
            client.setHeartbeatBrokerInterval(FAST_BEAT_MS);
        }
    }

    private synchronized void stopLater(Runnable stop) {
        stops.add(stop);
    }

    DefaultMQProducer producer(String group) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(group);
        settle(producer);
        producer.start();
        stopLater(producer::shutdown);
        return producer;
    }

    DefaultMQProducer producer(String group, String namespace) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(group);
        settle(producer);
        producer.setNamespace(namespace);
        producer.start();
        stopLater(producer::shutdown);
        return producer;
    }

    /** One that tells the trace topic what it sent. */
    DefaultMQProducer tracingProducer(String group) throws Exception {
        DefaultMQProducer producer = Newer.tracingProducer(group);
        settle(producer);
        producer.start();
        stopLater(producer::shutdown);
        return producer;
    }

    /** Not started: the caller subscribes first and calls start. */
    DefaultMQPushConsumer pushConsumer(String group) {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        settle(consumer);
        stopLater(consumer::shutdown);
        return consumer;
    }

    /**
     * Not started; begins a queue of which the group has no offset yet at its beginning. With the stock setting a message that is
     * stored while the consumer asks where to begin may be skipped, by RocketMQ too.
     */
    DefaultMQPushConsumer pushConsumerFromFirst(String group) {
        DefaultMQPushConsumer consumer = pushConsumer(group);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        return consumer;
    }

    /** Not started. */
    DefaultLitePullConsumer litePullConsumer(String group) {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group);
        settle(consumer);
        stopLater(consumer::shutdown);
        return consumer;
    }

    DefaultMQPullConsumer pullConsumer(String group) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        settle(consumer);
        consumer.start();
        stopLater(consumer::shutdown);
        return consumer;
    }

    private String instance() {
        return "compat-" + ProcessHandle.current().pid() + "-" + MADE.incrementAndGet();
    }

    TransactionMQProducer transactionProducer(String group, TransactionListener listener) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer(group);
        settle(producer);
        producer.setTransactionListener(listener);
        producer.start();
        stopLater(producer::shutdown);
        return producer;
    }

    DefaultMQAdminExt admin() throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt(10_000);
        settle(admin);
        admin.setAdminExtGroup(instance());
        admin.start();
        stopLater(admin::shutdown);
        return admin;
    }

    /** Where the leader of the group that serves @topic listens now. */
    static String leader(DefaultMQAdminExt admin, String topic) throws Exception {
        var brokers = admin.examineTopicRouteInfo(topic).getBrokerDatas();
        String address = brokers.isEmpty() ? null : brokers.get(0).getBrokerAddrs().get(0L);
        if (address == null) {
            throw new IllegalStateException("the route of " + topic + " names no leader"); /* whoever asks may ask again */
        }
        return address;
    }

    synchronized void stopAll() {
        Collections.reverse(stops);
        stops.forEach(Runnable::run);
        stops.clear();
    }

    /** Creates the topic through a producer, as an application would, and waits until its route has all queues. */
    static void createTopic(DefaultMQProducer producer, String topic, int queues) throws Exception {
        long[] again = {System.nanoTime()};
        /* A group that has just started may not have registered the topic that new ones are cut from; and while nobody leads, the
         * client says that it has created a topic and has asked nobody. */
        await(60, () -> "the route of " + topic + " had " + queues + " queues", () -> {
            try {
                if (System.nanoTime() >= again[0]) {
                    again[0] = deadline(5);
                    Newer.createTopic(producer, topic, queues);
                }
                return producer.fetchPublishMessageQueues(topic).size() == queues;
            } catch (MQClientException e) {
                return false;
            }
        });
    }

    static void setBroadcasting(DefaultMQPushConsumer consumer) {
        /* The enum lies in another package in 5.x. */
        consumer.setMessageModel(Enum.valueOf(consumer.getMessageModel().getDeclaringClass(), "BROADCASTING"));
    }

    static Message message(String topic, String tags, String keys, String body) {
        return new Message(topic, tags, keys, body.getBytes(StandardCharsets.UTF_8));
    }

    static String body(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    /** Everything in one queue from offset 0 to its end now; fails if an offset is missing or out of place. */
    static List<MessageExt> readQueue(DefaultMQPullConsumer consumer, MessageQueue queue) throws Exception {
        List<MessageExt> all = new ArrayList<>();
        Report.checkEqual(0L, consumer.minOffset(queue), "the minimum offset of " + queue);
        long end = consumer.maxOffset(queue);
        long deadline = deadline(60);
        while (all.size() < end) {
            PullResult result = consumer.pull(queue, "*", all.size(), 32);
            if (result.getPullStatus() == PullStatus.FOUND) {
                for (MessageExt message : result.getMsgFoundList()) {
                    Report.checkEqual((long) all.size(), message.getQueueOffset(), "an offset in " + queue);
                    all.add(message);
                }
            }
            Report.check(System.nanoTime() < deadline, "read only " + all.size() + " of " + end + " from " + queue);
        }
        return all;
    }

    /** The queues of a topic once it has a route: a broker that has just come back may not have registered it yet. */
    static Set<MessageQueue> queues(DefaultMQPullConsumer consumer, String topic) throws Exception {
        Set<MessageQueue> queues = new TreeSet<>();
        await(40, () -> "there was a route of " + topic, () -> {
            try {
                return queues.addAll(consumer.fetchSubscribeMessageQueues(topic));
            } catch (MQClientException e) {
                return false;
            }
        });
        return queues;
    }

    /** What a topic's queues hold now, for an error's text: "queue from minimum to maximum", of each queue in its route. */
    static String extents(DefaultMQPullConsumer consumer, String topic) {
        List<String> extents = new ArrayList<>();
        try {
            for (MessageQueue queue : queues(consumer, topic)) {
                extents.add(queue.getQueueId() + " from " + consumer.minOffset(queue) + " to " + consumer.maxOffset(queue));
            }
        } catch (Exception e) {
            extents.add(e.getMessage());
        }
        return extents.toString();
    }

    /** The whole topic, queue after queue. */
    static List<MessageExt> readTopic(DefaultMQPullConsumer consumer, String topic) throws Exception {
        List<MessageExt> all = new ArrayList<>();
        for (MessageQueue queue : queues(consumer, topic)) {
            all.addAll(readQueue(consumer, queue));
        }
        return all;
    }

    static void await(int seconds, Supplier<String> what, BooleanSupplier holds) throws InterruptedException {
        long deadline = deadline(seconds);
        while (!holds.getAsBoolean()) {
            Report.check(System.nanoTime() < deadline, "within " + seconds + " s it did not happen that " + what.get());
            Thread.sleep(50);
        }
    }

    private static long deadline(int seconds) {
        return System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
    }
}
