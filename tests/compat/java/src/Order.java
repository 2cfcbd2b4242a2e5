package raftmq.compat;

import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Orderly consumption: queue after queue in order, one consumer at a time. */
final class Order {
    private Order() {
    }

    static void list(Cases cases) {
        cases.line("order");
        cases.add("orderly push consumers keep order", run -> orderly(run, false)).selected();
        cases.add("order holds while consumers come and go", run -> orderly(run, true));
        cases.add("what fails holds its queue, and no other", Order::suspended);
        cases.add("the order of a topic's queues is kept by name servers", Order::configured).healthyOnly();
    }

    private static DefaultMQPushConsumer start(Run run, String topic, OrderWatch order, Watch watch) throws Exception {
        DefaultMQPushConsumer consumer = run.clients.pushConsumerFromFirst(run.group("orderly"));
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            order.seen(messages);
            messages.forEach(watch::seen);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    private static void sendTo(Run run, DefaultMQProducer producer, String topic, String text, int queue, Watch watch) throws Exception {
        watch.trying(text);
        watch.acked(text, run.send(text, () -> producer.send(message(topic, "TagA", text, text),
                (queues, message, number) -> queues.get((Integer) number), queue)));
    }

    private static void orderly(Run run, boolean comeAndGo) throws Exception {
        DefaultMQProducer producer = run.producer("orderly");
        String topic = run.newTopic(producer, "orderly", Run.QUEUES);
        OrderWatch order = new OrderWatch();
        Watch watch = new Watch();
        start(run, topic, order, watch);
        DefaultMQPushConsumer second = start(run, topic, order, watch);
        run.through(400, i -> {
            sendTo(run, producer, topic, "orderly-" + i, i % Run.QUEUES, watch);
            if (comeAndGo && i == 100) {
                second.shutdown();
            }
            if (comeAndGo && i == 200) {
                start(run, topic, order, watch);
            }
        });
        watch.awaitAll(120);
        order.check();
        run.note(order.count() + " in order, " + order.repeated() + " deliveries repeated");
    }

    private static void suspended(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("suspended");
        String topic = run.newTopic(producer, "suspended", 2);
        OrderWatch order = new OrderWatch();
        Watch watch = new Watch();
        Map<String, Integer> failures = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = run.clients.pushConsumerFromFirst(run.group("suspended"));
        consumer.setSuspendCurrentQueueTimeMillis(200);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            String text = body(messages.get(0));
            if (text.endsWith("5") && messages.get(0).getQueueId() == 0 && failures.merge(text, 1, Integer::sum) <= 2) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            order.seen(messages);
            messages.forEach(watch::seen);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        run.through(40, i -> sendTo(run, producer, topic, "m-" + i, i % 2, watch));
        run.through(20, i -> sendTo(run, producer, topic, "held-" + i * 5, 0, watch));
        watch.awaitAll(120);
        order.check();
        check(!failures.isEmpty(), "nothing failed");
    }

    private static void configured(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("ordered");
        String topic = run.newTopic(producer, "ordered", Run.QUEUES);
        SendResult sent = run.send(producer, message(topic, "TagA", "k", "one"));
        DefaultMQAdminExt admin = run.clients.admin();
        String value = sent.getMessageQueue().getBrokerName() + ":" + Run.QUEUES;
        admin.createOrUpdateOrderConf(topic, value, false);
        checkEqual(value, admin.getKVConfig("ORDER_TOPIC_CONFIG", topic), "the configuration of the order");
        checkEqual(List.of(value), List.of(admin.getKVConfig("ORDER_TOPIC_CONFIG", topic).split(";")), "its entries");
    }
}
