package raftmq.compat;

import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.IntFunction;
import java.util.stream.Collectors;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * What one run of a case is given: its own clients and names, and where its middle is. On a healthy group the middle is nothing;
 * in a run with a kill, the leader dies there: arrive() says that it may die now and goes on, middle() also waits until it is dead.
 * A run with a kill repeats what fails until it succeeds, with a deadline; a healthy one repeats nothing.
 */
final class Run {
    static final int QUEUES = 4;
    static final int PATIENCE_S = 90;

    final Clients clients;
    final boolean kills;
    final boolean strict; /* the brokers under test promise more than the original: every effect once, also over a kill */
    final boolean exact; /* what the original promises on a healthy broker holds in this run */
    private final String suffix;
    private final Runnable onArrival;
    private final CountDownLatch dead;
    private final Set<String> topics = ConcurrentHashMap.newKeySet();

    /** @param onArrival called once at most for each arrival; @param dead open once the leader was killed; null: healthy */
    Run(Clients clients, String suffix, boolean strict, Runnable onArrival, CountDownLatch dead) {
        this.clients = clients;
        this.suffix = suffix;
        this.onArrival = onArrival;
        this.dead = dead;
        kills = dead != null;
        this.strict = strict;
        exact = strict || !kills;
    }

    String topic(String name) {
        String topic = "compat_" + name + "_" + suffix;
        topics.add(topic);
        return topic;
    }

    /** Deletes the topics of this run, so that many runs leave nothing behind. */
    void deleteTopics() throws Exception {
        DefaultMQAdminExt admin = clients.admin();
        Set<String> namesrvs = new HashSet<>(admin.getNameServerAddressList());
        for (String topic : topics) {
            act("the deletion of " + topic, () -> admin.deleteTopicInBroker(Set.of(Clients.leader(admin, "TBW102")), topic));
            act("the deletion of its route", () -> admin.deleteTopicInNameServer(namesrvs, "DefaultCluster", topic));
        }
    }

    String group(String name) {
        return "compat_" + name + "_" + suffix;
    }

    /** Something worth reading beside the case's result. */
    void note(String text) {
        System.out.println("    " + suffix + ": " + text);
        System.out.flush();
    }

    void arrive() {
        onArrival.run();
    }

    boolean isDead() {
        return dead == null || dead.getCount() == 0;
    }

    void middle() throws InterruptedException {
        arrive();
        if (dead != null) {
            dead.await();
        }
    }

    /** A producer that leaves repetitions to send(), so that each of its calls is one attempt. */
    DefaultMQProducer producer(String name) throws Exception {
        DefaultMQProducer producer = clients.producer(group(name));
        producer.setRetryTimesWhenSendFailed(kills ? 0 : 2);
        producer.setSendMsgTimeout(3000);
        return producer;
    }

    /** A topic of this run, there when it returns. */
    String newTopic(DefaultMQProducer producer, String name, int queues) throws Exception {
        Clients.createTopic(producer, topic(name), queues);
        return topic(name);
    }

    /** Does it until it works (healthy: once). */
    <T> T ask(String what, Callable<T> question) throws Exception {
        long deadline = System.nanoTime() + PATIENCE_S * 1_000_000_000L;
        while (true) {
            try {
                return question.call();
            } catch (Exception e) {
                if (!kills || System.nanoTime() > deadline) {
                    throw new AssertionError(what + ": " + e.getMessage(), e);
                }
                Thread.sleep(100);
            }
        }
    }

    interface Act {
        void run() throws Exception;
    }

    void act(String what, Act act) throws Exception {
        ask(what, () -> {
            act.run();
            return true;
        });
    }

    interface Sender {
        SendResult send() throws Exception;
    }

    /** Sends until it is acknowledged with SEND_OK. */
    SendResult send(String what, Sender sender) throws Exception {
        return ask("a send of " + what, () -> {
            SendResult result = sender.send();
            checkEqual(SendStatus.SEND_OK, result.getSendStatus(), "the status of a send");
            return result;
        });
    }

    SendResult send(DefaultMQProducer producer, Message message) throws Exception {
        return send(Clients.body(message), () -> producer.send(message));
    }

    interface Attempt {
        SendResult send(Message message) throws Exception;
    }

    /**
     * Sends until it is acknowledged; every attempt has a body of its own (@text and the number of the attempt), so that each is
     * accounted for by itself. Returns the body of the one that was acknowledged.
     */
    String sendAttempts(String text, Function<String, Message> make, Attempt attempt, Watch watch) throws Exception {
        AtomicInteger tries = new AtomicInteger();
        return ask("a send of " + text, () -> {
            String body = text + "#" + tries.getAndIncrement();
            watch.trying(body);
            SendResult result = attempt.send(make.apply(body));
            checkEqual(SendStatus.SEND_OK, result.getSendStatus(), "the status of a send");
            watch.acked(body, result);
            return body;
        });
    }

    /** Sends one and enters it in the account. */
    void send(DefaultMQProducer producer, Message message, Watch watch) throws Exception {
        watch.trying(Clients.body(message));
        watch.acked(Clients.body(message), send(producer, message));
    }

    void sendNumbered(DefaultMQProducer producer, String topic, String prefix, int count, Watch watch) throws Exception {
        for (int i = 0; i < count; i++) {
            send(producer, Clients.message(topic, "TagA", prefix + i, prefix + i), watch);
        }
    }

    interface One {
        void send(int number) throws Exception;
    }

    /** Calls @one for 0, 1, 2, ...: half of @count before the middle, more until the leader is dead, the other half after it. */
    void through(int count, One one) throws Exception {
        int after = 0;
        for (int i = 0; after < count / 2; i++) {
            if (i == count / 2) {
                arrive();
            }
            if (i >= count / 2 && isDead()) {
                after++;
            }
            one.send(i);
            if (kills) {
                Thread.sleep(i >= count / 2 && !isDead() ? 50 : 5); /* not too many while others come to their middle */
            }
        }
    }

    /** A stream of messages through the middle, all in the account. */
    void stream(DefaultMQProducer producer, int count, IntFunction<Message> message, Watch watch) throws Exception {
        through(count, i -> send(producer, message.apply(i), watch));
    }

    void stream(DefaultMQProducer producer, String topic, String prefix, int count, Watch watch) throws Exception {
        stream(producer, count, i -> Clients.message(topic, "TagA", prefix + i, prefix + i), watch);
    }

    /** A started push consumer that begins at the first offset and acknowledges everything. */
    DefaultMQPushConsumer consume(String group, String topic, String expression, Consumer<MessageExt> each) throws Exception {
        return consume(clients.pushConsumerFromFirst(group), topic, expression, each);
    }

    DefaultMQPushConsumer consume(DefaultMQPushConsumer consumer, String topic, String expression, Consumer<MessageExt> each)
            throws MQClientException {
        consumer.subscribe(topic, expression);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(each);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    private DefaultMQPullConsumer reader;

    /** A pull consumer for looking at what is stored. */
    DefaultMQPullConsumer reader() throws Exception {
        if (reader == null) {
            reader = clients.pullConsumer(group("reader"));
        }
        return reader;
    }

    /** Everything a topic holds. */
    List<MessageExt> stored(String topic) throws Exception {
        return ask("reading " + topic, () -> Clients.readTopic(reader(), topic));
    }

    /** Each acknowledged message lies where its answer said, and nothing lies there that nobody sent. */
    void checkStored(String topic, Watch watch) throws Exception {
        List<MessageExt> stored = stored(topic);
        Set<String> places = new TreeSet<>();
        Watch found = new Watch();
        watch.triedTexts().forEach(found::trying);
        for (MessageExt message : stored) {
            found.seen(message);
            places.add(message.getQueueId() + "/" + message.getQueueOffset() + "/" + Clients.body(message));
        }
        found.checkForeign();
        for (String text : watch.ackedTexts()) {
            SendResult result = watch.result(text);
            check(places.contains(result.getMessageQueue().getQueueId() + "/" + result.getQueueOffset() + "/" + text),
                    text + " does not lie where its answer said: " + result + "; read " + stored.size() + " from the queues "
                            + stored.stream().map(MessageExt::getQueueId).collect(Collectors.toCollection(TreeSet::new))
                            + "; the queues are now " + Clients.extents(reader(), topic));
        }
        if (!kills) {
            found.checkOnce();
        }
    }
}
