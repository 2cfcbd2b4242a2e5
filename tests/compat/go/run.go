package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// What a case fails with.
type failure string

func fail(format string, args ...interface{}) { panic(failure(fmt.Sprintf(format, args...))) }

func check(holds bool, format string, args ...interface{}) {
	if !holds {
		fail(format, args...)
	}
}

func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

// What one run of a case is given: its own clients and names, and where its middle is. In a run with a kill the leader dies there, and
// what fails is repeated until it succeeds; a healthy run repeats nothing.
type run struct {
	suite    *suite
	suffix   string
	arrive   func() // the leader may die from now on
	dead     chan struct{}
	kills    bool
	strict   bool // the brokers promise every effect once
	stops    []func()
	stopping sync.Mutex
}

func newRun(s *suite, arrive func(), dead chan struct{}) *run {
	return &run{suite: s, suffix: fmt.Sprintf("%s_%d", s.stamp, s.nextNumber()), arrive: arrive, dead: dead, kills: dead != nil,
		strict: s.options["strict"] == "true"}
}

func (r *run) name(name string) string { return "go_" + name + "_" + r.suffix }

func (r *run) note(format string, args ...interface{}) {
	r.suite.rep.line("    " + r.name("*") + ": " + fmt.Sprintf(format, args...))
}

func (r *run) later(stop func()) {
	r.stopping.Lock()
	defer r.stopping.Unlock()
	r.stops = append(r.stops, stop)
}

func (r *run) stopAll() {
	for i := len(r.stops) - 1; i >= 0; i-- {
		r.stops[i]()
	}
}

func (r *run) isDead() bool {
	select {
	case <-r.dead:
		return true
	default:
		return !r.kills
	}
}

func (r *run) middle() {
	r.arrive()
	if r.kills {
		<-r.dead
	}
}

// Does it until it works (healthy: once).
func (r *run) ask(what string, act func() error) {
	deadline := time.Now().Add(patience)
	for {
		err := act()
		if err == nil {
			return
		}
		if !r.kills || time.Now().After(deadline) {
			fail("%s: %v", what, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func await(most time.Duration, what func() string, holds func() bool) {
	deadline := time.Now().Add(most)
	for !holds() {
		if time.Now().After(deadline) {
			fail("within %v it did not happen that %s", most, what())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Calls one for 0, 1, 2, ...: half of count before the middle, more until the leader is dead, the other half after it.
func (r *run) through(count int, one func(i int)) {
	after := 0
	for i := 0; after < count/2; i++ {
		if i == count/2 {
			r.arrive()
		}
		if i >= count/2 && r.isDead() {
			after++
		}
		one(i)
		if r.kills {
			pause := 5 * time.Millisecond
			if i >= count/2 && !r.isDead() { // not too many while others come to their middle
				pause *= 10
			}
			time.Sleep(pause)
		}
	}
}

func (r *run) resolver() primitive.NsResolver {
	return primitive.NewPassthroughResolver([]string{r.suite.namesrv})
}

// Clients of one name would share their connections.
func (r *run) instance() string { return fmt.Sprintf("go-%s-%d", r.suite.stamp, r.suite.nextNumber()) }

func (r *run) producer(name string, options ...producer.Option) rocketmq.Producer {
	retries := 2
	if r.kills {
		retries = 0 // so that each call is one attempt
	}
	all := append([]producer.Option{producer.WithNsResolver(r.resolver()), producer.WithGroupName(r.name(name)),
		producer.WithInstanceName(r.instance()), producer.WithRetry(retries)}, options...)
	made, err := rocketmq.NewProducer(all...)
	must(err, "a producer")
	must(made.Start(), "the start of a producer")
	r.later(func() { _ = made.Shutdown() })
	return made
}

// A topic that the first send makes, as long as its route has not all queues. Not with the account: one message comes before all.
func (r *run) newTopic(p rocketmq.Producer, name string) string {
	topic := r.name(name)
	// Brokers that have just started may not have registered the topic that new ones are cut from.
	why := ""
	await(60*time.Second, func() string { return "the first send to " + topic + " was taken: " + why }, func() bool {
		_, err := p.SendSync(context.Background(), primitive.NewMessage(topic, []byte(firstBody)))
		why = fmt.Sprint(err)
		return err == nil
	})
	looks, err := admin.NewAdmin(admin.WithResolver(r.resolver()))
	must(err, "an admin client")
	await(60*time.Second, func() string { return topic + " had a route" }, func() bool {
		queues, err := looks.FetchPublishMessageQueues(context.Background(), topic)
		return err == nil && len(queues) == queueCount
	})
	return topic
}

const (
	firstBody  = "the first of the topic"
	queueCount = 4
)

func message(topic, tag, text string) *primitive.Message {
	return primitive.NewMessage(topic, []byte(text)).WithTag(tag).WithKeys([]string{text})
}

// Sends until it is acknowledged; enters it in the account.
func (r *run) send(p rocketmq.Producer, make func() *primitive.Message, w *watch) *primitive.SendResult {
	var result *primitive.SendResult
	first := make()
	text := string(first.Body)
	w.trying(text)
	r.ask("a send of "+text, func() error {
		sent, err := p.SendSync(context.Background(), make())
		if err != nil {
			return err
		}
		if sent.Status != primitive.SendOK {
			return fmt.Errorf("status %d", sent.Status)
		}
		result = sent
		return nil
	})
	w.acked(text)
	return result
}

func (r *run) stream(p rocketmq.Producer, topic, prefix string, count int, w *watch) {
	r.through(count, func(i int) {
		r.send(p, func() *primitive.Message { return message(topic, "TagA", fmt.Sprintf("%s-%d", prefix, i)) }, w)
	})
}

type listener func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

func (r *run) consume(group, topic string, selector consumer.MessageSelector, each listener, options ...consumer.Option) rocketmq.PushConsumer {
	all := append([]consumer.Option{consumer.WithNsResolver(r.resolver()), consumer.WithGroupName(group),
		consumer.WithInstance(r.instance()), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)}, options...)
	made, err := rocketmq.NewPushConsumer(all...)
	must(err, "a consumer")
	must(made.Subscribe(topic, selector, each), "the subscription")
	r.ask("the start of a consumer", made.Start)
	r.later(func() { _ = made.Shutdown() })
	return made
}

// Takes everything but the first of the topic into the account.
func (r *run) watching(w *watch) listener {
	return func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, one := range messages {
			w.seen(one)
		}
		return consumer.ConsumeSuccess, nil
	}
}

func everything() consumer.MessageSelector {
	return consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}
}

// The account of one stream of messages, which are known by their bodies.
type watch struct {
	sync.Mutex
	triedTexts, ackedTexts map[string]bool
	times                  map[string]int
	first                  map[string]time.Time
}

func newWatch() *watch {
	return &watch{triedTexts: map[string]bool{}, ackedTexts: map[string]bool{}, times: map[string]int{}, first: map[string]time.Time{}}
}

func (w *watch) trying(text string) {
	w.Lock()
	defer w.Unlock()
	w.triedTexts[text] = true
}

func (w *watch) acked(text string) {
	w.Lock()
	defer w.Unlock()
	w.triedTexts[text] = true
	w.ackedTexts[text] = true
}

func (w *watch) seen(one *primitive.MessageExt) {
	text := string(one.Body)
	if text == firstBody {
		return
	}
	w.Lock()
	defer w.Unlock()
	if w.times[text] == 0 {
		w.first[text] = time.Now()
	}
	w.times[text]++
}

func (w *watch) missing() []string {
	w.Lock()
	defer w.Unlock()
	var missing []string
	for text := range w.ackedTexts {
		if w.times[text] == 0 {
			missing = append(missing, text)
		}
	}
	return missing
}

// Every acknowledged message is seen, and nothing that nobody sent.
func (w *watch) awaitAll(most time.Duration) {
	await(most, func() string {
		missing := w.missing()
		if len(missing) > 10 {
			missing = missing[:10]
		}
		return fmt.Sprintf("all of %d acknowledged were seen; missing %v", len(w.ackedTexts), missing)
	}, func() bool { return len(w.missing()) == 0 })
	w.checkForeign()
}

func (w *watch) checkForeign() {
	w.Lock()
	defer w.Unlock()
	for text := range w.times {
		check(w.triedTexts[text], "%s was seen though nobody sent it", text)
	}
}

func (w *watch) checkOnce() {
	w.Lock()
	defer w.Unlock()
	for text, times := range w.times {
		check(times == 1, "%s was seen %d times", text, times)
	}
}

func (w *watch) repeated() int {
	w.Lock()
	defer w.Unlock()
	n := 0
	for _, times := range w.times {
		if times > 1 {
			n++
		}
	}
	return n
}
