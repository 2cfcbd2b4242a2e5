package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.body;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What fails comes again, and in the end goes to the dead letters; groups and their rules. */
final class Retry {
    private Retry() {
    }

    static void list(Cases cases) {
        cases.line("retry and dead letters");
        cases.add("what fails comes again as the same message", Retry::again).needs("retry").selected();
        cases.add("the first retry comes after 10 s", Retry::firstLevel).needs("retry").healthyOnly();
        cases.add("what fails too often is a dead letter", Retry::dead).needs("retry").selected();
        cases.add("a dead letter at once", Retry::deadAtOnce).needs("retry");
        cases.add("orderly dead letters", Retry::deadOrderly).needs("retry");
        cases.add("groups are made, changed and deleted", Retry::groups).needs("groups");
        cases.add("a group that may not consume is given nothing", Retry::disabled).needs("groups");
    }

    private static void again(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("again");
        String topic = run.newTopic(producer, "again", Run.QUEUES);
        Watch watch = new Watch();
        Map<String, String> problems = new ConcurrentHashMap<>();
        Map<String, MessageExt> firsts = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = run.clients.pushConsumerFromFirst(run.group("again"));
        consumer.subscribe(topic, "TagA");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            MessageExt message = messages.get(0);
            if (message.getReconsumeTimes() == 0) {
                firsts.put(body(message), message);
                context.setDelayLevelWhenNextConsume(1);
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
            MessageExt first = firsts.get(body(message));
            if (first != null && (!first.getMsgId().equals(message.getMsgId()) || !message.getTopic().equals(topic)
                    || !"TagA".equals(message.getTags()) || first.getBornTimestamp() != message.getBornTimestamp()
                    || !first.getKeys().equals(message.getKeys()))) {
                problems.put(body(message), "came first as " + first + " and then as " + message);
            }
            watch.seen(message);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        run.stream(producer, topic, "again-", 30, watch);
        watch.awaitAll(Run.PATIENCE_S);
        check(run.kills || problems.isEmpty(), "another message came again: " + problems);
        if (!run.kills) {
            watch.checkOnce();
        }
        run.note(watch.repeated() + " retried more than once");
    }

    private static void firstLevel(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("level");
        String topic = run.newTopic(producer, "level", 1);
        Map<Integer, Long> times = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = run.clients.pushConsumerFromFirst(run.group("level"));
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            times.putIfAbsent(messages.get(0).getReconsumeTimes(), System.currentTimeMillis());
            return messages.get(0).getReconsumeTimes() == 0 ? ConsumeConcurrentlyStatus.RECONSUME_LATER
                    : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        run.send(producer, message(topic, "TagA", "k", "one"));
        await(60, () -> "it came again", () -> times.containsKey(1)); /* late where the client had no route of the retry topic */
        times.clear();
        run.send(producer, message(topic, "TagA", "k", "two"));
        await(60, () -> "it came again", () -> times.containsKey(1));
        long after = times.get(1) - times.get(0);
        check(after >= 10_000 && after < 14_000, "the first retry came after " + after + " ms");
    }

    /** Consumes @topic as @group, failing always, and counts the deliveries. */
    private static Map<String, Integer> failing(Run run, String group, String topic, int times, int level) throws Exception {
        Map<String, Integer> deliveries = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = run.clients.pushConsumerFromFirst(group);
        consumer.setMaxReconsumeTimes(times);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> deliveries.merge(body(message), 1, Integer::sum));
            context.setDelayLevelWhenNextConsume(level);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        return deliveries;
    }

    /** Reads the group's dead letters until they hold everything that was acknowledged. */
    private static void awaitDead(Run run, String group, Watch watch) throws Exception {
        Set<String> places = ConcurrentHashMap.newKeySet();
        await(Run.PATIENCE_S, () -> "the dead letters were all there; now " + watch.seenTexts(), () -> {
            try {
                for (MessageExt message : Clients.readTopic(run.reader(), "%DLQ%" + group)) {
                    if (places.add(message.getQueueId() + "/" + message.getQueueOffset())) {
                        watch.seen(message);
                    }
                }
            } catch (Exception e) {
                return false;
            }
            return watch.seenTexts().containsAll(watch.ackedTexts());
        });
        watch.checkForeign();
        if (!run.kills) {
            watch.checkOnce();
        }
        run.note(watch.seenCount() + " dead letters, " + watch.repeated() + " of them more than once");
    }

    private static void dead(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("dead");
        String topic = run.newTopic(producer, "dead", Run.QUEUES);
        Watch watch = new Watch();
        Map<String, Integer> deliveries = failing(run, run.group("dead"), topic, 2, 1);
        run.stream(producer, topic, "dead-", 20, watch);
        awaitDead(run, run.group("dead"), watch);
        if (!run.kills) {
            deliveries.forEach((text, times) -> checkEqual(3, times, "the deliveries of " + text));
        }
    }

    private static void deadAtOnce(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("dead_now");
        String topic = run.newTopic(producer, "dead_now", 1);
        Watch watch = new Watch();
        Map<String, Integer> deliveries = failing(run, run.group("dead_now"), topic, 16, -1);
        run.stream(producer, topic, "now-", 10, watch);
        awaitDead(run, run.group("dead_now"), watch);
        if (!run.kills) {
            deliveries.forEach((text, times) -> checkEqual(1, times, "the deliveries of " + text));
        }
    }

    private static void deadOrderly(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("dead_order");
        String topic = run.newTopic(producer, "dead_order", 1);
        Watch dead = new Watch();
        Watch good = new Watch();
        DefaultMQPushConsumer consumer = run.clients.pushConsumerFromFirst(run.group("dead_order"));
        consumer.setMaxReconsumeTimes(1);
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            if (messages.stream().anyMatch(message -> body(message).startsWith("bad"))) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            messages.forEach(good::seen);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        run.through(20, i -> {
            boolean bad = i % 5 == 0;
            run.send(producer, message(topic, "TagA", "k", (bad ? "bad-" : "good-") + i), bad ? dead : good);
        });
        good.awaitAll(Run.PATIENCE_S);
        awaitDead(run, run.group("dead_order"), dead);
    }

    /* A group comes to be with a heartbeat, which a new leader has not seen yet. */
    private static void awaitGroup(DefaultMQAdminExt admin, String topic, String group) throws Exception {
        await(60, () -> "the group " + group + " was there", () -> {
            try {
                return admin.examineSubscriptionGroupConfig(Clients.leader(admin, topic), group) != null;
            } catch (Exception e) {
                return false;
            }
        });
    }

    private static void groups(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("groups");
        String topic = run.newTopic(producer, "groups", 1);
        DefaultMQAdminExt admin = run.clients.admin();
        String group = run.group("administered");
        DefaultMQPushConsumer consumer = run.consume(group, topic, "*", message -> { }); /* which makes the group */
        awaitGroup(admin, topic, group);
        var config = run.ask("the group", () -> admin.examineSubscriptionGroupConfig(Clients.leader(admin, topic), group));
        checkEqual(16, config.getRetryMaxTimes(), "the retries of a new group");
        config.setRetryMaxTimes(5);
        config.setConsumeBroadcastEnable(false);
        run.act("the change", () -> admin.createAndUpdateSubscriptionGroupConfig(Clients.leader(admin, topic), config));
        run.middle();
        var changed = run.ask("the group", () -> admin.examineSubscriptionGroupConfig(Clients.leader(admin, topic), group));
        checkEqual(5, changed.getRetryMaxTimes(), "the retries");
        checkEqual(false, changed.isConsumeBroadcastEnable(), "whether it may broadcast");
        consumer.shutdown();
        run.act("the deletion", () -> admin.deleteSubscriptionGroup(Clients.leader(admin, topic), group, true));
        var all = run.ask("all groups", () -> admin.getAllSubscriptionGroup(Clients.leader(admin, topic), 5000));
        check(!all.getSubscriptionGroupTable().containsKey(group), "the group is still there");
    }

    private static void disabled(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("disabled");
        String topic = run.newTopic(producer, "disabled", 1);
        DefaultMQAdminExt admin = run.clients.admin();
        String group = run.group("disabled");
        Watch watch = new Watch();
        run.consume(group, topic, "*", watch::seen);
        run.sendNumbered(producer, topic, "before-", 5, watch);
        watch.awaitAll(60);
        awaitGroup(admin, topic, group);
        var config = run.ask("the group", () -> admin.examineSubscriptionGroupConfig(Clients.leader(admin, topic), group));
        config.setConsumeEnable(false);
        run.act("the change", () -> admin.createAndUpdateSubscriptionGroupConfig(Clients.leader(admin, topic), config));
        run.middle();
        Thread.sleep(2000); /* a pull that was held before the change may bring one more */
        run.sendNumbered(producer, topic, "while-", 5, watch);
        Thread.sleep(3000);
        check(List.of(0, 1).contains((int) watch.seenTexts().stream().filter(text -> text.startsWith("while-")).count()),
                "a group that may not consume was given " + watch.seenTexts());
        config.setConsumeEnable(true);
        run.act("the change back", () -> admin.createAndUpdateSubscriptionGroupConfig(Clients.leader(admin, topic), config));
        watch.awaitAll(Run.PATIENCE_S);
    }
}
