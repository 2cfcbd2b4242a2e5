package raftmq.compat;

import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;

/** What only 5.x clients offer, for 4.9 clients: the names. */
final class Newer {
    private Newer() {
    }

    static void list(Cases cases) {
        cases.line("delay and timers");
        cases.notOffered("timers in seconds, in milliseconds and at a time");
        cases.notOffered("a timer in the past is delivered at once");
        cases.notOffered("a timer is recalled");
        cases.line("pop");
        cases.notOffered("a push consumer pops");
        cases.notOffered("what fails is popped again");
        cases.notOffered("what a dead consumer held is popped again");
        cases.notOffered("consumers pop in order");
        cases.notOffered("brokers assign the queues of pulling consumers");
        cases.line("topics");
        cases.notOffered("attributes");
        cases.notOffered("a list at once");
        cases.line("offsets");
        cases.notOffered("reset by time, no consumer running");
    }

    static void createTopic(DefaultMQProducer producer, String topic, int queues) throws MQClientException {
        producer.createTopic("TBW102", topic, queues);
    }

    static DefaultMQProducer tracingProducer(String group) {
        return new DefaultMQProducer(group, true);
    }
}
