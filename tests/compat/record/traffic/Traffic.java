package raftmq.record;

import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Makes a stock client send every request that the golden files are wanted for. Usage: Traffic NAMESRV; with the system
 * property record.onlySends nothing but sends (for clients told to use the long send header).
 */
public final class Traffic {
    private static final String TOPIC = "GoldenTopic";

    private final String namesrv;

    private Traffic(String namesrv) {
        this.namesrv = namesrv;
    }

    public static void main(String[] args) throws Exception {
        Traffic traffic = new Traffic(args[0]);
        SendResult sent = traffic.send();
        if (!Boolean.getBoolean("record.onlySends")) {
            traffic.pull(sent);
            traffic.lite();
            traffic.push();
            traffic.orderly();
        }
        System.out.println("traffic done");
        System.exit(0);
    }

    private static Message message(String tag, String key, String body) {
        return new Message(TOPIC, tag, key, body.getBytes(StandardCharsets.UTF_8));
    }

    /* createTopic asks for the route of TBW102, which a broker that has just started may not have registered yet. */
    private static void createTopic(DefaultMQProducer producer) throws Exception {
        for (int tries = 0; ; tries++) {
            try {
                invokeCreateTopic(producer);
                break;
            } catch (InvocationTargetException e) {
                if (tries == 20) {
                    throw e;
                }
            }
            Thread.sleep(1000);
        }
        Thread.sleep(1000);
    }

    /* 5.x gave createTopic a map of attributes as its fourth parameter. */
    private static void invokeCreateTopic(DefaultMQProducer producer) throws ReflectiveOperationException {
        try {
            DefaultMQProducer.class.getMethod("createTopic", String.class, String.class, int.class)
                    .invoke(producer, "TBW102", TOPIC, 2);
        } catch (NoSuchMethodException e) {
            DefaultMQProducer.class.getMethod("createTopic", String.class, String.class, int.class, Map.class)
                    .invoke(producer, "TBW102", TOPIC, 2, new HashMap<String, String>());
        }
    }

    private SendResult send() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("golden_producer");
        producer.setNamesrvAddr(namesrv);
        producer.setClientIP("127.0.0.1");
        producer.setInstanceName("golden-producer");
        producer.start();
        createTopic(producer);
        SendResult first = producer.send(message("TagA", "key-1", "synchronous"));
        CountDownLatch done = new CountDownLatch(1);
        producer.send(message("TagB", "key-2", "asynchronous"), new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                done.countDown();
            }

            @Override
            public void onException(Throwable e) {
                e.printStackTrace();
                done.countDown();
            }
        });
        done.await(10, TimeUnit.SECONDS);
        producer.sendOneway(message("TagA", "key-3", "one-way"));
        producer.send(new Message(TOPIC, "no tag and no key".getBytes(StandardCharsets.UTF_8)));
        producer.send(Arrays.asList(message("TagA", "key-4", "batch one"), message("TagB", "key-5", "batch two")));
        char[] text = new char[6000];
        Arrays.fill(text, 'x');
        producer.send(message("TagA", "key-6", new String(text))); /* compressed by the client */
        try {
            producer.send(new Message("no_such_topic", "x".getBytes(StandardCharsets.UTF_8)));
        } catch (Exception e) {
            System.out.println("auto-created or refused: " + e.getMessage());
        }
        Thread.sleep(300);
        producer.shutdown();
        return first;
    }

    private void pull(SendResult sent) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("golden_pull");
        consumer.setNamesrvAddr(namesrv);
        consumer.setClientIP("127.0.0.1");
        consumer.setInstanceName("golden-pull");
        consumer.start();
        Set<MessageQueue> queues = consumer.fetchSubscribeMessageQueues(TOPIC);
        for (MessageQueue queue : queues) {
            System.out.println(queue + " " + consumer.minOffset(queue) + ".." + consumer.maxOffset(queue));
            consumer.searchOffset(queue, System.currentTimeMillis() - 60_000);
            consumer.pull(queue, "*", 0, 32);
            consumer.pull(queue, "TagA || TagB", 0, 32);
            consumer.pull(queue, "TagNone", 0, 32);
            consumer.pull(queue, "*", 1000, 32);
            consumer.fetchConsumeOffset(queue, true);
            consumer.updateConsumeOffset(queue, 1);
            consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persistAll(Collections.singleton(queue));
            consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persist(queue);
            consumer.fetchConsumeOffset(queue, true);
        }
        MessageQueue one = queues.iterator().next();
        consumer.pull(one, "*", consumer.maxOffset(one), 32);
        System.out.println("by id: " + consumer.viewMessage(TOPIC, sent.getOffsetMsgId()));
        Thread.sleep(300);
        consumer.shutdown();
    }

    private void lite() throws Exception {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("golden_lite");
        consumer.setNamesrvAddr(namesrv);
        consumer.setClientIP("127.0.0.1");
        consumer.setInstanceName("golden-lite");
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(TOPIC, "TagA");
        consumer.start();
        int seen = 0;
        for (int i = 0; i < 10 && seen < 3; i++) {
            seen += consumer.poll(1000).size();
        }
        System.out.println("lite pull saw " + seen);
        consumer.commitSync();
        Thread.sleep(1500);
        consumer.shutdown();
    }

    private DefaultMQPushConsumer push(String group, String instance, String tags) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setClientIP("127.0.0.1");
        consumer.setInstanceName(instance);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPersistConsumerOffsetInterval(1000);
        consumer.subscribe(TOPIC, tags);
        return consumer;
    }

    private void push() throws Exception {
        AtomicInteger seen = new AtomicInteger();
        List<DefaultMQPushConsumer> consumers = new ArrayList<>();
        for (String instance : Arrays.asList("golden-push-1", "golden-push-2")) {
            DefaultMQPushConsumer consumer = push("golden_push", instance, "TagA || TagB");
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) ->
                    seen.incrementAndGet() == 1 ? ConsumeConcurrentlyStatus.RECONSUME_LATER
                            : ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
            consumer.start();
            consumers.add(consumer);
            Thread.sleep(2000); /* long enough for the first one to be told about the second */
        }
        Thread.sleep(20_000); /* a pull that is held until it ends empty */
        System.out.println("push saw " + seen);
        for (DefaultMQPushConsumer consumer : consumers) {
            consumer.shutdown();
        }
    }

    private void orderly() throws Exception {
        AtomicInteger seen = new AtomicInteger();
        DefaultMQPushConsumer consumer = push("golden_orderly", "golden-orderly", "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            seen.incrementAndGet();
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        Thread.sleep(6000);
        System.out.println("orderly saw " + seen);
        consumer.shutdown();
    }
}
