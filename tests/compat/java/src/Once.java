package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.checkEqual;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;

/** One send and one consume: enough to show that a broker found its name server. */
final class Once {
    private final Clients clients;
    private final String topic;

    Once(String namesrv, String run) {
        clients = new Clients(namesrv, Clients.STOCK_ROUTES_MS);
        topic = "compat_once_" + run;
    }

    void runAll(Report report) {
        report.run("one send and one consume", this::sendAndConsume);
        clients.stopAll();
    }

    private void sendAndConsume() throws Exception {
        DefaultMQProducer producer = clients.producer("compat_once");
        Clients.createTopic(producer, topic, 4);
        checkEqual(SendStatus.SEND_OK, producer.send(message(topic, "TagA", "k", "once")).getSendStatus(), "the status");
        Set<String> seen = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = clients.pushConsumerFromFirst(topic);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> seen.add(body(message)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        await(60, () -> "the message was consumed", () -> seen.contains("once"));
    }
}
