package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.MessageQueueSelector;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Sends and consumes while the leader is killed and comes back. One sender for each queue sends a number until it is
 * acknowledged, then the next; a number may therefore be stored twice, but none may be missing, and first
 * occurrences keep their order. The driver does the killing: we print KILL-NOW and go on sending, it answers KILLED; later
 * RESTART-NOW and RESTARTED.
 */
final class Failover {
    private static final int QUEUES = 4;
    private static final int EACH = 1000; /* messages a sender */
    private static final int KILL_AFTER = QUEUES * EACH * 2 / 5;
    private static final int FINISH_S = 180;

    private final Clients clients;
    private final String topic;
    private final String group;
    private final Driver driver = new Driver();

    private final Map<String, SendResult> acked = new ConcurrentHashMap<>();
    private final AtomicInteger retries = new AtomicInteger();
    private final Map<String, Integer> consumed = new ConcurrentHashMap<>();
    private final OrderWatch watch = new OrderWatch();
    private final Set<Throwable> senderErrors = ConcurrentHashMap.newKeySet();
    private volatile boolean killed; /* the driver has confirmed it */
    private volatile long killedAt;
    private volatile long servedAgainAt;

    Failover(String namesrv, String run) {
        clients = new Clients(namesrv, Clients.STOCK_ROUTES_MS);
        topic = "compat_failover_" + run;
        group = "compat_failover_" + run;
    }

    void runAll(Report report) {
        report.run("every send is acknowledged over the death of the leader", this::sendThrough);
        report.run("concurrent consumers see every acknowledged message", this::concurrentSawAll);
        report.run("orderly consumers see every queue in order to its end", this::orderlySawAll);
        report.run("offsets are contiguous from 0 and acknowledged ones keep their message", this::offsetsHold);
        clients.stopAll();
    }

    private void sendThrough() throws Exception {
        DefaultMQProducer producer = clients.producer("compat_failover");
        Clients.createTopic(producer, topic, QUEUES);
        startConsumers();
        List<Thread> senders = new ArrayList<>();
        for (int queue = 0; queue < QUEUES; queue++) {
            int number = queue;
            Thread sender = new Thread(() -> sendAll(producer, number), "sender-" + number);
            sender.start();
            senders.add(sender);
        }
        await(FINISH_S, () -> "two fifths were acknowledged", () -> acked.size() >= KILL_AFTER || !senderErrors.isEmpty());
        killedAt = System.nanoTime();
        driver.kill();
        killed = true;
        await(FINISH_S, () -> "a send was acknowledged after the kill", () -> servedAgainAt != 0);
        driver.restart();
        for (Thread sender : senders) {
            sender.join();
        }
        check(senderErrors.isEmpty(), "a sender gave up: " + senderErrors);
        checkEqual(QUEUES * EACH, acked.size(), "the number of acknowledged messages");
        System.out.printf("    the first send begun after the kill was acknowledged %.1f s after it; %d sends were repeated%n",
                (servedAgainAt - killedAt) / 1e9, retries.get());
    }

    private void startConsumers() throws Exception {
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = clients.pushConsumerFromFirst(group + "_concurrent");
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                messages.forEach(message -> consumed.merge(body(message), 1, Integer::sum));
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
            DefaultMQPushConsumer orderly = clients.pushConsumerFromFirst(group + "_orderly");
            orderly.subscribe(topic, "*");
            orderly.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                watch.seen(messages);
                return ConsumeOrderlyStatus.SUCCESS;
            });
            orderly.start();
        }
    }

    private void sendAll(DefaultMQProducer producer, int queue) {
        MessageQueueSelector selector = (queues, message, number) -> queues.stream()
                .filter(candidate -> candidate.getQueueId() == (Integer) number).findFirst().orElseThrow();
        long deadline = System.nanoTime() + FINISH_S * 1_000_000_000L;
        for (int i = 0; i < EACH; i++) {
            String text = queue + "-" + i;
            while (true) {
                boolean afterKill = killed;
                try {
                    SendResult result = producer.send(message(topic, "TagA", text, text), selector, queue);
                    if (result.getSendStatus() == SendStatus.SEND_OK) {
                        acked.put(text, result);
                        if (afterKill && servedAgainAt == 0) {
                            servedAgainAt = System.nanoTime();
                        }
                        break;
                    }
                } catch (Exception e) {
                    if (System.nanoTime() > deadline) {
                        senderErrors.add(e);
                        return;
                    }
                }
                retries.incrementAndGet();
                pause(100);
            }
            pause(2);
        }
    }

    private static void pause(int ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void concurrentSawAll() throws Exception {
        check(!acked.isEmpty(), "nothing was acknowledged");
        await(FINISH_S, () -> missing() + " acknowledged messages were consumed", () -> missing() == 0);
        long again = consumed.values().stream().filter(times -> times > 1).count();
        System.out.printf("    %d consumed, %d of them more than once%n", consumed.size(), again);
    }

    private long missing() {
        return acked.keySet().stream().filter(text -> !consumed.containsKey(text)).count();
    }

    private void orderlySawAll() throws Exception {
        DefaultMQPullConsumer reader = clients.pullConsumer(group + "_ends");
        for (MessageQueue queue : Clients.queues(reader, topic)) {
            long end = reader.maxOffset(queue);
            check(end >= EACH, queue + " ends at " + end);
            await(FINISH_S, () -> "queue " + queue.getQueueId() + " was consumed to " + end + " (now at "
                    + watch.end(queue.getQueueId()) + ")", () -> watch.end(queue.getQueueId()) >= end);
        }
        watch.check();
        System.out.printf("    %d in order, %d deliveries repeated%n", watch.count(), watch.repeated());
    }

    private void offsetsHold() throws Exception {
        DefaultMQPullConsumer reader = clients.pullConsumer(group + "_reader");
        Set<MessageQueue> queues = Clients.queues(reader, topic);
        checkEqual(QUEUES, queues.size(), "the number of queues");
        Set<String> stored = ConcurrentHashMap.newKeySet();
        int twice = 0;
        for (MessageQueue queue : queues) {
            List<MessageExt> messages = Clients.readQueue(reader, queue);
            int next = 0;
            for (MessageExt message : messages) {
                if (!stored.add(body(message))) {
                    twice++;
                    continue;
                }
                checkEqual(queue.getQueueId() + "-" + next, body(message), "message " + message.getQueueOffset() + " of " + queue);
                next++;
            }
            for (int i = 0; i < EACH; i++) {
                SendResult result = acked.get(queue.getQueueId() + "-" + i);
                check(result != null && result.getQueueOffset() < messages.size(), "acknowledged beyond the end: " + result);
                checkEqual(queue.getQueueId() + "-" + i, body(messages.get((int) result.getQueueOffset())),
                        "what lies at the acknowledged offset " + result.getQueueOffset());
            }
        }
        System.out.printf("    %d stored, %d of them twice%n", stored.size() + twice, twice);
    }
}
