package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func delayLevels(r *run) {
	delays := []time.Duration{0, time.Second, 5 * time.Second, 10 * time.Second}
	p := r.producer("delay")
	topic := r.newTopic(p, "delay")
	w := newWatch()
	var early []string
	var guard sync.Mutex
	due := map[string]time.Time{}
	r.consume(r.name("delay"), topic, everything(), func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		guard.Lock()
		defer guard.Unlock()
		for _, one := range messages {
			if time.Now().Before(due[string(one.Body)]) {
				early = append(early, string(one.Body))
			}
			w.seen(one)
		}
		return consumer.ConsumeSuccess, nil
	})
	r.through(30, func(i int) {
		level := 1 + i%3
		for attempt, sent := 0, false; !sent; attempt++ { // each attempt is a message of its own
			text := fmt.Sprintf("delay-%d-%d#%d", level, i, attempt)
			guard.Lock()
			due[text] = time.Now().Add(delays[level])
			guard.Unlock()
			w.trying(text)
			_, err := p.SendSync(context.Background(), message(topic, "TagA", text).WithDelayTimeLevel(level))
			check(err == nil || r.kills && attempt < 600, "a send of %s: %v", text, err)
			if sent = err == nil; sent {
				w.acked(text)
			} else {
				time.Sleep(200 * time.Millisecond)
			}
		}
	})
	w.awaitAll(patience)
	guard.Lock()
	defer guard.Unlock()
	check(len(early) == 0, "delivered too early: %v", early)
	r.note("%d delivered, %d of them more than once", len(w.times), w.repeated())
}

// Decides as the first words of a body say: at once, or when asked.
type decisions struct {
	sync.Mutex
	executed map[string]bool
	checks   int
}

func decide(text string) primitive.LocalTransactionState {
	if strings.Contains(text, "commit") {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

func (d *decisions) ExecuteLocalTransaction(one *primitive.Message) primitive.LocalTransactionState {
	d.Lock()
	defer d.Unlock()
	d.executed[string(one.Body)] = true
	if strings.HasPrefix(string(one.Body), "unknown") {
		return primitive.UnknowState
	}
	return decide(string(one.Body))
}

func (d *decisions) CheckLocalTransaction(one *primitive.MessageExt) primitive.LocalTransactionState {
	d.Lock()
	defer d.Unlock()
	d.checks++
	if !d.executed[string(one.Body)] {
		return primitive.RollbackMessageState
	}
	return decide(string(one.Body))
}

func transactions(r *run) {
	d := &decisions{executed: map[string]bool{}}
	first := r.producer("first")
	topic := r.newTopic(first, "transactions")
	p, err := rocketmq.NewTransactionProducer(d, producer.WithNsResolver(r.resolver()), producer.WithGroupName(r.name("transactions")),
		producer.WithInstanceName(r.instance()), producer.WithRetry(0))
	must(err, "a producer of transactions")
	must(p.Start(), "its start")
	r.later(func() { _ = p.Shutdown() })
	w := newWatch()
	r.consume(r.name("transactions_consumer"), topic, everything(), r.watching(w))
	kinds := []string{"commit", "rollback", "unknown-commit", "unknown-rollback"}
	r.through(40, func(i int) {
		kind := kinds[i%len(kinds)]
		for attempt, sent := 0, false; !sent; attempt++ {
			text := fmt.Sprintf("%s-%d#%d", kind, i, attempt)
			if strings.Contains(kind, "commit") {
				w.trying(text)
			}
			_, err := p.SendMessageInTransaction(context.Background(), message(topic, "TagA", text))
			check(err == nil || r.kills && attempt < 600, "a send of %s: %v", text, err)
			if sent = err == nil; !sent {
				time.Sleep(200 * time.Millisecond)
			} else if strings.Contains(kind, "commit") {
				w.acked(text)
			}
		}
	})
	w.awaitAll(180 * time.Second)
	time.Sleep(8 * time.Second)
	w.checkForeign()
	d.Lock()
	defer d.Unlock()
	check(d.checks > 0, "nobody was asked")
	r.note("%d committed and consumed, %d checks", len(w.times), d.checks)
}

func requestReply(r *run) {
	p := r.producer("request")
	topic := r.newTopic(p, "request")
	replier := r.producer("replier")
	r.consume(r.name("replier_consumer"), topic, everything(), func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, one := range messages {
			if string(one.Body) == firstBody {
				continue
			}
			if reply, err := consumer.CreateReplyMessage(one, nil); err == nil {
				reply.Body = []byte("reply to " + string(one.Body))  // CreateReplyMessage of 2.1.2 makes properties of the body it is given
				_, _ = replier.SendSync(context.Background(), reply) // the requester asks again when it fails
			}
		}
		return consumer.ConsumeSuccess, nil
	})
	request := func(text string) error {
		reply, err := p.Request(context.Background(), 3*time.Second, message(topic, "TagA", text))
		if err != nil {
			return err
		}
		check(string(reply.Body) == "reply to "+text, "%s was answered with %s", text, string(reply.Body))
		return nil
	}
	// A broker can reach the requester once it has beaten there, which this client does every 30 s.
	await(60*time.Second, func() string { return "the first request was answered" }, func() bool { return request("first request") == nil })
	r.through(10, func(i int) {
		text := fmt.Sprintf("request-%d", i)
		r.ask(text, func() error { return request(text) })
	})
}
