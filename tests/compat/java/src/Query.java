package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.createTopic;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.Set;
import java.util.TreeSet;

import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages found by key, by unique id, and traces of messages. */
final class Query {
    private static final String TRACE_TOPIC = "RMQ_SYS_TRACE_TOPIC";

    private final String namesrv;
    private final String run;

    Query(String namesrv, String run) {
        this.namesrv = namesrv;
        this.run = run;
    }

    private interface ClientCase {
        void run(Clients clients) throws Exception;
    }

    void runAll(Report report) {
        runOne(report, "query by key", this::byKey);
        runOne(report, "query by key in a time range", this::byTime);
        runOne(report, "query by unique id", this::byUniqueId);
        runOne(report, "message trace", this::trace);
    }

    private void runOne(Report report, String name, ClientCase body) {
        Clients clients = new Clients(namesrv);
        report.run(name, () -> body.run(clients));
        clients.stopAll();
    }

    private String topic(String name) {
        return "compat_" + name + "_" + run;
    }

    /** Bodies of what is found; the clients answer "nothing" with an exception. */
    private static Set<String> find(DefaultMQPullConsumer reader, String topic, String key, long begin, long end) throws Exception {
        Set<String> bodies = new TreeSet<>();
        try {
            QueryResult result = reader.queryMessage(topic, key, 64, begin, end);
            result.getMessageList().forEach(message -> bodies.add(body(message)));
            check(result.getIndexLastUpdateTimestamp() > 0, "the index says when it was updated");
        } catch (MQClientException e) {
            if (!e.getMessage().contains("no message")) {
                throw e;
            }
        }
        return bodies;
    }

    /** The original makes its index a little later than it acknowledges. */
    private static void awaitFound(DefaultMQPullConsumer reader, String topic, String key, Set<String> bodies) throws Exception {
        await(10, () -> key + " led to " + bodies, () -> {
            try {
                return find(reader, topic, key, 0, Long.MAX_VALUE).equals(bodies);
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
    }

    private static Set<String> set(String... texts) {
        return new TreeSet<>(Set.of(texts));
    }

    private void byKey(Clients clients) throws Exception {
        String topic = topic("bykey");
        DefaultMQProducer producer = clients.producer("compat_bykey");
        DefaultMQPullConsumer reader = clients.pullConsumer("compat_bykey_pull");
        createTopic(producer, topic, 4);
        for (int i = 0; i < 5; i++) {
            producer.send(message(topic, "TagA", "key-" + i + " both", "found-" + i));
            awaitFound(reader, topic, "key-" + i, set("found-" + i));
        }
        awaitFound(reader, topic, "both", set("found-0", "found-1", "found-2", "found-3", "found-4"));
        checkEqual(set(), find(reader, topic, "key", 0, Long.MAX_VALUE), "what a part of a key finds");
    }

    private void byTime(Clients clients) throws Exception {
        String topic = topic("bytime");
        DefaultMQProducer producer = clients.producer("compat_bytime");
        DefaultMQPullConsumer reader = clients.pullConsumer("compat_bytime_pull");
        createTopic(producer, topic, 1);
        producer.send(message(topic, "TagA", "same", "early"));
        Thread.sleep(1100); /* the original's range has whole seconds */
        long between = System.currentTimeMillis();
        Thread.sleep(1100);
        producer.send(message(topic, "TagA", "same", "late"));
        awaitFound(reader, topic, "same", set("early", "late"));
        checkEqual(set("early"), find(reader, topic, "same", 0, between), "what was stored before");
        checkEqual(set("late"), find(reader, topic, "same", between, Long.MAX_VALUE), "what was stored later");
    }

    private void byUniqueId(Clients clients) throws Exception {
        String topic = topic("byid");
        DefaultMQProducer producer = clients.producer("compat_byid");
        DefaultMQPullConsumer reader = clients.pullConsumer("compat_byid_pull");
        createTopic(producer, topic, 2);
        producer.send(message(topic, "TagA", "k", "another"));
        SendResult result = producer.send(message(topic, "TagA", "k", "wanted"));
        MessageExt found = reader.viewMessage(topic, result.getMsgId());
        checkEqual("wanted", body(found), "the body");
        checkEqual(result.getMsgId(), found.getMsgId(), "the id");
    }

    /* 5.x made the parameter of the constructor a setting of its own. */
    private static DefaultMQProducer tracing(String group) throws ReflectiveOperationException {
        try {
            return DefaultMQProducer.class.getConstructor(String.class, boolean.class).newInstance(group, true);
        } catch (NoSuchMethodException e) {
            DefaultMQProducer producer = new DefaultMQProducer(group);
            DefaultMQProducer.class.getMethod("setEnableTrace", boolean.class).invoke(producer, true);
            return producer;
        }
    }

    private void trace(Clients clients) throws Exception {
        String topic = topic("traced");
        DefaultMQProducer plain = clients.producer("compat_traced_plain");
        createTopic(plain, topic, 1);
        DefaultMQProducer producer = tracing("compat_traced");
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName("compat-traced-" + run);
        producer.start();
        try {
            SendResult result = producer.send(message(topic, "TagA", "traced-" + run, "traced"));
            DefaultMQPullConsumer reader = clients.pullConsumer("compat_traced_pull");
            await(40, () -> "the trace of the message was found", () -> {
                try {
                    return find(reader, TRACE_TOPIC, result.getMsgId(), 0, Long.MAX_VALUE).stream()
                            .anyMatch(text -> text.startsWith("Pub") && text.contains(topic));
                } catch (MQClientException e) {
                    return false; /* nobody knows the topic yet */
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            });
        } finally {
            producer.shutdown();
        }
    }
}
