package raftmq.compat;

import static raftmq.compat.Clients.await;
import static raftmq.compat.Clients.message;
import static raftmq.compat.Report.check;
import static raftmq.compat.Report.checkEqual;

import java.util.HashSet;
import java.util.Set;

import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Topics: made, changed, deleted, and known to every member of the group. */
final class Topics {
    private Topics() {
    }

    static void list(Cases cases) {
        cases.line("topics");
        cases.add("made by a client, there on every node", Topics::made).selected();
        cases.add("made by the first send", Topics::madeBySend);
        cases.add("permissions", Topics::permissions);
        cases.add("queues shrink and grow", Topics::shrinkAndGrow);
        cases.add("deleted and made again, begins at 0", Topics::deleted).needs("topic-delete").selected();
    }

    static TopicConfig config(String topic, int readQueues, int writeQueues, int perm) {
        TopicConfig config = new TopicConfig(topic);
        config.setReadQueueNums(readQueues);
        config.setWriteQueueNums(writeQueues);
        config.setPerm(perm);
        return config;
    }

    /** Creates or changes it and waits until routes say so. */
    static void put(Run run, DefaultMQAdminExt admin, TopicConfig config) throws Exception {
        String topic = config.getTopicName();
        run.act("the creation of " + topic, () -> admin.createAndUpdateTopicConfig(Clients.leader(admin, "TBW102"), config));
        await(40, () -> "the route of " + topic + " was that of " + config, () -> {
            try {
                var queues = admin.examineTopicRouteInfo(topic).getQueueDatas().get(0);
                return queues.getReadQueueNums() == config.getReadQueueNums()
                        && queues.getWriteQueueNums() == config.getWriteQueueNums() && queues.getPerm() == config.getPerm();
            } catch (Exception e) {
                return false;
            }
        });
    }

    /** Every address in the topic's route. */
    static Set<String> members(DefaultMQAdminExt admin, String topic) throws Exception {
        Set<String> members = new HashSet<>();
        admin.examineTopicRouteInfo(topic).getBrokerDatas().forEach(broker -> members.addAll(broker.getBrokerAddrs().values()));
        return members;
    }

    private static void made(Run run) throws Exception {
        DefaultMQAdminExt admin = run.clients.admin();
        String topic = run.topic("made");
        TopicConfig config = config(topic, 5, 3, 6);
        config.setOrder(true);
        put(run, admin, config);
        run.middle();
        Set<String> members = run.ask("the route", () -> members(admin, topic));
        for (String member : members) {
            await(60, () -> member + " knew the topic", () -> {
                try {
                    TopicConfig found = admin.examineTopicConfig(member, topic);
                    return found.getReadQueueNums() == 5 && found.getWriteQueueNums() == 3 && found.getPerm() == 6 && found.isOrder();
                } catch (Exception e) {
                    return false;
                }
            });
        }
        DefaultMQProducer producer = run.producer("made");
        checkEqual(3, run.ask("the queues", () -> producer.fetchPublishMessageQueues(topic)).size(), "the number of queues");
        run.send(producer, message(topic, "TagA", "k", "first"));
        run.note("known to " + members.size());
    }

    private static void madeBySend(Run run) throws Exception {
        DefaultMQProducer producer = run.producer("auto");
        String topic = run.topic("auto");
        Watch watch = new Watch();
        run.send(producer, message(topic, "TagA", "k", "first"), watch);
        await(40, () -> "the new topic had its queues in the route", () -> {
            try {
                return producer.fetchPublishMessageQueues(topic).size() == Run.QUEUES;
            } catch (Exception e) {
                return false;
            }
        });
        run.stream(producer, topic, "more-", 10, watch);
        run.checkStored(topic, watch);
        String later = run.topic("auto_later");
        Watch laterWatch = new Watch();
        run.send(producer, message(later, "TagA", "k", "after the middle"), laterWatch);
        run.checkStored(later, laterWatch);
    }

    private static void permissions(Run run) throws Exception {
        DefaultMQAdminExt admin = run.clients.admin();
        String topic = run.topic("perm");
        put(run, admin, config(topic, 2, 2, 6));
        DefaultMQProducer producer = run.producer("perm");
        Watch watch = new Watch();
        run.sendNumbered(producer, topic, "m-", 5, watch);
        put(run, admin, config(topic, 2, 2, 4));
        run.middle();
        DefaultMQProducer late = run.producer("perm_late");
        try {
            late.send(message(topic, "TagA", "k", "to a topic that is only read"));
            throw new AssertionError("a send to a topic that is only read was taken");
        } catch (MQClientException e) {
            check(e.getMessage().contains("No route info"), "another cause: " + e.getMessage());
        }
        run.checkStored(topic, watch);
        MessageQueue queue = Clients.queues(run.reader(), topic).iterator().next();
        put(run, admin, config(topic, 2, 2, 2));
        run.act("the refusal of a pull", () -> {
            try {
                run.reader().pull(queue, "*", 0, 1);
            } catch (MQClientException | MQBrokerException e) {
                if (e.toString().contains("CODE: 16")) {
                    return;
                }
                throw e;
            }
            throw new AssertionError("a pull from a topic that is only written was served");
        });
    }

    private static void shrinkAndGrow(Run run) throws Exception {
        DefaultMQAdminExt admin = run.clients.admin();
        String topic = run.topic("resized");
        put(run, admin, config(topic, 4, 4, 6));
        DefaultMQProducer producer = run.producer("resized");
        Watch watch = new Watch();
        run.sendNumbered(producer, topic, "four-", 40, watch);
        put(run, admin, config(topic, 4, 2, 6)); /* writing shrinks first, so that nothing is left unread */
        run.middle();
        await(60, () -> "the producer knew two queues", () -> {
            try {
                return producer.fetchPublishMessageQueues(topic).size() == 2;
            } catch (Exception e) {
                return false;
            }
        });
        run.sendNumbered(producer, topic, "two-", 40, watch);
        run.checkStored(topic, watch);
        put(run, admin, config(topic, 2, 2, 6));
        await(60, () -> "there were two queues to read", () -> {
            try {
                return Clients.queues(run.reader(), topic).size() == 2;
            } catch (Exception e) {
                return false;
            }
        });
        put(run, admin, config(topic, 6, 6, 6));
        DefaultMQProducer late = run.producer("resized_late");
        await(60, () -> "there were six queues to read", () -> { /* it keeps what it knows until it asks for routes again */
            try {
                return Clients.queues(run.reader(), topic).size() == 6;
            } catch (Exception e) {
                return false;
            }
        });
        run.sendNumbered(late, topic, "six-", 60, watch);
        run.checkStored(topic, watch); /* what lay in the queues that were gone is there again */
    }

    private static void deleted(Run run) throws Exception {
        DefaultMQAdminExt admin = run.clients.admin();
        String topic = run.topic("deleted");
        put(run, admin, config(topic, 2, 2, 6));
        DefaultMQProducer producer = run.producer("deleted");
        Watch old = new Watch();
        run.sendNumbered(producer, topic, "old-", 20, old);
        run.act("the deletion", () -> admin.deleteTopicInBroker(Set.of(Clients.leader(admin, "TBW102")), topic));
        run.act("the deletion of the route", () -> admin.deleteTopicInNameServer(
                new HashSet<>(admin.getNameServerAddressList()), "DefaultCluster", topic));
        await(60, () -> "the route was gone", () -> {
            try {
                return admin.examineTopicRouteInfo(topic).getQueueDatas().isEmpty();
            } catch (MQClientException e) {
                return e.getResponseCode() == 17;
            } catch (Exception e) {
                return false;
            }
        });
        run.middle();
        put(run, admin, config(topic, 2, 2, 6));
        DefaultMQProducer late = run.producer("deleted_late");
        Watch watch = new Watch();
        SendResult first = run.send(late, message(topic, "TagA", "k", "new"));
        if (run.exact) {
            checkEqual(0L, first.getQueueOffset(), "the first offset of the new topic");
        } else { /* an original that dies may find the old queue again */
            old.triedTexts().forEach(watch::trying);
        }
        watch.acked("new", first);
        run.sendNumbered(late, topic, "new-", 10, watch);
        run.checkStored(topic, watch);
    }
}
