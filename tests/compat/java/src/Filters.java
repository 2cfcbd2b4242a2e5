package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.checkEqual;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.IntPredicate;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** Filters that brokers apply: tags and SQL92. */
final class Filters {
    private Filters() {
    }

    static void list(Cases cases) {
        cases.line("filters");
        cases.add("tags", Filters::tags).selected();
        cases.add("SQL92", Filters::sql).selected();
        cases.add("SQL92, operator after operator", Filters::operators);
        cases.add("an expression that does not compile is refused", Filters::refused);
    }

    private static void tags(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("tags");
        String topic = run.newTopic(producer, "tags", Run.QUEUES);
        Watch watch = new Watch();
        run.consume(run.group("tags"), topic, "TagA || TagB", watch::seen);
        Watch others = new Watch();
        run.through(90, i -> {
            String tag = "Tag" + "ABC".charAt(i % 3);
            run.send(producer, message(topic, tag, "k" + i, tag + "-" + i), tag.equals("TagC") ? others : watch);
        });
        watch.awaitAll(Run.PATIENCE_S);
        Thread.sleep(500);
        watch.checkForeign();
    }

    private static Message priced(String topic, int i) {
        String region = new String[] {"eu", "us", null}[i % 3];
        Message message = message(topic, "TagA", "k" + i, "sql-" + i);
        message.putUserProperty("price", String.valueOf(i));
        if (region != null) {
            message.putUserProperty("region", region);
        }
        return message;
    }

    private static void sql(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("sql");
        String topic = run.newTopic(producer, "sql", Run.QUEUES);
        Watch watch = new Watch();
        DefaultMQPushConsumer consumer = run.clients.pushConsumerFromFirst(run.group("sql"));
        consumer.subscribe(topic, MessageSelector.bySql("price BETWEEN 10 AND 1000000 AND (region = 'eu' OR region IS NULL)"));
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(watch::seen);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Watch others = new Watch();
        run.through(60, i -> run.send(producer, priced(topic, i), i >= 10 && i % 3 != 1 ? watch : others));
        watch.awaitAll(Run.PATIENCE_S);
        Thread.sleep(500);
        watch.checkForeign();
    }

    private static Map<String, IntPredicate> expressions() {
        Map<String, IntPredicate> wanted = new LinkedHashMap<>();
        wanted.put("price > 20", i -> i > 20);
        wanted.put("price <= 20 AND price >= 10", i -> i <= 20 && i >= 10);
        wanted.put("price = 7", i -> i == 7);
        wanted.put("price <> 7", i -> i != 7);
        wanted.put("NOT (price = 7)", i -> i != 7);
        wanted.put("price NOT BETWEEN 5 AND 25", i -> i < 5 || i > 25);
        wanted.put("region = 'eu'", i -> i % 3 == 0);
        wanted.put("region <> 'eu'", i -> i % 3 == 1); /* NULL is neither */
        wanted.put("region IS NULL", i -> i % 3 == 2);
        wanted.put("region IS NOT NULL", i -> i % 3 != 2);
        wanted.put("region IN ('us', 'asia')", i -> i % 3 == 1);
        wanted.put("region NOT IN ('us', 'asia')", i -> i % 3 == 0);
        wanted.put("region = 'us' OR price < 3", i -> i % 3 == 1 || i < 3);
        wanted.put("price < 10.5", i -> i <= 10);
        wanted.put("absent > 1", i -> false);
        wanted.put("TRUE", i -> true);
        return wanted;
    }

    private static void operators(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("operators");
        String topic = run.newTopic(producer, "operators", 1);
        for (int i = 0; i < 30; i++) {
            Message one = priced(topic, i);
            run.send(producer, one);
        }
        run.middle();
        DefaultMQPullConsumer reader = run.reader();
        MessageQueue queue = run.ask("the queue", () -> Clients.queues(reader, topic)).iterator().next();
        for (Map.Entry<String, IntPredicate> one : expressions().entrySet()) {
            Set<String> wanted = new TreeSet<>();
            for (int i = 0; i < 30; i++) {
                if (one.getValue().test(i)) {
                    wanted.add("sql-" + i);
                }
            }
            checkEqual(wanted, matches(reader, queue, one.getKey()), "what matches " + one.getKey());
        }
    }

    private static Set<String> matches(DefaultMQPullConsumer reader, MessageQueue queue, String expression) throws Exception {
        Set<String> found = new TreeSet<>();
        long[] next = {0};
        String[] why = {""};
        /* A client sends no SQL before the answer to a heartbeat told it the broker's version. */
        await(60, () -> "the queue was read to its end with " + expression + ": " + why[0], () -> {
            try {
                long end = reader.maxOffset(queue);
                while (next[0] < end) {
                    PullResult result = reader.pull(queue, MessageSelector.bySql(expression), next[0], 32);
                    if (result.getPullStatus() == PullStatus.FOUND) {
                        result.getMsgFoundList().forEach(message -> found.add(body(message)));
                    }
                    next[0] = result.getNextBeginOffset();
                }
                return true;
            } catch (Exception e) {
                why[0] = e.getMessage();
                return false;
            }
        });
        return found;
    }

    private static void refused(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("refused");
        String topic = run.newTopic(producer, "refused", 1);
        run.middle();
        run.send(producer, message(topic, "TagA", "k", "somebody leads again")); /* a client that finds nobody to ask starts as it is */
        for (String expression : List.of("price >", "price = 'a", "price BETWEEN 1", "(price = 1", "= 1")) {
            run.act("the refusal of " + expression, () -> {
                DefaultMQPushConsumer consumer = run.clients.pushConsumer(run.group("refused_" + Math.abs(expression.hashCode())));
                consumer.subscribe(topic, MessageSelector.bySql(expression));
                consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) ->
                    ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
                try {
                    consumer.start();
                } catch (MQClientException e) {
                    if (e.getMessage().contains("CODE: 23")) {
                        return;
                    }
                    throw e;
                }
                throw new AssertionError("a consumer has started with " + expression);
            });
        }
    }
}
