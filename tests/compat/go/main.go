// The Go client (rocketmq-client-go v2) against brokers: each case on healthy brokers, then all of them at once with the leader killed in
// the middle. Prints "PASS name (seconds)", "FAIL name: reason", "NOT YET name", and as its last line "N passed, N failed".
//
// Usage: compat NAMESRV RUN [features=a,b] [only=PART-OF-A-NAME] [phases=healthy,killed] [strict=true|false]
//
// The leader dies when we print KILL-NOW, and "KILLED" on standard input says that it did; RESTART-NOW likewise.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const (
	atATime  = 6
	arriveS  = 120
	caseMin  = 6
	patience = 120 * time.Second // the client asks for routes every 30 s
)

type testCase struct {
	name        string
	feature     string // what the brokers must have beside the basics
	body        func(r *run)
	healthyOnly bool
}

func cases() []testCase {
	return []testCase{
		{name: "orderly push consumer", body: orderly},
		{name: "what fails comes again, and is a dead letter in the end", feature: "retry", body: deadLetters},
		{name: "transactions: commit, rollback and check-back", feature: "transactions", body: transactions},
		{name: "delay levels", feature: "delay", body: delayLevels},
		{name: "clustering push consumers", body: clustering},
		{name: "broadcasting", body: broadcasting},
		{name: "tags", body: tags},
		{name: "SQL92", body: sql},
		{name: "pull consumer", body: pullConsumer},
		{name: "synchronous send", body: sendSync},
		// This client (2.1.2) ends its process when an asynchronous send times out; a request is one.
		{name: "request and reply", feature: "reply", body: requestReply, healthyOnly: true},
		{name: "asynchronous send", body: sendAsync, healthyOnly: true},
		{name: "one-way send", body: sendOneWay},
		{name: "batch send", body: sendBatch},
		{name: "send to a chosen queue", body: sendChosen},
	}
}

type report struct {
	sync.Mutex
	passed, failed int
}

func (rep *report) line(text string) {
	rep.Lock()
	defer rep.Unlock()
	fmt.Println(text)
}

// Runs body; it fails by panicking with a failure.
func (rep *report) run(name string, body func()) {
	begun := time.Now()
	defer func() {
		why := recover()
		rep.Lock()
		defer rep.Unlock()
		if why == nil {
			rep.passed++
			fmt.Printf("PASS %s (%.1f s)\n", name, time.Since(begun).Seconds())
			return
		}
		rep.failed++
		if _, ours := why.(failure); !ours {
			why = fmt.Sprintf("panic: %v", why)
		}
		fmt.Printf("FAIL %s: %v\n", name, why)
	}()
	body()
}

type suite struct {
	namesrv, stamp string
	options        map[string]string
	rep            report
	driver         *bufio.Scanner
	number         int
	numbers        sync.Mutex
}

func (s *suite) nextNumber() int {
	s.numbers.Lock()
	defer s.numbers.Unlock()
	s.number++
	return s.number
}

func (s *suite) choose() []testCase {
	features := map[string]bool{"": true}
	for _, name := range strings.Split(s.options["features"], ",") {
		features[name] = true
	}
	var chosen []testCase
	for _, one := range cases() {
		if !strings.Contains(one.name, s.options["only"]) {
			continue
		}
		if !features[one.feature] {
			s.rep.line("NOT YET " + one.name)
			continue
		}
		chosen = append(chosen, one)
	}
	return chosen
}

func (s *suite) runCase(one testCase, phase string, arrive func(), dead chan struct{}) {
	r := newRun(s, arrive, dead)
	s.rep.run(one.name+" ["+phase+"]", func() { one.body(r) })
	r.stopAll()
}

func (s *suite) healthy(chosen []testCase) {
	tickets := make(chan struct{}, atATime)
	var all sync.WaitGroup
	for _, one := range chosen {
		one := one
		tickets <- struct{}{}
		all.Add(1)
		go func() {
			defer all.Done()
			s.runCase(one, "healthy", func() {}, nil)
			<-tickets
		}()
	}
	all.Wait()
}

func (s *suite) killed(chosen []testCase) {
	var arrived, all sync.WaitGroup
	dead := make(chan struct{})
	for _, one := range chosen {
		if one.healthyOnly {
			continue
		}
		one := one
		var once sync.Once
		arrived.Add(1)
		all.Add(1)
		arrive := func() { once.Do(arrived.Done) }
		go func() {
			defer all.Done()
			s.runCase(one, "killed", arrive, dead)
			arrive()
		}()
	}
	waitFor(&arrived, arriveS*time.Second)
	s.ask("KILL-NOW", "KILLED")
	close(dead)
	time.Sleep(2 * time.Second)
	s.ask("RESTART-NOW", "RESTARTED")
	if !waitFor(&all, caseMin*time.Minute) {
		s.rep.run("all cases end after the kill", func() { fail("not after %d minutes", caseMin) })
	}
}

func waitFor(group *sync.WaitGroup, most time.Duration) bool {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(most):
		return false
	}
}

func (s *suite) ask(request, answer string) {
	s.rep.line(request)
	if !s.driver.Scan() || s.driver.Text() != answer {
		s.rep.run("the driver answers "+request, func() { fail("%q", s.driver.Text()) })
	}
}

func main() {
	rlog.SetLogLevel("fatal")
	s := &suite{namesrv: os.Args[1], stamp: os.Args[2], options: map[string]string{}, driver: bufio.NewScanner(os.Stdin)}
	for _, option := range os.Args[3:] {
		key, value, _ := strings.Cut(option, "=")
		s.options[key] = value
	}
	phases := s.options["phases"]
	chosen := s.choose()
	if phases == "" || strings.Contains(phases, "healthy") {
		s.healthy(chosen)
	}
	if phases == "" || strings.Contains(phases, "killed") {
		s.killed(chosen)
	}
	fmt.Printf("%d passed, %d failed\n", s.rep.passed, s.rep.failed)
	if s.rep.failed > 0 || s.rep.passed == 0 {
		os.Exit(1)
	}
}
