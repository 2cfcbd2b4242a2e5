package raftmq.compat;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Stock clients with stock settings: nothing is set but the name server and a name for the instance, so that several
 * clients live in one process. Remembers what it started; stopAll ends it in reverse.
 */
final class Clients {
    private static final AtomicInteger MADE = new AtomicInteger(); /* clients of one name would share their connections */

    private final String namesrv;
    private final List<Runnable> stops = new ArrayList<>();

    Clients(String namesrv) {
        this.namesrv = namesrv;
    }

    DefaultMQProducer producer(String group) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(group);
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName(instance());
        producer.start();
        stops.add(producer::shutdown);
        return producer;
    }

    /** Not started: the caller subscribes first and calls start. */
    DefaultMQPushConsumer pushConsumer(String group) {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(instance());
        stops.add(consumer::shutdown);
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
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(instance());
        stops.add(consumer::shutdown);
        return consumer;
    }

    DefaultMQPullConsumer pullConsumer(String group) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(instance());
        consumer.start();
        stops.add(consumer::shutdown);
        return consumer;
    }

    private String instance() {
        return "compat-" + ProcessHandle.current().pid() + "-" + MADE.incrementAndGet();
    }

    void stopAll() {
        Collections.reverse(stops);
        stops.forEach(Runnable::run);
        stops.clear();
    }

    /** Creates the topic through a producer, as an application would, and waits until its route has all queues. */
    static void createTopic(DefaultMQProducer producer, String topic, int queues) throws Exception {
        /* A group that has just started may not have registered the topic that new ones are cut from. */
        await(30, () -> "the topic could be created", () -> {
            try {
                invokeCreateTopic(producer, topic, queues);
                return true;
            } catch (InvocationTargetException e) {
                return false;
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
        });
        await(40, () -> "the route of " + topic + " had " + queues + " queues", () -> {
            try {
                return producer.fetchPublishMessageQueues(topic).size() == queues;
            } catch (Exception e) {
                return false;
            }
        });
    }

    /* 5.x gave createTopic a map of attributes as its fourth parameter. */
    private static void invokeCreateTopic(DefaultMQProducer producer, String topic, int queues)
            throws ReflectiveOperationException {
        try {
            DefaultMQProducer.class.getMethod("createTopic", String.class, String.class, int.class)
                    .invoke(producer, "TBW102", topic, queues);
        } catch (NoSuchMethodException e) {
            DefaultMQProducer.class.getMethod("createTopic", String.class, String.class, int.class, Map.class)
                    .invoke(producer, "TBW102", topic, queues, new HashMap<String, String>());
        }
    }

    /** The enum of message models lies in another package in 5.x. */
    static void setBroadcasting(DefaultMQPushConsumer consumer) throws ReflectiveOperationException {
        for (Method method : DefaultMQPushConsumer.class.getMethods()) {
            if (method.getName().equals("setMessageModel")) {
                Class<?> model = method.getParameterTypes()[0];
                method.invoke(consumer, model.getField("BROADCASTING").get(null));
            }
        }
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
