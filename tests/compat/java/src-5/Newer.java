package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What only 5.x clients offer. */
final class Newer {
    private Newer() {
    }

    static void list(Cases cases) {
        Timers.list(cases);
        Pop.list(cases);
        cases.line("topics");
        cases.add("attributes", Newer::attributes);
        cases.add("a list at once", Newer::topicList).needs("topic-list");
        cases.line("offsets");
        cases.add("reset by time, no consumer running", Newer::resetOffline).needs("reset");
    }

    static void createTopic(DefaultMQProducer producer, String topic, int queues) throws MQClientException {
        producer.createTopic("TBW102", topic, queues, new HashMap<>());
    }

    static DefaultMQProducer tracingProducer(String group) {
        DefaultMQProducer producer = new DefaultMQProducer(group);
        producer.setEnableTrace(true);
        return producer;
    }

    private static void attributes(Run run) throws Exception {
        DefaultMQAdminExt admin = run.clients.admin();
        TopicConfig config = Topics.config(run.topic("attributes"), 2, 2, 6);
        config.setAttributes(new HashMap<>(Map.of("+message.type", "FIFO")));
        Topics.put(run, admin, config);
        run.middle();
        TopicConfig found = run.ask("the topic", () -> admin.examineTopicConfig(Clients.leader(admin, "TBW102"), config.getTopicName()));
        checkEqual("FIFO", String.valueOf(found.getAttributes().get("message.type")), "the type of messages");
    }

    private static void topicList(Run run) throws Exception {
        DefaultMQAdminExt admin = run.clients.admin();
        List<TopicConfig> configs = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            configs.add(Topics.config(run.topic("list_" + i), i + 1, i + 1, 6));
        }
        run.middle();
        run.act("the list", () -> admin.createAndUpdateTopicConfigList(Clients.leader(admin, "TBW102"), configs));
        for (TopicConfig config : configs) {
            await(40, () -> config.getTopicName() + " was in the routes", () -> {
                try {
                    return admin.examineTopicRouteInfo(config.getTopicName()).getQueueDatas().get(0).getReadQueueNums()
                            == config.getReadQueueNums();
                } catch (Exception e) {
                    return false;
                }
            });
        }
    }

    private static void resetOffline(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("offline");
        String topic = run.newTopic(producer, "offline", 1);
        Watch watch = new Watch();
        run.sendNumbered(producer, topic, "early-", 10, watch);
        Thread.sleep(100);
        long between = System.currentTimeMillis();
        Thread.sleep(100);
        run.sendNumbered(producer, topic, "late-", 10, watch);
        DefaultMQPushConsumer consumer = run.consume(run.group("offline"), topic, "*", watch::seen);
        watch.awaitAll(60);
        Thread.sleep(500);
        consumer.shutdown();
        Thread.sleep(500);
        run.middle();
        DefaultMQAdminExt admin = run.clients.admin();
        Map<MessageQueue, Long> offsets = run.ask("the reset", () -> {
            Map<MessageQueue, Long> answer = admin.resetOffsetByTimestamp(topic, run.group("offline"), between, true);
            check(answer.size() == 1, "the reset names " + answer);
            return answer;
        });
        check(run.kills || offsets.containsValue(10L), "reset to " + offsets);
        Watch again = new Watch();
        watch.ackedTexts().forEach(again::trying);
        watch.ackedTexts().stream().filter(text -> text.startsWith("late-")).forEach(text -> again.acked(text, watch.result(text)));
        run.consume(run.group("offline"), topic, "*", again::seen);
        again.awaitAll(Run.PATIENCE_S);
        check(!run.exact || again.seenTexts().stream().noneMatch(text -> text.startsWith("early-")),
                "what lies before that time came again: " + again.seenTexts());
    }
}
